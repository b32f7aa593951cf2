//! The PROXY protocol header at the start of a client's connection, where its network is trusted.

use std::{
    future::poll_fn,
    net::{IpAddr, SocketAddr},
    task::Poll,
};

use highgate_config::Listener;
use highgate_io::{
    proxy_protocol::{self, Parsed},
    transport::Transport,
};

use crate::{
    listener::Refusal,
    session::{Context, Ending},
    shared::Accepted,
    slots::Interrupt,
};

/// Longest header with its extensions.
const MAX: usize = 16 + 2048;

/// What is known of a client before its first own byte.
#[derive(Debug)]
pub(crate) struct Introduced {
    /// The client, behind the other proxy where there is one. IPv4 is IPv4, however it came.
    pub(crate) from: Option<SocketAddr>,
    /// Bytes that followed the header.
    pub(crate) rest: Vec<u8>,
    /// Whether the peer may not send a header although others may.
    pub(crate) is_foreign: bool,
}

/// Whether a peer of that address must send a header.
pub(crate) fn is_trusted(settings: &Listener, address: Option<IpAddr>) -> bool {
    let trusted = &settings.proxy_protocol_from;
    address.is_some_and(|ip| trusted.iter().any(|network| network.contains(&ip)))
}

/// Reads the header where the peer must send one, as was decided when it was accepted, and judges the
/// client that it announces. A peer outside the trusted networks is to send none: who reads its first bytes looks for one.
pub(crate) async fn read(
    context: &Context,
    client: &mut Transport,
    accepted: &mut Accepted,
    settings: &Listener,
) -> Result<Introduced, Ending> {
    let peer = accepted.peer.map(canonical);
    let address = peer.map(|peer| peer.ip());
    if !accepted.speaks_for_others {
        let is_foreign = !settings.proxy_protocol_from.is_empty();
        return Ok(Introduced { from: peer, rest: Vec::new(), is_foreign });
    }
    let (listener, shared) = (&accepted.listener, &context.worker.shared);
    let (announced, rest) = match header(context, client).await {
        Ok(read) => read,
        Err(unread) => {
            if let Unread::Refused(why) = &unread {
                listener.refuse(shared, address, *why);
            }
            return Err(unread.ending());
        }
    };
    // Without addresses it is the other proxy's own connection.
    let from = announced.map(canonical).or(peer);
    context.presence.info.set_client(from);
    let ip = from.map(|from| from.ip());
    if let Err(why) = accepted.permit.announced(ip) {
        listener.refuse(shared, ip, why);
        return Err(Ending::Refused(why.to_string()));
    }
    Ok(Introduced { from, rest, is_foreign: false })
}

/// Why there is no header.
enum Unread {
    Ended(Ending),
    Refused(Refusal),
}

impl Unread {
    fn ending(self) -> Ending {
        match self {
            Self::Ended(ending) => ending,
            Self::Refused(why) => Ending::Refused(why.to_string()),
        }
    }
}

async fn header(
    context: &Context,
    client: &mut Transport,
) -> Result<(Option<SocketAddr>, Vec<u8>), Unread> {
    let mut bytes = Vec::new();
    loop {
        let mut chunk = [0; 256];
        let count = poll_fn(|cx| {
            if context.slot.was_told(Interrupt::Deadline) {
                return Poll::Ready(Err(Unread::Refused(Refusal::NoHeader)));
            }
            if context.slot.was_told(Interrupt::Kill) {
                return Poll::Ready(Err(Unread::Ended(Ending::Killed)));
            }
            let read = client.poll_read(cx, &mut chunk);
            read.map_err(|error| Unread::Ended(Ending::ClientFailed(error)))
        })
        .await?;
        if count == 0 {
            return Err(Unread::Ended(Ending::ClientClosed));
        }
        bytes.extend(chunk.iter().take(count));
        match proxy_protocol::parse(&bytes) {
            Parsed::Header { addresses, length } => {
                let rest = bytes.split_off(length);
                return Ok((addresses.map(|(from, _)| from), rest));
            }
            Parsed::More if bytes.len() <= MAX => {}
            Parsed::More | Parsed::Invalid => return Err(Unread::Refused(Refusal::BadHeader)),
        }
    }
}

/// An IPv4 address that came as IPv6 is that IPv4 address.
pub(crate) fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}
