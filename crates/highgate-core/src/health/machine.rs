//! The machine of one server's health.

use std::time::{Duration, Instant};

use highgate_config::AdminState;

use super::{
    Action, Actions, CheckFailure, Condition, Event, HealthSettings, Unread, damping::Damping,
    unread::Told,
};
use crate::{
    events::{Kind, Severity},
    server::TrafficFailure,
    topology::Observation,
};

/// Pause after a failed check while the server still counts as up, or is on its way up: short, since
/// only a few checks stand between it and a verdict.
const SOON: Duration = Duration::from_millis(100);
/// Least time between the starts of two checks that traffic asks for.
const LEAST_GAP: Duration = Duration::from_millis(50);
/// Longest pause between the checks of a server that is down.
const DOWN_INTERVAL: Duration = Duration::from_millis(500);
/// Longest pause between checks while writes wait for a verdict.
const HURRY: Duration = Duration::from_millis(100);
/// What the shell may take beyond a check's time-out to report it.
const GRACE: Duration = Duration::from_millis(200);
/// Traffic and a check agree if no more than this lies between them.
const AGREEMENT: Duration = Duration::from_secs(2);
/// How long one refused connection keeps traffic away unless a check speaks first.
const SHUN: Duration = Duration::from_secs(1);
/// Pause before traffic may try a server that has no checks, after its first fall.
const PASSIVE_PAUSE: Duration = Duration::from_secs(1);

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
    started: Option<Instant>,
    recheck: bool,
    damping: Damping,
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
            started: None,
            recheck: false,
            damping: Damping::default(),
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
        if self.hurried {
            interval.min(HURRY)
        } else {
            interval
        }
    }

    /// Longest time from a silent hang to the verdict, under these settings and with checks alone.
    #[must_use]
    pub fn detection_bound(&self) -> Duration {
        let HealthSettings {
            interval,
            timeout,
            fall,
            ..
        } = self.settings;
        interval + (timeout + GRACE) * fall + LEAST_GAP * (fall - 1)
    }

    /// When to send [`Event::Tick`].
    #[must_use]
    pub fn next_deadline(&self) -> Option<Instant> {
        self.in_flight.into_iter().chain(self.due).min()
    }

    /// Takes an event, says what to do.
    pub fn step(&mut self, event: Event, now: Instant) -> Actions {
        let mut actions = Actions::new();
        match event {
            Event::Tick => self.tick(now, &mut actions),
            Event::CheckOk { latency, facts } => self.check_ok(latency, facts, now, &mut actions),
            Event::CheckFailed { kind, text } => {
                // One that reports after its verdict was drawn has been counted.
                match self.in_flight.take() {
                    Some(_) if kind.proves_life() => {
                        self.check_refused(kind, text, now, &mut actions);
                    }
                    Some(_) => self.check_failed(kind, &text, now, &mut actions),
                    None => {}
                }
            }
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
        (self.known, self.unread) = (false, None);
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
        if self.in_flight.is_some_and(|deadline| deadline <= now) {
            self.in_flight = None;
            self.check_failed(CheckFailure::Timeout, "no answer in time", now, actions);
        }
        if !self.settings.active && self.due.is_some_and(|due| due <= now) {
            self.due = None;
            self.failures = 0;
            self.declare_up(now, actions);
        }
    }

    fn start_if_due(&mut self, now: Instant, actions: &mut Actions) {
        let due = self.due.is_some_and(|due| due <= now);
        if self.settings.active && self.in_flight.is_none() && due {
            self.due = None;
            self.started = Some(now);
            self.in_flight = Some(now + self.settings.timeout + GRACE);
            actions.push(Action::CheckNow {
                timeout: self.settings.timeout,
            });
        }
    }

    fn check_ok(
        &mut self,
        latency: Duration,
        facts: Option<Box<Observation>>,
        now: Instant,
        actions: &mut Actions,
    ) {
        self.in_flight = None;
        if !self.settings.active || self.admin == AdminState::Maintenance {
            return;
        }
        if facts.is_some() {
            (self.facts, self.known) = (facts, true);
            actions.push(Action::Replan);
        }
        self.latency = Some(latency);
        self.last_error = None;
        if self.unread.take().is_some() {
            self.told.over(actions);
            actions.push(Action::Replan);
        }
        self.lives(now, actions);
    }

    /// It answered, and did not let itself be read: alive, and what was read before stands.
    fn check_refused(
        &mut self,
        kind: CheckFailure,
        text: String,
        now: Instant,
        actions: &mut Actions,
    ) {
        if !self.settings.active || self.admin == AdminState::Maintenance {
            return;
        }
        let since = self.unread.map_or(now, |unread| unread.since);
        let unread = Unread {
            since,
            kind,
            known: self.known,
        };
        if self.unread.replace(unread).map(|before| before.kind) != Some(kind) {
            actions.push(Action::Replan);
        }
        self.lives(now, actions);
        let text = if text.is_empty() {
            kind.to_string()
        } else {
            text
        };
        self.told.warn(&unread, &text, now, actions);
        self.last_error = Some(text);
    }

    /// A check proved that it lives.
    fn lives(&mut self, now: Instant, actions: &mut Actions) {
        if std::mem::take(&mut self.failures) > 0 {
            actions.push(Action::Replan);
        }
        self.successes = self.successes.saturating_add(1);
        let mut pause = self.interval();
        match self.condition {
            Condition::Unknown => self.declare_up(now, actions),
            Condition::Down { .. } if self.successes >= self.settings.rise => {
                self.readmit(now, actions);
            }
            Condition::Down { .. } => pause = pause.min(SOON),
            Condition::Held { until } if now >= until => self.declare_up(now, actions),
            Condition::Held { until } => pause = pause.min(until - now),
            Condition::Up { .. } | Condition::Maintenance => {}
        }
        // A check that began before the failure proves nothing about it: ask once more.
        if std::mem::take(&mut self.recheck) {
            pause = Duration::ZERO;
        } else {
            self.traffic = None;
            if std::mem::take(&mut self.shunned) {
                actions.push(Action::Unshun);
            }
        }
        self.due = Some(now + pause);
    }

    fn readmit(&mut self, now: Instant, actions: &mut Actions) {
        let hold = self.damping.hold(now);
        if hold.is_zero() {
            self.declare_up(now, actions);
            return;
        }
        self.condition = Condition::Held { until: now + hold };
        let text = format!(
            "answers again, but was down too often lately: kept out for {} s unless no other can serve",
            hold.as_secs()
        );
        actions.push(Action::Event {
            severity: Severity::Info,
            kind: Kind::Held,
            text,
        });
        actions.push(Action::Replan);
    }

    fn check_failed(
        &mut self,
        kind: CheckFailure,
        text: &str,
        now: Instant,
        actions: &mut Actions,
    ) {
        if !self.settings.active || self.admin == AdminState::Maintenance {
            return;
        }
        self.successes = 0;
        self.failures = self.failures.saturating_add(1);
        self.recheck = false;
        let agreeing = self.agreeing(now);
        let proved = agreeing.is_some_and(TrafficFailure::is_hard) && kind.is_hard();
        let enough = if proved || kind == CheckFailure::Stopping {
            1
        } else {
            // A weaker agreement (a time-out on both sides may be lost packets) counts as one check.
            self.settings
                .fall
                .saturating_sub(u32::from(agreeing.is_some()))
                .max(1)
        };
        let what = if text.is_empty() {
            kind.to_string()
        } else {
            text.to_owned()
        };
        // A time-out has used up its pause already.
        let soon = if kind == CheckFailure::Timeout {
            LEAST_GAP
        } else {
            SOON
        };
        let mut pause = soon.min(self.interval());
        match self.condition {
            Condition::Unknown => {
                self.declare_down(format!("first check failed: {what}"), now, actions);
            }
            Condition::Up { .. } if self.failures >= enough => {
                let seen = agreeing.map_or_else(String::new, |t| format!(", traffic: {t}"));
                let reason = format!("check failed {} times: {what}{seen}", self.failures);
                self.declare_down(reason, now, actions);
            }
            Condition::Held { .. } => {
                self.condition = Condition::Down { since: now };
                (self.known, self.unread) = (false, None);
                actions.push(Action::Replan);
            }
            // A doubt lets a promotion be followed at once.
            Condition::Up { .. } if self.failures == 1 => actions.push(Action::Replan),
            Condition::Up { .. } => {}
            Condition::Down { .. } | Condition::Maintenance => {
                pause = self.interval().min(DOWN_INTERVAL);
            }
        }
        self.last_error = Some(what);
        self.due = Some(now + pause);
    }

    fn agreeing(&self, now: Instant) -> Option<TrafficFailure> {
        let (at, kind) = self.traffic?;
        (now.saturating_duration_since(at) <= AGREEMENT).then_some(kind)
    }

    fn traffic_failed(&mut self, kind: TrafficFailure, now: Instant, actions: &mut Actions) {
        if !matches!(self.condition, Condition::Up { .. }) {
            return;
        }
        // The hardest recent proof is kept: a time-out does not weaken a refusal.
        if kind.is_hard() || !self.agreeing(now).is_some_and(TrafficFailure::is_hard) {
            self.traffic = Some((now, kind));
        }
        if !self.settings.active {
            self.passive_failure(kind, now, actions);
            return;
        }
        let connect = matches!(kind, TrafficFailure::Refused | TrafficFailure::Unreachable);
        if connect && !std::mem::replace(&mut self.shunned, true) {
            actions.push(Action::Shun { until: now + SHUN });
            let text = format!(
                "{kind}: no new work for {} s or until a check succeeds",
                SHUN.as_secs()
            );
            actions.push(Action::Event {
                severity: Severity::Warning,
                kind: Kind::Shun,
                text,
            });
        }
        if self.in_flight.is_some() {
            self.recheck = true;
        } else {
            let earliest = self.started.map_or(now, |at| (at + LEAST_GAP).max(now));
            self.due = Some(self.due.map_or(earliest, |due| due.min(earliest)));
        }
    }

    fn passive_failure(&mut self, kind: TrafficFailure, now: Instant, actions: &mut Actions) {
        self.failures = self.failures.saturating_add(1);
        if self.failures >= self.settings.fall {
            let reason = format!("traffic failed {} times: {kind}", self.failures);
            self.declare_down(reason, now, actions);
            self.due = Some(now + self.damping.hold(now).max(PASSIVE_PAUSE));
        }
    }

    fn set_admin(&mut self, admin: AdminState, now: Instant, actions: &mut Actions) {
        let before = std::mem::replace(&mut self.admin, admin);
        if before == admin {
            return;
        }
        if admin == AdminState::Maintenance {
            actions.push(Action::DeclareDown {
                reason: "taken out for maintenance".to_owned(),
            });
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
            let condition = self.condition;
            self.begin(now);
            // What was known stays known until the new kind of proof says otherwise.
            if settings.active || condition.is_alive() {
                self.condition = condition;
            }
        } else if settings.active && self.in_flight.is_none() {
            let latest = now + self.interval();
            self.due = Some(self.due.map_or(latest, |due| due.min(latest)));
        }
    }

    fn declare_up(&mut self, now: Instant, actions: &mut Actions) {
        self.condition = Condition::Up { since: now };
        self.shunned = false;
        actions.push(Action::DeclareUp);
        let text = "up".to_owned();
        actions.push(Action::Event {
            severity: Severity::Info,
            kind: Kind::ServerUp,
            text,
        });
        actions.push(Action::Replan);
    }

    fn declare_down(&mut self, reason: String, now: Instant, actions: &mut Actions) {
        self.condition = Condition::Down { since: now };
        // Whoever returns may be another than before: it has to be read again.
        (self.known, self.unread) = (false, None);
        self.damping.fell(now);
        self.successes = 0;
        self.last_error = Some(reason.clone());
        let text = format!("down: {reason}");
        actions.push(Action::DeclareDown { reason });
        actions.push(Action::Event {
            severity: Severity::Error,
            kind: Kind::ServerDown,
            text,
        });
        actions.push(Action::Replan);
    }
}
