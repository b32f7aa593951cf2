//! Servers that are alive and can't be read: the monitor's account is refused, no
//! connection is free, or answers come late.

use std::time::{Duration, Instant};

use super::{Action, Actions, CheckFailure};
use crate::events::{Kind, Severity};

/// Least time between two warnings about one server.
const WARNING_GAP: Duration = Duration::from_secs(60);

/// Since when, and why, a living server can't be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unread {
    /// When the first check in this row was refused.
    pub since: Instant,
    /// [`CheckFailure::Denied`], [`CheckFailure::Full`] or [`CheckFailure::Slow`].
    pub kind: CheckFailure,
    /// Whether it was read after it came up last: then what was read still stands for what it is.
    pub known: bool,
}

impl Unread {
    /// A clause for reasons; the same as long as the cause is the same.
    #[must_use]
    pub const fn why(&self) -> &'static str {
        match self.kind {
            CheckFailure::Full => "no connection is free for the monitor",
            CheckFailure::Slow => "its answers to the monitor are late",
            _ => "the monitor's account is refused",
        }
    }
}

/// Memory of what operators were told about it.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Told {
    warned_at: Option<Instant>,
    open: Option<CheckFailure>,
}

impl Told {
    /// Warns once per cause, and not more often than [`WARNING_GAP`].
    pub(super) fn warn(&mut self, unread: &Unread, text: &str, now: Instant, to: &mut Actions) {
        let lately = |at: Instant| now.saturating_duration_since(at) < WARNING_GAP;
        if self.open == Some(unread.kind) || self.warned_at.is_some_and(lately) {
            return;
        }
        (self.warned_at, self.open) = (Some(now), Some(unread.kind));
        let role = if unread.known {
            "it keeps serving, its role stays as last read"
        } else {
            "where servers have roles it gets no work until its own is known"
        };
        let repair = match unread.kind {
            CheckFailure::Full => {
                "raise max_connections (or max_user_connections of the monitor's account) on the server"
            }
            CheckFailure::Slow => {
                "look for lost packets or overload between here and there, or raise `monitor.timeout`"
            }
            _ => {
                "set `monitor.user` and `monitor.password` of the backend to an account that the server \
                 lets in, and grant it REPLICATION CLIENT (MariaDB: also SLAVE MONITOR)"
            }
        };
        to.push(Action::Event {
            severity: Severity::Warning,
            kind: Kind::Monitor,
            text: format!("alive, but {}: {text}; {role}; to repair: {repair}", unread.why()),
        });
    }

    /// Says that a told trouble is over.
    pub(super) fn over(&mut self, to: &mut Actions) {
        if self.open.take().is_some() {
            to.push(Action::Event {
                severity: Severity::Info,
                kind: Kind::Monitor,
                text: "the monitor can read it again".to_owned(),
            });
        }
    }
}
