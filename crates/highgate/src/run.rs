//! `highgate run`: from the files to serving, and from a signal to the end.

use std::{path::PathBuf, rc::Rc, sync::Arc, time::Duration};

use anyhow::Context;
use highgate_cluster::{Alone, Applied};
use highgate_config::{Config, NodeName};
use highgate_core::events::{Event, Kind, Severity};
use highgate_io::{
    clock,
    tasks::{self, LocalTasks, Stopper},
};
use tokio::sync::mpsc;
use tracing_subscriber::EnvFilter;

use crate::{
    admin_side::{AdminSide, Inherited},
    cli, files,
    handover::{
        Peer, give,
        take::{self, Before, Given},
    },
    signals::{Asked, Signals},
    wiring::{self, Wired},
};

/// For the first checks of a new process to speak: without them it serves as well, later.
const FIRST_CHECKS: Duration = Duration::from_secs(3);

/// What a start is made of.
struct Start<'a> {
    arguments: &'a cli::Run,
    node: NodeName,
    config: Config,
    data_dir: PathBuf,
}

pub(crate) fn run(arguments: &cli::Run) -> anyhow::Result<()> {
    log(&arguments.log)?;
    let node = NodeName::from(arguments.node.as_str());
    // Before anything else: a file with mistakes changes nothing.
    let config = files::read(&arguments.files, &node)?;
    let data_dir = arguments
        .data_dir
        .clone()
        .unwrap_or_else(|| files::default_data_dir(arguments.files.first()));
    let start = Start {
        arguments,
        node,
        config,
        data_dir,
    };
    let runtime = tasks::local_runtime().context("cannot start the control runtime")?;
    runtime.block_on(serve(start))
}

async fn serve(start: Start<'_>) -> anyhow::Result<()> {
    let local = LocalTasks::default();
    let mut signals = Signals::listen().context("cannot listen to signals")?;
    let files = &start.arguments.files;
    let given = if start.arguments.replace {
        take::ask(&start.data_dir).await?
    } else {
        None
    };
    let (running, door) = match given {
        Some(given) => take_over(start, given, &local).await?,
        None => begin(start, &local).await?,
    };
    running.wired.keep_records(&local);
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        pid = std::process::id(),
        data_dir = %running.wired.data_dir.display(),
        "ready"
    );
    let ended = follow(&running, door, &mut signals, files, &local).await;
    finish(&running, &mut signals, ended).await;
    Ok(())
}

/// Where new processes come to replace this one; closed when dropped.
struct Door {
    peers: mpsc::Receiver<Peer>,
    _stopper: Stopper,
}

/// A process that serves.
struct Running {
    wired: Rc<Wired>,
    admin: Rc<AdminSide>,
}

impl Running {
    /// Opens the sockets that lie in the data directory. Only for who holds it.
    fn open_door(&self, tasks: &LocalTasks) -> anyhow::Result<Door> {
        self.admin.open_ctl(&self.wired.data_dir, tasks)?;
        let socket = give::open(&self.wired.data_dir)?;
        let (ready, peers) = mpsc::channel(1);
        let (stopper, stop) = Stopper::new();
        let (wired, admin) = (self.wired.clone(), self.admin.clone());
        tasks.spawn(give::offer(socket, wired, admin, ready, stop));
        Ok(Door {
            peers,
            _stopper: stopper,
        })
    }
}

/// Starts where no process runs.
async fn begin(start: Start<'_>, local: &LocalTasks) -> anyhow::Result<(Running, Door)> {
    let arguments = start.arguments;
    if arguments.replace {
        tracing::info!("no process is there to be replaced: this is a usual start");
    }
    if arguments.initial {
        Alone::forget(&start.data_dir)?;
    }
    let alone = Alone::open(&start.data_dir, start.node)?;
    for file in &arguments.files {
        let (parsed, key) = (start.config.clone(), files::key(file));
        let applied = alone.apply_file(alone.node(), &key, parsed, "run");
        warn(&applied.await?);
    }
    let wired = Rc::new(wiring::wire(alone, start.data_dir, local)?);
    // Who logs in before the accounts are in force would be refused.
    let mut planned = wired.node.shared().snapshot_changed.subscribe();
    planned.wait_for(|version| *version > 0).await?;
    wired.node.apply(&wired.config())?;
    let admin = AdminSide::open(&wired, &mut Inherited::new(), local)?;
    wired.serving.send_replace(true);
    let running = Running {
        wired,
        admin: Rc::new(admin),
    };
    let door = running.open_door(local)?;
    Ok((running, door))
}

/// Starts beside the process that runs, and takes over from it. Until that is told, at the end, it
/// goes on whatever happens here.
async fn take_over(
    start: Start<'_>,
    mut given: Given,
    local: &LocalTasks,
) -> anyhow::Result<(Running, Door)> {
    let key = start.arguments.files.first();
    let key = key.map(|file| files::key(file)).unwrap_or_default();
    let file = Arc::new(start.config);
    let alone = Alone::peek(&start.data_dir, start.node)?;
    alone.stage_file(&key, file.clone())?;
    let wired = Rc::new(wiring::wire(alone, start.data_dir, local)?);
    let node = &wired.node;
    let admin = Rc::new(AdminSide::open(&wired, &mut given.admin, local)?);
    node.number_sessions_from(given.first_session);
    node.inherit(std::mem::take(&mut given.listeners));
    // Clients that come at once are to find servers.
    node.knows_its_servers(clock::now() + FIRST_CHECKS).await;
    node.apply(&wired.config())?;
    wired.serving.send_replace(true);
    let running = Running { wired, admin };
    match take_directory(&running, given.into_before(), &key, &file, local).await {
        Ok(door) => Ok((running, door)),
        Err(error) => {
            tracing::error!("cannot take over: {error:#}");
            // Clients may have come here meanwhile.
            running.wired.serving.send_replace(false);
            running.admin.stop();
            running.wired.node.retire(running.wired.patience()).await;
            running.wired.end();
            Err(error)
        }
    }
}

async fn take_directory(
    running: &Running,
    before: Before,
    key: &str,
    file: &Arc<Config>,
    local: &LocalTasks,
) -> anyhow::Result<Door> {
    let wired = &running.wired;
    match before.take(&wired.alone, key, file).await? {
        Ok(applied) => warn(&applied),
        Err(error) => {
            let event = Event::new(Severity::Error, Kind::Config, error.to_string());
            wired.node.shared().event(event);
        }
    }
    // The last word of the process before may differ from what it had told us.
    wired.node.apply(&wired.config())?;
    let door = running.open_door(local)?;
    before.dismiss().await;
    Ok(door)
}

fn warn(applied: &Applied) {
    for conflict in &applied.conflicts {
        tracing::warn!("{conflict}");
    }
}

/// Why a process stops serving.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ended {
    /// A signal.
    Told,
    /// Another process took over.
    Replaced,
}

/// Puts changed configurations in force until the stop.
async fn follow(
    running: &Running,
    mut door: Door,
    signals: &mut Signals,
    files: &[PathBuf],
    local: &LocalTasks,
) -> Ended {
    let wired = &running.wired;
    let mut changes = wired.alone.watch_config();
    changes.mark_unchanged();
    loop {
        tokio::select! {
            biased;
            asked = signals.next() => match asked {
                Asked::Stop => return Ended::Told,
                Asked::Reload => reload(wired, files).await,
            },
            changed = changes.changed() => {
                if changed.is_err() {
                    return Ended::Told;
                }
                let config = changes.borrow_and_update().clone();
                put_in_force(wired, &config);
            }
            Some(peer) = door.peers.recv() => {
                if give::let_go(wired, &peer).await {
                    return Ended::Replaced;
                }
                match running.open_door(local) {
                    Ok(new) => door = new,
                    Err(error) => tracing::error!("{error:#}; `ctl` and `--replace` can't be served"),
                }
            }
        }
    }
}

fn put_in_force(wired: &Wired, config: &Arc<Config>) {
    if let Err(error) = wired.node.apply(config) {
        let text = format!("a part of the configuration is not in force: {error}");
        wired
            .node
            .shared()
            .event(Event::new(Severity::Error, Kind::Config, text));
    }
}

/// Reads the files anew; what is wrong with them is said, and changes nothing.
async fn reload(wired: &Wired, list: &[PathBuf]) {
    let shared = wired.node.shared();
    for file in list {
        let told = match files::parse(file, wired.alone.node()) {
            Ok(parsed) => {
                let key = files::key(file);
                let applied = wired
                    .alone
                    .apply_file(wired.alone.node(), &key, parsed, "SIGHUP");
                match applied.await {
                    Ok(applied) => {
                        for conflict in &applied.conflicts {
                            let text = conflict.to_string();
                            shared.event(Event::new(Severity::Warning, Kind::Config, text));
                        }
                        let count = applied.changes.len();
                        Ok(format!("{}: {count} changes are in force", file.display()))
                    }
                    Err(error) => Err(error.to_string()),
                }
            }
            Err(error) => Err(format!("{error:#}")),
        };
        let event = match told {
            Ok(text) => Event::new(Severity::Info, Kind::Config, text),
            Err(text) => {
                let text = format!("nothing was changed: {text}");
                Event::new(Severity::Error, Kind::Config, text)
            }
        };
        shared.event(event);
    }
    // Certificates may have changed under the same names.
    put_in_force(wired, &wired.config());
}

/// Drains within the bound; a second signal ends it at once.
async fn finish(running: &Running, signals: &mut Signals, ended: Ended) {
    let wired = &running.wired;
    let patience = wired.patience();
    wired.serving.send_replace(false);
    let text = format!("draining, for at most {} s", patience.as_secs());
    let event = Event::new(Severity::Info, Kind::Lifecycle, text);
    wired.node.shared().event(event);
    let drained = async {
        match ended {
            Ended::Told => wired.node.drain(patience).await,
            Ended::Replaced => {
                // The process that took over answers operators now.
                running.admin.stop();
                wired.node.retire(patience).await;
            }
        }
    };
    tokio::select! {
        biased;
        _ = signals.next() => tracing::warn!("told again: ending at once"),
        () = drained => {}
    }
    running.admin.stop();
    wired.end();
    tracing::info!("ended");
}

fn log(filter: &str) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(filter)
        .with_context(|| format!("`--log {filter}` is no filter, such as `info`"))?;
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))
        .with_target(false)
        .init();
    Ok(())
}
