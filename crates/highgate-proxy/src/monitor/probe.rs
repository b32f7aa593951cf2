//! One check of one server: connects, or asks over the connection that it keeps.

use std::{cell::RefCell, io, sync::Arc, time::Instant};

use highgate_config::{Backend, Check};
use highgate_core::{
    health::{CheckFailure, Event},
    server::{ServerId, ServerState},
};
use highgate_io::clock;
use highgate_mysql::{Capabilities, greeting::Greeting, server_login::ServerLoginError};

use crate::{
    facts,
    monitor::questions,
    mysql::{
        ask::{AskError, Asker},
        open::{Door, OpenError, proof_of},
    },
    target::{host, target},
};

/// A check's result, for the director.
#[derive(Debug)]
pub struct Probed {
    pub(crate) server: ServerId,
    pub(crate) event: Event,
    /// How the server greeted, if it did this time.
    pub(crate) learned: Option<Greeting>,
}

/// What checks of one server need, with the connection kept between them.
#[derive(Debug)]
pub(crate) struct Probe {
    server: Arc<ServerState>,
    backend: Backend,
    kept: RefCell<Option<(Asker, highgate_mysql::sql::Flavor)>>,
}

impl Probe {
    pub(crate) fn new(server: Arc<ServerState>, backend: Backend) -> Self {
        Self { server, backend, kept: RefCell::default() }
    }

    /// Whether it checks as that backend's settings say.
    pub(crate) fn is_for(&self, backend: &Backend) -> bool {
        self.backend == *backend
    }

    /// Checks once, by `deadline`.
    ///
    /// Cancel safe: yes; a dropped call closes the connection.
    pub(crate) async fn check(&self, deadline: Instant) -> Probed {
        let started = clock::now();
        let mut learned = None;
        let facts = match &self.backend.monitor.check {
            Check::Connect => self.connect(deadline).await.map(|()| None),
            Check::Handshake => self.greet(deadline, &mut learned).await.map(|()| None),
            Check::Off | Check::Ping => self.ask(None, deadline, &mut learned).await,
            Check::Sql(text) => self.ask(Some(text), deadline, &mut learned).await,
        };
        let event = match facts {
            Ok(facts) => {
                let latency = clock::now().saturating_duration_since(started);
                Event::CheckOk { latency, facts: facts.map(Box::new) }
            }
            Err(failed) => Event::CheckFailed { kind: failed.0, text: failed.1 },
        };
        Probed { server: self.server.id, event, learned }
    }

    async fn connect(&self, deadline: Instant) -> Result<(), Failed> {
        let target = target(&self.server);
        let opened = highgate_io::connect::connect(&target, deadline).await;
        opened.map(drop).map_err(|error| Failed(kind_of(&error), error.to_string()))
    }

    /// Reads the greeting and leaves; needs no account.
    async fn greet(&self, deadline: Instant, learned: &mut Option<Greeting>) -> Result<(), Failed> {
        let door = self.door();
        match Asker::open(door, deadline).await {
            Ok((_, greeting)) => *learned = Some(greeting),
            // Denied means that it greeted, which is what was to be seen.
            Err(OpenError::Login(
                ServerLoginError::Refused { .. } | ServerLoginError::ProofMissing { .. },
            )) => {}
            Err(error) => return Err(failed_open(&error)),
        }
        Ok(())
    }

    async fn ask(
        &self,
        sql: Option<&str>,
        deadline: Instant,
        learned: &mut Option<Greeting>,
    ) -> Result<Option<highgate_core::topology::Observation>, Failed> {
        let kept = self.kept.borrow_mut().take();
        let is_old = kept.is_some();
        let (mut asker, flavor) = match kept {
            Some(kept) => kept,
            None => {
                let opened = Asker::open(self.door(), deadline).await;
                let (asker, greeting) = opened.map_err(|error| failed_open(&error))?;
                let flavor = facts::flavor(&greeting);
                *learned = Some(greeting);
                (asker, flavor)
            }
        };
        match self.questions(&mut asker, flavor, sql, deadline).await {
            Ok(facts) => {
                *self.kept.borrow_mut() = Some((asker, flavor));
                Ok(facts)
            }
            // The server closed a connection that lay idle, as it may: once more, on a new one.
            Err(AskError::Connection(OpenError::Lost(_))) if is_old => {
                drop(asker);
                Box::pin(self.ask(sql, deadline, learned)).await
            }
            Err(error) => {
                if error.leaves_connection() {
                    *self.kept.borrow_mut() = Some((asker, flavor));
                }
                Err(failed_ask(&error))
            }
        }
    }

    async fn questions(
        &self,
        asker: &mut Asker,
        flavor: highgate_mysql::sql::Flavor,
        sql: Option<&str>,
        deadline: Instant,
    ) -> Result<Option<highgate_core::topology::Observation>, AskError> {
        match sql {
            Some(sql) => drop(asker.query(sql, deadline).await?),
            None => asker.ping(deadline).await?,
        }
        questions::observe(asker, self.backend.topology, flavor, deadline).await
    }

    fn door(&self) -> Door {
        Door {
            target: target(&self.server),
            host: host(&self.server.address),
            user: self.backend.monitor.user.clone(),
            proof: proof_of(self.backend.monitor.password.expose()),
            schema: None,
            capabilities: Capabilities::PROTOCOL_41
                | Capabilities::SECURE_CONNECTION
                | Capabilities::PLUGIN_AUTH
                | Capabilities::PLUGIN_AUTH_LENENC
                | Capabilities::CONNECT_ATTRS
                | Capabilities::LONG_PASSWORD
                | Capabilities::TRANSACTIONS,
            collation: 45,
            backend: Arc::new(self.backend.clone()),
            announced: None,
            tls: None,
        }
    }
}

struct Failed(CheckFailure, String);

fn kind_of(error: &io::Error) -> CheckFailure {
    use io::ErrorKind::{BrokenPipe, ConnectionRefused, ConnectionReset, TimedOut, UnexpectedEof};
    // This node has no descriptor or port left: nothing is proved against the server.
    if highgate_io::connect::is_our_own(error) {
        return CheckFailure::Full;
    }
    match error.kind() {
        ConnectionRefused => CheckFailure::Refused,
        BrokenPipe | ConnectionReset | UnexpectedEof => CheckFailure::Lost,
        TimedOut => CheckFailure::Timeout,
        _ => CheckFailure::Unreachable,
    }
}

fn failed_open(error: &OpenError) -> Failed {
    let kind = match error {
        OpenError::Connect(cause) | OpenError::Lost(cause) => kind_of(cause),
        OpenError::Timeout => CheckFailure::Timeout,
        OpenError::Tls(_) => CheckFailure::Error,
        OpenError::Login(ServerLoginError::Refused { code, .. }) => CheckFailure::from_code(*code),
        OpenError::Login(ServerLoginError::Malformed(_) | ServerLoginError::Sequence { .. }) => {
            CheckFailure::Garbage
        }
        OpenError::Login(_) => CheckFailure::Error,
    };
    Failed(kind, error.to_string())
}

fn failed_ask(error: &AskError) -> Failed {
    match error {
        AskError::Connection(error) => failed_open(error),
        AskError::Timeout => Failed(CheckFailure::Timeout, error.to_string()),
        AskError::Garbage => Failed(CheckFailure::Garbage, error.to_string()),
        AskError::Server { code, .. } => Failed(CheckFailure::from_code(*code), error.to_string()),
    }
}
