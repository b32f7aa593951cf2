//! What a check asks a server, over a new connection or one that was kept.

use std::{cell::Cell, io, rc::Rc, sync::Arc, time::Instant};

use highgate_config::{Backend, Check, Secret};
use highgate_core::{health::CheckFailure, server::ServerState, topology::Observation};
use highgate_mysql::{
    Capabilities, greeting::Greeting, server_login::ServerLoginError, sql::Flavor,
};

use crate::{
    facts,
    monitor::{
        names, questions,
        turns::{Turn, Turns},
    },
    mysql::{
        ask::{AskError, Asker},
        open::{Door, OpenError, proof_of},
    },
    shared::Shared,
    target::{host, target},
    tls_files,
};

/// A connection that was asked and answered.
pub(super) type Kept = (Asker, Flavor);

/// How a check ended.
pub(super) struct Ended {
    pub(super) facts: Result<Option<Observation>, Failed>,
    pub(super) kept: Option<Kept>,
    pub(super) learned: Option<Greeting>,
}

/// Asks one server.
#[derive(Clone)]
pub(super) struct Asks {
    pub(super) shared: Arc<Shared>,
    pub(super) server: Arc<ServerState>,
    pub(super) backend: Arc<Backend>,
    pub(super) turns: Rc<Turns>,
    /// Logins of checks and packets that answered their questions, ever; a greeting alone is none.
    pub(super) heard: Rc<Cell<u64>>,
    /// What the check under way waits for.
    pub(super) waits_for: Cell<&'static str>,
    /// Whether it has a turn: its connection is not open yet.
    pub(super) opens: Cell<bool>,
    /// Whether a connection proves nothing until the server has greeted: it took one, and said nothing.
    pub(super) is_silent: Rc<Cell<bool>>,
}

impl Asks {
    /// Whether a check leaves a connection for the next one.
    pub(super) fn keeps_connections(&self) -> bool {
        !matches!(self.backend.monitor.check, Check::Connect | Check::Handshake)
    }

    pub(super) async fn run(
        self: Rc<Self>,
        mut kept: Option<Kept>,
        turn: Option<Turn>,
        deadline: Instant,
    ) -> Ended {
        let mut learned = None;
        self.opens.set(turn.is_some());
        let facts = match &self.backend.monitor.check {
            Check::Connect if !self.is_silent.get() => self.connect(deadline).await.map(|()| None),
            Check::Connect | Check::Handshake => {
                self.greet(deadline, &mut learned).await.map(|()| None)
            }
            Check::Off | Check::Ping => {
                self.ask(None, deadline, &mut kept, turn, &mut learned).await
            }
            Check::Sql(text) => self.ask(Some(text), deadline, &mut kept, turn, &mut learned).await,
        };
        self.opens.set(false);
        Ended { facts, kept, learned }
    }

    async fn connect(&self, deadline: Instant) -> Result<(), Failed> {
        self.waits_for.set("address of its name");
        names::known(&self.server, deadline).await;
        self.waits_for.set("connection");
        let target = target(&self.server);
        let opened = highgate_io::connect::connect(&target, deadline).await;
        opened.map(drop).map_err(|error| Failed(kind_of(&error), error.to_string()))
    }

    /// Connects and logs in.
    async fn open(&self, deadline: Instant) -> Result<(Asker, Greeting), OpenError> {
        self.waits_for.set("address of its name");
        names::known(&self.server, deadline).await;
        self.waits_for.set("login");
        let (mut asker, greeting) = Asker::open(self.door(), deadline).await?;
        asker.count_on(&self.heard);
        Ok((asker, greeting))
    }

    /// Reads the greeting and leaves; needs no account. Who greets is silent no more.
    async fn greet(&self, deadline: Instant, learned: &mut Option<Greeting>) -> Result<(), Failed> {
        match self.open(deadline).await {
            Ok((_, greeting)) => *learned = Some(greeting),
            // Denied means that it greeted, which is what was to be seen.
            Err(OpenError::Login(
                ServerLoginError::Refused { .. } | ServerLoginError::ProofMissing { .. },
            )) => {}
            Err(error) => return Err(failed_open(&error)),
        }
        self.is_silent.set(false);
        Ok(())
    }

    async fn ask(
        &self,
        sql: Option<&str>,
        deadline: Instant,
        kept: &mut Option<Kept>,
        turn: Option<Turn>,
        learned: &mut Option<Greeting>,
    ) -> Result<Option<Observation>, Failed> {
        let is_old = kept.is_some();
        let (mut asker, flavor) = match kept.take() {
            Some(kept) => kept,
            None => {
                let opened = self.open(deadline).await;
                self.opens.set(false);
                drop(turn);
                let (asker, greeting) = opened.map_err(|error| failed_open(&error))?;
                let flavor = facts::flavor(&greeting);
                *learned = Some(greeting);
                (asker, flavor)
            }
        };
        self.waits_for.set("answer");
        match self.questions(&mut asker, flavor, sql, deadline).await {
            Ok(facts) => {
                *kept = Some((asker, flavor));
                Ok(facts)
            }
            // The server closed a connection that lay idle, as it may: once more, on a new one.
            Err(AskError::Connection(OpenError::Lost(_))) if is_old => {
                drop(asker);
                let turn = Some(self.turns.replace());
                self.opens.set(true);
                Box::pin(self.ask(sql, deadline, kept, turn, learned)).await
            }
            Err(error) => {
                let failed = failed_ask(&error);
                // What an account may is settled as it logs in: a grant is seen on a new connection only.
                if error.leaves_connection() && failed.0 != CheckFailure::Denied {
                    *kept = Some((asker, flavor));
                }
                Err(failed)
            }
        }
    }

    async fn questions(
        &self,
        asker: &mut Asker,
        flavor: Flavor,
        sql: Option<&str>,
        deadline: Instant,
    ) -> Result<Option<Observation>, AskError> {
        match sql {
            Some(sql) => drop(asker.query(sql, deadline).await?),
            None => asker.ping(deadline).await?,
        }
        questions::observe(asker, self.backend.topology, flavor, deadline).await
    }

    fn door(&self) -> Door {
        let monitor = &self.backend.monitor;
        let account = (monitor.user.as_str(), &monitor.password);
        door(&self.shared, &self.server, self.backend.clone(), account)
    }
}

/// How a plain client of Highgate's own gets into that server.
pub(crate) fn door(
    shared: &Shared,
    server: &ServerState,
    backend: Arc<Backend>,
    (user, password): (&str, &Secret),
) -> Door {
    let in_force = tls_files::at_hand(shared, &server.backend, &backend.tls);
    // The first checks run before the configuration is in force, and those after a change may.
    let tls = in_force.or_else(|| tls_files::for_servers(&backend.tls).ok().flatten());
    Door {
        target: target(server),
        host: host(&server.address),
        user: user.to_owned(),
        proof: proof_of(password.expose()),
        schema: None,
        capabilities: Capabilities::PROTOCOL_41
            | Capabilities::SECURE_CONNECTION
            | Capabilities::PLUGIN_AUTH
            | Capabilities::PLUGIN_AUTH_LENENC
            | Capabilities::CONNECT_ATTRS
            | Capabilities::LONG_PASSWORD
            | Capabilities::TRANSACTIONS,
        collation: 45,
        // As sessions do: a server that shows a wrong certificate is not to be believed.
        tls,
        backend,
        announced: None,
    }
}

pub(super) struct Failed(pub(super) CheckFailure, pub(super) String);

fn kind_of(error: &io::Error) -> CheckFailure {
    use io::ErrorKind::{BrokenPipe, ConnectionRefused, ConnectionReset, TimedOut, UnexpectedEof};
    if highgate_io::connect::is_our_own(error) {
        return CheckFailure::Ours;
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
        OpenError::Timeout | OpenError::Unanswered | OpenError::WentDown => CheckFailure::Timeout,
        OpenError::Tls(_) => CheckFailure::Error,
        OpenError::Login(ServerLoginError::Refused { code, .. }) => CheckFailure::from_code(*code),
        OpenError::NoMySql
        | OpenError::Login(ServerLoginError::Malformed(_) | ServerLoginError::Sequence { .. }) => {
            CheckFailure::Garbage
        }
        OpenError::Client(_) | OpenError::Login(_) => CheckFailure::Error,
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

#[cfg(test)]
mod tests {
    use super::*;

    /// It was taken for the server's "too many connections", which only one that is alive says.
    #[test]
    fn want_of_descriptors_is_no_word_of_the_server() {
        let error = io::Error::from_raw_os_error(rustix::io::Errno::MFILE.raw_os_error());
        assert_eq!(failed_open(&OpenError::Connect(error)).0, CheckFailure::Ours);
        let refused = io::Error::from(io::ErrorKind::ConnectionRefused);
        assert_eq!(failed_open(&OpenError::Connect(refused)).0, CheckFailure::Refused);
    }
}
