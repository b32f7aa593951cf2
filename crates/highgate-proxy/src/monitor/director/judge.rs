//! From what was observed to roles, and from those to the plan.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use highgate_config::{AdminState, Override, OverrideKind, Topology};
use highgate_core::{
    plan::{self, Observed},
    snapshot::{Group, Member, Snapshot},
};
use highgate_io::clock;

use super::Director;

/// How long nothing is judged again behind a judgement that took so long: among 100,000 servers it takes a
/// tenth of a second, and checks of other servers, which run on the same thread, are to be answered in time.
fn pause(took: Duration) -> Duration {
    /// What few servers take is no reason to wait.
    const SHORT: Duration = Duration::from_millis(10);
    if took < SHORT { Duration::ZERO } else { took * 3 }
}

impl Director {
    /// Assigns roles, plans, and publishes what is new.
    pub(super) fn judge(&mut self, now: Instant) {
        let begun = clock::now();
        self.judged = now;
        let config = self.config.clone();
        let Some(policy) = self.policy.clone() else { return };
        let mut events = Vec::new();
        for (name, backend) in &config.shared.backends {
            let Some((_, machine)) = self.machines.get_mut(name) else { continue };
            let inputs = plan::inputs(backend, name, &self.registry, &self.healths);
            // At start, nobody is judged before everybody was looked at, or had the time to answer:
            // no false alarm, and no verdict that the next answer would overturn.
            if let Some(until) = self.first_by.get(name) {
                if now < *until && machine.awaits(&inputs, now) {
                    continue;
                }
                self.first_by.remove(name);
            }
            let outcome = machine.step(&inputs, now, &mut events);
            self.outcomes.insert(name.clone(), outcome);
        }
        let observed = Observed {
            healths: &self.healths,
            topologies: &self.outcomes,
            overrides: &self.overrides,
        };
        let previous = self.snapshot.as_deref();
        let snapshot = plan::plan(&policy, observed, &mut self.registry, previous, now);
        let is_new = previous.is_none_or(|previous| previous.version != snapshot.version);
        if is_new {
            let snapshot = Arc::new(snapshot);
            let previous = self.snapshot.replace(snapshot.clone());
            self.shared.publish(snapshot.clone());
            if previous.is_some_and(|previous| part(&snapshot, &previous)) {
                // Who looked at the new plan before its connection was marked.
                self.shared.wake_waiting();
            }
        }
        if let Some(snapshot) = &self.snapshot {
            plan::hurry(snapshot, &mut self.healths, now);
        }
        for event in events {
            self.shared.event(event);
        }
        self.store_records();
        self.show();
        let done = clock::now();
        self.judge_after = done + pause(done.saturating_duration_since(begun));
    }

    fn store_records(&mut self) {
        // A backend that is not configured for now keeps its record; only an operator has it forgotten.
        for (name, (_, machine)) in &self.machines {
            let Some(record) = machine.record() else { continue };
            if self.inputs.records.get(name) != Some(record) {
                self.inputs.records.insert(name.clone(), record.clone());
            }
        }
        if **self.inputs.store.borrow() != self.inputs.records {
            self.inputs.store.send_replace(Arc::new(self.inputs.records.clone()));
        }
    }
}

/// The marks that hold now, in the form of the plan: one for both marks of a server. Its author is
/// the one of the state where there is one, whom the server's reason names.
pub(super) fn overrides(marks: &[Override]) -> plan::Overrides {
    let wall_ms = clock::wall_ms();
    let mut by_server = plan::Overrides::new();
    for mark in marks.iter().filter(|mark| mark.holds_at(wall_ms / 1000)) {
        let (state, weight) = match mark.kind {
            OverrideKind::Drain => (Some(AdminState::Drain), None),
            OverrideKind::Maintenance => (Some(AdminState::Maintenance), None),
            OverrideKind::Weight(weight) => (None, Some(weight)),
        };
        let before = by_server.get(&mark.server);
        let mark_of_plan = plan::Override {
            state: state.or(before.and_then(|before| before.state)),
            weight: weight.or(before.and_then(|before| before.weight)),
            who: mark.who.clone(),
            since_ms: mark.since * 1000,
            until_ms: mark.until.map(|until| until * 1000),
        };
        by_server.insert(mark.server.clone(), mark_of_plan);
    }
    by_server
}

/// Sessions that hold a connection to a server which is quarantined from now on must not go on there, nor at
/// one that was removed, or whose backend has no roles any more, once another takes the writes. Whether there
/// is one.
fn part(snapshot: &Snapshot, previous: &Snapshot) -> bool {
    let has_roles = |group: &Group| group.backend.topology != Topology::Static;
    let mut parts = false;
    for (name, group) in &snapshot.placement.groups {
        let Some(before) = previous.placement.groups.get(name) else { continue };
        if Arc::ptr_eq(before, group) {
            continue;
        }
        for member in group.removed_since(before) {
            member.removed();
            parts = true;
        }
        for member in group.quarantined_since(before) {
            member.state.next_generation();
            parts = true;
        }
        if has_roles(before) && !has_roles(group) {
            group.members.iter().for_each(|member| member.state.next_generation());
            parts = true;
        }
    }
    for (name, before) in &previous.placement.groups {
        if !snapshot.placement.groups.contains_key(name) {
            before.members.iter().for_each(Member::removed);
            parts = true;
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_judgement_that_takes_long_is_followed_by_a_pause() {
        let [short, long] = [5, 60].map(Duration::from_millis);
        assert_eq!((pause(short), pause(long)), (Duration::ZERO, Duration::from_millis(180)));
    }
}
