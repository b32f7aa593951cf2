//! Who asked that what was accepted is put in force, certificates read anew, and waits for the outcome.

use std::{sync::Arc, time::Duration};

use highgate_config::Config;
use highgate_io::{clock, tasks};
use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot};

/// How long an operator waits for it: the files may lie on a disk that hangs.
const PATIENCE: Duration = Duration::from_secs(5);

/// What could not be put in force, in words.
pub(crate) type Outcome = Result<(), String>;

/// The questions that wait, for the one task that puts configurations in force.
#[derive(Debug, Default)]
pub(crate) struct Again {
    asked: Mutex<Asked>,
    news: Notify,
}

#[derive(Debug, Default)]
struct Asked {
    waiting: Vec<Question>,
    /// Nothing is put in force any more.
    is_over: bool,
}

#[derive(Debug)]
struct Question {
    /// Though it is in force already: files may have changed under the same names.
    reads_anew: bool,
    answer: oneshot::Sender<Outcome>,
}

/// What was put in force last, and what came of it.
pub(crate) type Last = Option<(Arc<Config>, Outcome)>;

impl Again {
    /// Waits until what was accepted is in force. Blocks, for at most [`PATIENCE`].
    ///
    /// # Errors
    /// A sentence for the operator: what is not in force, or that this is not known yet.
    pub(crate) fn ask(&self, reads_anew: bool) -> Outcome {
        let (answer, told) = oneshot::channel();
        let mut asked = self.asked.lock();
        if asked.is_over {
            drop(answer);
        } else {
            asked.waiting.push(Question { reads_anew, answer });
        }
        drop(asked);
        self.news.notify_one();
        // The runtime may end while it waits.
        match tasks::wait_until(clock::now() + PATIENCE, told) {
            Some(Ok(outcome)) => outcome,
            Some(Err(_)) => {
                Err("not put in force here: this process ends, or another one takes over; \
                                 what is stored is in force there, or with the next start"
                    .to_owned())
            }
            None => Err(format!(
                "not in force within {} s, and still under way: `highgate ctl events` tells what \
                 comes of it",
                PATIENCE.as_secs()
            )),
        }
    }

    /// Nothing is put in force from now on: who waits is told so, and so is who asks later.
    pub(crate) fn end(&self) {
        let mut asked = self.asked.lock();
        asked.is_over = true;
        asked.waiting.clear();
    }

    /// Waits until somebody asks.
    ///
    /// Cancel safe: yes.
    pub(crate) async fn asked(&self) {
        self.news.notified().await;
    }

    /// Those who asked so far, and what they can be told without more work.
    pub(crate) fn take(&self, current: &Arc<Config>, last: &Last) -> (Waiting, Option<Outcome>) {
        let waiting = std::mem::take(&mut self.asked.lock().waiting);
        let known = last.as_ref().filter(|(config, _)| {
            Arc::ptr_eq(config, current) && !waiting.iter().any(|question| question.reads_anew)
        });
        let known = known.map(|(_, outcome)| outcome.clone());
        (Waiting(waiting), known)
    }
}

/// Who waits for an answer.
#[derive(Debug)]
pub(crate) struct Waiting(Vec<Question>);

impl Waiting {
    pub(crate) fn tell(self, outcome: &Outcome) {
        for question in self.0 {
            // Whoever asked may have gone.
            let _ = question.answer.send(outcome.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn question(reads_anew: bool) -> (Question, oneshot::Receiver<Outcome>) {
        let (answer, told) = oneshot::channel();
        (Question { reads_anew, answer }, told)
    }

    #[test]
    fn what_was_just_put_in_force_is_told_without_reading_it_again_unless_that_is_asked_for() {
        let (again, config) = (Again::default(), Arc::new(Config::default()));
        let failed = Err("no such file".to_owned());
        let last = Some((config.clone(), failed.clone()));
        for (reads_anew, current, known) in [
            (false, config.clone(), Some(failed.clone())),
            (true, config.clone(), None),
            (false, Arc::new(Config::default()), None),
        ] {
            let (asked, mut told) = question(reads_anew);
            again.asked.lock().waiting.push(asked);
            let (waiting, found) = again.take(&current, &last);
            assert_eq!(found, known);
            waiting.tell(&failed);
            assert_eq!(told.try_recv(), Ok(failed.clone()));
        }
    }

    #[test]
    fn who_waits_as_the_process_ends_is_told_that_it_is_stored_and_not_in_force() {
        let again = Arc::new(Again::default());
        let (asking, asked) = (again.clone(), std::sync::mpsc::channel());
        let waits = tasks::thread("waits", move || {
            asked.0.send(()).unwrap();
            asking.ask(false)
        });
        asked.1.recv().unwrap();
        again.end();
        for told in [waits.unwrap().join().unwrap(), again.ask(true)] {
            let why = told.unwrap_err();
            assert!(why.contains("this process ends") && why.contains("stored"), "{why}");
        }
        assert!(again.asked.lock().waiting.is_empty());
    }
}
