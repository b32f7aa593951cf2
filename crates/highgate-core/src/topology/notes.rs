//! Events from the difference between two outcomes.

use highgate_config::{AdminState, BackendName, ServerName};

use super::{Assigned, Input, Outcome};
use crate::{
    events::{Event, Kind, Severity},
    snapshot::{Status, Writes},
};

/// The first look at a backend's servers: until it is over, that none takes writes is no alarm.
#[derive(Debug, Clone, Copy)]
pub(super) struct FirstLook {
    goes_on: bool,
}

impl FirstLook {
    pub(super) const fn new() -> Self {
        Self { goes_on: true }
    }

    /// Whether it ends with this outcome: a primary was found, or every server had its turn.
    fn ends(&mut self, inputs: &[Input<'_>], outcome: &Outcome) -> bool {
        let awaited = |input: &Input<'_>| !input.checked && input.admin != AdminState::Maintenance;
        let before = self.goes_on;
        self.goes_on &= outcome.primary.is_none() && inputs.iter().any(awaited);
        before && !self.goes_on
    }
}

/// Tells what is different now.
pub(super) fn tell(
    backend: &BackendName,
    (inputs, first): (&[Input<'_>], &mut FirstLook),
    before: Option<&Outcome>,
    after: &Outcome,
    events: &mut Vec<Event>,
) {
    let first_ends = first.ends(inputs, after);
    for (name, assigned) in &after.roles {
        let old = before.and_then(|before| before.roles.get(name));
        server(backend, name, old, assigned, events);
    }
    let old = before.map(|before| &before.writes);
    match &after.writes {
        // What was said calmly at first is said again if it stays.
        writes if old == Some(writes) && !first_ends => {}
        Writes::Open => {}
        Writes::Waiting { reason } if first.goes_on => {
            let text = format!("writes wait while the servers are looked at: {reason}");
            events.push(Event::new(Severity::Info, Kind::NoPrimary, text).backend(backend));
        }
        Writes::Waiting { reason } | Writes::Refused { reason } => {
            let verb =
                if matches!(after.writes, Writes::Waiting { .. }) { "wait" } else { "are refused" };
            let text = format!("writes {verb}: {reason}");
            events.push(Event::new(Severity::Error, Kind::NoPrimary, text).backend(backend));
        }
    }
}

/// Whether it is unfit as before, for another reason: what traffic saw first is seldom the whole truth.
/// How long or how much is no other reason.
fn has_other_cause(before: &Assigned, after: &Assigned) -> bool {
    let gist = |reason: &str| reason.chars().filter(|c| !c.is_ascii_digit()).collect::<String>();
    matches!(after.unfit, Some(Status::Broken | Status::Quarantined))
        && before.reason != after.reason
        && gist(&before.reason) != gist(&after.reason)
}

fn server(
    backend: &BackendName,
    name: &ServerName,
    before: Option<&Assigned>,
    after: &Assigned,
    events: &mut Vec<Event>,
) {
    let old = before.and_then(|before| before.unfit);
    let roles_differ = before.is_none_or(|before| before.role != after.role);
    let is_same = old == after.unfit && (!roles_differ || after.unfit.is_some());
    let ailed = before.is_some_and(|before| before.ails);
    if is_same
        && ailed == after.ails
        && !before.is_some_and(|before| has_other_cause(before, after))
    {
        return;
    }
    let (severity, kind) = match after.unfit.or(old) {
        // That it is down or not checked yet is told by its health.
        Some(Status::Down | Status::Unknown | Status::Maintenance) if after.unfit.is_some() => {
            return;
        }
        Some(Status::Lagging) => (Severity::Warning, Kind::Lag),
        Some(Status::Quarantined) => (Severity::Error, Kind::Quarantine),
        Some(Status::Broken) => (Severity::Warning, Kind::Role),
        None if after.ails => (Severity::Warning, Kind::Role),
        _ => (Severity::Info, Kind::Role),
    };
    let (severity, text) = match after.unfit {
        Some(status) => (severity, format!("{status}: {}", after.reason)),
        None if after.ails => (severity, format!("{}: {}", after.role, after.reason)),
        None => (Severity::Info, format!("{}: {}", after.role, after.reason)),
    };
    events.push(Event::new(severity, kind, text).backend(backend).server(name));
}
