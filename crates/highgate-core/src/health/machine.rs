//! The machine of one server's health.

mod distrust;
mod traffic;
mod unconnected;
mod verdict;

use std::time::{Duration, Instant};

use highgate_config::AdminState;

use self::{distrust::Distrust, unconnected::Unconnected};
use super::{
    Action, Actions, CheckFailure, Condition, Event, HealthSettings, Unread, damping::Damping,
    unread::Told,
};
use crate::{server::TrafficFailure, topology::Observation};

/// Least time between the starts of two checks that traffic asks for.
const LEAST_GAP: Duration = Duration::from_millis(50);
/// Longest pause between checks while writes wait for a verdict.
const HURRY: Duration = Duration::from_millis(100);
/// How long a link counts as one that loses packets after an answer was late. TCP sends a lost packet
/// again after 200 ms, 600 ms and 1.4 s, so silence proves less there.
const LOSSY: Duration = Duration::from_secs(60);
/// What the shell may take beyond a check's time-out to report it.
const GRACE: Duration = Duration::from_millis(100);

/// Health of one server.
#[derive(Debug, Clone)]
pub struct ServerHealth {
    settings: HealthSettings,
    admin: AdminState,
    condition: Condition,
    successes: u32,
    failures: u32,
    traffic: Option<(Instant, TrafficFailure)>,
    shunned: bool,
    due: Option<Instant>,
    in_flight: Option<Instant>,
    /// Whether the check in flight waits for its turn, however long that takes.
    waits: bool,
    started: Option<Instant>,
    /// Whether anything came from the server since the check in flight began.
    heard: bool,
    recheck: bool,
    /// What it refused commands for; holds until a check that began later says otherwise.
    said: Option<TrafficFailure>,
    /// How often it fell lately.
    damping: Damping,
    /// How often an answer of it broke the protocol lately.
    garbage: Damping,
    /// When an answer was late last, as on a link that loses packets; forgotten after [`LOSSY`].
    late_at: Option<Instant>,
    /// Until when it is held for what checks can't see, down in between or not.
    distrusted: Option<Distrust>,
    /// Whether it gives no new connections, while those that are open work.
    unconnected: Option<Unconnected>,
    latency: Option<Duration>,
    facts: Option<Box<Observation>>,
    last_error: Option<String>,
    unread: Option<Unread>,
    /// Whether `facts` were read since the server came up last.
    known: bool,
    told: Told,
    hurried: bool,
}

impl ServerHealth {
    /// A machine whose first check is due at once. Without checks the server counts as up.
    #[must_use]
    pub fn new(settings: HealthSettings, admin: AdminState, now: Instant) -> Self {
        let mut this = Self {
            settings,
            admin,
            condition: Condition::Unknown,
            successes: 0,
            failures: 0,
            traffic: None,
            shunned: false,
            due: None,
            in_flight: None,
            waits: false,
            started: None,
            heard: false,
            recheck: false,
            said: None,
            damping: Damping::of_falls(),
            garbage: Damping::of_garbage(),
            late_at: None,
            distrusted: None,
            unconnected: None,
            latency: None,
            facts: None,
            last_error: None,
            unread: None,
            known: false,
            told: Told::default(),
            hurried: false,
        };
        this.begin(now);
        this
    }

    /// What it concluded.
    #[must_use]
    pub const fn condition(&self) -> Condition {
        self.condition
    }

    /// What the operator wants, as last told.
    #[must_use]
    pub const fn admin(&self) -> AdminState {
        self.admin
    }

    /// What was read from the server last; kept while it is down.
    #[must_use]
    pub fn facts(&self) -> Option<&Observation> {
        self.facts.as_deref()
    }

    /// Time that the last successful check took.
    #[must_use]
    pub const fn latency(&self) -> Option<Duration> {
        self.latency
    }

    /// What the last failure said; gone with the next success.
    #[must_use]
    pub fn last_error(&self) -> Option<&str> {
        self.last_error.as_deref()
    }

    /// Since when, and why, it is alive and can't be read.
    #[must_use]
    pub fn unread(&self) -> Option<Unread> {
        let known = self.known;
        let unread = self.unread.filter(|_| self.condition.is_alive())?;
        Some(Unread { known, ..unread })
    }

    /// Why it is held, where it is.
    #[must_use]
    pub const fn held_because(&self) -> &'static str {
        match self.distrusted {
            Some(distrust) => distrust.why(),
            None => "answers, but was down too often lately",
        }
    }

    /// Whether its open connections work and new ones are not had in time.
    #[must_use]
    pub const fn gives_no_connections(&self) -> bool {
        self.unconnected.is_some()
    }

    /// Since when [that](Self::gives_no_connections) is so.
    #[must_use]
    pub fn unconnected_since(&self) -> Option<Instant> {
        self.unconnected.map(|unconnected| unconnected.since)
    }

    /// Whether a check is still to say what the failure means that traffic told of.
    #[must_use]
    pub const fn is_in_question(&self) -> bool {
        self.settings.active && self.condition.is_alive() && self.traffic.is_some()
    }

    /// Whether its last check failed, although it does not count as down yet.
    #[must_use]
    pub const fn is_doubted(&self) -> bool {
        self.failures > 0 && self.condition.is_alive()
    }

    /// Asks for checks every 100 ms at least, or ends that: for every server of a backend whose writes
    /// can't be sent, since what a check reads may end the wait. Look at the deadline afterwards.
    pub fn hurry(&mut self, on: bool, now: Instant) {
        self.hurried = on;
        if on && self.settings.active {
            let soon = self.started.map_or(now, |at| (at + HURRY).max(now));
            self.due = self.due.map(|due| due.min(soon));
        }
    }

    fn interval(&self) -> Duration {
        let interval = self.settings.interval;
        if self.hurried { interval.min(HURRY) } else { interval }
    }

    /// Longest time from a silent hang to the verdict, under these settings, on this link and with checks alone:
    /// the hang begins after a check succeeded, or while one was under way and had heard something.
    #[must_use]
    pub fn detection_bound(&self) -> Duration {
        let HealthSettings { interval, timeout, .. } = self.settings;
        let fall = self.time_outs();
        interval.max(timeout + GRACE + LEAST_GAP)
            + (timeout + GRACE) * fall
            + LEAST_GAP * (fall - 1)
    }

    /// How many checks in a row must be silent: one more than `fall` where answers were late lately.
    pub(super) fn time_outs(&self) -> u32 {
        self.settings.fall.saturating_add(u32::from(self.late_at.is_some()))
    }

    /// When to send [`Event::Tick`].
    #[must_use]
    pub fn next_deadline(&self) -> Option<Instant> {
        // Nothing that is due begins while a check is under way.
        match self.in_flight {
            Some(_) if self.waits => None,
            under_way => under_way.or(self.due),
        }
    }

    /// Takes an event, says what to do.
    pub fn step(&mut self, event: Event, now: Instant) -> Actions {
        let mut actions = Actions::new();
        match event {
            Event::Tick => self.tick(now, &mut actions),
            Event::Heard => self.heard = self.in_flight.is_some(),
            Event::CheckWaits => self.waits = self.in_flight.is_some(),
            Event::CheckBegins => self.begin_after_wait(now),
            Event::CheckOk { latency, facts } => self.check_ok(latency, facts, now, &mut actions),
            Event::CheckFailed { kind, text } => {
                // One that reports after its verdict was drawn has been counted.
                if self.in_flight.take().is_some() {
                    self.check_ended(kind, text, now, &mut actions);
                }
            }
            Event::ConnectionTried { works } => self.connection_tried(works, &mut actions),
            Event::TrafficFailed { kind } => self.traffic_failed(kind, now, &mut actions),
            Event::TrafficOk => {
                self.traffic = None;
                if !self.settings.active {
                    self.failures = 0;
                }
            }
            Event::Admin(admin) => self.set_admin(admin, now, &mut actions),
            Event::Settings(settings) => self.set_settings(settings, now),
        }
        self.start_if_due(now, &mut actions);
        actions
    }

    fn begin(&mut self, now: Instant) {
        (self.due, self.in_flight, self.recheck) = (None, None, false);
        (self.successes, self.failures, self.traffic) = (0, 0, None);
        self.unconnected = None;
        (self.known, self.unread, self.said, self.distrusted) = (false, None, None, None);
        self.condition = match (self.admin, self.settings.active) {
            (AdminState::Maintenance, _) => Condition::Maintenance,
            (_, false) => Condition::Up { since: now },
            (_, true) => {
                self.due = Some(now);
                Condition::Unknown
            }
        };
    }

    fn tick(&mut self, now: Instant, actions: &mut Actions) {
        if !self.waits && self.in_flight.is_some_and(|deadline| deadline <= now) {
            self.in_flight = None;
            self.check_ended(CheckFailure::Timeout, String::new(), now, actions);
        }
        if !self.settings.active && self.due.is_some_and(|due| due <= now) {
            match self.condition {
                // It was held anew meanwhile.
                Condition::Held { until } if now < until => self.due = Some(until),
                _ => {
                    self.due = None;
                    self.failures = 0;
                    self.declare_up(now, actions);
                }
            }
        }
    }

    fn start_if_due(&mut self, now: Instant, actions: &mut Actions) {
        let due = self.due.is_some_and(|due| due <= now);
        if self.settings.active && self.in_flight.is_none() && due {
            self.due = None;
            self.start(now);
            // A connection that was had long ago says nothing of those that are wanted now.
            let afresh = matches!(self.condition, Condition::Down { .. })
                || self.traffic.is_some_and(|(_, kind)| kind.is_about_connecting());
            actions.push(Action::CheckNow { timeout: self.settings.timeout, afresh });
            self.try_connection(now, actions);
        }
    }

    fn start(&mut self, now: Instant) {
        (self.started, self.heard, self.waits) = (Some(now), false, false);
        self.in_flight = Some(now + self.settings.timeout + GRACE);
    }

    /// Begins the time of the check that waited for its turn. Whatever traffic told of meanwhile, it comes later.
    fn begin_after_wait(&mut self, now: Instant) {
        if self.waits && self.in_flight.is_some() {
            self.start(now);
            self.recheck = false;
        }
    }

    fn set_admin(&mut self, admin: AdminState, now: Instant, actions: &mut Actions) {
        let before = std::mem::replace(&mut self.admin, admin);
        if before == admin {
            return;
        }
        if admin == AdminState::Maintenance {
            actions.push(Action::DeclareDown { reason: "taken out for maintenance".to_owned() });
            self.begin(now);
        } else if before == AdminState::Maintenance {
            self.begin(now);
        }
        actions.push(Action::Replan);
    }

    fn set_settings(&mut self, settings: HealthSettings, now: Instant) {
        let before = std::mem::replace(&mut self.settings, settings);
        if self.admin == AdminState::Maintenance {
            return;
        }
        if before.active != settings.active {
            let (condition, distrusted) = (self.condition, self.distrusted);
            self.begin(now);
            // What was known stays known until the new kind of proof says otherwise.
            if settings.active || condition.is_alive() {
                (self.condition, self.distrusted) = (condition, distrusted);
            }
            if let (false, Condition::Held { until }) = (settings.active, self.condition) {
                self.due = Some(until);
            }
        } else if settings.active && self.in_flight.is_none() {
            let latest = now + self.interval();
            self.due = Some(self.due.map_or(latest, |due| due.min(latest)));
        }
    }
}
