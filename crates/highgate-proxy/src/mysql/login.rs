//! The login of a client: the shell around `highgate_mysql::client_login`.

use std::{future::poll_fn, net::SocketAddr, sync::Arc, task::Poll, time::Duration};

use highgate_config::{AuthSource, Listener, TlsMode};
use highgate_core::{
    accounts::CertificateNames,
    events::{Event, Kind, Severity},
    limits::Consequence,
};
use highgate_io::{
    certificate, clock,
    proxy_protocol::{self, Looks},
    tls,
    transport::Transport,
};
use highgate_mysql::{
    Capabilities, StatusFlags, auth,
    client_login::{
        Account, ClientAction, ClientLogin, ClientLoginSettings, Login, Nonce, SlowCheck,
    },
    error_code,
    packet::HEADER_LEN,
};

use crate::{
    facts::BackendFacts,
    listener::{ListenerState, Refusal},
    mysql::{
        accounts::{Asking, Denied, Found},
        acquire::Lease,
        answer,
        client_stream::{ClientStream, Unread},
        passthrough,
        slow_checks::Asker,
    },
    session::{Context, Ending},
};

/// Longest packet of a login: servers take 16 MiB here, no client sends more than a few hundred
/// bytes and its attributes (64 KiB).
const MAX_LOGIN_PACKET: u64 = 128 * 1024;
/// Failed logins of a listener between two events about them.
const FAILURES_PER_EVENT: u64 = 100;

/// A client that is who it says.
#[derive(Debug)]
pub(crate) struct LoggedInClient {
    pub(crate) stream: ClientStream,
    pub(crate) login: Login,
    pub(crate) user: Arc<highgate_config::User>,
    pub(crate) nonce: Nonce,
    /// The connection that the server verified it on.
    pub(crate) lease: Option<Lease>,
}

/// What a login is run with.
pub(crate) struct Entrance<'a> {
    pub(crate) context: &'a Context,
    pub(crate) listener: &'a ListenerState,
    pub(crate) settings: &'a Listener,
    pub(crate) facts: &'a BackendFacts,
    /// Where the client comes from.
    pub(crate) from: Option<SocketAddr>,
    /// It may not send a PROXY header although others may.
    pub(crate) is_foreign: bool,
    /// Where it connected to.
    pub(crate) to: Option<SocketAddr>,
}

/// Greets the client and goes through its login. The OK is sent by the caller, who may still refuse.
///
/// Cancel safe: no; a packet may be half written. The connection is closed.
pub(crate) async fn run(
    entrance: Entrance<'_>,
    mut stream: ClientStream,
) -> Result<LoggedInClient, Ending> {
    let Entrance { context, settings, .. } = &entrance;
    let nonce = nonce().map_err(Ending::ClientFailed)?;
    let tls = entrance.listener.tls.load_full();
    let mut login = ClientLogin::new(login_settings(&entrance, &stream, nonce, tls.is_some()));
    let mut greeting = Vec::with_capacity(128);
    login.greeting(&mut greeting);
    stream.send(context, &greeting).await?;
    let mut name = String::new();
    let mut action = next(&entrance, &mut stream, &mut login).await?;
    let mut found: Option<Found> = None;
    loop {
        action = match action {
            ClientAction::Done(mut done) => {
                let found = found.ok_or_else(|| Ending::Refused("no account".to_owned()))?;
                context.worker.shared.learned_sha2.complete(&found, &mut done);
                let user = found.user;
                return Ok(LoggedInClient { stream, login: *done, user, nonce, lease: None });
            }
            ClientAction::Refused { answer, seq } => {
                failed(&entrance, &name, &answer.text).await;
                stream.send(context, &answer::error(&answer, seq)).await?;
                return Err(Ending::Refused(answer.text));
            }
            ClientAction::LookUp { user, .. } => {
                name = user;
                if settings.auth == AuthSource::Passthrough {
                    return passthrough::run(&entrance, stream, login, &name, nonce).await;
                }
                if let Err(why) = until_read(&entrance, &name).await {
                    denied(&entrance, &name, &why);
                    let answer = error_code::ER_CON_COUNT_ERROR.answer(UNREAD);
                    stream.send(context, &answer::error(&answer, login.next_seq())).await?;
                    return Err(Ending::Refused(answer.text));
                }
                login.account(look_up(&entrance, &stream.transport, &name, &mut found))
            }
            ClientAction::Send(packets) => {
                stream.send(context, &packets).await?;
                next(&entrance, &mut stream, &mut login).await?
            }
            ClientAction::StartTls => {
                stream = start_tls(stream, tls.as_ref().clone()).await?;
                login.tls_started();
                next(&entrance, &mut stream, &mut login).await?
            }
            ClientAction::Verify(check) => login.checked(verify(context, check).await),
            ClientAction::RsaDecrypt { bytes } => {
                login.decrypted(rsa_decrypt(context, bytes).await)
            }
        };
    }
}

/// What a client is told while nobody can be let in, whoever it is.
const UNREAD: &str = "The accounts are not known yet: no database server has told them so far";

/// Waits for the first reading of accounts, for as long as commands wait for a server. Others wait for
/// nothing.
async fn until_read(entrance: &Entrance<'_>, name: &str) -> Result<(), Denied> {
    let Entrance { context, settings, .. } = entrance;
    let asking = Asking {
        shared: &context.worker.shared,
        settings,
        user: name,
        address: None,
        certificate: None,
    };
    let now = clock::now();
    if asking.until_read(now).await.is_ok() {
        return Ok(());
    }
    let policy = context.worker.snapshot().policy.clone();
    let backend = policy.backends.get(&settings.backend);
    let patience = backend.map_or(Duration::ZERO, |backend| backend.queue_timeout);
    // The time for the login is not what the client has used up.
    let bound = context.worker.deadline(patience + settings.handshake_timeout);
    context.slot.set_deadline(bound);
    asking.until_read(now + patience).await
}

/// The account of that name for who comes from there, or what stands in for it.
pub(crate) fn look_up(
    entrance: &Entrance<'_>,
    transport: &Transport,
    name: &str,
    found: &mut Option<Found>,
) -> Option<Account> {
    let shared = &entrance.context.worker.shared;
    let policy = entrance.context.worker.snapshot().policy.clone();
    let certificate = certificate(transport);
    let asking = Asking {
        shared,
        settings: entrance.settings,
        user: name,
        address: entrance.from.map(|from| from.ip()),
        certificate: certificate.as_ref(),
    };
    match asking.look_up(&policy) {
        Ok((known, account)) => {
            *found = Some(known);
            Some(account)
        }
        Err(why) => {
            denied(entrance, name, &why);
            asking.decoy(&policy)
        }
    }
}

/// The names in the client's certificate, which TLS has verified.
fn certificate(transport: &Transport) -> Option<CertificateNames> {
    let facts = certificate::facts(transport.client_certificate()?)?;
    Some(CertificateNames { issuer: facts.issuer, subject: facts.subject })
}

/// Thousands of rounds of hashing: not on a data worker, and few at once.
pub(crate) async fn verify(context: &Context, check: SlowCheck) -> bool {
    let checks = &context.worker.shared.slow_checks;
    checks.run(asker(context), move || check.run()).await.unwrap_or(false)
}

/// Decrypts with this node's key: milliseconds, and not on a data worker.
pub(crate) async fn rsa_decrypt(context: &Context, bytes: Vec<u8>) -> Option<auth::Secret> {
    let key = context.worker.shared.rsa.clone();
    let decrypt = move || key.and_then(|key| key.decrypt(&bytes).ok());
    let plain = context.worker.shared.slow_checks.run(asker(context), decrypt).await;
    plain.flatten().map(auth::Secret::new)
}

fn asker(context: &Context) -> Asker {
    let from = context.presence.info.client().map(|from| from.ip().to_canonical());
    let is_suspect = context.worker.shared.attempts.lock().is_suspect(from, clock::now());
    if is_suspect { Asker::Suspect } else { Asker::Usual }
}

fn login_settings(
    entrance: &Entrance<'_>,
    stream: &ClientStream,
    nonce: Nonce,
    has_tls: bool,
) -> ClientLoginSettings {
    let Entrance { context, settings, facts, .. } = entrance;
    let mut capabilities = facts.capabilities;
    // Highgate's own to do, whatever the servers can.
    capabilities.insert(Capabilities::COMPRESS | Capabilities::ZSTD_COMPRESSION);
    capabilities.set(Capabilities::SSL, has_tls && !matches!(stream.transport, Transport::Unix(_)));
    let version = if settings.server_version.is_empty() {
        facts.version.clone()
    } else {
        settings.server_version.clone()
    };
    ClientLoginSettings {
        version,
        connection_id: context.presence.info.id,
        client_host: client_host(entrance.from),
        nonce,
        capabilities,
        collation: facts.collation,
        status: StatusFlags::AUTOCOMMIT | facts.quoting(),
        plugin: auth::NATIVE,
        is_private: stream.transport.is_private(),
        requires_tls: settings.tls.mode >= TlsMode::Required,
        rsa_public_key: context.worker.shared.rsa.as_ref().map(|key| key.public_pem().to_vec()),
    }
}

/// Where a client comes from, as refusals name it; servers that don't resolve names say the same.
pub(crate) fn client_host(from: Option<SocketAddr>) -> String {
    from.map_or_else(|| "localhost".to_owned(), |from| from.ip().to_canonical().to_string())
}

fn nonce() -> std::io::Result<Nonce> {
    let mut random = [0; auth::ed25519::NONCE_LEN];
    highgate_io::entropy::fill(&mut random)?;
    Ok(Nonce::from_random(random))
}

async fn next(
    entrance: &Entrance<'_>,
    stream: &mut ClientStream,
    login: &mut ClientLogin,
) -> Result<ClientAction, Ending> {
    let framed = match stream.message(entrance.context, MAX_LOGIN_PACKET).await {
        Ok(framed) => framed,
        Err(Unread::TooLong) if entrance.is_foreign && has_header(stream) => {
            return Err(refuse_header(entrance, stream).await);
        }
        Err(unread) => return Err(unread.ending(Ending::HandshakeTimeout)),
    };
    let packet = stream.inbox.bytes().get(HEADER_LEN..framed.wire).unwrap_or_default();
    let action = login.packet(framed.seq, packet);
    stream.inbox.consume(framed.wire);
    Ok(action)
}

/// A PROXY header where a login is to be: as a packet it would be megabytes long.
fn has_header(stream: &ClientStream) -> bool {
    proxy_protocol::looks(stream.inbox.bytes()) != Looks::Other
}

async fn refuse_header(entrance: &Entrance<'_>, stream: &mut ClientStream) -> Ending {
    let context = entrance.context;
    let address = entrance.from.map(|from| from.ip());
    entrance.listener.refuse(&context.worker.shared, address, Refusal::ForeignHeader);
    let text = "A PROXY protocol header is not accepted from this address";
    let answer = error_code::ER_HOST_NOT_PRIVILEGED.answer(text);
    match stream.send(context, &answer::error(&answer, 1)).await {
        Ok(()) => Ending::Refused(Refusal::ForeignHeader.to_string()),
        Err(ending) => ending,
    }
}

async fn start_tls(
    mut stream: ClientStream,
    config: Option<Arc<rustls::ServerConfig>>,
) -> Result<ClientStream, Ending> {
    let (Some(config), Some(tcp)) = (config, stream.transport.take_tcp()) else {
        return Err(Ending::ClientProtocol("TLS was asked for and not offered".to_owned()));
    };
    // Clients start TLS without waiting: their first bytes may have come with the request. Nothing of
    // that is ever read as a packet, or somebody could put commands in front of the encrypted ones.
    let behind = stream.inbox.bytes().to_vec();
    stream.inbox.consume(behind.len());
    let accepted = tls::accept(config, tcp, &behind).await.map_err(Ending::ClientFailed)?;
    stream.go_on(Transport::TlsServer(Box::new(accepted)));
    Ok(stream)
}

/// Ends the login where it takes longer than allowed, TLS and slow checks included.
pub(crate) async fn within<T>(
    context: &Context,
    login: impl Future<Output = Result<T, Ending>>,
) -> Result<T, Ending> {
    let mut login = std::pin::pin!(login);
    poll_fn(|cx| match login.as_mut().poll(cx) {
        Poll::Ready(done) => Poll::Ready(done),
        Poll::Pending => match context.slot.interrupted() {
            Some(crate::slots::Interrupt::Deadline) => Poll::Ready(Err(Ending::HandshakeTimeout)),
            Some(crate::slots::Interrupt::Kill) => Poll::Ready(Err(Ending::Killed)),
            _ => Poll::Pending,
        },
    })
    .await
}

/// The client is told no more than "denied"; operators are told why an account of theirs was.
fn denied(entrance: &Entrance<'_>, name: &str, why: &Denied) {
    let session = entrance.context.presence.info.id;
    tracing::debug!(session, user = name, "login denied: {why}");
    if *why != Denied::Unknown {
        let text = format!("login of {name} from {} refused: {why}", client_host(entrance.from));
        let event = Event::new(Severity::Warning, Kind::Login, text).session(session);
        entrance.context.worker.shared.event_limited(event);
    }
}

/// Counts a failed login and tells operators; then holds its answer back, the longer the more failed
/// lately. Others, and who has the right password, wait for nothing.
pub(crate) async fn failed(entrance: &Entrance<'_>, user: &str, why: &str) {
    use std::sync::atomic::Ordering;
    let (context, from) = (entrance.context, entrance.from.map(|from| from.ip().to_canonical()));
    let shared = &context.worker.shared;
    let place = from.map_or_else(|| "a local client".to_owned(), |from| from.to_string());
    let tell = |text: String| {
        let event = Event::new(Severity::Warning, Kind::Login, text);
        shared.event_limited(event.session(context.presence.info.id));
    };
    let before = entrance.listener.login_failures.fetch_add(1, Ordering::Relaxed);
    if before.is_multiple_of(FAILURES_PER_EVENT) {
        let name = &entrance.listener.name;
        let count = before + 1;
        tell(format!(
            "login on listener {name} from {place} failed: {why} ({count} failed so far)"
        ));
    }
    // The account, or its password, may be newer than what is known of it.
    if entrance.settings.auth == AuthSource::Cluster {
        shared.accounts_wanted.notify_one();
    }
    let now = clock::now();
    let Consequence { delay, account, address } = shared.attempts.lock().failed(user, from, now);
    if let Some(count) = account {
        tell(format!("{count} logins of `{}` failed lately, the last from {place}", shown(user)));
    }
    if let Some(count) = address {
        tell(format!("{count} logins from {place} failed lately, the last as `{}`", shown(user)));
    }
    if !delay.is_zero() {
        // The time for the login is not what the client has used up.
        let patience = delay + entrance.settings.handshake_timeout;
        context.slot.set_deadline(context.worker.deadline(patience));
        clock::pause(delay).await;
    }
}

/// A name that a client made up, as operators may see it.
fn shown(user: &str) -> String {
    user.chars().take(64).filter(|c| !c.is_control()).collect()
}
