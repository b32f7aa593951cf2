//! The conversation with the keeper itself: one task, which is told by [`Link`] what to say.

use std::{collections::BTreeMap, io, net::SocketAddr, os::fd::OwnedFd, sync::Arc, time::Duration};

use highgate_config::{Config, Layers as _, NodeName};
use highgate_core::events::{Event, Kind, Severity};
use highgate_io::{clock, tasks::Stop};
use highgate_proxy::shared::Shared;
use highgate_vrrp::{
    Status, event, from_config,
    linux::{BEAT, FromKeeper, ToKeeper},
    routers::DOES_NOT_SERVE,
};
use tokio::sync::{mpsc, oneshot, watch};

use super::{
    leave::Leaving,
    link::{Link, Order},
    voice::Voice,
};

/// A worker that was not heard for so long does not answer.
const WORKER_SILENCE: Duration = Duration::from_secs(1);

/// How much is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// The keeper is there in case it is needed.
    Waiting,
    /// The keeper is told that somebody lives, and does what it was told before.
    Beating,
    /// All.
    InCharge,
    /// Nothing: another process speaks.
    Silent,
}

/// What the conversation is about.
pub(super) struct Talk {
    pub(super) node: NodeName,
    pub(super) shared: Arc<Shared>,
    pub(super) serving: watch::Receiver<bool>,
    /// What keeps the node from its work.
    pub(super) fault: watch::Receiver<Option<String>>,
    pub(super) config: watch::Receiver<Arc<Config>>,
    pub(super) orders: mpsc::Receiver<Order>,
    pub(super) status: watch::Sender<Vec<Status>>,
    pub(super) link: Arc<Link>,
    pub(super) voice: Option<Voice>,
    pub(super) part: Part,
    pub(super) binds: BTreeMap<SocketAddr, oneshot::Sender<io::Result<OwnedFd>>>,
    /// By the number of the order: a keeper that dies leaves some unanswered.
    pub(super) deafens: BTreeMap<u64, oneshot::Sender<io::Result<()>>>,
    /// Of the last such order.
    pub(super) deafen_number: u64,
}

impl Talk {
    pub(super) async fn run(mut self, stop: Stop) {
        if self.part == Part::InCharge {
            self.send_all().await;
        }
        let mut next_beat = clock::now();
        loop {
            let (is_heard, beats) = match (&self.voice, self.part) {
                (None, _) | (_, Part::Silent) => (false, false),
                (_, Part::Waiting) => (true, false),
                (_, Part::Beating | Part::InCharge) => (true, true),
            };
            tokio::select! {
                line = heard(&mut self.voice), if is_heard => match line {
                    Ok(line) => self.hear(&line).await,
                    Err(_) => self.lost(),
                },
                changed = self.config.changed() => {
                    if changed.is_ok() && self.part == Part::InCharge {
                        self.send_task().await;
                    }
                }
                Some(order) = self.orders.recv() => {
                    if self.obey(order).await {
                        return;
                    }
                }
                () = clock::sleep_until(next_beat), if beats => {
                    next_beat = clock::now() + BEAT;
                    let serving = self.can_serve();
                    self.say(&ToKeeper::Beat(serving)).await;
                }
                () = stop.stopped() => return,
            }
        }
    }

    /// One order. True: the conversation is over.
    async fn obey(&mut self, order: Order) -> bool {
        match order {
            Order::Say(message) => {
                self.say(&message).await;
                if message == ToKeeper::Stop {
                    // Where another process speaks with the keeper, that one ends it.
                    if self.part != Part::Silent {
                        self.farewell().await;
                    }
                    // Nobody has an address any more.
                    self.status.send_replace(Vec::new());
                    return true;
                }
            }
            Order::Deafen(to, sockets, answer) => {
                self.deafens.retain(|_, waiting| !waiting.is_closed());
                self.deafen_number += 1;
                let number = self.deafen_number;
                let message = ToKeeper::Deafen { number, to, sockets: sockets.len() };
                if let Some(voice) = self.voice.as_mut().filter(|_| self.part != Part::Silent) {
                    voice.send_with(&message, &sockets).await;
                    self.deafens.insert(number, answer);
                }
            }
            Order::Bind(address, answer) => {
                self.say(&ToKeeper::Bind { address }).await;
                self.binds.insert(address, answer);
            }
            Order::HandOver(answer) => {
                let gone = || io::Error::new(io::ErrorKind::NotConnected, "the keeper is gone");
                self.part = Part::Silent;
                let copy = self.voice.as_ref().ok_or_else(gone).and_then(Voice::copy);
                let _ = answer.send(copy);
            }
            Order::Resume => {
                self.part = Part::InCharge;
                // What operators said meanwhile did not get through.
                self.send_all().await;
            }
            Order::Leave => {
                // With the last copy of this process's, its end would not be noticed.
                self.voice = None;
                self.status.send_replace(Vec::new());
            }
            Order::TakeOver(stream) => match Voice::new(stream) {
                Ok(voice) => {
                    self.voice = Some(voice);
                    self.part = Part::Beating;
                    let serving = self.can_serve();
                    self.say(&ToKeeper::Beat(serving)).await;
                }
                Err(_) => self.lost(),
            },
            Order::TakeCharge => {
                self.part = Part::InCharge;
                self.send_all().await;
            }
        }
        false
    }

    /// What this process can do by itself: never whether a database answers, which would move the
    /// address, or drop it on all nodes, whenever a database fails.
    fn can_serve(&self) -> Result<(), String> {
        let serves = *self.serving.borrow();
        // Sooner than at the next look: the address is to be where it is answered.
        let silent = self.shared.silent_worker(WORKER_SILENCE);
        judge(serves, silent, self.fault.borrow().as_deref())
    }

    async fn say(&mut self, message: &ToKeeper) {
        if self.part != Part::Silent
            && let Some(voice) = &mut self.voice
        {
            voice.send(message).await;
        }
    }

    /// What operators took out comes first: it may not be active for a moment.
    async fn send_all(&mut self) {
        let drains = self.link.alone.drains();
        self.say(&ToKeeper::Drains((*drains).clone())).await;
        self.send_task().await;
    }

    async fn send_task(&mut self) {
        let config = self.config.borrow_and_update().clone();
        let own = config.node.get(&self.node);
        if self.voice.is_none() {
            return self.miss(own.is_some_and(|node| !node.vips.is_empty()));
        }
        let task = own.map(from_config::task).unwrap_or_default();
        self.say(&ToKeeper::Task(Box::new(task))).await;
    }

    /// Vips came into a configuration whose process has given up the right to keep them.
    fn miss(&self, has_vips: bool) {
        if has_vips && !self.link.is_there() {
            let text = "the configuration has vips now, but this process was started without any \
                and keeps none: `highgate run --replace` starts one that does, without a refused \
                connection";
            self.shared.event(Event::new(Severity::Error, Kind::Vip, text.to_owned()));
        }
    }

    /// One word of the keeper.
    async fn hear(&mut self, line: &[u8]) {
        // By this a keeper that took the place of another one ends what that said last.
        if line.trim_ascii().is_empty() {
            return;
        }
        match serde_json::from_slice(line) {
            Ok(FromKeeper::Status(status)) => drop(self.status.send_replace(status)),
            Ok(FromKeeper::Event { router, event }) => self.tell(router.as_deref(), &event),
            Ok(FromKeeper::Hello { why, .. }) => {
                if let Some(why) = why {
                    self.shared.event(Event::new(Severity::Error, Kind::Vip, why));
                }
                // Another one knows nothing yet.
                if self.part == Part::InCharge {
                    self.send_all().await;
                }
            }
            Ok(FromKeeper::Yield { router, addresses }) => {
                let then = ToKeeper::Yielded { router };
                // Where too many go at a time, the keeper does not wait for each.
                let _ = self.link.leaving.try_send(Leaving { addresses, then });
            }
            Ok(FromKeeper::Deafened { number, error }) => {
                let done = error.map_or(Ok(()), |error| Err(io::Error::other(error)));
                if let Some(answer) = self.deafens.remove(&number) {
                    let _ = answer.send(done);
                }
            }
            Ok(FromKeeper::Bound { address, error }) => self.bound(address, error),
            // Nobody told it to.
            Ok(FromKeeper::Stopped) => self.lost(),
            Err(error) => tracing::warn!("the keeper of the addresses is not understood: {error}"),
        }
    }

    fn bound(&mut self, address: SocketAddr, error: Option<String>) {
        let descriptor = match error {
            Some(error) => Err(io::Error::other(error)),
            None => {
                let given = self.voice.as_mut().and_then(Voice::descriptor);
                given.ok_or_else(|| io::Error::other("it gave no socket"))
            }
        };
        if let Some(answer) = self.binds.remove(&address) {
            let _ = answer.send(descriptor);
        }
    }

    fn tell(&self, router: Option<&str>, event: &event::Event) {
        let severity = match event.severity {
            event::Severity::Info => Severity::Info,
            event::Severity::Warning => Severity::Warning,
            event::Severity::Error => Severity::Error,
        };
        let text = match router {
            Some(router) => format!("vip {router}: {}", event.text),
            None => event.text.clone(),
        };
        self.shared.event(Event::new(severity, Kind::Vip, text));
    }

    fn lost(&mut self) {
        let text = "the processes that keep the addresses are gone: this node holds no vip until \
            `highgate run --replace` or a restart starts others (see their message above, or the \
            system's log)";
        self.shared.event(Event::new(Severity::Error, Kind::Vip, text.to_owned()));
        self.status.send_replace(Vec::new());
        self.voice = None;
        self.binds.clear();
        self.deafens.clear();
        self.link.lost();
    }

    /// Waits for the last words.
    async fn farewell(&mut self) {
        while let Ok(line) = heard(&mut self.voice).await {
            match serde_json::from_slice(&line) {
                Ok(FromKeeper::Event { router, event }) => self.tell(router.as_deref(), &event),
                Ok(FromKeeper::Stopped) => return,
                _ => {}
            }
        }
    }
}

/// Whether a process can serve: `serves` says whether it wants to, `silent` which data worker has no
/// turns, `fault` what was wrong when somebody looked last.
fn judge(serves: bool, silent: Option<usize>, fault: Option<&str>) -> Result<(), String> {
    match (serves, silent, fault) {
        (false, ..) => Err(DOES_NOT_SERVE.to_owned()),
        (true, Some(worker), _) => Err(format!("data worker {worker} does not answer")),
        (true, None, Some(fault)) => Err(fault.to_owned()),
        (true, None, None) => Ok(()),
    }
}

async fn heard(voice: &mut Option<Voice>) -> io::Result<Vec<u8>> {
    match voice {
        Some(voice) => voice.line().await,
        None => Err(io::ErrorKind::NotConnected.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_wants_to_serve_has_workers_with_turns_and_listeners_that_are_taken() {
        let fault = "no data worker takes listener l";
        let why = |serves, silent, fault| judge(serves, silent, fault).unwrap_err();
        assert_eq!(judge(true, None, None), Ok(()));
        assert_eq!(why(false, None, None), DOES_NOT_SERVE);
        assert_eq!(why(true, Some(1), None), "data worker 1 does not answer");
        assert_eq!(why(true, None, Some(fault)), fault);
    }
}
