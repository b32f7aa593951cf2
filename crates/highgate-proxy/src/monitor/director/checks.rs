//! How a check begins: at once, or when it is its turn.

use std::{rc::Rc, time::Duration};

use highgate_core::{
    events::{Event, Kind, Severity},
    health::{Condition, Event as HealthEvent},
};
use highgate_io::{clock, tasks::LocalTasks};
use tokio::sync::mpsc;

use super::Watched;
use crate::monitor::{
    probe::{Probe, Probed},
    turns::{Standing, Turn},
};

/// A check that a machine asks for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted {
    pub(super) timeout: Duration,
    pub(super) afresh: bool,
    pub(super) standing: Standing,
}

/// How urgent a server's checks are.
pub(super) const fn standing(condition: Condition) -> Standing {
    match condition {
        Condition::Up { .. } | Condition::Held { .. } => Standing::Alive,
        Condition::Unknown => Standing::Unknown,
        Condition::Down { .. } | Condition::Maintenance => Standing::Down,
    }
}

impl Watched {
    /// Has a check made. Gives whether it waits for its turn.
    pub(super) fn check(
        &self,
        wanted: Wanted,
        results: &mpsc::Sender<Probed>,
        tasks: &LocalTasks,
    ) -> bool {
        self.doubt_silence();
        self.bytes_in.set(self.bytes_in());
        let (probe, results) = (self.probe.clone(), results.clone());
        if !probe.opens_next(wanted.afresh) {
            tasks.spawn(report(probe, None, wanted, results));
            return false;
        }
        let queue = match probe.turns().take(wanted.standing, &self.state.backend) {
            Ok(turn) => {
                tasks.spawn(report(probe, Some(turn), wanted, results));
                return false;
            }
            Err(queue) => queue,
        };
        let (state, shared, asked) = (self.state.clone(), probe.shared(), clock::now());
        tasks.spawn(async move {
            let Ok(turn) = queue.await else { return };
            let now = clock::now();
            if now.saturating_duration_since(asked) > probe.interval()
                && let Some(text) = probe.turns().came_late(now)
            {
                shared.event(Event::new(Severity::Warning, Kind::Limit, text));
            }
            // Its time begins with that, so it waits until it is heard.
            let _ = results.send(Probed::bare(state.id, HealthEvent::CheckBegins)).await;
            report(probe, Some(turn), wanted, results).await;
        });
        true
    }
}

/// Makes a check, and says what came of it.
async fn report(
    probe: Rc<Probe>,
    turn: Option<Turn>,
    wanted: Wanted,
    results: mpsc::Sender<Probed>,
) {
    let probed = probe.check(clock::now() + wanted.timeout, wanted.afresh, turn).await;
    // A full channel means that the director is far behind: the machine's own
    // time-out for the check then stands for its result.
    let _ = results.try_send(probed);
}
