//! Routing hints that a client writes into comments.

use super::Span;

/// Where a client asks its statement to be sent.
///
/// Written `/* highgate: primary */`, `/* highgate: replica */` or `/* highgate: server=db2 */`, or
/// as MaxScale's `-- maxscale route to master|slave|server NAME`. The first hint of a text counts.
/// `Replica` holds only for a text that is proved to read; on anything else it is left out of the
/// [`super::Analysis`], which then says so in `hint_ignored`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Hint {
    /// To the primary.
    Primary,
    /// To a replica.
    Replica,
    /// To the server of this name (a span of the text).
    Server(Span),
}
