//! The running process, asked by a new one.

use std::{collections::BTreeSet, os::fd::OwnedFd, path::Path, rc::Rc, time::Duration};

use anyhow::{Context, bail};
use highgate_core::events::{Event, Kind, Severity};
use highgate_io::{
    clock,
    handover::MAX_TEXT,
    listen,
    tasks::{self, Stop},
};
use tokio::{
    net::{UnixListener, UnixStream},
    sync::mpsc,
};

use super::{AT_ONCE, FORMAT, GETTING_READY, Message, Peer, SOON, Side, Socket, unexpected};
use crate::{admin_side::AdminSide, wiring::Wired};

/// Bytes of the names of files in a message: a quarter of it.
const NAMES: usize = MAX_TEXT / 4;
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

/// What other processes have to say, in the end.
#[derive(Debug)]
pub(crate) enum Word {
    /// It serves, and wants the data directory.
    Ready(Peer),
    /// It has everything, later than it had to say so: this process is not needed any more.
    Taken,
}

/// Gives new processes the sockets, one process at a time, and tells `words` of each that serves.
///
/// Cancel safe: yes; a new process then fails, and changes nothing.
pub(crate) async fn offer(
    listener: UnixListener,
    wired: Rc<Wired>,
    admin: Rc<AdminSide>,
    words: mpsc::Sender<Word>,
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
                    if words.send(Word::Ready(peer)).await.is_err() {
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

/// As many as leave the room that sockets need.
fn in_one_message(names: BTreeSet<String>) -> BTreeSet<String> {
    let mut room = NAMES;
    let fits = |name: &String| {
        let left = room.checked_sub(name.len());
        room = left.unwrap_or(0);
        left.is_some()
    };
    names.into_iter().take_while(fits).collect()
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
    let mut filled = in_one_message(wired.applying().own.filled());
    loop {
        let at = sockets.len().min(AT_ONCE);
        let (later, later_descriptors) = (sockets.split_off(at), descriptors.split_off(at));
        let message = Message::Sockets {
            sockets,
            more: !later.is_empty(),
            first_session: wired.node.numbers_for_next(),
            filled: std::mem::take(&mut filled),
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
#[derive(Debug)]
pub(crate) enum LetGo {
    /// It failed, or takes its time, and keeps the data directory: see [`outlasted`]. Else as `TakenBack`.
    Kept(Peer),
    /// It has everything.
    Taken,
    /// It failed, and all is as it was; but the sockets in the data directory may be the other's and are
    /// to be opened again.
    TakenBack,
}

/// Lets the process that is ready have the data directory.
///
/// Cancel safe: yes, for a process that is about to end: the other one takes what is free then.
pub(crate) async fn let_go(wired: &Wired, peer: Peer) -> LetGo {
    let alone = wired.alone.clone();
    let _ = tasks::blocking(move || alone.release()).await;
    match taken(wired, &peer).await {
        Ok(()) => {
            leave(wired, &peer).await;
            LetGo::Taken
        }
        Err(error) => {
            wired.vips.resume().await;
            take_back(wired, peer, &error).await
        }
    }
}

/// The other process is all that is needed.
async fn leave(wired: &Wired, peer: &Peer) {
    wired.vips.leave().await;
    let text = format!("process {} took over; this one drains", peer.pid);
    tell(wired, Severity::Info, text);
}

async fn taken(wired: &Wired, peer: &Peer) -> anyhow::Result<()> {
    let stream = wired.vips.hand_over().await.context("cannot hand the keeper of vips over")?;
    peer.say(&Message::Released { keeper: stream.is_some() }, stream.as_slice()).await?;
    match peer.hear(clock::now() + TAKING).await?.0 {
        Message::Taken => Ok(()),
        other => Err(unexpected(&other)),
    }
}

async fn take_back(wired: &Wired, peer: Peer, why: &anyhow::Error) -> LetGo {
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
                    "the new process ({}) failed or hangs ({why:#}), and the data directory can't be \
                     taken back ({error}): this process serves on, and no change can be stored until \
                     that one has ended; that is tried every second. If it takes over after all, this \
                     process ends",
                    peer.pid
                );
                tell(wired, Severity::Error, text);
                return LetGo::Kept(peer);
            }
            Err(_) => clock::pause(AGAIN).await,
        }
    }
}

/// Waits for what becomes of another process that keeps the data directory: it is this process's again, or
/// the other one's for good. `true`: this process is to end.
///
/// One of both has to, or each serves a part of the clients by settings of its own for ever. A stalled disk
/// holds the other one up only until it answers; so it is heard however late it speaks, and this process,
/// which operators can't reach any more, is the one that goes.
///
/// Cancel safe: yes.
pub(crate) async fn outlasted(wired: &Wired, peer: &Peer) -> bool {
    let is_over = late_word(peer, async || acquire(wired).await.is_ok()).await;
    if is_over {
        leave(wired, peer).await;
    } else {
        let text = "the data directory is taken back from the process that failed: changes are stored again";
        tell(wired, Severity::Info, text.to_owned());
    }
    is_over
}

/// Whether the other process says that it has taken over, before this one can `acquire` what it keeps.
async fn late_word(peer: &Peer, mut acquire: impl AsyncFnMut() -> bool) -> bool {
    let taken_back = async {
        while !acquire().await {
            clock::pause(PATIENTLY).await;
        }
    };
    let taken = async {
        loop {
            match peer.hear(clock::now() + TAKING).await {
                Ok((Message::Taken, _)) => return,
                // It is late, or gone: then it keeps nothing for long.
                Ok(_) | Err(_) => clock::pause(PATIENTLY).await,
            }
        }
    };
    tokio::select! {
        biased;
        () = taken => true,
        () = taken_back => false,
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn pair() -> (Peer, Peer) {
        let (one, other) = UnixStream::pair().unwrap();
        (Peer { stream: one, pid: 1 }, Peer { stream: other, pid: 2 })
    }

    /// A new process that a disk had held up served beside the one that had given it up, for ever.
    #[test]
    fn a_process_that_takes_over_late_is_heard_and_one_that_is_gone_is_not_waited_for() {
        let runtime = tasks::local_runtime().unwrap();
        runtime.block_on(async {
            let (here, there) = pair();
            there.say(&Message::Taken, &[]).await.unwrap();
            assert!(late_word(&here, async || false).await);
            let (here, there) = pair();
            drop(there);
            let mut is_free = false;
            let acquire = async || std::mem::replace(&mut is_free, true);
            assert!(!late_word(&here, acquire).await);
        });
    }
}
