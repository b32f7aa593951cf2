//! What tests share: an origin of fake time, a configuration, seeded randomness.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use highgate_config::{
    Address, AdminState, Backend, Balance, Check, Config, Monitor, ReadsOnPrimary, Secret,
    SendProxy, Server, Tls, TlsMode, Topology,
};

use crate::{
    server::{ServerId, ServerKey, ServerState},
    snapshot::{Member, Role, Status},
};

/// Some instant; tests only add to it.
#[expect(clippy::disallowed_methods, reason = "an Instant can be made in no other way")]
pub(crate) fn origin() -> Instant {
    Instant::now()
}

pub(crate) const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// Random numbers that one seed decides.
#[derive(Debug, Clone)]
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) const fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) const fn below(&mut self, bound: u64) -> u64 {
        self.bits() % bound
    }

    pub(crate) fn index(&mut self, bound: usize) -> usize {
        usize::try_from(self.below(bound as u64)).unwrap()
    }
}

pub(crate) fn server(name: &str) -> Server {
    Server {
        address: Address::Host(name.to_owned(), 3306),
        weight: 100,
        backup: false,
        max_connections: 0,
        max_lag: None,
        state: AdminState::Enabled,
    }
}

pub(crate) fn backend(topology: Topology, names: &[&str]) -> Backend {
    let tls = Tls { mode: TlsMode::Disabled, cert: None, key: None, ca: None };
    Backend {
        topology,
        servers: names.iter().map(|name| ((*name).into(), server(name))).collect(),
        balance: Balance::LeastConnections,
        monitor: monitor(),
        accounts: highgate_config::Accounts::default(),
        reads_on_primary: ReadsOnPrimary::Fallback,
        failover_wait: ms(10_000),
        connect_timeout: ms(1000),
        queue_timeout: ms(1000),
        max_queue: 100,
        max_idle: 10,
        idle_timeout: ms(60_000),
        max_age: Duration::ZERO,
        connect_rate: 0,
        slow_start: ms(10_000),
        max_lag: ms(10_000),
        max_recv_queue: 0,
        donor_reads: false,
        tls,
        send_proxy: SendProxy::Off,
        multiplex: true,
    }
}

fn monitor() -> Monitor {
    Monitor {
        user: "monitor".to_owned(),
        password: Secret::new("secret"),
        check: Check::Ping,
        interval: ms(500),
        timeout: ms(500),
        rise: 2,
        fall: 2,
    }
}

pub(crate) fn config(backends: &[(&str, Backend)]) -> Config {
    let mut config = Config::default();
    config.shared.backends =
        backends.iter().map(|(name, backend)| ((*name).into(), backend.clone())).collect();
    config.node = BTreeMap::new();
    config
}

/// A member that serves, with that number and weight.
pub(crate) fn member(id: u32, weight: u32, now: Instant) -> Member {
    let name = format!("db{id:04}");
    let server = Server { weight, ..server(&name) };
    let key = ServerKey {
        backend: "shop".into(),
        name: name.as_str().into(),
        address: server.address.clone(),
    };
    Member {
        state: Arc::new(ServerState::new(ServerId(id), key, now)),
        server,
        role: Role::Member,
        status: Status::Up,
        weight,
        ramp: None,
        lag_ms: Some(0),
        reason: Arc::from("test"),
    }
}
