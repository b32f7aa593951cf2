//! What checks conclude.

use std::time::{Duration, Instant};

use highgate_config::AdminState;

use super::{LEAST_GAP, LOSSY, ServerHealth};
use crate::{
    events::{Kind, Severity},
    health::{Action, Actions, CheckFailure, Condition, Unread},
    server::TrafficFailure,
    topology::Observation,
};

/// Pause after a failed check while the server still counts as up, or is on its way up: short, since
/// only a few checks stand between it and a verdict.
const SOON: Duration = Duration::from_millis(100);
/// Longest pause between the checks of a server that is down.
const DOWN_INTERVAL: Duration = Duration::from_millis(500);

impl ServerHealth {
    pub(super) fn check_ok(
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
        self.told.checks_again(actions);
        // Silent for a time-out, and answered after all.
        if latency > self.settings.timeout {
            self.late_at = Some(now);
        } else if self.late_at.is_some_and(|at| now.saturating_duration_since(at) > LOSSY) {
            self.late_at = None;
        }
        if facts.is_some() {
            (self.facts, self.known) = (facts, true);
            // A check that began before it refused a command may have read what was true then.
            if self.recheck {
                self.hold_to_word();
            } else {
                self.said = None;
            }
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

    /// It ended without success.
    pub(super) fn check_ended(
        &mut self,
        kind: CheckFailure,
        text: String,
        now: Instant,
        actions: &mut Actions,
    ) {
        let is_late = kind == CheckFailure::Timeout && std::mem::take(&mut self.heard);
        let kind = if is_late { CheckFailure::Slow } else { kind };
        if kind == CheckFailure::Ours {
            return self.not_checked(&text, now, actions);
        }
        self.told.checks_again(actions);
        match (kind, self.condition) {
            // Lost packets and overload delay answers. What was down must answer in time to be up,
            // though, or one that hangs after its greeting would come and go.
            (CheckFailure::Slow, Condition::Unknown | Condition::Down { .. }) => {
                self.successes = 0;
                self.last_error = Some(if text.is_empty() { kind.to_string() } else { text });
                self.due = Some(now + LEAST_GAP);
            }
            (CheckFailure::Slow, _) => {
                self.late_at = Some(now);
                self.check_refused(kind, text, now, actions);
                // The check goes on.
                self.due = Some(now + LEAST_GAP);
            }
            (kind, _) if kind.proves_life() => self.check_refused(kind, text, now, actions),
            (kind, _) => self.check_failed(kind, &text, now, actions),
        }
    }

    /// This node could not ask it: all that was concluded stands.
    fn not_checked(&mut self, text: &str, now: Instant, actions: &mut Actions) {
        if !self.settings.active || self.admin == AdminState::Maintenance {
            return;
        }
        // Whatever the next one says, it begins after the failure that asked for it.
        self.recheck = false;
        self.told.not_checked(text, now, actions);
        self.due = Some(now + SOON.min(self.interval()));
    }

    /// It answered, and did not let itself be read: alive, and what was read before stands.
    pub(super) fn check_refused(
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
        let unread = Unread { since, kind, known: self.known };
        if self.unread.replace(unread).map(|before| before.kind) != Some(kind) {
            actions.push(Action::Replan);
        }
        self.lives(now, actions);
        let text = if text.is_empty() { kind.to_string() } else { text };
        self.told.warn(&unread, &text, now, actions);
        self.last_error = Some(text);
    }

    /// A check proved that it lives.
    pub(super) fn lives(&mut self, now: Instant, actions: &mut Actions) {
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
            // Its answer says nothing of new connections where none was had in time.
            if std::mem::take(&mut self.shunned) && self.unconnected.is_none() {
                actions.push(Action::Unshun);
            }
        }
        self.due = Some(now + pause);
    }

    pub(super) fn readmit(&mut self, now: Instant, actions: &mut Actions) {
        let hold = self.hold(now);
        if hold.is_zero() {
            self.declare_up(now, actions);
            return;
        }
        self.condition = Condition::Held { until: now + hold };
        let text = format!(
            "{}: kept out for {} s unless no other can serve",
            self.held_because(),
            hold.as_secs()
        );
        actions.push(Action::Event { severity: Severity::Info, kind: Kind::Held, text });
        actions.push(Action::Replan);
    }

    /// How long it has to answer without a break before it is let in.
    fn hold(&mut self, now: Instant) -> Duration {
        let distrust =
            self.distrusted.map_or(Duration::ZERO, |it| it.until.saturating_duration_since(now));
        self.damping.hold(now).max(distrust)
    }

    pub(super) fn check_failed(
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
            let fall = match kind {
                CheckFailure::Timeout => self.time_outs(),
                _ => self.settings.fall,
            };
            fall.saturating_sub(u32::from(agreeing.is_some())).max(1)
        };
        let what = if text.is_empty() { kind.to_string() } else { text.to_owned() };
        // A time-out has used up its pause already.
        let soon = if kind == CheckFailure::Timeout { LEAST_GAP } else { SOON };
        let mut pause = soon.min(self.interval());
        match self.condition {
            // The first word of a busy or far server may be late: the check goes on.
            Condition::Unknown
                if kind == CheckFailure::Timeout && self.failures < self.settings.fall => {}
            Condition::Unknown => {
                self.declare_down(format!("first check failed: {what}"), now, actions);
            }
            Condition::Up { .. } | Condition::Held { .. } if self.failures >= enough => {
                let seen = agreeing.map_or_else(String::new, |t| format!(", traffic: {t}"));
                let times = match self.failures {
                    1 => String::new(),
                    more => format!(" {more} times"),
                };
                let reason = format!("check failed{times}: {what}{seen}");
                self.declare_down(reason, now, actions);
            }
            // It may be serving, for want of others: as little as with those that are up is one late
            // answer a proof. Its time begins anew, though.
            Condition::Held { .. } => {
                self.condition = Condition::Held { until: now + self.hold(now) };
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

    pub(super) fn declare_up(&mut self, now: Instant, actions: &mut Actions) {
        self.condition = Condition::Up { since: now };
        (self.shunned, self.distrusted, self.unconnected) = (false, None, None);
        actions.push(Action::DeclareUp);
        let text = "up".to_owned();
        actions.push(Action::Event { severity: Severity::Info, kind: Kind::ServerUp, text });
        actions.push(Action::Replan);
    }

    pub(super) fn declare_down(&mut self, reason: String, now: Instant, actions: &mut Actions) {
        let was = std::mem::replace(&mut self.condition, Condition::Down { since: now });
        // Whoever returns may be another than before: it has to be read again.
        (self.known, self.unread, self.unconnected) = (false, None, None);
        self.successes = 0;
        self.last_error = Some(reason.clone());
        let (severity, kind, text) = if let Condition::Held { .. } = was {
            // It was not let in since it fell last: this is no further fall.
            let text = format!("down again while it was kept out: {reason}");
            (Severity::Warning, Kind::Held, text)
        } else {
            self.damping.count(now);
            (Severity::Error, Kind::ServerDown, format!("down: {reason}"))
        };
        actions.push(Action::DeclareDown { reason });
        actions.push(Action::Event { severity, kind, text });
        actions.push(Action::Replan);
    }
}
