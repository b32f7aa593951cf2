//! A new process takes over from a running one: first the listening sockets, then the data directory.
//!
//! ```text
//! new                                     old
//!  ├─ hello ─────────────────────────────▶ │ checks who asks
//!  │ ◀──────────────────────── sockets ─┤ goes on serving
//!  │ reads the state, starts, accepts      │
//!  ├─ ready ─────────────────────────────▶ │ lets go of the data directory
//!  │ ◀─────────────────────── released ─┤
//!  │ takes it, applies the file, speaks    │
//!  │ with the keeper of the addresses      │
//!  ├─ taken ─────────────────────────────▶ │ stops accepting, drains, ends
//! ```
//!
//! Until `taken` the old one goes on as if nothing had happened whenever the new one fails: at most it
//! takes the data directory back. Where the new one keeps that and is late, both serve, and the old one ends
//! once it hears `taken`: never do both go on for good. The keeper of the addresses sees nothing of all this but other
//! settings, where they differ. Sessions stay where they are. Both sides talk in turn, so one
//! message is one read.

pub(crate) mod give;
pub(crate) mod take;

use std::{
    collections::BTreeSet,
    os::fd::{AsFd, OwnedFd},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use highgate_io::{clock, handover};
use highgate_vrrp::linux;
use serde::{Deserialize, Serialize};
use tokio::{io::Interest, net::UnixStream};

/// Version of this dialogue and of the one with the keeper, which the new process goes on with; a
/// process that speaks another one is not replaced.
const FORMAT: u32 = 3_000 + linux::FORMAT;
/// For an answer that needs no work.
const SOON: Duration = Duration::from_secs(10);
/// For the new process to get ready.
const GETTING_READY: Duration = Duration::from_mins(2);
/// Descriptors in one message.
const AT_ONCE: usize = 64;

/// Where the running process is asked.
fn socket_path(data_dir: &Path) -> PathBuf {
    data_dir.join("handover.sock")
}

/// What one process says to the other.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Message {
    /// The new one introduces itself.
    Hello { format: u32, pid: u32 },
    /// Sockets, their descriptors beside the text; `more` follow when asked for. And in which of its files
    /// something is written, as far as there is room; an older version does not say.
    Sockets {
        sockets: Vec<Socket>,
        more: bool,
        first_session: u32,
        #[serde(default)]
        filled: BTreeSet<String>,
    },
    /// The next sockets, please.
    More,
    /// The new one serves.
    Ready,
    /// The data directory is free. Who keeps addresses is to be spoken with by the new one, over the
    /// descriptor beside this.
    Released { keeper: bool },
    /// The new one has it.
    Taken,
    /// No, and why.
    Refused(String),
}

/// Root is refused as well in the place of another account: what it wrote into the data directory that account
/// could not read at its next start, and it would put to use what a lesser account gave it.
const FOREIGN: &str = "the other process runs as another account: a process is replaced by one of its own \
                       account (`sudo -u ACCOUNT highgate run --replace …`), and not by root's either";

/// A listening socket.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
struct Socket {
    side: Side,
    /// Of a listener, or of an admin port.
    name: String,
    /// As configured.
    address: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Side {
    Data,
    Admin,
}

/// The other process.
#[derive(Debug)]
pub(crate) struct Peer {
    stream: UnixStream,
    /// Its process id, as it says.
    pid: u32,
}

impl Peer {
    /// The process at the other end, which must be of this account or root's.
    fn new(stream: UnixStream) -> anyhow::Result<Self> {
        if !handover::peer_is_trusted(&stream)? {
            bail!(FOREIGN);
        }
        Ok(Self { stream, pid: 0 })
    }

    async fn say(&self, message: &Message, descriptors: &[OwnedFd]) -> anyhow::Result<()> {
        let text = serde_json::to_vec(message)?;
        let descriptors: Vec<_> = descriptors.iter().map(AsFd::as_fd).collect();
        let send = || handover::send(&self.stream, &text, &descriptors);
        let sent = self.stream.async_io(Interest::WRITABLE, send);
        let sent = clock::before(clock::now() + SOON, sent).await;
        sent.context("the other process does not read")??;
        Ok(())
    }

    async fn hear(&self, by: Instant) -> anyhow::Result<(Message, Vec<OwnedFd>)> {
        let receive = || handover::receive(&self.stream);
        let heard = self.stream.async_io(Interest::READABLE, receive);
        let heard = clock::before(by, heard).await;
        let (text, descriptors) = heard
            .context("the other process says nothing")?
            .context("the other process is gone")?;
        let message = serde_json::from_slice(&text).context("the other process said nonsense")?;
        if let Message::Refused(why) = message {
            bail!("the other process refused: {why}");
        }
        Ok((message, descriptors))
    }
}

fn unexpected(message: &Message) -> anyhow::Error {
    anyhow::anyhow!("the other process said what does not fit here: {message:?}")
}
