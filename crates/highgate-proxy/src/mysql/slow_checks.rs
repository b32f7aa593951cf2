//! Password work that takes milliseconds of a processor: few at once, and guessers last.
//!
//! A flood of wrong passwords would cost a processor each few hundred of them. Addresses whose logins
//! failed often lately share one turn, and rest after each check, so that all of them together take
//! a quarter of one processor at most. Everybody else finds turns free, whoever guesses; a flood from
//! addresses that are new each time takes half of the processors at most.

use std::{sync::Arc, time::Duration};

use highgate_io::{clock, tasks};
use tokio::sync::Semaphore;

/// Checks at once, however many processors there are.
const MOST_TURNS: usize = 4;
/// How much longer than its work a suspect's turn is.
const REST: u32 = 3;
/// What a check that was slowed down by others may claim at most.
const LONGEST_REST: Duration = Duration::from_millis(200);

/// Turns for slow checks.
#[derive(Debug)]
pub(crate) struct SlowChecks {
    /// Held until the work has ended, also where nobody waits for it any more.
    turns: Arc<Semaphore>,
    suspects: Semaphore,
}

/// Who asks for a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asker {
    /// Its address had many failed logins lately.
    Suspect,
    Usual,
}

impl SlowChecks {
    /// Turns for a node of so many data workers, each of which wants a processor.
    pub(crate) fn beside(workers: usize) -> Self {
        let turns = (workers / 2).clamp(1, MOST_TURNS);
        Self { turns: Arc::new(Semaphore::new(turns)), suspects: Semaphore::new(1) }
    }

    /// Does the work when it is the asker's turn; nothing where that comes no more.
    ///
    /// Cancel safe: yes; but work that began goes on to its end.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        asker: Asker,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        let _suspect = match asker {
            Asker::Suspect => Some(self.suspects.acquire().await.ok()?),
            Asker::Usual => None,
        };
        let turn = self.turns.clone().acquire_owned().await.ok()?;
        let began = clock::now();
        let work = move || {
            let done = work();
            drop(turn);
            done
        };
        let done = tasks::blocking(work).await;
        if asker == Asker::Suspect {
            let took = clock::now().saturating_duration_since(began);
            clock::pause((took * REST).min(LONGEST_REST)).await;
        }
        done
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    };

    use super::*;

    #[test]
    fn checks_leave_half_of_the_processors_to_data_workers() {
        let turns = |workers| SlowChecks::beside(workers).turns.available_permits();
        assert_eq!([1, 2, 3, 4, 8, 64].map(turns), [1, 1, 1, 2, 4, 4]);
    }

    #[test]
    fn suspects_take_turns_and_leave_the_others_theirs() {
        let runtime = tasks::local_runtime().unwrap();
        runtime.block_on(async {
            let checks = Arc::new(SlowChecks::beside(4));
            let (running, most, done) =
                (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)), Arc::default());
            let all = tasks::LocalTasks::default();
            for _ in 0..30 {
                let (checks, running, most) = (checks.clone(), running.clone(), most.clone());
                let done: Arc<AtomicUsize> = Arc::clone(&done);
                all.spawn(async move {
                    let work = move || {
                        most.fetch_max(running.fetch_add(1, SeqCst) + 1, SeqCst);
                        std::thread::yield_now();
                        running.fetch_sub(1, SeqCst);
                    };
                    checks.run(Asker::Suspect, work).await.unwrap();
                    done.fetch_add(1, SeqCst);
                });
            }
            // Behind thirty who wait, and before the last of them.
            tokio::task::yield_now().await;
            checks.run(Asker::Usual, || ()).await.unwrap();
            let before = done.load(SeqCst);
            assert!(before < 30, "all suspects came first");
            all.all_ended().await;
            assert_eq!((most.load(SeqCst), done.load(SeqCst)), (1, 30));
        });
    }
}
