//! Hints in comments, for routing.

use highgate_core::route::RouteHint;
use highgate_mysql::sql::Hint;

/// The server that a comment names.
pub(crate) fn hinted_server(hint: Option<&Hint>, text: Option<&[u8]>) -> Option<Box<str>> {
    match (hint, text) {
        (Some(Hint::Server(name)), Some(text)) => {
            Some(String::from_utf8_lossy(name.of(text)).into())
        }
        _ => None,
    }
}

/// The hint as routing takes it.
pub(crate) fn route_hint<'a>(hint: &Hint, server: Option<&'a str>) -> RouteHint<'a> {
    match hint {
        Hint::Primary => RouteHint::Primary,
        Hint::Replica => RouteHint::Replica,
        Hint::Server(_) => RouteHint::Server(server.unwrap_or_default()),
    }
}
