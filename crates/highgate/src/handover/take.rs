//! The new process, which asks the running one.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    os::fd::OwnedFd,
    path::Path,
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, bail};
use highgate_cluster::{Alone, Applied, ApplyError, OpenError};
use highgate_config::{Config, ListenerName};
use highgate_io::{clock, tasks};
use tokio::net::UnixStream;

use super::{FORMAT, Message, Peer, SOON, Side, give::AGAIN, unexpected};
use crate::{admin_side, vips::Link};

/// For a process that has let go, or died, to have let go in fact.
const TAKING: Duration = Duration::from_secs(5);

/// What the running process gave.
pub(crate) struct Given {
    peer: Peer,
    pub(crate) listeners: BTreeMap<(ListenerName, String), OwnedFd>,
    pub(crate) admin: admin_side::Inherited,
    pub(crate) first_session: u32,
    /// Those of its files in which something is written.
    pub(crate) filled: BTreeSet<String>,
}

/// Asks the process that uses the data directory for its sockets; `None` when there is none.
pub(crate) async fn ask(data_dir: &Path) -> anyhow::Result<Option<Given>> {
    let path = super::socket_path(data_dir);
    let stream = match UnixStream::connect(&path).await {
        Ok(stream) => stream,
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused
            ) =>
        {
            return Ok(None);
        }
        Err(error) => return Err(error).context(path.display().to_string()),
    };
    let peer = Peer::new(stream).with_context(|| path.display().to_string())?;
    let hello = Message::Hello { format: FORMAT, pid: std::process::id() };
    peer.say(&hello, &[]).await?;
    receive(peer).await.map(Some)
}

async fn receive(peer: Peer) -> anyhow::Result<Given> {
    let mut given = Given {
        peer,
        listeners: BTreeMap::new(),
        admin: BTreeMap::new(),
        first_session: 0,
        filled: BTreeSet::new(),
    };
    loop {
        let (message, descriptors) = given.peer.hear(clock::now() + SOON).await?;
        let Message::Sockets { sockets, more, first_session, filled } = message else {
            return Err(unexpected(&message));
        };
        if sockets.len() != descriptors.len() {
            bail!("the running process named other sockets than it gave");
        }
        given.first_session = first_session;
        given.filled.extend(filled);
        for (socket, descriptor) in sockets.into_iter().zip(descriptors) {
            match socket.side {
                Side::Data => {
                    let key = (ListenerName::from(socket.name.as_str()), socket.address);
                    given.listeners.insert(key, descriptor);
                }
                Side::Admin => {
                    let key = (socket.name, socket.address);
                    given.admin.insert(key, descriptor);
                }
            }
        }
        if !more {
            return Ok(given);
        }
        given.peer.say(&Message::More, &[]).await?;
    }
}

/// The running process after its sockets were put to use.
pub(crate) struct Before(Peer);

impl Given {
    /// The process itself, once all that it gave is used.
    pub(crate) fn into_before(self) -> Before {
        Before(self.peer)
    }
}

impl Before {
    /// Says why this process does not take over, for those who ask the running one.
    pub(crate) async fn refuse(self, why: &str) {
        if let Err(error) = self.0.say(&Message::Refused(why.to_owned()), &[]).await {
            tracing::warn!("the running process is not told: {error:#}");
        }
    }

    /// Says that this process serves, and takes the data directory with the file applied in it. The
    /// inner error says why the file was not.
    pub(crate) async fn take(
        &self,
        vips: &Link,
        alone: &Arc<Alone>,
        key: &str,
        config: &Arc<Config>,
    ) -> anyhow::Result<Result<Applied, ApplyError>> {
        match self.release(vips).await {
            Ok(()) => {}
            // It may have died: then the data directory is free, and this process is all there is.
            Err(error) => tracing::warn!("the process before did not let go: {error:#}"),
        }
        let deadline = clock::now() + TAKING;
        loop {
            let (alone, key, config) = (alone.clone(), key.to_owned(), config.clone());
            match tasks::blocking(move || alone.acquire_with(&key, config)).await {
                Some(Ok(applied)) => return Ok(applied),
                Some(Err(OpenError::InUse { .. })) if clock::now() < deadline => {
                    clock::pause(AGAIN).await;
                }
                Some(Err(error)) => return Err(error.into()),
                None => bail!("taking the data directory failed"),
            }
        }
    }

    async fn release(&self, vips: &Link) -> anyhow::Result<()> {
        self.0.say(&Message::Ready, &[]).await?;
        let (message, mut descriptors) = self.0.hear(clock::now() + SOON).await?;
        let Message::Released { keeper } = message else { return Err(unexpected(&message)) };
        if let Some(stream) = descriptors.pop().filter(|_| keeper) {
            // At once: it hears nobody else now, and would give the addresses away.
            vips.take_over(stream).await;
        }
        Ok(())
    }

    /// Says that everything is here: the process before ends.
    pub(crate) async fn dismiss(&self) {
        if let Err(error) = self.0.say(&Message::Taken, &[]).await {
            tracing::warn!("the process before is gone already: {error:#}");
        }
    }
}
