//! From nothing, or from a running process, to a process that serves.

use std::{collections::BTreeSet, path::PathBuf, rc::Rc, sync::Arc, time::Duration};

use highgate_cluster::{Alone, Applied};
use highgate_config::{ControlPlane as _, NodeName, native::Parsed};
use highgate_core::events::{Event, Kind, Severity};
use highgate_io::{
    clock,
    log::LogLines,
    tasks::{self, LocalTasks, Stopper},
};
use tokio::{net::UnixListener, sync::mpsc};

use crate::{
    admin_side::{self, AdminSide, Missing},
    applying::{Emptied, keeps_a_listener},
    cli, differs,
    handover::{
        Peer,
        give::{self, Word},
        take::{self, Before, Given},
    },
    own_files::OwnFiles,
    vips::Keeper,
    wiring::{self, Wired},
};

/// For the first checks of a new process to speak: without them it serves as well, later.
const FIRST_CHECKS: Duration = Duration::from_secs(3);

/// What a start is made of.
pub(crate) struct Start<'a> {
    pub(crate) arguments: &'a cli::Run,
    pub(crate) node: NodeName,
    pub(crate) parsed: Parsed,
    pub(crate) own: OwnFiles,
    pub(crate) data_dir: PathBuf,
    /// Keeps the addresses of this node, if it has any.
    pub(crate) keeper: Option<Keeper>,
    /// Where its log goes.
    pub(crate) log: LogLines,
}

/// Starts beside the process that runs where that is asked for and there is one; else as usual.
pub(crate) async fn start(start: Start<'_>, local: &LocalTasks) -> anyhow::Result<(Running, Door)> {
    if start.arguments.replace {
        if let Some(given) = take::ask(&start.data_dir).await? {
            return take_over(start, given, local).await;
        }
        tracing::info!("no process is there to be replaced: this is a usual start");
    }
    begin(start, local).await
}

/// Where new processes come to replace this one; closed when dropped.
pub(crate) struct Door {
    pub(crate) words: mpsc::Receiver<Word>,
    _stopper: Stopper,
}

/// A process that serves.
pub(crate) struct Running {
    pub(crate) wired: Rc<Wired>,
    pub(crate) admin: Rc<AdminSide>,
}

impl Running {
    /// Opens the sockets that lie in the data directory. Only for who holds it.
    pub(crate) fn open_door(&self, tasks: &LocalTasks) -> anyhow::Result<Door> {
        let socket = self.open_sockets()?;
        let (sender, words) = mpsc::channel(1);
        let (stopper, stop) = Stopper::new();
        tasks.spawn(give::offer(socket, self.wired.clone(), self.admin.clone(), sender, stop));
        Ok(Door { words, _stopper: stopper })
    }

    /// As [`Self::open_door`], once the data directory, which that process keeps, is this process's again.
    pub(crate) fn open_door_later(&self, peer: Peer, tasks: &LocalTasks) -> Door {
        let (sender, words) = mpsc::channel(1);
        let (stopper, stop) = Stopper::new();
        let this = Self { wired: self.wired.clone(), admin: self.admin.clone() };
        tasks.spawn(async move {
            let is_over = tokio::select! {
                biased;
                () = stop.stopped() => return,
                is_over = give::outlasted(&this.wired, &peer) => is_over,
            };
            drop(peer);
            if is_over {
                let _ = sender.send(Word::Taken).await;
                return;
            }
            match this.open_sockets() {
                Ok(socket) => give::offer(socket, this.wired, this.admin, sender, stop).await,
                Err(error) => not_opened(&error),
            }
        });
        Door { words, _stopper: stopper }
    }

    fn open_sockets(&self) -> anyhow::Result<UnixListener> {
        self.admin.open_ctl(&self.wired.data_dir)?;
        give::open(&self.wired.data_dir)
    }
}

/// Says that a [`Door`] is missing.
pub(crate) fn not_opened(error: &anyhow::Error) {
    tracing::error!("{error:#}; `ctl` and `--replace` can't be served");
}

/// Starts where no process runs.
async fn begin(start: Start<'_>, local: &LocalTasks) -> anyhow::Result<(Running, Door)> {
    let arguments = start.arguments;
    if arguments.initial {
        Alone::forget(&start.data_dir)?;
    }
    let alone = Alone::open(&start.data_dir, start.node)?;
    let applied = alone.start_with(&start.own.key, start.parsed.config.clone()).await?;
    let wired = Rc::new(wiring::wire(
        alone,
        start.data_dir,
        start.own,
        (start.keeper, true),
        start.log,
        local,
    )?);
    tell(&wired, &start.parsed, &applied);
    // Who logs in before the accounts are in force would be refused.
    let mut planned = wired.node.shared().snapshot_changed.subscribe();
    planned.wait_for(|version| *version > 0).await?;
    wired.applying().bind_low_ports(&wired.config()).await;
    wired.node.apply(&wired.config())?;
    let mut inherited = admin_side::Inherited::new();
    admin_side::low_ports(&wired, &mut inherited).await;
    let admin = AdminSide::open(&wired, &mut inherited, local, Missing::IsTriedAgain)?;
    wired.serving.send_replace(true);
    let running = Running { wired, admin };
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
    let (running, parsed) = match serve_beside(start, &mut given, local).await {
        Ok(serving) => serving,
        Err(error) => {
            given.into_before().refuse(&format!("{error:#}")).await;
            return Err(error);
        }
    };
    let before = given.into_before();
    match take_directory(&running, &before, &parsed, local).await {
        Ok(door) => Ok((running, door)),
        Err(error) => {
            tracing::error!("cannot take over: {error:#}");
            // First: without it the process before can store nothing.
            let alone = running.wired.alone.clone();
            let _ = tasks::blocking(move || alone.release()).await;
            before.refuse(&format!("{error:#}")).await;
            // The process before speaks with the keeper again.
            running.wired.vips.leave().await;
            // Clients may have come here meanwhile.
            running.wired.serving.send_replace(false);
            running.admin.stop();
            running.wired.node.retire(running.wired.patience()).await;
            running.wired.end();
            Err(error)
        }
    }
}

/// Serves by the sockets of the process that runs, and by what lies in its data directory.
async fn serve_beside(
    start: Start<'_>,
    given: &mut Given,
    local: &LocalTasks,
) -> anyhow::Result<(Running, Parsed)> {
    let alone = Alone::peek(&start.data_dir, start.node)?;
    stage(&alone, &start.own, &start.parsed, &given.filled).map_err(anyhow::Error::msg)?;
    let keeper = (start.keeper, false);
    let wired = Rc::new(wiring::wire(alone, start.data_dir, start.own, keeper, start.log, local)?);
    let node = &wired.node;
    admin_side::low_ports(&wired, &mut given.admin).await;
    let admin = AdminSide::open(&wired, &mut given.admin, local, Missing::EndsTheStart)?;
    node.number_sessions_from(given.first_session);
    node.inherit(std::mem::take(&mut given.listeners));
    // Clients that come at once are to find servers.
    node.knows_its_servers(clock::now() + FIRST_CHECKS).await;
    wired.applying().bind_low_ports(&wired.config()).await;
    node.apply(&wired.config())?;
    wired.serving.send_replace(true);
    Ok((Running { wired, admin }, start.parsed))
}

/// Gets files ready to take over with, and refuses those that `apply` refuses: nobody who reloads a service means
/// to take it from its clients.
///
/// # Errors
/// A sentence for the operator.
fn stage(
    alone: &Alone,
    own: &OwnFiles,
    parsed: &Parsed,
    filled: &BTreeSet<String>,
) -> Result<(), String> {
    own.none_is_emptied_since(filled, parsed)?;
    let (before, last) = (alone.current().1, alone.last_start());
    let staged = alone.stage_file(&own.key, Arc::new(parsed.config.clone()));
    staged.map_err(|error| error.to_string())?;
    let emptied = last.and_then(|last| Emptied::of(alone, &own.key, (last, &parsed.config), true));
    keeps_a_listener(&before, &alone.current().1, emptied.as_ref())
}

async fn take_directory(
    running: &Running,
    before: &Before,
    parsed: &Parsed,
    local: &LocalTasks,
) -> anyhow::Result<Door> {
    let wired = &running.wired;
    let (own, file) = (wired.applying().own, Arc::new(parsed.config.clone()));
    match before.take(&wired.vips, &wired.alone, &own.key, &file).await? {
        Ok(applied) => tell(wired, parsed, &applied),
        Err(error) => {
            let event = Event::new(Severity::Error, Kind::Config, error.to_string());
            wired.node.shared().event(event);
        }
    }
    wired.go_by_stored_records().await;
    // The last word of the process before may differ from what it had told us.
    wired.applying().bind_low_ports(&wired.config()).await;
    wired.node.apply(&wired.config())?;
    let door = running.open_door(local)?;
    before.dismiss().await;
    wired.vips.take_charge().await;
    Ok(door)
}

/// Tells where files and what is in force did not agree, and what of the files is not there: nobody asked `apply`,
/// which would have told.
fn tell(wired: &Wired, parsed: &Parsed, applied: &Applied) {
    let (key, files) = (&wired.applying().own.key, wired.alone.all_applied());
    let given = differs::Given { key, own: key, parsed, applied: &files };
    let conflicts = applied.conflicts.iter().map(ToString::to_string);
    for what in conflicts.chain(given.deleted_elsewhere(&wired.config())) {
        let text = format!("started with {key}: {what}");
        wired.node.shared().event(Event::new(Severity::Warning, Kind::Config, text));
    }
}
