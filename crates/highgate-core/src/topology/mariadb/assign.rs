//! Every server's role, once it is clear who takes writes.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use highgate_config::ServerName;

use super::{Machine, elect::Verdict};
use crate::{
    snapshot::{Role, Status, Writes},
    topology::{
        Assigned, Input, Outcome,
        links::{Links, Sight},
    },
};

impl Machine {
    pub(super) fn assign(
        &mut self,
        inputs: &[Input<'_>],
        verdict: Verdict,
        now: Instant,
    ) -> Outcome {
        let (elected, writes) = match verdict {
            Verdict::Primary(index) => (Some(index), Writes::Open),
            Verdict::Waiting(reason) => {
                let reason = reason.into();
                (None, Writes::Waiting { reason })
            }
            Verdict::Refused(reason) => {
                let reason = reason.into();
                (None, Writes::Refused { reason })
            }
        };
        let record = self.record.as_ref();
        let primary = record.map(|record| &record.server);
        let links = self.links(inputs, record, elected.is_some(), now);
        // What a replica applies of one that is gone from the configuration shows in its lag as before.
        let can_fall_behind = elected.is_some() || links.gone.is_some();
        let mut roles = BTreeMap::new();
        let (mut fine, mut behind) = (Vec::new(), Vec::new());
        for (index, input) in inputs.iter().enumerate() {
            let assigned = if Some(index) == elected {
                let reason = format!("writable (read_only=0){}", input.as_read());
                assigned(Role::Primary, None, None, reason.into())
            } else if input.live(now).is_none() {
                absent(input, primary)
            } else if primary == Some(input.name) {
                former(input, self.is_emptied(inputs, input, now), now)
            } else {
                let (assigned, sight) = replica(&links, input);
                fine.extend(sight.map(|sight| (input.name.clone(), sight)));
                if can_fall_behind && is_behind(&assigned) {
                    behind.push(input.name);
                }
                assigned
            };
            roles.insert(input.name.clone(), assigned);
        }
        self.fine.extend(fine);
        self.keep_fresh(elected.is_some(), now);
        // How it was before it fell behind says nothing of it, once the primary is gone.
        self.fine.retain(|name, _| !behind.contains(&name));
        let primary = elected.and_then(|index| inputs.get(index)).map(|input| input.name.clone());
        Outcome { roles, primary, writes }
    }

    /// While nobody takes writes no replica falls behind: who connects again to a primary that was away for long has
    /// the same time for it as after a short absence.
    fn keep_fresh(&mut self, is_written: bool, now: Instant) {
        let passed = self
            .assigned_at
            .replace(now)
            .map_or(Duration::ZERO, |then| now.saturating_duration_since(then));
        if !is_written {
            for (at, _) in self.fine.values_mut() {
                *at += passed;
            }
        }
    }
}

/// A server about which nothing is known now.
fn absent(input: &Input<'_>, primary: Option<&ServerName>) -> Assigned {
    // Health says it better where it can; only an unread status is news.
    let unfit = match (input.alive, input.checked) {
        (true, _) => Status::Broken,
        (false, true) => Status::Down,
        (false, false) => Status::Unknown,
    };
    let was = if primary == Some(input.name) { "was the primary; " } else { "" };
    let reason = format!("{was}{}", input.absence());
    assigned(Role::None, Some(unfit), None, reason.into())
}

/// The primary of record while it may not take writes: it has the newest data, so reads are safe there.
fn former(input: &Input<'_>, is_emptied: bool, now: Instant) -> Assigned {
    if is_emptied {
        let reason = "was the primary; has come back without its data";
        return assigned(Role::None, Some(Status::Quarantined), None, reason.into());
    }
    if input.live(now).is_some_and(|seen| seen.read_only) {
        let reason = format!("read-only; was the primary{}", input.as_read());
        return assigned(Role::Replica, None, lag(input, Some(0)), reason.into());
    }
    let reason = format!(
        "was the primary; replicates from another server, or is another server now{}",
        input.as_read()
    );
    assigned(Role::None, Some(Status::Quarantined), None, reason.into())
}

/// A replica, and what its lag rests on if that was learnt just now.
fn replica(links: &Links<'_>, input: &Input<'_>) -> (Assigned, Option<Sight>) {
    let fit = links.fitness(input);
    let fine = fit.sight.filter(|_| links.primary_lives && input.unread.is_none());
    let reason = format!("{}{}", fit.reason, input.as_read());
    let unfit = fit.verdict.err();
    let assigned = assigned(Role::Replica, unfit, lag(input, fit.lag_ms), reason.into());
    (Assigned { ails: fit.ails, ..assigned }, fine)
}

/// Whether it is unfit for what it lacks: it applies too little, or has lost sight of a primary that lives for
/// longer than it may.
const fn is_behind(assigned: &Assigned) -> bool {
    matches!(assigned.unfit, Some(Status::Broken | Status::Lagging))
}

/// Nobody knows how far behind a server is that can't be read.
fn lag(input: &Input<'_>, lag_ms: Option<u64>) -> Option<u64> {
    lag_ms.filter(|_| input.unread.is_none())
}

fn assigned(role: Role, unfit: Option<Status>, lag_ms: Option<u64>, reason: Arc<str>) -> Assigned {
    Assigned { role, unfit, ails: false, lag_ms, reason }
}
