//! One virtual router (RFC 3768 §6.4, RFC 9568 §6.4): inputs in, effects out, time as an argument.
//!
//! ```text
//!            start, all needs met                     no advert in time: send, take the addresses
//!   Init ─────────────────────────▶ Backup ──────────────────────────────────▶ Active
//!    ▲  │ owner: at once ─────────────┼───────────────────────────────────────▶  │
//!    │  │                             │ ◀── a higher advert: give the addresses ──┤
//!    │  ▼ a need unmet                ▼ a need unmet                              │
//!    │ Fault ◀────────────────────────┴────── give the addresses, priority 0 ─────┤
//!    └──────────────── stop (from any state; from Active with priority 0) ────────┘
//! ```
//!
//! A router takes part while all its [`Need`]s are met: link, serving, the operator's leave, tracking,
//! its group. Losing one is not a lower rank, which a backup would ignore until its timer ends, but
//! priority 0 with the addresses removed at once, so that the next one takes over within its skew.
//!
//! A backup of higher rank that would take over from one that works asks first, and the other ends its
//! connections before it gives the addresses away (`handover`). Whoever does not know of this, as
//! Keepalived, answers nothing, and is taken over from as the RFCs have it.
//!
//! Invariants: the addresses are held in `Active` alone; they are given away before it is said, and
//! what is said first on taking them is the advert. The driver feeds all packets that wait before it
//! fires a timer, so that a late process never takes over from one whose adverts lie in a socket; a
//! node that slept through an interval or more listens once more, since adverts may not even have
//! reached its sockets.

mod announce;
mod handover;
mod hear;
mod peers;
#[cfg(test)]
mod tests;
mod timers;
mod transitions;

use std::{
    collections::BTreeMap,
    fmt,
    net::IpAddr,
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};

#[cfg(test)]
pub(crate) use self::handover::PATIENCE;
use self::{
    announce::Announcing,
    handover::{Asking, Yielding},
    peers::Peers,
};
use crate::{
    advert::{self, Advert, Casting, Envelope, Word},
    event::{Event, Kind, Limiter, Severity},
    settings::{Settings, VirtualAddress},
    status::{Counts, Status},
};

/// What a router is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum State {
    /// Not started, stopped, or waiting for a first word about what it tracks.
    Init,
    /// It listens, and takes over when nobody is active.
    Backup,
    /// It holds the addresses.
    Active,
    /// Something that it needs is missing.
    Fault,
}

impl State {
    /// Its name in tables and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Init => "init",
            Self::Backup => "backup",
            Self::Active => "active",
            Self::Fault => "fault",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a router needs in order to take part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Need {
    /// The addresses could be set.
    Addresses,
    /// The other members of its group take part.
    Group,
    /// The operator lets it: unmet by a drain.
    Leave,
    /// The interface is there and up, with an address to send from.
    Link,
    /// This process can serve.
    Serving,
    /// The socket works.
    Socket,
    /// Nothing that is tracked without a weight has failed.
    Tracking,
}

impl Need {
    /// Its name in tables and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Addresses => "addresses",
            Self::Group => "group",
            Self::Leave => "leave",
            Self::Link => "link",
            Self::Serving => "serving",
            Self::Socket => "socket",
            Self::Tracking => "tracking",
        }
    }
}

/// The interface as the kernel tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Link {
    /// There is no such interface.
    Absent,
    /// It is there, but nothing is heard through it.
    Down {
        /// Its first address of the router's family, if it has one.
        source: Option<IpAddr>,
    },
    /// It works.
    Up {
        /// Its first address of the router's family, if it has one.
        source: Option<IpAddr>,
    },
}

/// What a router is told.
#[derive(Debug, Clone, PartialEq)]
pub enum Input {
    /// Take part as soon as all needs are met.
    Start,
    /// This node ends: give everything away and say so.
    Stop,
    /// A packet of protocol 112 came on the router's interface.
    Packet {
        /// What follows the IP header.
        payload: Vec<u8>,
        /// What the IP header says.
        envelope: Envelope,
    },
    /// [`Router::next_deadline`] came.
    Timer,
    /// This node did not run for so long until now, and what came meanwhile has been told.
    Slept(Duration),
    /// The link changed, or is told for the first time.
    Link(Link),
    /// Nothing is known yet about a need: it is waited for before taking part, and ends nothing.
    Pending(Need),
    /// A need is not met, and why.
    Unmet(Need, String),
    /// A need is met.
    Met(Need),
    /// The sum of what tracking adds to the priority.
    Weight(i32),
    /// Its group says that all members want to be active.
    Promote,
    /// Its group says that another member gave way.
    Demote(String),
    /// What [`Effect::Yield`] asked for is done, or will not be.
    Yielded,
    /// Other settings; the interface, family and number are the same.
    Settings(Box<Settings>),
}

/// What the driver does, in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Send this after an IP header with protocol 112, TTL as configured (255) and TOS 0xc0.
    Send(Sending),
    /// Set these addresses on their interfaces.
    AddAddresses(Vec<VirtualAddress>),
    /// Remove these addresses.
    RemoveAddresses(Vec<VirtualAddress>),
    /// Announce each held address this many times: gratuitous ARP (a broadcast request with the
    /// address as sender and target) or an unsolicited neighbour advertisement (override set).
    Announce {
        /// How many for each address.
        copies: u8,
    },
    /// Another node of higher rank is about to take over: let the connections to the addresses end,
    /// then say [`Input::Yielded`]. Without that word they are given away after [`Router::YIELD`].
    Yield,
    /// Run what is configured for this; never wait for it.
    Notify(Notice),
    /// Tell operators.
    Event(Event),
}

/// One advert on its way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sending {
    /// The address to send from.
    pub source: IpAddr,
    /// The group or a peer.
    pub destination: IpAddr,
    /// The TTL or hop limit.
    pub ttl: u8,
    /// What it says, for logs and tests.
    pub priority: u8,
    /// The bytes after the IP header.
    pub payload: Vec<u8>,
}

/// What scripts and pipes for notification are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Notice {
    /// It is backup from now on.
    Backup,
    /// It is active from now on.
    Active,
    /// It can't take part from now on.
    Fault,
    /// It ended.
    Stop,
    /// It is active and heard an advert of lower rank.
    HeardLower,
    /// It is active, and tracking changed its rank.
    ActiveRank,
    /// It is backup, and tracking changed its rank.
    BackupRank,
}

impl Notice {
    /// The word that Keepalived uses for it in arguments and pipes.
    #[must_use]
    pub const fn keepalived_word(self) -> &'static str {
        match self {
            Self::Backup => "BACKUP",
            Self::Active => "MASTER",
            Self::Fault => "FAULT",
            Self::Stop => "STOP",
            Self::HeardLower => "MASTER_RX_LOWER_PRI",
            Self::ActiveRank => "MASTER_PRIORITY",
            Self::BackupRank => "BACKUP_PRIORITY",
        }
    }
}

/// Why a need is not met.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Lack {
    /// Nobody has said yet.
    Pending,
    /// It was lost.
    Lost(String),
}

/// One virtual router of this node.
#[derive(Debug)]
pub struct Router {
    settings: Settings,
    /// Derived from the settings: what adverts list, sorted, and how they authenticate.
    listed: Vec<IpAddr>,
    auth: advert::Auth,
    /// Whether a group decides when it becomes active.
    grouped: bool,
    state: State,
    since: Instant,
    why: String,
    is_started: bool,
    /// While set, the start-up delay is running.
    starts_at: Option<Instant>,
    lacks: BTreeMap<Need, Lack>,
    weight: i32,
    source: Option<IpAddr>,
    /// Active_Adver_Interval: the one by which a backup counts.
    active_interval: Duration,
    /// Who is active as far as a backup knows.
    active: Option<IpAddr>,
    /// Who gave the address away, as long as nobody took it.
    resigned_by: Option<IpAddr>,
    /// Active_Down_Timer.
    down_at: Option<Instant>,
    /// When the last advert that set it was heard, or counting began.
    heard_at: Instant,
    /// It ended while this node did not run, so it was set once more.
    has_overslept: bool,
    /// Adver_Timer.
    advert_at: Option<Instant>,
    sent_at: Option<Instant>,
    /// From when on one of lower rank is no longer respected.
    preempt_at: Option<Instant>,
    /// When to say once more that the address was given away.
    resign_at: Option<Instant>,
    /// The timer has run out, and the group has not promoted yet.
    wants_active: bool,
    /// When one of lower rank was heard that this one will take over from, and its interval.
    lower_at: Option<(Instant, Duration)>,
    /// It asked the active router, of lower rank, for the addresses.
    asking: Option<Asking>,
    /// It was asked for the addresses.
    yielding: Option<Yielding>,
    announcing: Announcing,
    peers: Peers,
    counts: Counts,
    limiter: Limiter,
    /// Peers that sum in the way of Keepalived before 1.3.7, and must be answered so.
    old_sums: Vec<IpAddr>,
    /// Test switch: a bug put back on purpose.
    #[cfg(test)]
    bug: crate::testing::Bug,
}

impl Router {
    /// A router that does nothing until it is started and told about its link.
    #[must_use]
    pub fn new(settings: Settings, now: Instant) -> Self {
        let mut lacks = BTreeMap::from([(Need::Link, Lack::Pending)]);
        if settings.follows_serving {
            lacks.insert(Need::Serving, Lack::Pending);
        }
        let mut router = Self {
            listed: Vec::new(),
            auth: settings.auth(),
            grouped: false,
            state: State::Init,
            since: now,
            why: "not started".to_owned(),
            is_started: false,
            starts_at: None,
            lacks,
            weight: 0,
            source: None,
            active_interval: settings.interval,
            active: None,
            resigned_by: None,
            down_at: None,
            heard_at: now,
            has_overslept: false,
            advert_at: None,
            sent_at: None,
            preempt_at: None,
            resign_at: None,
            wants_active: false,
            lower_at: None,
            asking: None,
            yielding: None,
            announcing: Announcing::default(),
            peers: Peers::default(),
            counts: Counts::default(),
            limiter: Limiter::default(),
            old_sums: Vec::new(),
            #[cfg(test)]
            bug: crate::testing::Bug::None,
            settings,
        };
        router.derive();
        router
    }

    /// Puts a bug back, for simulations that must find it.
    #[cfg(test)]
    pub(crate) const fn plant(&mut self, bug: crate::testing::Bug) {
        self.bug = bug;
    }

    /// Makes a group decide when it becomes active ([`Input::Promote`]).
    pub(crate) const fn join_group(&mut self, grouped: bool) {
        self.grouped = grouped;
    }

    /// Takes one input; what is to be done comes back in order.
    #[must_use = "effects are what a router decides"]
    pub fn step(&mut self, input: Input, now: Instant) -> Vec<Effect> {
        let mut effects = Vec::new();
        match input {
            Input::Start => self.start(now, &mut effects),
            Input::Stop => self.stop(now, &mut effects),
            Input::Packet { payload, envelope } => {
                self.packet(&payload, &envelope, now, &mut effects);
            }
            Input::Timer => self.timer(now, &mut effects),
            Input::Slept(time) => self.slept(time, now, &mut effects),
            Input::Link(link) => self.link(link, now, &mut effects),
            Input::Pending(need) => {
                self.lacks.insert(need, Lack::Pending);
                self.settle(now, &mut effects);
            }
            Input::Unmet(need, why) => self.lose(need, why, now, &mut effects),
            Input::Met(need) => self.regain(need, now, &mut effects),
            Input::Weight(weight) => self.weigh(weight, now, &mut effects),
            Input::Promote => self.promote(now, &mut effects),
            Input::Demote(why) => self.demote(&why, now, &mut effects),
            Input::Yielded => self.yielded(now, &mut effects),
            Input::Settings(settings) => self.adopt(*settings, now, &mut effects),
        }
        self.check_invariants();
        effects
    }

    /// When [`Input::Timer`] is wanted; `None` if only another input can change anything.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Instant> {
        let timers = [
            self.starts_at,
            self.down_at,
            self.advert_at,
            self.resign_at,
            self.announcing.next(),
            self.yielding.as_ref().map(|yielding| yielding.by),
        ];
        timers.into_iter().flatten().min()
    }

    /// What it is.
    #[must_use]
    pub const fn state(&self) -> State {
        self.state
    }

    /// Its settings.
    #[must_use]
    pub const fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Its rank with what tracking adds, 1 to 254; an owner's does not change.
    #[must_use]
    pub fn priority(&self) -> u8 {
        if self.settings.is_owner() {
            return advert::OWNER;
        }
        let sum = i32::from(self.settings.priority).saturating_add(self.weight);
        u8::try_from(sum.clamp(1, 254)).unwrap_or(1)
    }

    /// Whether its timer ran out and its group has not promoted it.
    pub(crate) const fn wants_active(&self) -> bool {
        self.wants_active
    }

    /// What it lacks by itself, its group aside: what is lost before what is not known yet.
    pub(crate) fn own_lack(&self) -> Option<&Lack> {
        let own = || self.lacks.iter().filter(|(need, _)| **need != Need::Group);
        let mut lost = own().filter(|(_, lack)| matches!(lack, Lack::Lost(_)));
        lost.next().or_else(|| own().next()).map(|(_, lack)| lack)
    }

    /// What is shown of it.
    #[must_use]
    pub fn status(&self, now: Instant) -> Status {
        let unmet = self.lacks.iter().map(|(need, lack)| match lack {
            Lack::Pending => (*need, "not known yet".to_owned()),
            Lack::Lost(why) => (*need, why.clone()),
        });
        Status {
            name: self.settings.name.clone(),
            interface: self.settings.interface.clone(),
            version: self.settings.version,
            vrid: self.settings.vrid,
            addresses: self.settings.addresses.iter().map(|address| address.address).collect(),
            state: self.state,
            state_for: now.saturating_duration_since(self.since),
            why: self.why.clone(),
            priority: self.settings.priority,
            effective_priority: self.priority(),
            interval: self.active_interval,
            takes_over_in: self.down_at.map(|at| at.saturating_duration_since(now)),
            active: if self.state == State::Active { self.source } else { self.active },
            unmet: unmet.collect(),
            peers: self.peers.status(now),
            counts: self.counts.clone(),
        }
    }

    fn derive(&mut self) {
        self.listed = self.settings.advertised();
        self.listed.sort_unstable();
        self.auth = self.settings.auth();
    }

    fn timer(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        if self.starts_at.is_some_and(|at| at <= now) {
            self.starts_at = None;
            self.settle(now, effects);
        }
        if self.resign_at.is_some_and(|at| at <= now) {
            self.resign_at = None;
            self.send(advert::RESIGNS, now, effects);
        }
        if self.yielding.as_ref().is_some_and(|yielding| yielding.by <= now) {
            self.yielded(now, effects);
        }
        if let Some(due) = self.down_at.filter(|at| *at <= now)
            && !self.overslept(now.saturating_duration_since(due), Duration::ZERO, now, effects)
        {
            self.take_over(now, effects);
        }
        if self.advert_at.is_some_and(|at| at <= now) {
            self.advertise_again(now, effects);
        }
        let copies = self.announcing.due(&self.settings.announce, now);
        self.announce(copies, effects);
    }

    fn announce(&mut self, copies: u8, effects: &mut Vec<Effect>) {
        if copies > 0 {
            self.counts.announced += 1;
            effects.push(Effect::Announce { copies });
        }
    }

    /// Sends an advert to all who are to hear it.
    fn send(&mut self, priority: u8, now: Instant, effects: &mut Vec<Effect>) {
        if self.source.is_none() {
            return;
        }
        self.cast(None, priority, effects);
        self.sent_at = Some(now);
        self.counts.sent += 1;
        self.counts.sent_resignations += u64::from(priority == advert::RESIGNS);
    }

    /// Puts an advert on its way, in an envelope where it is none by itself.
    fn cast(&self, word: Option<Word>, priority: u8, effects: &mut Vec<Effect>) {
        let Some(source) = self.source else { return };
        let advert = Advert {
            version: self.settings.version,
            vrid: self.settings.vrid,
            priority,
            interval: self.settings.interval,
            auth: self.auth.clone(),
            addresses: self.settings.advertised(),
        };
        let family = advert::group(source.is_ipv4());
        let sending = |destination: IpAddr, ttl: u8, summed_for: IpAddr| {
            let payload = advert.encode(source, summed_for);
            let payload = match word {
                Some(word) => word.wrap(&payload),
                None => payload,
            };
            Effect::Send(Sending { source, destination, ttl, priority, payload })
        };
        match &self.settings.casting {
            Casting::Multicast { group } => {
                let group = group.unwrap_or(family);
                effects.push(sending(group, advert::TTL, group));
            }
            Casting::Unicast { peers, ttl, .. } => {
                effects.extend(peers.iter().map(|peer| {
                    let old = self.old_sums.contains(&peer.address);
                    sending(peer.address, *ttl, if old { family } else { peer.address })
                }));
            }
        }
    }

    fn say(&self, severity: Severity, kind: Kind, text: String, effects: &mut Vec<Effect>) {
        effects.push(Effect::Event(Event::new(severity, kind, text)));
    }

    fn check_invariants(&self) {
        debug_assert!(
            (self.state == State::Active) == self.advert_at.is_some(),
            "an active router, and no other, has an advert to send"
        );
        debug_assert!(
            self.state == State::Backup || self.down_at.is_none() && !self.wants_active,
            "only a backup waits to take over"
        );
        debug_assert!(
            self.state != State::Backup || self.down_at.is_some() != self.wants_active,
            "a backup counts down, or has told its group that it is done"
        );
        debug_assert!(
            !matches!(self.state, State::Active | State::Backup)
                || self.lacks.values().all(|lack| *lack == Lack::Pending),
            "who takes part has lost nothing"
        );
        debug_assert!(
            self.state == State::Backup || self.asking.is_none(),
            "only a backup asks for the addresses"
        );
        debug_assert!(
            self.state == State::Active || self.yielding.is_none(),
            "only who holds the addresses is asked for them"
        );
        debug_assert!(
            self.state == State::Active || self.announcing.next().is_none(),
            "only who holds the addresses announces them"
        );
    }
}
