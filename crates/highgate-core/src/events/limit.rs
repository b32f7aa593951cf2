//! How many events that sessions cause are told one by one: a crowd must not push what matters out
//! of sight, and nothing it did may go uncounted.
//!
//! Each kind has a budget of its own: a thousand failed logins hide no statement of unknown outcome.

use super::{Event, Kind, Severity};

/// Events of one kind that are told within a second.
const PER_SECOND: u32 = 10;

/// What was told lately of each kind.
#[derive(Debug)]
pub struct EventLimit {
    second: u64,
    kinds: [Told; Kind::ALL.len()],
}

#[derive(Debug, Clone, Copy, Default)]
struct Told {
    count: u32,
    untold: u64,
    /// The worst of those that were not told.
    severity: Option<Severity>,
}

impl Default for EventLimit {
    fn default() -> Self {
        Self { second: 0, kinds: [Told::default(); Kind::ALL.len()] }
    }
}

impl EventLimit {
    /// Whether one more is told within this second of Unix time; if not, it is counted. What is
    /// [over](Self::over) has to be asked for before.
    pub fn admits(&mut self, event: &Event, second: u64) -> bool {
        if self.second != second {
            self.second = second;
            self.kinds.iter_mut().for_each(|kind| kind.count = 0);
        }
        let Some(told) = self.kinds.get_mut(event.kind as usize) else { return true };
        if told.count < PER_SECOND {
            told.count += 1;
            return true;
        }
        told.untold += 1;
        told.severity = told.severity.max(Some(event.severity));
        false
    }

    /// One event for each kind that had more than were told before this second.
    pub fn over(&mut self, second: u64) -> Vec<Event> {
        if self.second == second {
            return Vec::new();
        }
        let mut events = Vec::new();
        for (told, kind) in self.kinds.iter_mut().zip(Kind::ALL) {
            let Some(severity) = told.severity.take() else { continue };
            let untold = std::mem::take(&mut told.untold);
            let text = format!(
                "{untold} more events of kind `{kind}` came within a second and were not told one by one"
            );
            events.push(Event::new(severity, *kind, text));
        }
        events
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(kind: Kind, severity: Severity) -> Event {
        Event::new(severity, kind, "text")
    }

    #[test]
    fn a_flood_of_one_kind_hides_no_event_of_another() {
        let mut limit = EventLimit::default();
        let told = (0..1000).filter(|_| limit.admits(&event(Kind::Login, Severity::Warning), 7));
        assert_eq!(told.count(), 10);
        assert!(limit.admits(&event(Kind::OutcomeUnknown, Severity::Error), 7));
    }

    #[test]
    fn what_was_not_told_is_counted_once_its_second_is_over() {
        let mut limit = EventLimit::default();
        for _ in 0..30 {
            limit.admits(&event(Kind::Retry, Severity::Info), 7);
            limit.admits(&event(Kind::Refusal, Severity::Warning), 7);
        }
        limit.admits(&event(Kind::Refusal, Severity::Error), 7);
        assert_eq!(limit.over(7), []);
        let over = limit.over(8);
        let of = |at: usize| (over[at].kind, over[at].severity, over[at].text.as_str());
        let text = |count, kind| {
            format!(
                "{count} more events of kind `{kind}` came within a second and were not told one by one"
            )
        };
        assert_eq!(of(0), (Kind::Retry, Severity::Info, text(20, "retry").as_str()));
        assert_eq!(of(1), (Kind::Refusal, Severity::Error, text(21, "refusal").as_str()));
        assert_eq!(limit.over(9), []);
        assert!(limit.admits(&event(Kind::Retry, Severity::Info), 9), "a new second, a new budget");
    }
}
