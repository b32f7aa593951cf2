//! Backends: named groups of servers.

use std::time::Duration;

use super::{
    KeyOf, Kind, Setting, TableOf, TakesEffect, Value,
    WhenLeftOut::{Is, Nothing},
    accounts, monitor,
    tls::tls_settings,
};
use crate::{Backend, Balance, ReadsOnPrimary, SendProxy, Tls, TlsMode, Topology};

pub(super) const TABLE: TableOf<Backend> = TableOf {
    name: "backend",
    heading: "[[backend]]",
    key: Some(KeyOf { name: "name", kind: Kind::Name, summary: "The backend's name." }),
    summary: "A named group of servers and how they are used and checked.",
    groups: &[SETTINGS, monitor::SETTINGS, accounts::SETTINGS, TLS],
    children: &["server"],
    refused: &[],
    blank,
};

const TLS: &[Setting<Backend>] = tls_settings!(
    Backend,
    tls,
    TakesEffect::NextServerConnection,
    &[("haproxy", "server ssl"), ("maxscale", "ssl"), ("proxysql", "mysql_servers.use_ssl")],
    "`preferred` and `required` do not look at the certificate; only the modes that verify keep out somebody in between.",
    "the servers",
    ""
);

fn blank() -> Backend {
    Backend {
        topology: Topology::Static,
        servers: Default::default(),
        balance: Balance::LeastConnections,
        monitor: monitor::blank(),
        accounts: crate::Accounts::default(),
        reads_on_primary: ReadsOnPrimary::Fallback,
        failover_wait: Duration::ZERO,
        connect_timeout: Duration::ZERO,
        queue_timeout: Duration::ZERO,
        max_queue: 0,
        max_idle: 0,
        idle_timeout: Duration::ZERO,
        max_age: Duration::ZERO,
        connect_rate: 0,
        slow_start: Duration::ZERO,
        max_lag: Duration::ZERO,
        max_recv_queue: 0,
        donor_reads: false,
        tls: Tls::default(),
        send_proxy: SendProxy::Off,
        multiplex: true,
    }
}

pub(super) const SETTINGS: &[Setting<Backend>] = &[
    Setting::<Backend> {
        name: "topology",
        kind: Kind::Word(Topology::WORDS),
        unit: "",
        default: Is("static"),
        takes_effect: TakesEffect::AtOnce,
        summary: "Who decides which server takes writes.",
        detail: "`mariadb-replication` follows `read_only` and the GTID replication of MariaDB (tested: 10.11) or MySQL (tested: 9.7); `galera` follows wsrep status and keeps one writer; with `static` every server takes everything.",
        example: "topology = \"mariadb-replication\"",
        also_known_as: &[
            ("haproxy", "option external-check"),
            ("maxscale", "module=mariadbmon or galeramon"),
            ("proxysql", "mysql_replication_hostgroups or mysql_galera_hostgroups"),
        ],
        put: |draft, value| {
            if let Some(word) = Topology::from_word(&value.text()) {
                draft.topology = word;
            }
        },
        get: |draft| Value::of_word(draft.topology.word()),
    },
    Setting::<Backend> {
        name: "balance",
        kind: Kind::Word(Balance::WORDS),
        unit: "",
        default: Is("least-connections"),
        takes_effect: TakesEffect::NextAcquire,
        summary: "How a server is chosen among those that may serve.",
        detail: "`least-connections` counts commands in flight and adapts to slow servers; HAProxy's default is round robin, ProxySQL's a random choice by weight. A server whose `max_connections` are all in use is passed over while another one can take the command, but by `source`: as in HAProxy it keeps a client at its server, whose commands wait there.",
        example: "balance = \"least-connections\"",
        also_known_as: &[("haproxy", "balance"), ("maxscale", "slave_selection_criteria")],
        put: |draft, value| {
            if let Some(word) = Balance::from_word(&value.text()) {
                draft.balance = word;
            }
        },
        get: |draft| Value::of_word(draft.balance.word()),
    },
    Setting::<Backend> {
        name: "reads_on_primary",
        kind: Kind::Word(ReadsOnPrimary::WORDS),
        unit: "",
        default: Is("fallback"),
        takes_effect: TakesEffect::NextCommand,
        summary: "Whether reads may use the primary.",
        detail: "`fallback`: only while no replica can serve.",
        example: "reads_on_primary = \"fallback\"",
        also_known_as: &[
            ("maxscale", "master_accept_reads"),
            ("proxysql", "mysql-monitor_writer_is_also_reader"),
        ],
        put: |draft, value| {
            if let Some(word) = ReadsOnPrimary::from_word(&value.text()) {
                draft.reads_on_primary = word;
            }
        },
        get: |draft| Value::of_word(draft.reads_on_primary.word()),
    },
    Setting::<Backend> {
        name: "failover_wait",
        kind: Kind::Duration { min: Duration::ZERO, max: Duration::from_secs(3600) },
        unit: "",
        default: Is("10s"),
        takes_effect: TakesEffect::NextCommand,
        summary: "How long a write waits for a primary while there is none.",
        detail: "Clients see a pause instead of an error when a primary is replaced within this time. `0s` refuses at once.",
        example: "failover_wait = \"30s\"",
        also_known_as: &[
            ("haproxy", "timeout queue"),
            ("maxscale", "delayed_retry_timeout"),
            ("proxysql", "mysql-connect_timeout_server_max"),
        ],
        put: |draft, value| draft.failover_wait = value.duration(),
        get: |draft| Value::Duration(draft.failover_wait),
    },
    Setting::<Backend> {
        name: "connect_timeout",
        kind: Kind::Duration { min: Duration::from_millis(10), max: Duration::from_secs(600) },
        unit: "",
        default: Is("3s"),
        takes_effect: TakesEffect::NextServerConnection,
        summary: "Time to open a server connection and log in.",
        detail: "A server on a network that drops packets is given up after it.",
        example: "connect_timeout = \"1s\"",
        also_known_as: &[
            ("haproxy", "timeout connect"),
            ("maxscale", "backend_connect_timeout"),
            ("proxysql", "mysql-connect_timeout_server"),
        ],
        put: |draft, value| draft.connect_timeout = value.duration(),
        get: |draft| Value::Duration(draft.connect_timeout),
    },
    Setting::<Backend> {
        name: "queue_timeout",
        kind: Kind::Duration { min: Duration::ZERO, max: Duration::from_secs(3600) },
        unit: "",
        default: Is("10s"),
        takes_effect: TakesEffect::NextAcquire,
        summary: "Time a command may wait for a server connection.",
        detail: "After it the client gets error 1040, which names this setting, or `max_queue` where too many wait already.",
        example: "queue_timeout = \"5s\"",
        also_known_as: &[
            ("haproxy", "timeout queue"),
            ("maxscale", "multiplex_timeout"),
            ("proxysql", "mysql-connect_timeout_server_max"),
        ],
        put: |draft, value| draft.queue_timeout = value.duration(),
        get: |draft| Value::Duration(draft.queue_timeout),
    },
    Setting::<Backend> {
        name: "max_queue",
        kind: Kind::Count { min: 0, max: 10_000_000 },
        unit: "commands",
        default: Is("10000"),
        takes_effect: TakesEffect::NextAcquire,
        summary: "Commands that may wait for a server connection; more are refused at once.",
        detail: "It bounds memory and the time to recover after a stall. 0 stands for no bound.",
        example: "max_queue = 1000",
        also_known_as: &[("haproxy", "server maxqueue")],
        put: |draft, value| draft.max_queue = value.count(),
        get: |draft| Value::Count(draft.max_queue.into()),
    },
    Setting::<Backend> {
        name: "max_idle",
        kind: Kind::Count { min: 0, max: 100_000 },
        unit: "connections",
        default: Is("50"),
        takes_effect: TakesEffect::AtOnce,
        summary: "Idle server connections that a worker keeps per server and account.",
        detail: "What is beyond it is closed after ten seconds without use; 0 keeps none. \
                 ProxySQL keeps a share of each server's limit instead.",
        example: "max_idle = 20",
        also_known_as: &[
            ("haproxy", "server pool-max-conn"),
            ("maxscale", "persistpoolmax"),
            ("proxysql", "mysql-free_connections_pct"),
        ],
        put: |draft, value| draft.max_idle = value.count(),
        get: |draft| Value::Count(draft.max_idle.into()),
    },
    Setting::<Backend> {
        name: "idle_timeout",
        kind: Kind::Duration {
            min: Duration::from_millis(1000),
            max: Duration::from_secs(31536000),
        },
        unit: "",
        default: Is("5m"),
        takes_effect: TakesEffect::AtOnce,
        summary: "Idle time after which a pooled server connection is closed.",
        detail: "Keep it below the `wait_timeout` of the servers.",
        example: "idle_timeout = \"1m\"",
        also_known_as: &[("haproxy", "server pool-purge-delay"), ("maxscale", "persistmaxtime")],
        put: |draft, value| draft.idle_timeout = value.duration(),
        get: |draft| Value::Duration(draft.idle_timeout),
    },
    Setting::<Backend> {
        name: "max_age",
        kind: Kind::Duration { min: Duration::ZERO, max: Duration::from_secs(31536000) },
        unit: "",
        default: Is("1h"),
        takes_effect: TakesEffect::AtOnce,
        summary: "Age after which a server connection is closed as soon as it is free.",
        detail: "`0s` stands for never. It returns the memory that servers keep per connection and spreads connections again after a change. Each goes at an age of its own, up to a tenth less, so that those which were opened together do not go together.",
        example: "max_age = \"4h\"",
        also_known_as: &[("proxysql", "mysql-connection_max_age_ms")],
        put: |draft, value| draft.max_age = value.duration(),
        get: |draft| Value::Duration(draft.max_age),
    },
    Setting::<Backend> {
        name: "connect_rate",
        kind: Kind::Count { min: 0, max: 1_000_000 },
        unit: "connections per second",
        default: Is("0"),
        takes_effect: TakesEffect::NextServerConnection,
        summary: "Server connections opened per second to one server.",
        detail: "0 stands for no bound. Set it where a server that comes back is overrun by logins.",
        example: "connect_rate = 200",
        also_known_as: &[("proxysql", "mysql-throttle_connections_per_sec_to_hostgroup")],
        put: |draft, value| draft.connect_rate = value.count(),
        get: |draft| Value::Count(draft.connect_rate.into()),
    },
    Setting::<Backend> {
        name: "slow_start",
        kind: Kind::Duration { min: Duration::ZERO, max: Duration::from_secs(3600) },
        unit: "",
        default: Is("10s"),
        takes_effect: TakesEffect::NextAcquire,
        summary: "Time over which a server that came back grows to its full share.",
        detail: "Its caches are cold; `0s` gives it its share at once.",
        example: "slow_start = \"30s\"",
        also_known_as: &[("haproxy", "server slowstart")],
        put: |draft, value| draft.slow_start = value.duration(),
        get: |draft| Value::Duration(draft.slow_start),
    },
    Setting::<Backend> {
        name: "max_lag",
        kind: Kind::Duration { min: Duration::ZERO, max: Duration::from_secs(31536000) },
        unit: "",
        default: Is("0s"),
        takes_effect: TakesEffect::NextCommand,
        summary: "Replication lag beyond which a replica takes no reads.",
        detail: "`0s` stands for no bound; a server's own `max_lag` goes first.",
        example: "max_lag = \"5s\"",
        also_known_as: &[
            ("maxscale", "max_replication_lag"),
            ("proxysql", "mysql_servers.max_replication_lag"),
        ],
        put: |draft, value| draft.max_lag = value.duration(),
        get: |draft| Value::Duration(draft.max_lag),
    },
    Setting::<Backend> {
        name: "max_recv_queue",
        kind: Kind::Count { min: 0, max: 100_000_000 },
        unit: "write sets",
        default: Is("0"),
        takes_effect: TakesEffect::AtOnce,
        summary: "Write sets waiting to be applied beyond which a Galera member takes no traffic.",
        detail: "0 stands for no bound: flow control keeps a cluster's members together. It looks at `wsrep_local_recv_queue` and concerns `topology = \"galera\"` alone.",
        example: "max_recv_queue = 500",
        also_known_as: &[("proxysql", "mysql_galera_hostgroups.max_transactions_behind")],
        put: |draft, value| draft.max_recv_queue = value.count(),
        get: |draft| Value::Count(draft.max_recv_queue.into()),
    },
    Setting::<Backend> {
        name: "donor_reads",
        kind: Kind::Flag,
        unit: "",
        default: Is("false"),
        takes_effect: TakesEffect::AtOnce,
        summary: "Whether a Galera member that is a donor or desynced takes reads.",
        detail: "Such a member may be far behind and slow. One whose `wsrep_sst_donor_rejects_queries` is on never does, and none becomes the writer.",
        example: "donor_reads = true",
        also_known_as: &[("maxscale", "available_when_donor")],
        put: |draft, value| draft.donor_reads = value.flag(),
        get: |draft| Value::Flag(draft.donor_reads),
    },
    Setting::<Backend> {
        name: "send_proxy",
        kind: Kind::Word(SendProxy::WORDS),
        unit: "",
        default: Is("off"),
        takes_effect: TakesEffect::NextServerConnection,
        summary: "The PROXY protocol header that servers get.",
        detail: "With one, a server sees the client's address, and connections are shared among the clients of one address only.",
        example: "send_proxy = \"v2\"",
        also_known_as: &[
            ("haproxy", "server send-proxy and send-proxy-v2"),
            ("maxscale", "proxy_protocol"),
        ],
        put: |draft, value| {
            if let Some(word) = SendProxy::from_word(&value.text()) {
                draft.send_proxy = word;
            }
        },
        get: |draft| Value::of_word(draft.send_proxy.word()),
    },
    Setting::<Backend> {
        name: "multiplex",
        kind: Kind::Flag,
        unit: "",
        default: Is("true"),
        takes_effect: TakesEffect::NextCommand,
        summary: "Whether clients share server connections between their commands.",
        detail: "Whatever a session has set is carried along; what can't be carried holds the connection and is shown with its reason.",
        example: "multiplex = true",
        also_known_as: &[
            ("maxscale", "idle_session_pool_time"),
            ("proxysql", "mysql-multiplexing"),
        ],
        put: |draft, value| draft.multiplex = value.flag(),
        get: |draft| Value::Flag(draft.multiplex),
    },
];
