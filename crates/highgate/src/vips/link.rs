//! The conversation with the keeper.

use std::{
    collections::{BTreeMap, VecDeque},
    io,
    net::{IpAddr, SocketAddr},
    os::{fd::OwnedFd, unix::net::UnixStream},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use highgate_cluster::Alone;
use highgate_config::{Config, NodeName};
use highgate_core::events::{Event, Kind, Severity};
use highgate_io::{
    clock,
    tasks::{LocalTasks, Stop},
};
use highgate_proxy::{node::Node, shared::Shared};
use highgate_vrrp::{
    Drains, State, Status, event, from_config,
    linux::{BEAT, FromKeeper, ToKeeper},
};
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot, watch};

use super::{
    Keeper,
    leave::{Leaving, Usher},
    voice::Voice,
};

/// How long the keeper may take to give everything away.
const FAREWELL: Duration = Duration::from_secs(3);
/// How long it may take for what asks no more of it than a system call.
const AT_ONCE: Duration = Duration::from_secs(2);
/// A worker that was not heard for so long does not answer.
const WORKER_SILENCE: Duration = Duration::from_secs(1);
/// Orders of operators that may wait.
const ORDERS: usize = 64;
/// Vips that may be about to go at a time.
const LEAVING: usize = 512;

/// How the keeper is reached, and what it told last.
#[derive(Debug)]
pub(crate) struct Link {
    /// How all vips are.
    status: watch::Receiver<Vec<Status>>,
    /// There is a keeper, and it is this process's.
    is_there: AtomicBool,
    orders: mpsc::Sender<Order>,
    leaving: mpsc::Sender<Leaving>,
    drains: Mutex<Drains>,
    config: watch::Receiver<Arc<Config>>,
    node: NodeName,
}

/// What the conversation is told.
#[derive(Debug)]
pub(super) enum Order {
    /// Say this.
    Say(ToKeeper),
    /// Have sockets drop new clients of these addresses, or hear everybody again.
    Deafen(Vec<IpAddr>, Vec<OwnedFd>, oneshot::Sender<io::Result<()>>),
    /// Have a port bound.
    Bind(SocketAddr, oneshot::Sender<io::Result<OwnedFd>>),
    /// Another process is about to speak in place of this one: a copy of the stream, and silence.
    HandOver(oneshot::Sender<io::Result<OwnedFd>>),
    /// The other process failed: speak again.
    Resume,
    /// The other process speaks from now on.
    Leave,
    /// Speak with this keeper, which another process spoke with, but of nothing new.
    TakeOver(UnixStream),
    /// This process is in charge of everything from now on.
    TakeCharge,
}

/// How much is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
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
struct Talk {
    node: NodeName,
    shared: Arc<Shared>,
    serving: watch::Receiver<bool>,
    config: watch::Receiver<Arc<Config>>,
    orders: mpsc::Receiver<Order>,
    status: watch::Sender<Vec<Status>>,
    link: Arc<Link>,
    voice: Option<Voice>,
    part: Part,
    binds: BTreeMap<SocketAddr, oneshot::Sender<io::Result<OwnedFd>>>,
    deafens: VecDeque<oneshot::Sender<io::Result<()>>>,
}

impl Link {
    /// Talks to the keeper from now on, if there is one. `in_charge`: no other process is.
    pub(crate) fn open(
        keeper: Option<Keeper>,
        alone: &Alone,
        node: &Arc<Node>,
        (serving, in_charge): (watch::Receiver<bool>, bool),
        (tasks, stop): (&LocalTasks, Stop),
    ) -> io::Result<Arc<Self>> {
        let (sender, status) = watch::channel(Vec::new());
        let (orders, received) = mpsc::channel(ORDERS);
        let (leaving, to_leave) = mpsc::channel(LEAVING);
        let config = alone.watch_config();
        let link = Arc::new(Self {
            status: status.clone(),
            is_there: AtomicBool::new(keeper.is_some()),
            orders,
            leaving,
            drains: Mutex::default(),
            config: config.clone(),
            node: alone.node().clone(),
        });
        let talk = Talk {
            node: alone.node().clone(),
            shared: node.shared().clone(),
            serving,
            config,
            orders: received,
            status: sender,
            link: link.clone(),
            voice: keeper.map(|Keeper(stream)| Voice::new(stream)).transpose()?,
            part: if in_charge { Part::InCharge } else { Part::Waiting },
            binds: BTreeMap::new(),
            deafens: VecDeque::new(),
        };
        tasks.spawn(talk.run(stop.clone()));
        let usher = Usher { node: node.clone(), link: link.clone(), status };
        tasks.spawn(usher.see_off(to_leave, stop));
        Ok(link)
    }

    /// Whether there is a keeper, and it is this process's.
    pub(crate) fn is_there(&self) -> bool {
        self.is_there.load(Ordering::Acquire)
    }

    /// How all vips are, as told last.
    pub(crate) fn status(&self) -> Vec<Status> {
        self.status.borrow().clone()
    }

    /// The addresses of a vip and of those that go with it, as far as they are here; without a name of
    /// all vips.
    pub(crate) fn held(&self, vip: Option<&str>) -> Vec<IpAddr> {
        let config = self.config.borrow().clone();
        let groups = config.node.get(&self.node).map(|node| &node.vip_groups);
        let together = |name: &str, other: &str| {
            let mut groups = groups.into_iter().flat_map(BTreeMap::values);
            groups.any(|group| {
                let has = |name: &str| group.members.iter().any(|member| member.as_str() == name);
                has(name) && has(other)
            })
        };
        let status = self.status.borrow();
        let here = status.iter().filter(|status| status.state == State::Active);
        here.filter(|one| vip.is_none_or(|vip| one.name == vip || together(vip, &one.name)))
            .flat_map(|status| status.addresses.iter().copied())
            .collect()
    }

    /// Takes a vip out, or all, once its sessions have had a moment to end; `None` lets it back in.
    ///
    /// # Errors
    /// A sentence for the operator.
    pub(crate) fn drain(&self, vip: Option<&str>, why: Option<&str>) -> Result<(), String> {
        if !self.is_there() {
            return Err("there is nobody to be told: this process keeps no vips".to_owned());
        }
        if let Some(vip) = vip
            && !self.status.borrow().iter().any(|status| status.name == vip)
        {
            return Err(format!("there is no vip `{vip}`"));
        }
        self.drains.lock().say(vip, why);
        let addresses = if why.is_some() { self.held(vip) } else { Vec::new() };
        let router = vip.map(str::to_owned);
        let then = ToKeeper::Drain { router, why: why.map(str::to_owned) };
        let leaving = Leaving { addresses, then };
        self.leaving.try_send(leaving).map_err(|_| "the keeper does not answer".to_owned())
    }

    /// Has the addresses given away, once their sessions have had a moment to end, and the keeper ended.
    /// Returns when that is done, or late.
    ///
    /// Cancel safe: yes; it goes on.
    pub(crate) async fn stop(&self) {
        let leaving = Leaving { addresses: self.held(None), then: ToKeeper::Stop };
        if !self.is_there() || self.leaving.try_send(leaving).is_err() {
            return;
        }
        let by = clock::now() + FAREWELL;
        // Without an answer the keeper's silence, its watcher or the addresses' lifetime do it.
        let _ = clock::before(by, self.orders.closed()).await;
    }

    /// Has the keeper listen on ports that this process has no right to; gives the sockets. What can't
    /// be had is told.
    ///
    /// Cancel safe: yes; sockets that were opened are closed.
    pub(crate) async fn bind<K: Ord>(
        &self,
        wanted: Vec<(K, SocketAddr)>,
        shared: &Shared,
    ) -> BTreeMap<K, OwnedFd> {
        let mut bound = BTreeMap::new();
        if !self.is_there() {
            return bound;
        }
        for (key, address) in wanted.into_iter().filter(|(_, at)| (1..1024).contains(&at.port())) {
            match self.ask(|answer| Order::Bind(address, answer)).await {
                Ok(socket) => drop(bound.insert(key, socket)),
                Err(error) => {
                    let text = format!("the keeper of the addresses can't bind {address}: {error}");
                    shared.event(Event::new(Severity::Error, Kind::Config, text));
                }
            }
        }
        bound
    }

    /// Says something to the keeper.
    pub(super) async fn say(&self, message: ToKeeper) {
        let _ = self.orders.send(Order::Say(message)).await;
    }

    /// What another process needs in order to speak with the keeper in place of this one, which is
    /// silent from now on; `None` without a keeper.
    ///
    /// # Errors
    /// The keeper is gone, or no descriptor is left.
    pub(crate) async fn hand_over(&self) -> io::Result<Option<(OwnedFd, Drains)>> {
        if !self.is_there() {
            return Ok(None);
        }
        let stream = self.ask(Order::HandOver).await?;
        Ok(Some((stream, self.drains.lock().clone())))
    }

    /// The other process speaks with it from now on.
    pub(crate) async fn leave(&self) {
        self.is_there.store(false, Ordering::Release);
        let _ = self.orders.send(Order::Leave).await;
    }

    /// The other process failed.
    pub(crate) async fn resume(&self) {
        let _ = self.orders.send(Order::Resume).await;
    }

    /// Speaks with the keeper of another process in place of its own.
    pub(crate) async fn take_over(&self, stream: OwnedFd, drains: Drains) {
        *self.drains.lock() = drains;
        self.is_there.store(true, Ordering::Release);
        let _ = self.orders.send(Order::TakeOver(stream.into())).await;
    }

    /// No other process is in charge any more.
    pub(crate) async fn take_charge(&self) {
        let _ = self.orders.send(Order::TakeCharge).await;
    }

    pub(super) async fn ask<T>(
        &self,
        order: impl FnOnce(oneshot::Sender<io::Result<T>>) -> Order,
    ) -> io::Result<T> {
        let (answer, told) = oneshot::channel();
        let silent = || io::Error::new(io::ErrorKind::TimedOut, "it does not answer");
        self.orders.send(order(answer)).await.map_err(|_| silent())?;
        clock::before(clock::now() + AT_ONCE, told)
            .await
            .and_then(Result::ok)
            .unwrap_or_else(|| Err(silent()))
    }
}

impl Talk {
    async fn run(mut self, stop: Stop) {
        if self.part == Part::InCharge {
            self.send_task().await;
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
                    Ok(line) => {
                        if self.hear(&line).await {
                            return;
                        }
                    }
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
                    self.farewell().await;
                    // Nobody has an address any more.
                    self.status.send_replace(Vec::new());
                    return true;
                }
            }
            Order::Deafen(to, sockets, answer) => {
                let message = ToKeeper::Deafen { to, sockets: sockets.len() };
                if let Some(voice) = self.voice.as_mut().filter(|_| self.part != Part::Silent) {
                    voice.send_with(&message, &sockets).await;
                    self.deafens.push_back(answer);
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
                self.send_task().await;
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
                self.send_task().await;
            }
        }
        false
    }

    /// What this process can do by itself: never whether a database answers, which would move the
    /// address, or drop it on all nodes, whenever a database fails.
    fn can_serve(&self) -> Result<(), String> {
        if !*self.serving.borrow() {
            return Err("this process does not serve yet, or drains".to_owned());
        }
        match self.shared.silent_worker(WORKER_SILENCE) {
            Some(worker) => Err(format!("data worker {worker} does not answer")),
            None => Ok(()),
        }
    }

    async fn say(&mut self, message: &ToKeeper) {
        if self.part != Part::Silent
            && let Some(voice) = &mut self.voice
        {
            voice.send(message).await;
        }
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

    /// One word of the keeper. True: it has ended as it was told to.
    async fn hear(&mut self, line: &[u8]) -> bool {
        match serde_json::from_slice(line) {
            Ok(FromKeeper::Status(status)) => drop(self.status.send_replace(status)),
            Ok(FromKeeper::Event { router, event }) => self.tell(router.as_deref(), &event),
            Ok(FromKeeper::Hello { why, .. }) => {
                if let Some(why) = why {
                    self.shared.event(Event::new(Severity::Error, Kind::Vip, why));
                }
                // Another one knows nothing yet.
                if self.part == Part::InCharge {
                    self.send_task().await;
                    let words = self.link.drains.lock().words();
                    for (router, why) in words {
                        self.say(&ToKeeper::Drain { router, why }).await;
                    }
                }
            }
            Ok(FromKeeper::Yield { router, addresses }) => {
                let then = ToKeeper::Yielded { router };
                // Where too many go at a time, the keeper does not wait for each.
                let _ = self.link.leaving.try_send(Leaving { addresses, then });
            }
            Ok(FromKeeper::Deafened { error }) => {
                let done = error.map_or(Ok(()), |error| Err(io::Error::other(error)));
                if let Some(answer) = self.deafens.pop_front() {
                    let _ = answer.send(done);
                }
            }
            Ok(FromKeeper::Bound { address, error }) => self.bound(address, error),
            Ok(FromKeeper::Stopped) => return true,
            Err(error) => tracing::warn!("the keeper of the addresses is not understood: {error}"),
        }
        false
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
            it is started again (see their message above, or the system's log)";
        self.shared.event(Event::new(Severity::Error, Kind::Vip, text.to_owned()));
        self.status.send_replace(Vec::new());
        self.voice = None;
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

async fn heard(voice: &mut Option<Voice>) -> io::Result<Vec<u8>> {
    match voice {
        Some(voice) => voice.line().await,
        None => Err(io::ErrorKind::NotConnected.into()),
    }
}
