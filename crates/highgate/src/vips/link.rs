//! How the rest of the program reaches the keeper.

use std::{
    collections::BTreeMap,
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
use highgate_config::{Config, ControlPlane as _, Layers as _};
use highgate_core::events::{Event, Kind, Severity};
use highgate_io::{
    clock,
    tasks::{self, LocalTasks, Stop},
};
use highgate_proxy::{node::Node, shared::Shared};
use highgate_vrrp::{State, Status, linux::ToKeeper};
use tokio::sync::{mpsc, oneshot, watch};

use super::{
    Keeper,
    leave::{Leaving, Usher},
    talk::{Part, Talk},
    voice::Voice,
};

/// How long the keeper may take to give everything away.
const FAREWELL: Duration = Duration::from_secs(3);
/// How long it may take for what asks no more of it than a system call.
const AT_ONCE: Duration = Duration::from_secs(2);
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
    pub(super) leaving: mpsc::Sender<Leaving>,
    pub(super) alone: Alone,
    shared: Arc<Shared>,
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

impl Link {
    /// Talks to the keeper from now on, if there is one. `in_charge`: no other process is.
    pub(crate) fn open(
        keeper: Option<Keeper>,
        alone: &Alone,
        node: &Arc<Node>,
        (serving, fault, in_charge): (watch::Receiver<bool>, watch::Receiver<Option<String>>, bool),
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
            alone: alone.clone(),
            shared: node.shared().clone(),
        });
        let talk = Talk {
            node: alone.node().clone(),
            shared: node.shared().clone(),
            serving,
            fault,
            config,
            orders: received,
            status: sender,
            link: link.clone(),
            voice: keeper.map(|Keeper(stream)| Voice::new(stream)).transpose()?,
            part: if in_charge { Part::InCharge } else { Part::Waiting },
            binds: BTreeMap::new(),
            deafens: BTreeMap::new(),
            deafen_number: 0,
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
        let (_, config) = self.alone.current();
        let groups = config.node.get(self.alone.node()).map(|node| &node.vip_groups);
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

    /// Looks whether the vips of another configuration could be kept.
    ///
    /// # Errors
    /// A sentence for the operator.
    pub(crate) fn could_keep(&self, config: &Config) -> Result<(), String> {
        let of = |config: &Config| {
            config.node.get(self.alone.node()).is_some_and(|it| !it.vips.is_empty())
        };
        if self.is_there() || !of(config) || of(&self.alone.current().1) {
            return Ok(());
        }
        Err("nothing was changed: there are vips now, but this process was started without any, and \
             has given up the right to keep some. `highgate run --replace` with the same arguments \
             starts one that does, without a refused connection"
            .to_owned())
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
            let names: Vec<String> =
                self.status.borrow().iter().map(|status| format!("`{}`", status.name)).collect();
            let known = if names.is_empty() { "none is here".to_owned() } else { names.join(", ") };
            return Err(format!("there is no vip `{vip}`: {known}"));
        }
        let stored = self.alone.drain(vip.map(str::to_owned), why.map(str::to_owned));
        tasks::wait(stored).map_err(|error| {
            let text =
                format!("an operator's word about vips was refused, nothing was changed: {error}");
            self.shared.event(Event::new(Severity::Error, Kind::Override, text));
            error.to_string()
        })?;
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
        for (key, address) in wanted {
            match self.bind_one(address).await {
                Some(Ok(socket)) => drop(bound.insert(key, socket)),
                Some(Err(error)) => {
                    let text = format!("the keeper of the addresses can't bind {address}: {error}");
                    shared.event(Event::new(Severity::Error, Kind::Config, text));
                }
                None => {}
            }
        }
        bound
    }

    /// Has the keeper listen on a port, where this process has no right to it; `None` where it has, or there is
    /// no keeper.
    ///
    /// Cancel safe: yes; a socket that was opened is closed.
    pub(crate) async fn bind_one(&self, address: SocketAddr) -> Option<io::Result<OwnedFd>> {
        if !self.is_there() || !(1..1024).contains(&address.port()) {
            return None;
        }
        Some(self.ask(|answer| Order::Bind(address, answer)).await)
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
    pub(crate) async fn hand_over(&self) -> io::Result<Option<OwnedFd>> {
        if !self.is_there() {
            return Ok(None);
        }
        self.ask(Order::HandOver).await.map(Some)
    }

    /// There is no keeper any more.
    pub(super) fn lost(&self) {
        self.is_there.store(false, Ordering::Release);
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
    pub(crate) async fn take_over(&self, stream: OwnedFd) {
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
