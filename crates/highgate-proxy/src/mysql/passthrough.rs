//! Logins that the server verifies itself (`auth = "passthrough"`): Highgate greets, learns who it
//! is, picks the server and passes its challenge on by an auth switch.
//!
//! Highgate then has no credential: the session keeps the one connection that it logged in on. It
//! can't share it or move, and says so by its pin cause.

use std::sync::Arc;

use highgate_config::{BackendName, User};
use highgate_core::{
    events::{Event, Kind, Severity},
    state::Profile,
};
use highgate_io::clock;
use highgate_mysql::{
    Answer, ErrorCode,
    auth::{Proof, Secret},
    client_login::{ClientAction, ClientLogin, Login, Nonce},
    error_code::{self, ER_ACCESS_DENIED_ERROR},
    server_login::ServerLoginError,
};

use crate::{
    mysql::{
        accounts::{self, Asking},
        acquire::{AcquireError, Lease, NotPassedOn, Order, Who, Wish, acquire_passed},
        answer,
        client_stream::ClientStream,
        login::{self, Entrance, LoggedInClient, client_host},
        open::{OpenError, Passing},
        session::{fingerprint, who},
    },
    session::Ending,
};

/// The servers' errors whose text says nothing about where Highgate is.
const TOLD: [u16; 13] =
    [1040, 1044, 1049, 1059, 1102, 1203, 1226, 1820, 1862, 3118, 3955, 4150, 4151];

/// What came of it.
pub(crate) struct Passed {
    pub(crate) login: Login,
    pub(crate) user: Arc<User>,
    pub(crate) who: Who,
    pub(crate) lease: Lease,
}

/// Goes on with a login whose user is known, where the server verifies.
pub(crate) async fn run(
    entrance: &Entrance<'_>,
    mut stream: ClientStream,
    mut machine: ClientLogin,
    name: &str,
    nonce: Nonce,
) -> Result<LoggedInClient, Ending> {
    let Passed { login, user, lease, .. } =
        log_in(entrance, &mut stream, &mut machine, name, nonce).await?;
    Ok(LoggedInClient { stream, login, user, nonce, lease: Some(lease) })
}

/// Has the client log in at a server. What it is refused with has been said.
pub(crate) async fn log_in(
    entrance: &Entrance<'_>,
    stream: &mut ClientStream,
    machine: &mut ClientLogin,
    name: &str,
    nonce: Nonce,
) -> Result<Passed, Ending> {
    let context = entrance.context;
    let (login, relay) = match machine.pass_through() {
        Ok(passed) => passed,
        Err(ClientAction::Refused { answer, seq }) => {
            return refuse(entrance, stream, (&answer, seq)).await;
        }
        Err(_) => return Err(Ending::Refused("a login that can't be passed on".to_owned())),
    };
    let policy = context.worker.snapshot().policy.clone();
    let user = accounts::settings_of(&policy, name);
    let asking = Asking {
        shared: &context.worker.shared,
        settings: entrance.settings,
        user: name,
        address: entrance.from.map(|from| from.ip()),
        certificate: None,
    };
    let is_private = stream.transport.is_private();
    if asking.permits(&user).is_err() || (user.require_tls && !is_private) {
        let answer = denied(entrance, &login);
        login::failed(entrance, name, &answer.text).await;
        return refuse(entrance, stream, (&answer, relay.seq())).await;
    }
    let who = who_of(&user, &login, entrance, nonce);
    let backend = user.backend.clone().unwrap_or_else(|| entrance.settings.backend.clone());
    let mut passing = Passing {
        context,
        stream,
        relay,
        attributes: login.attributes.clone(),
        patience: entrance.settings.handshake_timeout,
        by: None,
    };
    let acquired = acquire(entrance, &who, &backend, &mut passing).await;
    let Passing { relay, .. } = passing;
    match acquired {
        Ok(lease) => {
            let seq = relay.seq();
            Ok(Passed { login: Login { seq, ..*login }, user, who, lease })
        }
        Err(NotPassedOn::Client(ending) | NotPassedOn::Acquire(AcquireError::Ended(ending))) => {
            Err(ending)
        }
        Err(error) => {
            let answer = answer_of(&error, entrance, &login);
            tell(entrance, &login, &backend, &error);
            if answer.code == ER_ACCESS_DENIED_ERROR.code {
                login::failed(entrance, name, &answer.text).await;
            }
            refuse(entrance, stream, (&answer, relay.seq())).await
        }
    }
}

/// In whose name: no credential is ours, and so no other session may find its connections.
pub(crate) fn who_of(user: &User, login: &Login, entrance: &Entrance<'_>, nonce: Nonce) -> Who {
    let own = Proof::Sha256(Secret::new(nonce.long().to_vec()));
    let schema = login.schema.clone().or_else(|| user.default_schema.clone());
    let mut who = who(user, login, entrance.from, entrance.to);
    who.user.clone_from(&login.user);
    who.proofs.clear();
    who.fingerprint = fingerprint(Some(&own));
    who.schema = schema;
    who
}

async fn acquire(
    entrance: &Entrance<'_>,
    who: &Who,
    backend: &BackendName,
    passing: &mut Passing<'_>,
) -> Result<Lease, NotPassedOn> {
    let profile = Arc::new(Profile::new(45, who.schema.as_deref()));
    let order = Order {
        backend,
        // All that the session does runs there.
        wish: Wish::Writer,
        server: None,
        exclude: &[],
        avoid: &[],
        profile: &profile,
        from: entrance.from,
        started: clock::now(),
        is_own: false,
        is_fresh: false,
    };
    acquire_passed(entrance.context, who, order, passing).await
}

fn denied(entrance: &Entrance<'_>, login: &Login) -> Answer {
    ER_ACCESS_DENIED_ERROR.answer(format!(
        "Access denied for user '{}'@'{}' (using password: YES)",
        login.user,
        client_host(entrance.from)
    ))
}

/// What the client is told: the server's own words where they name nobody's address.
fn answer_of(error: &NotPassedOn, entrance: &Entrance<'_>, login: &Login) -> Answer {
    match error {
        NotPassedOn::Acquire(error) => error.answer("nothing was executed"),
        NotPassedOn::Server { error: OpenError::Login(refused), .. } => match refused {
            ServerLoginError::Refused { code, sqlstate, message } if TOLD.contains(code) => {
                ErrorCode::new(*code, &sqlstate.unwrap_or(*b"HY000")).answer(message.clone())
            }
            ServerLoginError::Refused { .. } => denied(entrance, login),
            ServerLoginError::UnequallyPrivate { .. } | ServerLoginError::ClearRefused { .. } => {
                error_code::ER_SECURE_TRANSPORT_REQUIRED.answer(
                    "The account's plugin wants the password itself, and the way to the server is \
                     not encrypted like this connection",
                )
            }
            _ => unreachable_server(),
        },
        NotPassedOn::Server { .. } | NotPassedOn::Client(_) => unreachable_server(),
    }
}

fn unreachable_server() -> Answer {
    error_code::ER_CON_COUNT_ERROR
        .answer("No database server can serve at the moment; nothing was executed")
}

fn tell(entrance: &Entrance<'_>, login: &Login, backend: &BackendName, error: &NotPassedOn) {
    let user = &login.user;
    let text = format!("a login of `{user}` was not let in by a server: {error}");
    let mut event = Event::new(Severity::Warning, Kind::Login, text).backend(backend);
    if let NotPassedOn::Server { server, .. } = error {
        event = event.server(server);
    }
    let shared = &entrance.context.worker.shared;
    shared.event_limited(event.session(entrance.context.presence.info.id));
}

async fn refuse(
    entrance: &Entrance<'_>,
    stream: &mut ClientStream,
    (answer, seq): (&Answer, u8),
) -> Result<Passed, Ending> {
    stream.send(entrance.context, &answer::error(answer, seq)).await?;
    Err(Ending::Refused(answer.text.clone()))
}
