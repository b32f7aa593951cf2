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
    unchecked_at: Option<Instant>,
    is_unchecked: bool,
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

    /// Warns once that this node can't make checks, and not more often than [`WARNING_GAP`].
    pub(super) fn not_checked(&mut self, text: &str, now: Instant, to: &mut Actions) {
        let lately = |at: Instant| now.saturating_duration_since(at) < WARNING_GAP;
        if self.is_unchecked || self.unchecked_at.is_some_and(lately) {
            return;
        }
        (self.unchecked_at, self.is_unchecked) = (Some(now), true);
        to.push(Action::Event {
            severity: Severity::Warning,
            kind: Kind::Limit,
            text: format!(
                "checks can't be made: this node has no descriptor, port or memory left for a connection \
                 ({text}); that says nothing about the server, whose status stays as it was; to repair: \
                 raise this process's limit of descriptors (`ulimit -n`, systemd: LimitNOFILE)"
            ),
        });
    }

    /// Says that checks are made again, where it was told that they could not be.
    pub(super) fn checks_again(&mut self, to: &mut Actions) {
        if std::mem::take(&mut self.is_unchecked) {
            to.push(Action::Event {
                severity: Severity::Info,
                kind: Kind::Limit,
                text: "checks can be made again".to_owned(),
            });
        }
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
