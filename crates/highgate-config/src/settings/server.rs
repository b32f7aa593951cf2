//! Servers: the members of a backend.

use std::{path::PathBuf, time::Duration};

use super::{
    KeyOf, Kind, Setting, TableOf, TakesEffect, Value,
    WhenLeftOut::{Is, Nothing, Required},
};
use crate::{Address, AdminState, Server};

pub(super) const TABLE: TableOf<Server> = TableOf {
    name: "server",
    heading: "[[backend.server]]",
    key: Some(KeyOf {
        name: "name",
        kind: Kind::Name,
        summary: "The server's name within its backend.",
    }),
    summary: "A database server as a member of the backend above it.",
    groups: &[SETTINGS],
    children: &[],
    refused: &[
        ("compression", "compression towards servers is not available yet"),
        ("max_latency_ms", "a server that is slow gets less by `balance = \"fastest\"`"),
    ],
    blank,
};

fn blank() -> Server {
    Server {
        address: Address::Unix(PathBuf::from("/")),
        weight: 1,
        backup: false,
        max_connections: 0,
        max_lag: None,
        state: AdminState::Enabled,
    }
}

pub(super) const SETTINGS: &[Setting<Server>] = &[
    Setting::<Server> {
        name: "address",
        kind: Kind::Address,
        unit: "",
        default: Required,
        takes_effect: TakesEffect::AtOnce,
        summary: "Where the server is.",
        detail: "A host's name is resolved again while it is in use. A server that gets another address is another server: its connections are closed as they become free. Where a name with several addresses loses one, those to that one are.",
        example: "address = \"10.0.0.11:3306\"",
        also_known_as: &[
            ("haproxy", "server ADDRESS"),
            ("maxscale", "address and port of a server"),
            ("proxysql", "mysql_servers.hostname and port"),
        ],
        put: |draft, value| {
            if let Some(address) = value.addresses().into_iter().next() {
                draft.address = address;
            }
        },
        get: |draft| Value::Addresses(vec![draft.address.clone()]),
    },
    Setting::<Server> {
        name: "weight",
        kind: Kind::Count { min: 0, max: 1_000_000 },
        unit: "",
        default: Is("1"),
        takes_effect: TakesEffect::NextAcquire,
        summary: "Its share of the work, relative to the others of its backend.",
        detail: "0: only what is there already. `ctl weight` gives another one without a change of the configuration; what is drained or in maintenance stays so, and has that weight once it is enabled.",
        example: "weight = 5",
        also_known_as: &[("haproxy", "server weight"), ("proxysql", "mysql_servers.weight")],
        put: |draft, value| draft.weight = value.count(),
        get: |draft| Value::Count(draft.weight.into()),
    },
    Setting::<Server> {
        name: "backup",
        kind: Kind::Flag,
        unit: "",
        default: Is("false"),
        takes_effect: TakesEffect::NextAcquire,
        summary: "Whether it serves only while no other can.",
        detail: "",
        example: "backup = true",
        also_known_as: &[("haproxy", "server backup"), ("maxscale", "rank=secondary")],
        put: |draft, value| draft.backup = value.flag(),
        get: |draft| Value::Flag(draft.backup),
    },
    Setting::<Server> {
        name: "max_connections",
        kind: Kind::Count { min: 1, max: 100_000 },
        unit: "connections",
        default: Is("200"),
        takes_effect: TakesEffect::NextAcquire,
        summary: "Upper bound of connections that this node opens to it, idle and leased together.",
        detail: "Commands beyond it go to another server that may take them (`balance`); where none has room, they wait up to `queue_timeout`. Keep the sum over all nodes below the server's own `max_connections`. ProxySQL's default is 1000.",
        example: "max_connections = 500",
        also_known_as: &[
            ("haproxy", "server maxconn"),
            ("maxscale", "max_routing_connections"),
            ("proxysql", "mysql_servers.max_connections"),
        ],
        put: |draft, value| draft.max_connections = value.count(),
        get: |draft| Value::Count(draft.max_connections.into()),
    },
    Setting::<Server> {
        name: "max_lag",
        kind: Kind::Duration { min: Duration::ZERO, max: Duration::from_secs(31536000) },
        unit: "",
        default: Nothing,
        takes_effect: TakesEffect::NextCommand,
        summary: "Replication lag beyond which it takes no reads.",
        detail: "Left out it is that of the backend; `0s` stands for no bound.",
        example: "max_lag = \"5s\"",
        also_known_as: &[
            ("maxscale", "max_replication_lag"),
            ("proxysql", "mysql_servers.max_replication_lag"),
        ],
        put: |draft, value| draft.max_lag = value.some_duration(),
        get: |draft| draft.max_lag.map_or(Value::Absent, Value::Duration),
    },
    Setting::<Server> {
        name: "state",
        kind: Kind::Word(AdminState::WORDS),
        unit: "",
        default: Is("enabled"),
        takes_effect: TakesEffect::AtOnce,
        summary: "What is wanted of it.",
        detail: "`drain` finishes what runs and takes nothing new; `maintenance` closes its connections, running statements too (what an idle session holds in a transaction or by a pin, too: its next command is refused), and is not checked. `ctl drain` does the same without a change of the configuration.",
        example: "state = \"drain\"",
        also_known_as: &[
            ("haproxy", "server disabled"),
            ("maxscale", "maxctrl set server"),
            ("proxysql", "mysql_servers.status"),
        ],
        put: |draft, value| {
            if let Some(word) = AdminState::from_word(&value.text()) {
                draft.state = word;
            }
        },
        get: |draft| Value::of_word(draft.state.word()),
    },
];
