//! The conversation with the keeper.

use std::{io, sync::Arc, time::Duration};

use highgate_cluster::Alone;
use highgate_config::{Config, NodeName};
use highgate_core::events::{Event, Kind, Severity};
use highgate_io::{
    clock,
    tasks::{LocalTasks, Stop},
};
use highgate_proxy::shared::Shared;
use highgate_vrrp::{
    Status, event, from_config,
    linux::{BEAT, FromKeeper, ToKeeper},
};
use parking_lot::Mutex;
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::{
        UnixStream,
        unix::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::{mpsc, watch},
};

use super::Keeper;

/// How long the keeper may take to give everything away.
const FAREWELL: Duration = Duration::from_secs(2);
/// A worker that was not heard for so long does not answer.
const WORKER_SILENCE: Duration = Duration::from_secs(1);
/// Orders of operators that may wait.
const ORDERS: usize = 64;

/// How the keeper is reached, and what it told last.
#[derive(Debug)]
pub(crate) struct Link {
    /// How all vips are.
    status: watch::Receiver<Vec<Status>>,
    /// Why there is no keeper.
    absent: Option<&'static str>,
    orders: mpsc::Sender<ToKeeper>,
    drained: Mutex<Vec<(Option<String>, String)>>,
}

/// What the conversation is about.
struct Talk {
    node: NodeName,
    shared: Arc<Shared>,
    serving: watch::Receiver<bool>,
    config: watch::Receiver<Arc<Config>>,
    orders: mpsc::Receiver<ToKeeper>,
    status: watch::Sender<Vec<Status>>,
    link: Arc<Link>,
}

impl Link {
    /// Talks to the keeper from now on, if there is one.
    pub(crate) fn open(
        keeper: Option<Keeper>,
        alone: &Alone,
        shared: &Arc<Shared>,
        serving: watch::Receiver<bool>,
        (tasks, stop): (&LocalTasks, Stop),
    ) -> io::Result<Arc<Self>> {
        let (sender, status) = watch::channel(Vec::new());
        let (orders, received) = mpsc::channel(ORDERS);
        let absent = keeper.is_none().then_some("this process was started without vips");
        let link = Arc::new(Self { status, absent, orders, drained: Mutex::default() });
        let config = alone.watch_config();
        let Some(Keeper(stream)) = keeper else {
            tasks.spawn(warn_of_vips(alone.node().clone(), shared.clone(), config, stop));
            return Ok(link);
        };
        stream.set_nonblocking(true)?;
        let talk = Talk {
            node: alone.node().clone(),
            shared: shared.clone(),
            serving,
            config,
            orders: received,
            status: sender,
            link: link.clone(),
        };
        tasks.spawn(talk.run(UnixStream::from_std(stream)?, stop));
        Ok(link)
    }

    /// Whether there is a keeper.
    pub(crate) const fn is_there(&self) -> bool {
        self.absent.is_none()
    }

    /// How all vips are, as told last.
    pub(crate) fn status(&self) -> Vec<Status> {
        self.status.borrow().clone()
    }

    /// Takes a vip out, or all; `None` lets it back in.
    ///
    /// # Errors
    /// A sentence for the operator.
    pub(crate) fn drain(&self, vip: Option<&str>, why: Option<&str>) -> Result<(), String> {
        if let Some(absent) = self.absent {
            return Err(format!("there is nobody to be told: {absent}"));
        }
        if let Some(vip) = vip
            && !self.status.borrow().iter().any(|status| status.name == vip)
        {
            return Err(format!("there is no vip `{vip}`"));
        }
        let router = vip.map(str::to_owned);
        {
            let mut drained = self.drained.lock();
            drained.retain(|(other, _)| *other != router && vip.is_some());
            drained.extend(why.map(|why| (router.clone(), why.to_owned())));
        }
        let order = ToKeeper::Drain { router, why: why.map(str::to_owned) };
        self.orders.try_send(order).map_err(|_| "the keeper does not answer".to_owned())
    }

    /// Has the addresses given away and the keeper ended. Returns when that is done, or late.
    ///
    /// Cancel safe: yes; it goes on.
    pub(crate) async fn stop(&self) {
        if self.absent.is_some() || self.orders.try_send(ToKeeper::Stop).is_err() {
            return;
        }
        let by = clock::now() + FAREWELL;
        // Without an answer the keeper's silence, its watcher or the addresses' lifetime do it.
        let _ = clock::before(by, self.orders.closed()).await;
    }
}

impl Talk {
    async fn run(mut self, stream: UnixStream, stop: Stop) {
        let (reader, mut writer) = stream.into_split();
        let mut lines = BufReader::new(reader).lines();
        self.send_task(&mut writer).await;
        let mut next_beat = clock::now();
        loop {
            tokio::select! {
                line = lines.next_line() => match line {
                    Ok(Some(line)) => {
                        if self.hear(&line, &mut writer).await {
                            return;
                        }
                    }
                    Ok(None) | Err(_) => return self.lost(),
                },
                changed = self.config.changed() => {
                    if changed.is_ok() {
                        self.send_task(&mut writer).await;
                    }
                }
                Some(order) = self.orders.recv() => {
                    send(&mut writer, &order).await;
                    if order == ToKeeper::Stop {
                        return self.farewell(lines).await;
                    }
                }
                () = clock::sleep_until(next_beat) => {
                    next_beat = clock::now() + BEAT;
                    send(&mut writer, &ToKeeper::Beat(self.can_serve())).await;
                }
                () = stop.stopped() => return,
            }
        }
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

    async fn send_task(&mut self, writer: &mut OwnedWriteHalf) {
        let config = self.config.borrow_and_update().clone();
        let task = config.node.get(&self.node).map(from_config::task).unwrap_or_default();
        send(writer, &ToKeeper::Task(Box::new(task))).await;
    }

    /// One word of the keeper. True: it has ended as it was told to.
    async fn hear(&mut self, line: &str, writer: &mut OwnedWriteHalf) -> bool {
        match serde_json::from_str(line) {
            Ok(FromKeeper::Status(status)) => drop(self.status.send_replace(status)),
            Ok(FromKeeper::Event { router, event }) => self.tell(router.as_deref(), &event),
            Ok(FromKeeper::Hello { why, .. }) => {
                if let Some(why) = why {
                    self.shared.event(Event::new(Severity::Error, Kind::Vip, why));
                }
                // Another one knows nothing yet.
                self.send_task(writer).await;
                let drained = self.link.drained.lock().clone();
                for (router, why) in drained {
                    send(writer, &ToKeeper::Drain { router, why: Some(why) }).await;
                }
            }
            Ok(FromKeeper::Stopped) => return true,
            Err(error) => tracing::warn!("the keeper of the addresses is not understood: {error}"),
        }
        false
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

    fn lost(&self) {
        let text = "the processes that keep the addresses are gone: this node holds no vip until \
            it is started again (see their message above, or the system's log)";
        self.shared.event(Event::new(Severity::Error, Kind::Vip, text.to_owned()));
        self.status.send_replace(Vec::new());
    }

    /// Waits for the last words.
    async fn farewell(self, mut lines: tokio::io::Lines<BufReader<OwnedReadHalf>>) {
        while let Ok(Some(line)) = lines.next_line().await {
            match serde_json::from_str(&line) {
                Ok(FromKeeper::Event { router, event }) => self.tell(router.as_deref(), &event),
                Ok(FromKeeper::Stopped) => return,
                _ => {}
            }
        }
    }
}

async fn send(writer: &mut OwnedWriteHalf, message: &ToKeeper) {
    if let Ok(mut line) = serde_json::to_vec(message) {
        line.push(b'\n');
        // Its end is told by the other direction.
        let _ = writer.write_all(&line).await;
    }
}

/// Vips came into a configuration whose process has given up the right to keep them.
async fn warn_of_vips(
    node: NodeName,
    shared: Arc<Shared>,
    mut config: watch::Receiver<Arc<Config>>,
    stop: Stop,
) {
    loop {
        tokio::select! {
            changed = config.changed() => if changed.is_err() { return },
            () = stop.stopped() => return,
        }
        let has_vips =
            config.borrow_and_update().node.get(&node).is_some_and(|node| !node.vips.is_empty());
        if has_vips {
            let text = "the configuration has vips now, but this process was started without any \
                and keeps none: `highgate run --replace` starts one that does, without a refused \
                connection";
            shared.event(Event::new(Severity::Error, Kind::Vip, text.to_owned()));
        }
    }
}
