//! Many clients in one thread: what a login and a small query take, and no more.

#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::net::{IpAddr, SocketAddr};

use anyhow::Context as _;
use highgate_mysql::{
    Capabilities,
    auth::{Proof, Secret},
    server_login::{Credential, ServerAction, ServerLogin, ServerLoginSettings, TlsWish},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream},
};

/// Lets this process have that many descriptors, or as many as it may; gives what it may have now.
pub(crate) fn raise_descriptors(wanted: u64) -> u64 {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let maximum = limit.maximum.map(|most| most.max(wanted));
    let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
    let limit = getrlimit(Resource::Nofile);
    if limit.current < Some(wanted) {
        let _ =
            setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
    }
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// Connects from a source address of loopback.
pub(crate) async fn connect_from(source: IpAddr, to: SocketAddr) -> std::io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind((source, 0).into())?;
    socket.connect(to).await
}

/// One packet's payload, with its sequence id.
pub(crate) async fn packet(stream: &mut TcpStream) -> anyhow::Result<(u8, Vec<u8>)> {
    let mut head = [0; 4];
    stream.read_exact(&mut head).await.context("no packet")?;
    let [a, b, c, seq] = head;
    let mut payload = vec![0; u32::from_le_bytes([a, b, c, 0]) as usize];
    stream.read_exact(&mut payload).await.context("half a packet")?;
    Ok((seq, payload))
}

/// Logs in.
pub(crate) async fn log_in(stream: &mut TcpStream, user: &str) -> anyhow::Result<()> {
    let mut login = ServerLogin::new(ServerLoginSettings {
        user: user.to_owned(),
        credential: Credential::Own(Proof::Clear(Secret::new(user))),
        schema: None,
        capabilities: Capabilities::LONG_PASSWORD
            | Capabilities::PROTOCOL_41
            | Capabilities::TRANSACTIONS
            | Capabilities::SECURE_CONNECTION
            | Capabilities::PLUGIN_AUTH
            | Capabilities::DEPRECATE_EOF,
        collation: 45,
        attributes: Vec::new(),
        tls: TlsWish::Disabled,
        is_private: false,
        allows_clear: false,
        zstd_level: None,
        own_rsa_key: None,
    });
    loop {
        let (seq, payload) = packet(stream).await?;
        match login.packet(seq, &payload) {
            ServerAction::Send(bytes) => stream.write_all(&bytes).await?,
            ServerAction::Wait => {}
            ServerAction::Done(_) => return Ok(()),
            other => anyhow::bail!("login: {other:?}"),
        }
    }
}

/// COM_QUERY of a statement with a one-row result, to its end. Errors are the server's texts.
pub(crate) async fn query(stream: &mut TcpStream, text: &str) -> anyhow::Result<()> {
    let length = u32::try_from(text.len() + 1)?.to_le_bytes();
    let bytes = [&length[..3], &[0, 0x03], text.as_bytes()].concat();
    stream.write_all(&bytes).await?;
    let (_, first) = packet(stream).await?;
    match first.first() {
        Some(0xff) => anyhow::bail!("{}", String::from_utf8_lossy(&first[1..])),
        Some(0) => return Ok(()),
        _ => {}
    }
    loop {
        let (_, next) = packet(stream).await?;
        if next.first() == Some(&0xfe) {
            return Ok(());
        }
    }
}
