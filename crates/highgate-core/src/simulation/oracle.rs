//! Invariants: what must hold after each step, and once all has healed.

use super::{Found, NAMES, SLACK, Sim, world::Life};
use crate::{
    snapshot::{Role, Writes},
    testing::ms,
};

impl Sim {
    fn check_transitions(&mut self) -> Found {
        for (index, times) in self.transitions.iter_mut().enumerate() {
            while times.front().is_some_and(|at| self.now - *at > ms(60_000)) {
                times.pop_front();
            }
            if times.len() > 16 {
                return Err(format!(
                    "seed {}: {} went up and down {} times",
                    self.seed,
                    NAMES[index],
                    times.len()
                ));
            }
        }
        Ok(())
    }

    pub(super) fn check(&mut self) -> Found {
        self.check_transitions()?;
        let now = self.now;
        let fail =
            |what: String| Err(format!("seed {} at {:?}: {what}", self.seed, now - self.start));
        let Some(snapshot) = &self.snapshot else {
            return Ok(());
        };
        let group = snapshot.placement.groups.values().next().unwrap();
        let primaries = group.members.iter().filter(|m| m.role == Role::Primary).count();
        if primaries > 1 {
            return fail("two primaries".into());
        }
        let Some(primary) = group.primary.filter(|_| group.writes == Writes::Open) else {
            return Ok(());
        };
        let health = &self.healths[&group.members[primary].state.id];
        let server = &self.world.servers[primary];
        let bound = health.detection_bound() + SLACK;
        if server.life != Life::Lives && now > server.changed_at + bound {
            return fail(format!("writes go to {}, dead for long", NAMES[primary]));
        }
        if server.life == Life::Lives
            && server.read_only
            && !server.denies
            && now > server.changed_at.max(server.readable_since) + bound
        {
            return fail(format!("writes go to {}, read-only for long", NAMES[primary]));
        }
        if primary == self.world.legit {
            // Only once everybody was looked at since: two switchovers within one check interval
            // look like none.
            self.missed &= !self.world.in_order_since(now - bound);
            self.crowned |= !self.missed && self.world.promoted_before(now - bound);
        } else if self.crowned && self.world.opened_first() != Some(primary) {
            let record = self.machine.record();
            return fail(format!(
                "{} took the place of {}; the record: {record:?}; the world: {:#?}",
                NAMES[primary], NAMES[self.world.legit], self.world.servers
            ));
        }
        Ok(())
    }

    pub(super) fn healed(&self, whole: bool) -> Found {
        let group = self.snapshot.as_ref().unwrap().placement.groups.values().next().unwrap();
        let fail = |what: &str| Err(format!("seed {}: {what}: {}", self.seed, group.reason));
        if group.primary != Some(self.world.legit) || group.writes != Writes::Open {
            return fail("no writes although all is well");
        }
        if whole && group.readers.len() != NAMES.len() - 1 {
            let why: Vec<_> =
                group.members.iter().map(|m| format!("{}: {}", m.state.name, m.reason)).collect();
            return fail(&format!(
                "not all replicas serve although all is well ({})",
                why.join(", ")
            ));
        }
        Ok(())
    }
}
