//! What operators are told, each with its reason, and how often a peer can make us say so.
//!
//! A peer, or whoever forges one, must not fill a log: the same kind of event about the same peer
//! is told at once, then at most once per [`QUIET`], with the number left out.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};

use crate::advert::RefusalKind;

/// How long the same event about the same peer is only counted.
pub const QUIET: Duration = Duration::from_secs(60);
/// How many peers and kinds are told apart; beyond it all further peers share one entry per kind.
const MOST: usize = 64;

/// How much an event matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Severity {
    /// Expected course of things.
    Info,
    /// Somebody should look some day.
    Warning,
    /// The address may be on two nodes, or on none.
    Error,
}

macro_rules! kinds {
    ($($(#[$doc:meta])+ $kind:ident = $text:literal),+ $(,)?) => {
        /// What happened.
        #[derive(
            Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
        )]
        pub enum Kind { $($(#[$doc])+ $kind),+ }

        impl Kind {
            /// Every kind.
            pub const ALL: &[Self] = &[$(Self::$kind),+];

            /// Its name in tables and logs.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$kind => $text),+ }
            }
        }
    };
}

kinds! {
    /// An advert was refused.
    AdvertRefused = "advert_refused",
    /// Two routers claim to own the address.
    DuplicateOwner = "duplicate_owner",
    /// A peer has this node's priority.
    EqualPriority = "equal_priority",
    /// A router whose number is not ours speaks for our addresses.
    ForeignRouter = "foreign_router",
    /// A peer's timers differ from ours, where the protocol allows it.
    IntervalDiffers = "interval_differs",
    /// Another router was active at the same time.
    Split = "split",
    /// The state changed.
    State = "state",
    /// This process did not run for so long that a backup may have taken over.
    Stall = "stall",
    /// Tracking changed the rank.
    Priority = "priority",
    /// What a router needs in order to take part came or went.
    Need = "need",
    /// Other settings are in force.
    Settings = "settings",
    /// Another router of higher rank asked for the addresses.
    Yield = "yield",
}

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// How much it matters.
    pub severity: Severity,
    /// What happened.
    pub kind: Kind,
    /// A sentence, without the router's name.
    pub text: String,
}

impl Event {
    pub(crate) fn new(severity: Severity, kind: Kind, text: impl Into<String>) -> Self {
        Self { severity, kind, text: text.into() }
    }
}

/// What is told apart in counting how often something was said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Topic {
    Event(Kind),
    Refusal(RefusalKind),
}

/// Remembers what was said lately.
#[derive(Debug, Default)]
pub(crate) struct Limiter {
    said: BTreeMap<(Topic, Option<IpAddr>), Said>,
}

#[derive(Debug)]
struct Said {
    at: Instant,
    left_out: u64,
}

impl Limiter {
    /// Whether to say it now; if so, how many like it were left out since the last time.
    pub(crate) fn admit(&mut self, topic: Topic, about: IpAddr, now: Instant) -> Option<u64> {
        let mut key = (topic, Some(about));
        if !self.said.contains_key(&key) && self.said.len() >= MOST {
            self.said.retain(|_, said| now.saturating_duration_since(said.at) < QUIET);
            if self.said.len() >= MOST {
                key = (topic, None);
            }
        }
        let Some(said) = self.said.get_mut(&key) else {
            self.said.insert(key, Said { at: now, left_out: 0 });
            return Some(0);
        };
        if now.saturating_duration_since(said.at) < QUIET {
            said.left_out += 1;
            return None;
        }
        said.at = now;
        Some(std::mem::take(&mut said.left_out))
    }
}

/// The text with the number of those that were left out.
pub(crate) fn with_left_out(text: String, left_out: u64) -> String {
    if left_out == 0 { text } else { format!("{text} ({left_out} more like it meanwhile)") }
}
