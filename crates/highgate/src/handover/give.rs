//! The running process, asked by a new one.

use std::{os::fd::OwnedFd, path::Path, rc::Rc, time::Duration};

use anyhow::{Context, bail};
use highgate_core::events::{Event, Kind, Severity};
use highgate_io::{
    clock, listen,
    tasks::{self, Stop},
};
use tokio::{
    net::{UnixListener, UnixStream},
    sync::mpsc,
};

use super::{AT_ONCE, FORMAT, GETTING_READY, Message, Peer, SOON, Side, Socket, unexpected};
use crate::{admin_side::AdminSide, wiring::Wired};

/// For the new process to take the data directory: some milliseconds, on a healthy disk.
const TAKING: Duration = Duration::from_secs(30);
/// For a process that failed at the end to let go of the data directory.
const TAKING_BACK: Duration = Duration::from_secs(5);
/// Between two attempts to take the data directory.
pub(super) const AGAIN: Duration = Duration::from_millis(20);
/// The same where the other process keeps it: it hangs, or is an older one that keeps it to its end.
const PATIENTLY: Duration = Duration::from_secs(1);

/// Opens the socket on which this process is asked. Only for who holds the data directory.
pub(crate) fn open(data_dir: &Path) -> anyhow::Result<UnixListener> {
    let listener = listen::unix_in_place(&super::socket_path(data_dir));
    listener
        .and_then(UnixListener::from_std)
        .context("cannot open the socket for `highgate run --replace`")
}

/// Gives new processes the sockets, one process at a time, and tells `ready` of each that serves.
///
/// Cancel safe: yes; a new process then fails, and changes nothing.
pub(crate) async fn offer(
    listener: UnixListener,
    wired: Rc<Wired>,
    admin: Rc<AdminSide>,
    ready: mpsc::Sender<Peer>,
    stop: Stop,
) {
    let serve = async {
        loop {
            let asked = match listener.accept().await {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!("cannot be asked for a hand-over: {error}");
                    clock::pause(Duration::from_secs(1)).await;
                    continue;
                }
            };
            match give(asked, &wired, &admin).await {
                Ok(peer) => {
                    if ready.send(peer).await.is_err() {
                        return;
                    }
                }
                Err(error) => tell(
                    &wired,
                    Severity::Warning,
                    format!("a new process did not take over, this one goes on: {error:#}"),
                ),
            }
        }
    };
    tokio::select! {
        biased;
        () = stop.stopped() => {}
        () = serve => {}
    }
}

/// From the first word to `ready`: nothing changes here.
async fn give(asked: UnixStream, wired: &Wired, admin: &AdminSide) -> anyhow::Result<Peer> {
    let mut peer = Peer::new(asked)?;
    match peer.hear(clock::now() + SOON).await?.0 {
        Message::Hello { format, pid } if format == FORMAT => peer.pid = pid,
        Message::Hello { format, .. } => {
            let why = format!("this process hands over in format {FORMAT}, not {format}");
            peer.say(&Message::Refused(why.clone()), &[]).await?;
            bail!(why);
        }
        other => return Err(unexpected(&other)),
    }
    let text = format!("process {} gets ready to take over", peer.pid);
    tell(wired, Severity::Info, text);
    send_sockets(&peer, wired, admin).await?;
    match peer.hear(clock::now() + GETTING_READY).await?.0 {
        Message::Ready => Ok(peer),
        other => Err(unexpected(&other)),
    }
}

async fn send_sockets(peer: &Peer, wired: &Wired, admin: &AdminSide) -> anyhow::Result<()> {
    let data = wired.node.sockets()?.into_iter();
    let data = data.map(|(name, address, fd)| (Side::Data, name.to_string(), address, fd));
    let ports = admin.sockets()?.into_iter();
    let ports = ports.map(|(name, address, fd)| (Side::Admin, name, address, fd));
    let (mut sockets, mut descriptors): (Vec<Socket>, Vec<OwnedFd>) = data
        .chain(ports)
        .map(|(side, name, address, descriptor)| {
            let socket = Socket { side, name, address };
            (socket, descriptor)
        })
        .unzip();
    loop {
        let at = sockets.len().min(AT_ONCE);
        let (later, later_descriptors) = (sockets.split_off(at), descriptors.split_off(at));
        let message = Message::Sockets {
            sockets,
            more: !later.is_empty(),
            first_session: wired.node.numbers_for_next(),
        };
        peer.say(&message, &descriptors).await?;
        if later.is_empty() {
            return Ok(());
        }
        match peer.hear(clock::now() + SOON).await?.0 {
            Message::More => (sockets, descriptors) = (later, later_descriptors),
            other => return Err(unexpected(&other)),
        }
    }
}

/// What became of a process that was ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LetGo {
    /// It failed and keeps the data directory: see [`taken_back`]. Else as `TakenBack`.
    Kept,
    /// It has everything.
    Taken,
    /// It failed, and all is as it was; but the sockets in the data directory may be the other's and are
    /// to be opened again.
    TakenBack,
}

/// Lets the process that is ready have the data directory.
///
/// Cancel safe: yes, for a process that is about to end: the other one takes what is free then.
pub(crate) async fn let_go(wired: &Wired, peer: &Peer) -> LetGo {
    let alone = wired.alone.clone();
    let _ = tasks::blocking(move || alone.release()).await;
    match taken(wired, peer).await {
        Ok(()) => {
            wired.vips.leave().await;
            let text = format!("process {} took over; this one drains", peer.pid);
            tell(wired, Severity::Info, text);
            LetGo::Taken
        }
        Err(error) => {
            wired.vips.resume().await;
            take_back(wired, &error).await
        }
    }
}

async fn taken(wired: &Wired, peer: &Peer) -> anyhow::Result<()> {
    let stream = wired.vips.hand_over().await.context("cannot hand the keeper of vips over")?;
    peer.say(&Message::Released { keeper: stream.is_some() }, stream.as_slice()).await?;
    match peer.hear(clock::now() + TAKING).await?.0 {
        Message::Taken => Ok(()),
        other => Err(unexpected(&other)),
    }
}

async fn take_back(wired: &Wired, why: &anyhow::Error) -> LetGo {
    let deadline = clock::now() + TAKING_BACK;
    loop {
        match acquire(wired).await {
            Ok(()) => {
                let text = format!("the new process failed, this one goes on: {why:#}");
                tell(wired, Severity::Warning, text);
                return LetGo::TakenBack;
            }
            Err(error) if clock::now() > deadline => {
                let text = format!(
                    "the new process failed ({why:#}), and the data directory can't be taken back \
                     ({error}): this process serves on, and no change can be stored until the other \
                     process has ended; that is tried every second"
                );
                tell(wired, Severity::Error, text);
                return LetGo::Kept;
            }
            Err(_) => clock::pause(AGAIN).await,
        }
    }
}

/// Returns once the data directory, which another process keeps, is this process's again.
///
/// Cancel safe: yes.
pub(crate) async fn taken_back(wired: &Wired) {
    while acquire(wired).await.is_err() {
        clock::pause(PATIENTLY).await;
    }
    let text =
        "the data directory is taken back from the process that failed: changes are stored again";
    tell(wired, Severity::Info, text.to_owned());
}

async fn acquire(wired: &Wired) -> Result<(), String> {
    let alone = wired.alone.clone();
    let acquired = tasks::blocking(move || alone.acquire()).await;
    let acquired = acquired.ok_or_else(|| "taking it ran into a bug".to_owned())?;
    acquired.map_err(|error| error.to_string())
}

fn tell(wired: &Wired, severity: Severity, text: String) {
    let event = Event::new(severity, Kind::Lifecycle, text);
    wired.node.shared().event(event);
}
