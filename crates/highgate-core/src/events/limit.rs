//! How many events that sessions cause are told one by one: a crowd must not push what matters out
//! of sight, and nothing it did may go uncounted.
//!
//! Each kind has a budget of its own: a thousand failed logins hide no statement of unknown outcome.
//! Those that say the same are one row, with their number.

use super::{Event, Kind, Severity, alike::Alike};

/// Events of one kind that are told within a second.
const PER_SECOND: u32 = 10;

/// What was told lately of each kind.
#[derive(Debug)]
pub struct EventLimit {
    second: u64,
    kinds: [Told; Kind::ALL.len()],
    alike: Alike,
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
        Self { second: 0, kinds: [Told::default(); Kind::ALL.len()], alike: Alike::default() }
    }
}

impl EventLimit {
    /// Whether it is told now, in this second of Unix time; if not, it is counted. What is
    /// [over](Self::over) has to be asked for before.
    pub fn admits(&mut self, event: &Event, second: u64) -> bool {
        if self.second != second {
            self.second = second;
            self.kinds.iter_mut().for_each(|kind| kind.count = 0);
        }
        if self.alike.counts(event) {
            return false;
        }
        let Some(told) = self.kinds.get_mut(event.kind as usize) else { return true };
        if told.count < PER_SECOND {
            told.count += 1;
            self.alike.remember(event, second);
            return true;
        }
        told.untold += 1;
        told.severity = told.severity.max(Some(event.severity));
        false
    }

    /// One event for each kind that had more than were told before this second, and one for each
    /// that came again since it was told.
    pub fn over(&mut self, second: u64) -> Vec<Event> {
        if self.second == second {
            return Vec::new();
        }
        let mut events = Vec::new();
        self.alike.over(second, &mut events);
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

    /// Its text is another each time.
    fn event(kind: Kind, severity: Severity, nth: u32) -> Event {
        Event::new(severity, kind, format!("text {nth}"))
    }

    fn refusal(session: u32) -> Event {
        let text = "a command was refused";
        Event::new(Severity::Warning, Kind::Refusal, text).backend(&"shop".into()).session(session)
    }

    #[test]
    fn a_refusal_that_comes_again_and_again_is_one_row_with_a_count_every_ten_seconds() {
        let mut limit = EventLimit::default();
        let mut rows = Vec::new();
        for second in 100..125 {
            rows.extend(limit.over(second));
            for session in 0..50 {
                rows.extend(Some(refusal(session)).filter(|event| limit.admits(event, second)));
            }
        }
        let texts: Vec<_> = rows.iter().map(|event| event.text.as_str()).collect();
        let counted = |count| format!("a command was refused ({count} times more within 10 s)");
        assert_eq!(texts, ["a command was refused", &counted(499), &counted(500)]);
        assert_eq!((rows[0].session, rows[1].session), (Some(0), None));
        assert_eq!(rows[1].backend, Some("shop".into()));
        // It is over: what is left is told, and then it is news again.
        assert_eq!(limit.over(130).len(), 1);
        assert_eq!(limit.over(140), []);
        assert!(limit.admits(&refusal(7), 140));
    }

    #[test]
    fn refusals_of_another_backend_unknown_outcomes_and_changes_of_servers_are_told_each() {
        let mut limit = EventLimit::default();
        assert!(limit.admits(&refusal(1), 7));
        assert!(!limit.admits(&refusal(2), 7));
        assert!(limit.admits(&refusal(1).backend(&"other".into()), 7));
        let unknown = Event::new(Severity::Error, Kind::OutcomeUnknown, "unknown");
        assert!((0..5).all(|session| limit.admits(&unknown.clone().session(session), 7)));
        let down = Event::new(Severity::Error, Kind::ServerDown, "down: refused");
        assert!((0..5).all(|_| limit.admits(&down, 7)), "a story is told in its order");
    }

    #[test]
    fn a_flood_of_one_kind_hides_no_event_of_another() {
        let mut limit = EventLimit::default();
        let told =
            (0..1000).filter(|n| limit.admits(&event(Kind::Login, Severity::Warning, *n), 7));
        assert_eq!(told.count(), 10);
        assert!(limit.admits(&event(Kind::OutcomeUnknown, Severity::Error, 1), 7));
    }

    #[test]
    fn what_was_not_told_is_counted_once_its_second_is_over() {
        let mut limit = EventLimit::default();
        for nth in 0..30 {
            limit.admits(&event(Kind::Retry, Severity::Info, nth), 7);
            limit.admits(&event(Kind::Refusal, Severity::Warning, nth), 7);
        }
        limit.admits(&event(Kind::Refusal, Severity::Error, 30), 7);
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
        let next = event(Kind::Retry, Severity::Info, 30);
        assert!(limit.admits(&next, 9), "a new second, a new budget");
    }
}
