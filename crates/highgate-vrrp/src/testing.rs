//! What tests share: a fake clock, one router on a desk, and bugs to put back on purpose.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    time::{Duration, Instant},
};

use crate::{
    advert::{self, Advert, Envelope, Version, Word},
    event::{Event, Kind},
    machine::{Effect, Input, Link, Need, Router, State},
    settings::{Settings, VirtualAddress},
};

/// A bug that a simulation must find.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Bug {
    /// None.
    #[default]
    None,
    /// Between equals nobody gives way.
    EqualsStay,
    /// A backup that hears an advert does not count down from anew.
    LostRearm,
    /// Who steps back says so, and keeps the addresses.
    KeepsAddresses,
}

pub(crate) const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// The address of the nth node.
pub(crate) fn node(last: u8, is_v4: bool) -> IpAddr {
    if is_v4 {
        Ipv4Addr::new(10, 0, 0, last).into()
    } else {
        Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, last.into()).into()
    }
}

/// A router of one address, of the version and family.
pub(crate) fn settings(version: Version, is_v4: bool) -> Settings {
    let address: IpAddr = if is_v4 {
        Ipv4Addr::new(10, 0, 0, 100).into()
    } else {
        Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x100).into()
    };
    Settings { version, ..Settings::new("VI_1", "eth0", 51, vec![VirtualAddress::new(address)]) }
}

/// What the two RFCs have in common is tried on each of these.
pub(crate) fn each_kind(test: impl Fn(&dyn Fn() -> Settings)) {
    for (version, is_v4) in [(Version::V2, true), (Version::V3, true), (Version::V3, false)] {
        test(&|| settings(version, is_v4));
    }
}

/// One router, node 5, on a fake clock; `did` collects what it was told to do.
pub(crate) struct Desk {
    pub(crate) router: Router,
    pub(crate) start: Instant,
    pub(crate) now: Instant,
    effects: Vec<Effect>,
}

impl Desk {
    /// A router that is not started; its link is up.
    pub(crate) fn new(settings: Settings) -> Self {
        let start = Instant::now();
        let is_v4 = settings.is_v4();
        let router = Router::new(settings, start);
        let mut desk = Self { router, start, now: start, effects: Vec::new() };
        desk.tell(Input::Link(Link::Up { source: Some(node(5, is_v4)) }));
        desk
    }

    /// A started router; nothing of that is remembered as done.
    pub(crate) fn started(settings: Settings) -> Self {
        let mut desk = Self::new(settings);
        desk.tell(Input::Start);
        desk.did();
        desk
    }

    /// A router that became active by the silence of others, 10 s ago.
    pub(crate) fn active(settings: Settings) -> Self {
        let mut desk = Self::started(settings);
        desk.pass(ms(15_000));
        assert_eq!(desk.router.state(), State::Active);
        desk.did();
        desk.events();
        desk.effects.clear();
        desk
    }

    pub(crate) fn tell(&mut self, input: Input) {
        self.effects.extend(self.router.step(input, self.now));
    }

    /// Lets time pass, and timers fire when they are due.
    pub(crate) fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(at) = self.router.next_deadline().filter(|at| *at <= end) {
            self.now = at.max(self.now);
            self.tell(Input::Timer);
        }
        self.now = end;
    }

    /// An advert that fits the router's settings.
    pub(crate) fn advert(&self, priority: u8) -> Advert {
        let settings = self.router.settings();
        Advert {
            version: settings.version,
            vrid: settings.vrid,
            priority,
            interval: settings.interval,
            auth: settings.auth(),
            addresses: settings.advertised(),
        }
    }

    /// An advert comes from a node.
    pub(crate) fn hear(&mut self, priority: u8, from: u8) {
        let advert = self.advert(priority);
        self.hear_advert(&advert, from);
    }

    pub(crate) fn hear_advert(&mut self, advert: &Advert, from: u8) {
        let is_v4 = self.router.settings().is_v4();
        let envelope =
            Envelope { source: node(from, is_v4), destination: advert::group(is_v4), ttl: 255 };
        let payload = advert.encode(envelope.source, envelope.destination);
        self.tell(Input::Packet { payload, envelope });
    }

    /// An advert in an envelope comes from a node.
    pub(crate) fn hear_word(&mut self, word: Word, priority: u8, from: u8) {
        let is_v4 = self.router.settings().is_v4();
        let (source, destination) = (node(from, is_v4), advert::group(is_v4));
        let payload = word.wrap(&self.advert(priority).encode(source, destination));
        self.tell(Input::Packet { payload, envelope: Envelope { source, destination, ttl: 255 } });
    }

    pub(crate) fn lose(&mut self, need: Need) {
        self.tell(Input::Unmet(need, "because".to_owned()));
    }

    /// What was done since the last question, events aside.
    pub(crate) fn did(&mut self) -> Vec<String> {
        let (events, done): (Vec<_>, Vec<_>) = std::mem::take(&mut self.effects)
            .into_iter()
            .partition(|effect| matches!(effect, Effect::Event(_)));
        self.effects = events;
        done.iter().map(word).collect()
    }

    /// What was told since the last question.
    pub(crate) fn events(&mut self) -> Vec<Event> {
        let all = std::mem::take(&mut self.effects);
        let mut events = Vec::new();
        for effect in all {
            match effect {
                Effect::Event(event) => events.push(event),
                other => self.effects.push(other),
            }
        }
        events
    }

    pub(crate) fn told(&mut self, kind: Kind) -> Vec<String> {
        let events = self.events().into_iter().filter(|event| event.kind == kind);
        events.map(|event| event.text).collect()
    }

    /// The time until the next deadline.
    pub(crate) fn deadline(&self) -> Option<Duration> {
        self.router.next_deadline().map(|at| at.saturating_duration_since(self.now))
    }
}

/// An effect in a word or two.
pub(crate) fn word(effect: &Effect) -> String {
    match effect {
        Effect::Send(sending) => match Word::unwrap(&sending.payload) {
            Some((Word::Asks, _)) => format!("ask {}", sending.priority),
            Some((Word::Yields, _)) => format!("yield to {}", sending.priority),
            None => format!("send {}", sending.priority),
        },
        Effect::AddAddresses(_) => "add".to_owned(),
        Effect::RemoveAddresses(_) => "remove".to_owned(),
        Effect::Announce { copies } => format!("announce {copies}"),
        Effect::Yield => "drain".to_owned(),
        Effect::Notify(notice) => format!("notify {}", notice.keepalived_word()),
        Effect::Event(event) => format!("event {}", event.kind.as_str()),
    }
}

/// Dice that fall the same way for the same seed.
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A number below the given one.
    pub(crate) const fn below(&mut self, limit: u64) -> u64 {
        // SplitMix64.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % limit
    }

    pub(crate) const fn one_in(&mut self, many: u64) -> bool {
        self.below(many) == 0
    }
}
