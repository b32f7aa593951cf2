//! Whether this node can do its work by itself: its workers live and have their turns, and its listeners
//! are served. Databases are not looked at: whether one answers moves no address.
//!
//! Somebody looks once a second ([`Node::look`]). Operators are told of what changed, once at its
//! beginning and once at its end.

use std::{sync::atomic::Ordering, time::Duration};

use highgate_config::ListenerName;
use highgate_core::events::{Event, Kind, Severity};

use super::Node;

/// A worker that had no turn for so long does not answer.
const SILENCE: Duration = Duration::from_secs(1);

/// What is wrong with a node.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Vitals {
    /// Workers whose thread has ended, by number: a bug. They don't come back.
    pub(super) dead: Vec<usize>,
    /// Workers that live and have no turns.
    pub(super) silent: Vec<usize>,
    /// Listeners whose clients nobody serves, with the address. They are offered to workers again.
    pub(super) unserved: Vec<(ListenerName, String)>,
}

impl Vitals {
    /// The worst of it in a few words; `None` when all is well.
    #[must_use]
    pub fn fault(&self) -> Option<String> {
        if let Some(worker) = self.dead.first() {
            return Some(format!("data worker {worker} has ended"));
        }
        if let Some(worker) = self.silent.first() {
            return Some(format!("data worker {worker} does not answer"));
        }
        let (listener, _) = self.unserved.first()?;
        Some(format!("no data worker takes listener {listener}"))
    }

    /// What operators are told once it is so after it was otherwise `before`.
    fn since(&self, before: &Self) -> Vec<Event> {
        let mut events = Vec::new();
        let mut tell =
            |severity, text: String| events.push(Event::new(severity, Kind::Lifecycle, text));
        for worker in only(&self.dead, &before.dead) {
            let text = format!(
                "data worker {worker} has ended, and its sessions with it: the log has the bug before \
                 this. The others serve its listeners; `highgate run --replace` starts a whole process"
            );
            tell(Severity::Error, text);
        }
        for worker in only(&self.silent, &before.silent) {
            let text = format!(
                "data worker {worker} does not answer: its clients wait; it had no turn for {} s",
                SILENCE.as_secs()
            );
            tell(Severity::Error, text);
        }
        for worker in only(&before.silent, &self.silent) {
            // Of one that has ended meanwhile that is told already.
            if !self.dead.contains(worker) {
                tell(Severity::Info, format!("data worker {worker} answers again"));
            }
        }
        for (listener, address) in only(&self.unserved, &before.unserved) {
            let text = format!(
                "no data worker takes listener {listener} on {address}: nobody serves its clients; it is \
                 offered again every second"
            );
            tell(Severity::Error, text);
        }
        for (listener, address) in only(&before.unserved, &self.unserved) {
            let text = format!("listener {listener} on {address} is served again, or is no more");
            tell(Severity::Info, text);
        }
        events
    }
}

/// What is in the first list alone.
fn only<'a, T: PartialEq>(these: &'a [T], those: &'a [T]) -> impl Iterator<Item = &'a T> {
    these.iter().filter(move |this| !those.contains(this))
}

impl Node {
    /// Looks what keeps this node from its work, tells operators what has changed, and offers workers
    /// the listeners that nobody serves. To be called once a second.
    #[must_use]
    pub fn look(&self) -> Vitals {
        let dead = self.dead_workers();
        let silent = self.shared.silent_workers(SILENCE);
        let silent = silent.filter(|worker| !dead.contains(worker)).collect();
        let now = Vitals { silent, unserved: self.offer_again(), dead };
        let before = std::mem::replace(&mut *self.vitals.lock(), now.clone());
        for event in now.since(&before) {
            self.shared.event(event);
        }
        now
    }

    /// Workers whose thread has ended before anybody stopped them.
    fn dead_workers(&self) -> Vec<usize> {
        let threads = self.threads.lock();
        let threads = threads.iter().enumerate();
        threads.filter(|(_, thread)| thread.is_finished()).map(|(index, _)| index).collect()
    }

    /// The sockets that nobody serves. Each is offered to the workers again.
    pub(super) fn offer_again(&self) -> Vec<(ListenerName, String)> {
        let listeners = self.listeners.lock();
        let mut found = Vec::new();
        for (name, running) in &*listeners {
            for socket in &running.sockets {
                if socket.is_unserved.load(Ordering::Acquire) {
                    if let Ok(bound) = socket.bound() {
                        self.give(&running.state, bound, socket);
                    }
                    found.push((name.clone(), socket.address.clone()));
                }
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vitals(dead: &[usize], silent: &[usize], unserved: &[&str]) -> Vitals {
        let on = |name: &&str| (ListenerName::from(*name), "127.0.0.1:1".to_owned());
        let unserved = unserved.iter().map(on).collect();
        Vitals { dead: dead.to_vec(), silent: silent.to_vec(), unserved }
    }

    /// The severity and the beginning of each event.
    fn told(before: &Vitals, now: &Vitals) -> Vec<(Severity, String)> {
        let begin = |event: Event| {
            (event.severity, event.text.split([':', ',']).next().unwrap().to_owned())
        };
        now.since(before).into_iter().map(begin).collect()
    }

    #[test]
    fn each_fault_is_told_when_it_begins_and_when_it_ends() {
        use Severity::{Error, Info};
        let well = Vitals::default();
        let (dead, silent) = (vitals(&[1], &[], &[]), vitals(&[], &[0, 1], &[]));
        let unserved = vitals(&[], &[], &["a"]);
        for (before, now, said) in [
            (&well, &well, vec![]),
            (&well, &dead, vec![(Error, "data worker 1 has ended")]),
            (&dead, &dead, vec![]),
            (
                &well,
                &silent,
                vec![
                    (Error, "data worker 0 does not answer"),
                    (Error, "data worker 1 does not answer"),
                ],
            ),
            (&silent, &silent, vec![]),
            // One hung, and then ended.
            (
                &silent,
                &dead,
                vec![(Error, "data worker 1 has ended"), (Info, "data worker 0 answers again")],
            ),
            (&well, &unserved, vec![(Error, "no data worker takes listener a on 127.0.0.1")]),
            (&unserved, &unserved, vec![]),
            (&unserved, &well, vec![(Info, "listener a on 127.0.0.1")]),
        ] {
            let said: Vec<_> = said.into_iter().map(|(s, text)| (s, text.to_owned())).collect();
            assert_eq!(told(before, now), said, "{before:?} {now:?}");
        }
    }

    #[test]
    fn the_worst_is_said_in_a_few_words() {
        for (vitals, fault) in [
            (vitals(&[], &[], &[]), None),
            (vitals(&[], &[], &["l"]), Some("no data worker takes listener l")),
            (vitals(&[], &[1], &["l"]), Some("data worker 1 does not answer")),
            (vitals(&[2], &[1], &["l"]), Some("data worker 2 has ended")),
        ] {
            assert_eq!(vitals.fault().as_deref(), fault);
        }
    }
}
