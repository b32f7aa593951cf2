//! Events that say the same again and again: told once, and then as often as their time is over with
//! how many there were. What a failover tells of itself would not be found among them otherwise.

use super::{Event, Kind};

/// Time between two rows that say the same, in seconds.
pub(super) const WINDOW: u64 = 10;
/// Different texts that are remembered; what comes beyond them is held to the budget of its kind alone.
const REMEMBERED: usize = 64;

/// What was told within the last [`WINDOW`].
#[derive(Debug, Default)]
pub(super) struct Alike(Vec<Told>);

#[derive(Debug)]
struct Told {
    /// As it was told.
    event: Event,
    since: u64,
    again: u64,
}

impl Alike {
    /// Whether it was told lately; if so, it is counted.
    pub(super) fn counts(&mut self, event: &Event) -> bool {
        let told = self.0.iter_mut().find(|told| says_the_same(&told.event, event));
        told.map(|told| told.again += 1).is_some()
    }

    /// It is told now.
    pub(super) fn remember(&mut self, event: &Event, second: u64) {
        // What happens to many sessions for one reason. Of the rest each is looked for: a server that
        // goes down again, a statement of unknown outcome.
        let is_many = matches!(
            event.kind,
            Kind::Limit | Kind::Login | Kind::Refusal | Kind::Retry | Kind::SessionEnd
        );
        if is_many && self.0.len() < REMEMBERED {
            self.0.push(Told { event: event.clone(), since: second, again: 0 });
        }
    }

    /// One event for each that came again, once its time is over.
    pub(super) fn over(&mut self, second: u64, events: &mut Vec<Event>) {
        self.0.retain_mut(|told| {
            // The clock may have been set.
            if told.since.abs_diff(second) < WINDOW {
                return true;
            }
            if told.again == 0 {
                return false;
            }
            let again = std::mem::take(&mut told.again);
            told.since = second;
            let text = format!("{} ({again} times more within {WINDOW} s)", told.event.text);
            events.push(Event { text, session: None, ..told.event.clone() });
            true
        });
    }
}

fn says_the_same(told: &Event, other: &Event) -> bool {
    told.kind == other.kind
        && told.severity == other.severity
        && told.server == other.server
        && told.backend == other.backend
        && told.text == other.text
}
