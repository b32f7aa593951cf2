//! Opening a connection to a server and logging in.

use std::{
    future::poll_fn,
    io,
    pin::pin,
    sync::Arc,
    task::Poll,
    time::{Duration, Instant},
};

use highgate_config::{Backend, SendProxy, TlsMode};
use highgate_core::{
    server::{Era, ServerState, TrafficFailure},
    state::ConnState,
};
use highgate_io::{clock, connect, proxy_protocol, rsa, tasks, tls, transport::Transport};
use highgate_mysql::{
    Capabilities,
    auth::{Proof, Secret},
    client_login::Relay,
    error_code,
    greeting::Greeting,
    packet::{HEADER_LEN, Header},
    server_login::{
        Credential, Opened, ServerAction, ServerLogin, ServerLoginError, ServerLoginSettings,
        TlsWish,
    },
};

use crate::{
    facts,
    mysql::{client_stream::ClientStream, login::rsa_decrypt, server_connection::LoggedIn},
    session::{Context, Ending},
};

/// Longest packet of a login; servers stay far below.
const MAX_LOGIN_PACKET: u32 = 64 * 1024;

/// How to get in.
#[derive(Debug, Clone)]
pub(crate) struct Door {
    pub(crate) target: connect::Target,
    /// The name that a certificate must have.
    pub(crate) host: String,
    pub(crate) user: String,
    pub(crate) proof: Proof,
    pub(crate) schema: Option<String>,
    pub(crate) capabilities: Capabilities,
    pub(crate) collation: u8,
    pub(crate) backend: Arc<Backend>,
    /// Client and listener address, for a PROXY header.
    pub(crate) announced: Option<(std::net::SocketAddr, std::net::SocketAddr)>,
    pub(crate) tls: Option<Arc<rustls::ClientConfig>>,
}

/// A client that answers a server's challenges itself, while it logs in.
pub(crate) struct Passing<'a> {
    pub(crate) context: &'a Context,
    pub(crate) stream: &'a mut ClientStream,
    pub(crate) relay: Relay,
    pub(crate) attributes: Vec<(String, String)>,
    /// How long its login may take from the first question on.
    pub(crate) patience: Duration,
    /// Until when that is, once it was asked.
    pub(crate) by: Option<Instant>,
}

impl Passing<'_> {
    /// The server's turn, for as long as the client is there: until `deadline` before the first question.
    /// Behind that a plugin may take its time with an answer (a directory, a delay for wrong passwords), so it
    /// has what the client has.
    async fn await_server<T>(
        &mut self,
        deadline: Instant,
        turn: impl Future<Output = Result<T, OpenError>>,
    ) -> Result<T, OpenError> {
        let mut turn = pin!(clock::before(self.by.unwrap_or(deadline), turn));
        let done = poll_fn(|cx| match turn.as_mut().poll(cx) {
            Poll::Ready(done) => Poll::Ready(done),
            Poll::Pending => {
                let gone = self.stream.poll_said(cx, self.context);
                gone.map(|ending| Some(Err(OpenError::Client(ending))))
            }
        });
        let late = if self.by.is_some() { OpenError::Unanswered } else { OpenError::Timeout };
        done.await.unwrap_or(Err(late))
    }

    /// Sends the client these packets and gives its answer. Its time begins with the first.
    async fn ask(&mut self, packets: &[u8]) -> Result<Vec<u8>, Ending> {
        if self.by.is_none() {
            self.by = Some(clock::now() + self.patience);
            self.context.slot.set_deadline(self.context.worker.deadline(self.patience));
        }
        self.stream.send(self.context, packets).await?;
        let framed = self.stream.message(self.context, u64::from(MAX_LOGIN_PACKET)).await;
        let framed = framed.map_err(|unread| unread.ending(Ending::HandshakeTimeout))?;
        let payload = self.stream.inbox.bytes().get(HEADER_LEN..framed.wire).unwrap_or_default();
        let payload = payload.to_vec();
        self.stream.inbox.consume(framed.wire);
        match self.relay.answered(framed.seq) {
            Ok(()) => Ok(payload),
            Err(wrong) => Err(Ending::ClientProtocol(wrong.to_string())),
        }
    }
}

/// Why a server could not be logged in to.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OpenError {
    #[error("no connection: {0}")]
    Connect(#[source] io::Error),
    #[error("the connection failed during login: {0}")]
    Lost(#[source] io::Error),
    #[error("no login within `connect_timeout` (checks: `monitor.timeout`) of the backend")]
    Timeout,
    #[error("TLS failed: {0} (see `tls.mode` and `tls.ca` of the backend)")]
    Tls(#[source] io::Error),
    #[error(
        "it did not say whether it lets the client in before the listener's `handshake_timeout` was over"
    )]
    Unanswered,
    #[error("{0}")]
    Login(#[from] ServerLoginError),
    #[error(
        "what it sent is no MySQL server's greeting or login: does something else listen at that address?"
    )]
    NoMySql,
    #[error("it went down meanwhile")]
    WentDown,
    #[error("{0}")]
    Client(Ending),
}

impl OpenError {
    /// Whether the server has as many connections as it takes, of whomever.
    pub(crate) fn is_full(&self) -> bool {
        let full = error_code::ER_CON_COUNT_ERROR.code;
        matches!(self, Self::Login(ServerLoginError::Refused { code, .. }) if *code == full)
    }

    /// What it says about the server's health; `None` for what is the account's or ours.
    pub(crate) fn failure(&self) -> Option<TrafficFailure> {
        use io::ErrorKind::{ConnectionRefused, TimedOut};
        Some(match self {
            Self::Connect(error) if connect::is_our_own(error) => return None,
            Self::Connect(error) => match error.kind() {
                ConnectionRefused => TrafficFailure::Refused,
                TimedOut => TrafficFailure::Unconnected,
                _ => TrafficFailure::Unreachable,
            },
            // An alert of TLS that came behind the handshake.
            Self::Lost(error) if error.kind() == io::ErrorKind::InvalidData => {
                TrafficFailure::Unconnected
            }
            Self::Lost(_) => TrafficFailure::Lost,
            Self::Timeout => TrafficFailure::Silent,
            Self::Tls(_) => TrafficFailure::Unconnected,
            Self::WentDown => TrafficFailure::Timeout,
            Self::NoMySql
            | Self::Login(ServerLoginError::Malformed(_) | ServerLoginError::Sequence { .. }) => {
                TrafficFailure::Garbage
            }
            // Whoever gives a wrong password may have it so; nobody else is to suffer from it.
            Self::Unanswered => return None,
            Self::Client(_) | Self::Login(_) => return None,
        })
    }
}

/// Connects and logs in by `deadline`.
///
/// Cancel safe: yes; a dropped call closes what it opened.
pub(crate) async fn open(door: Door, deadline: Instant) -> Result<(LoggedIn, Greeting), OpenError> {
    let transport = connect::connect(&door.target, deadline).await.map_err(OpenError::Connect)?;
    clock::before(deadline, log_in(door, transport, None)).await.unwrap_or(Err(OpenError::Timeout))
}

/// `opening`, for as long as the server is not declared down: who hangs would keep it for all its time.
///
/// Cancel safe: as `opening` is.
pub(crate) async fn while_up<T>(
    server: &ServerState,
    era: Era,
    opening: impl Future<Output = Result<T, OpenError>>,
) -> Result<T, OpenError> {
    let mut opening = std::pin::pin!(opening);
    // Woken by the snapshot that says so.
    poll_fn(|cx| match opening.as_mut().poll(cx) {
        Poll::Pending if !server.is_of_this_generation(era) => {
            Poll::Ready(Err(OpenError::WentDown))
        }
        polled => polled,
    })
    .await
}

/// Connects, and has the client log in: `deadline` is for what the server alone has to do before the client
/// is asked anything.
///
/// Cancel safe: no; the client's connection is to be closed.
pub(crate) async fn open_passed(
    door: Door,
    passing: &mut Passing<'_>,
    deadline: Instant,
) -> Result<(LoggedIn, Greeting), OpenError> {
    let target = door.target.clone();
    let connecting =
        async { connect::connect(&target, deadline).await.map_err(OpenError::Connect) };
    let transport = passing.await_server(deadline, connecting).await?;
    log_in(door, transport, Some((passing, deadline))).await
}

async fn log_in(
    door: Door,
    mut transport: Transport,
    passing: Option<(&mut Passing<'_>, Instant)>,
) -> Result<(LoggedIn, Greeting), OpenError> {
    let header = match door.backend.send_proxy {
        SendProxy::Off => Vec::new(),
        SendProxy::V1 => proxy_protocol::encode_v1(door.announced),
        SendProxy::V2 => proxy_protocol::encode_v2(door.announced),
    };
    let (credential, attributes, own_rsa_key) = match &passing {
        Some((client, _)) => {
            let is_private = client.stream.transport.is_private();
            let key = client.context.worker.shared.rsa.as_ref();
            let key = key.map(|key| key.public_pem().to_vec());
            (Credential::Client { is_private }, client.attributes.clone(), key)
        }
        None => {
            let program = ("program_name".to_owned(), "highgate".to_owned());
            (Credential::Own(door.proof), vec![program], None)
        }
    };
    let settings = ServerLoginSettings {
        user: door.user,
        credential,
        schema: door.schema.clone(),
        capabilities: door.capabilities,
        collation: door.collation,
        attributes,
        tls: wish(door.backend.tls.mode),
        is_private: transport.is_private(),
        allows_clear: false,
        zstd_level: None,
        own_rsa_key,
    };
    let mut login = ServerLogin::new(settings);
    let verifies = door.backend.tls.mode >= TlsMode::VerifyCa;
    let peer = Peer { host: &door.host, tls: door.tls, verifies };
    let first = ServerAction::Send(header);
    let opened = match passing {
        Some((client, deadline)) => {
            Box::pin(in_turns(client, &mut login, &mut transport, peer, first, deadline)).await?
        }
        None => match dialogue(&mut login, &mut transport, &peer, first).await? {
            ServerAction::Done(opened) => *opened,
            _ => return Err(ServerLoginError::Unexpected.into()),
        },
    };
    let Opened { greeting, capabilities, .. } = opened;
    let flavor = facts::flavor(&greeting);
    let mut state = ConnState::new(flavor, u16::from(door.collation), door.schema.as_deref());
    state.version = facts::number(&greeting.version);
    state.ignores_space = capabilities.contains(Capabilities::IGNORE_SPACE);
    let thread = greeting.connection_id;
    Ok((LoggedIn { transport, capabilities, thread, state }, greeting))
}

/// Whom TLS is started with.
#[derive(Debug, Clone)]
struct Peer<'a> {
    /// The name that its certificate must have.
    host: &'a str,
    tls: Option<Arc<rustls::ClientConfig>>,
    /// Without settings to verify by there is no TLS.
    verifies: bool,
}

fn wish(mode: TlsMode) -> TlsWish {
    match mode {
        TlsMode::Disabled => TlsWish::Disabled,
        TlsMode::Preferred => TlsWish::Preferred,
        TlsMode::Required | TlsMode::VerifyCa | TlsMode::VerifyIdentity => TlsWish::Required,
    }
}

/// A login by turns of the server's and the client's.
async fn in_turns(
    client: &mut Passing<'_>,
    login: &mut ServerLogin,
    transport: &mut Transport,
    peer: Peer<'_>,
    mut action: ServerAction,
    deadline: Instant,
) -> Result<Opened, OpenError> {
    loop {
        let turn = dialogue(login, transport, &peer, action);
        action = match client.await_server(deadline, turn).await? {
            ServerAction::Done(opened) => return Ok(*opened),
            asked => pass_on(asked, login, client).await?,
        };
    }
}

/// The server's turn: up to what ends the login, or what the client is to be asked or told.
async fn dialogue(
    login: &mut ServerLogin,
    transport: &mut Transport,
    peer: &Peer<'_>,
    mut action: ServerAction,
) -> Result<ServerAction, OpenError> {
    loop {
        action = match action {
            ServerAction::Failed(error) => return Err(error.into()),
            ServerAction::Send(packets) => {
                send(transport, &packets).await?;
                let (seq, payload) = receive(transport).await?;
                login.packet(seq, &payload)
            }
            ServerAction::Wait => {
                let (seq, payload) = receive(transport).await?;
                login.packet(seq, &payload)
            }
            ServerAction::StartTls(packets) => {
                send(transport, &packets).await?;
                start_tls(transport, peer.clone()).await?;
                login.tls_started()
            }
            ServerAction::RsaEncrypt { public_key_pem, bytes } => {
                let sealed = tasks::blocking(move || rsa::encrypt(&public_key_pem, bytes.expose()));
                match sealed.await.and_then(Result::ok) {
                    Some(sealed) => login.encrypted(&sealed),
                    None => return Err(ServerLoginError::Unexpected.into()),
                }
            }
            done_or_asked => return Ok(done_or_asked),
        };
    }
}

/// What a server asks the client, or tells it.
async fn pass_on(
    asked: ServerAction,
    login: &mut ServerLogin,
    client: &mut Passing<'_>,
) -> Result<ServerAction, OpenError> {
    let packets = match asked {
        ServerAction::RsaDecrypt { bytes } => {
            let masked = rsa_decrypt(client.context, bytes).await;
            return Ok(login.decrypted(masked.as_ref()));
        }
        ServerAction::AskClient { plugin, challenge } => client.relay.switch(&plugin, &challenge),
        ServerAction::AskClientMore(payload) => client.relay.step(&payload),
        ServerAction::TellClientMore(payload) => {
            let packets = client.relay.step(&payload);
            client.stream.send(client.context, &packets).await.map_err(OpenError::Client)?;
            return Ok(ServerAction::Wait);
        }
        _ => return Err(ServerLoginError::Unexpected.into()),
    };
    let answer = client.ask(&packets).await.map_err(OpenError::Client)?;
    Ok(login.client_answer(&answer))
}

async fn start_tls(
    transport: &mut Transport,
    Peer { host, tls: config, verifies }: Peer<'_>,
) -> Result<(), OpenError> {
    let config = match config {
        Some(config) => config,
        None if verifies => {
            let text = "what is to verify the server by its `tls` is not in force; events say why";
            return Err(OpenError::Tls(io::Error::other(text)));
        }
        None => tls::towards_servers(tls::Verify::Nothing, None, None)
            .map_err(|error| OpenError::Tls(io::Error::other(error.to_string())))?,
    };
    let Some(stream) = transport.take_tcp() else {
        return Err(OpenError::Tls(io::Error::other("TLS runs over TCP only")));
    };
    let stream = tls::connect(config, host, stream).await.map_err(OpenError::Tls)?;
    *transport = Transport::TlsClient(Box::new(stream));
    Ok(())
}

/// Sends all of `bytes` during a login.
pub(crate) async fn send(transport: &mut Transport, bytes: &[u8]) -> Result<(), OpenError> {
    let mut sent = 0;
    while let Some(rest) = bytes.get(sent..).filter(|rest| !rest.is_empty()) {
        match poll_fn(|cx| transport.poll_write(cx, rest)).await.map_err(OpenError::Lost)? {
            0 => return Err(OpenError::Lost(io::ErrorKind::WriteZero.into())),
            count => sent += count,
        }
    }
    poll_fn(|cx| transport.poll_flush(cx)).await.map_err(OpenError::Lost)
}

/// Receives one packet during a login, and not a byte more: TLS may start behind it.
async fn receive(transport: &mut Transport) -> Result<(u8, Vec<u8>), OpenError> {
    let mut header = [0; HEADER_LEN];
    receive_exact(transport, &mut header).await?;
    let header = Header::parse(header);
    if header.len > MAX_LOGIN_PACKET {
        return Err(OpenError::NoMySql);
    }
    let mut payload = vec![0; header.len as usize];
    receive_exact(transport, &mut payload).await?;
    Ok((header.seq, payload))
}

pub(crate) async fn receive_exact(
    transport: &mut Transport,
    bytes: &mut [u8],
) -> Result<(), OpenError> {
    let mut at = 0;
    while let Some(rest) = bytes.get_mut(at..).filter(|rest| !rest.is_empty()) {
        match poll_fn(|cx| transport.poll_read(cx, rest)).await.map_err(OpenError::Lost)? {
            0 => return Err(OpenError::Lost(io::ErrorKind::UnexpectedEof.into())),
            count => at += count,
        }
    }
    Ok(())
}

/// What a stored secret of the configuration is worth at a server.
pub(crate) fn proof_of(secret: &str) -> Proof {
    Proof::Clear(Secret::new(secret))
}
