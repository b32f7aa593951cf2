//! The PROXY protocol header at the start of a client's connection, where its network is trusted.

use std::{future::poll_fn, net::SocketAddr, sync::Arc, task::Poll};

use highgate_config::Listener;
use highgate_io::{
    proxy_protocol::{self, Parsed},
    transport::Transport,
};

use crate::{
    session::{Context, Ending},
    slots::Interrupt,
};

/// Longest header with its extensions.
const MAX: usize = 16 + 2048;

/// What the header said.
#[derive(Debug, Default)]
pub(crate) struct Header {
    /// The client behind the other proxy.
    pub(crate) source: Option<SocketAddr>,
    /// Bytes that followed the header.
    pub(crate) rest: Vec<u8>,
}

/// Reads the header where the peer must send one. A peer outside the trusted networks sends none:
/// what looks like one is passed on to the protocol, which refuses it.
pub(crate) async fn read(
    context: &Context,
    client: &mut Transport,
    peer: Option<SocketAddr>,
    settings: &Arc<Listener>,
) -> Result<Header, Ending> {
    let address = peer.map(|peer| peer.ip().to_canonical());
    let is_trusted = address
        .is_some_and(|ip| settings.proxy_protocol_from.iter().any(|network| network.contains(&ip)));
    if !is_trusted {
        return Ok(Header::default());
    }
    let mut bytes = Vec::new();
    loop {
        let mut chunk = [0; 256];
        let count = poll_fn(|cx| {
            if context.slot.was_told(Interrupt::Deadline) {
                return Poll::Ready(Err(Ending::HandshakeTimeout));
            }
            client.poll_read(cx, &mut chunk).map_err(Ending::ClientFailed)
        })
        .await?;
        if count == 0 {
            return Err(Ending::ClientClosed);
        }
        bytes.extend(chunk.iter().take(count));
        match proxy_protocol::parse(&bytes) {
            Parsed::Header { addresses, length } => {
                let rest = bytes.split_off(length);
                return Ok(Header { source: addresses.map(|(from, _)| from), rest });
            }
            Parsed::More if bytes.len() <= MAX => {}
            Parsed::More | Parsed::Invalid => {
                return Err(Ending::ClientProtocol("a PROXY header was expected".to_owned()));
            }
        }
    }
}
