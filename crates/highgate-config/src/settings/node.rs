//! A node: what is at the top of a file and belongs to one process.

use std::time::Duration;

use super::{
    Kind, Setting, TableOf, TakesEffect, Value,
    WhenLeftOut::{Is, Nothing},
    admin,
};
use crate::{Admin, Node};

pub(super) const TABLE: TableOf<Node> = TableOf {
    name: "node",
    heading: "",
    key: None,
    summary: "One Highgate process. These settings are at the top of the file, before its first table.",
    groups: &[SETTINGS, admin::SETTINGS, admin::TLS],
    children: &[
        "admin.user",
        "backend",
        "listener",
        "process",
        "rule",
        "script",
        "user",
        "vip",
        "vip_group",
    ],
    refused: &[
        ("cluster", "a cluster of Highgate nodes is not available yet"),
        ("log", "logging is set on the command line until this table is available"),
        ("tls", "TLS is set in the table `tls` of a listener, a backend or `[admin]`"),
        ("topology", "a topology is set by `topology` of a backend until this table is available"),
    ],
    blank,
};

fn blank() -> Node {
    Node {
        workers: 0,
        binds: Default::default(),
        admin: Admin { sql: None, web: None, tls: Default::default(), users: Default::default() },
        memory_limit: 0,
        max_connections: 0,
        drain_timeout: Duration::ZERO,
        script_security: false,
        vip_fifos: Vec::new(),
        vips: Default::default(),
        vip_groups: Default::default(),
        scripts: Default::default(),
        processes: Default::default(),
    }
}

pub(super) const SETTINGS: &[Setting<Node>] = &[
    Setting::<Node> {
        name: "workers",
        kind: Kind::Count { min: 0, max: 1_024 },
        unit: "threads",
        default: Is("0"),
        takes_effect: TakesEffect::NextStart,
        summary: "Threads that serve clients.",
        detail: "0 stands for one per core. More than the cores that the process may use costs more than it gives.",
        example: "workers = 4",
        also_known_as: &[
            ("haproxy", "global nbthread"),
            ("maxscale", "threads"),
            ("proxysql", "mysql-threads"),
        ],
        put: |draft, value| draft.workers = value.count(),
        get: |draft| Value::Count(draft.workers.into()),
    },
    Setting::<Node> {
        name: "memory_limit",
        kind: Kind::Bytes { min: 0, max: 1 << 50 },
        unit: "",
        default: Is("0B"),
        takes_effect: TakesEffect::AtOnce,
        summary: "Upper bound of memory for buffers and queued work.",
        detail: "Counted are the buffers of connections, commands past 16 MiB with the copy that is made of them, and what each session keeps: 4 KiB, 12 KiB more with TLS, and the texts of its prepared statements. Not counted are the tables of rules, events and digests, which have bounds of their own, and what the kernel holds for sockets. `0B` stands for no bound. Near the bound new clients are refused with an error that says so; sessions that are open go on.",
        example: "memory_limit = \"2GiB\"",
        also_known_as: &[],
        put: |draft, value| draft.memory_limit = value.bytes(),
        get: |draft| Value::Bytes(draft.memory_limit),
    },
    Setting::<Node> {
        name: "max_connections",
        kind: Kind::Count { min: 0, max: 10_000_000 },
        unit: "connections",
        default: Is("0"),
        takes_effect: TakesEffect::NextConnection,
        summary: "Upper bound of client connections of this node, over all listeners.",
        detail: "Of the limit of file descriptors 48 are this process's own, and a sixteenth, from 16 to 384, is for the connections of operators; where more than 16 servers are configured, up to a quarter is for checks, one for each further server; the rest is shared with connections to servers. 0 stands for half of that rest, and a number beyond three quarters of it is cut to them, with an event. Beyond the bound clients wait in the kernel's queue; ProxySQL answers error 1040 instead.",
        example: "max_connections = 20000",
        also_known_as: &[("haproxy", "global maxconn"), ("proxysql", "mysql-max_connections")],
        put: |draft, value| draft.max_connections = value.count(),
        get: |draft| Value::Count(draft.max_connections.into()),
    },
    Setting::<Node> {
        name: "drain_timeout",
        kind: Kind::Duration { min: Duration::ZERO, max: Duration::from_secs(86400) },
        unit: "",
        default: Is("30s"),
        takes_effect: TakesEffect::AtOnce,
        summary: "How long a stop or a hand-over to a new process waits for sessions to end by themselves.",
        detail: "At a stop, sessions outside of a transaction end at once, with the temporary tables, variables and `GET_LOCK()` locks that they have; those in a transaction, under `LOCK TABLES` or another lock for a backup, or with an open cursor end behind it; what is left after this time is closed. At a hand-over (`highgate run --replace`) there is no haste: in the first half of this time only sessions end that asked nothing for a second, then all others; those that have something on their server connection stay until it is over. Sessions stay with the process that accepted them: the new one gets the listening sockets alone.",
        example: "drain_timeout = \"1m\"",
        also_known_as: &[("haproxy", "hard-stop-after")],
        put: |draft, value| draft.drain_timeout = value.duration(),
        get: |draft| Value::Duration(draft.drain_timeout),
    },
    Setting::<Node> {
        name: "script_security",
        kind: Kind::Flag,
        unit: "",
        default: Is("false"),
        takes_effect: TakesEffect::AtOnce,
        summary: "Whether scripts and notify commands that would run as root are refused where others than root may write them.",
        detail: "Looked at are the program, the files among its arguments, and all folders above them. A script that is refused counts as failed; an event says why. With `false` an event warns, and it is run.",
        example: "script_security = true",
        also_known_as: &[("keepalived", "enable_script_security")],
        put: |draft, value| draft.script_security = value.flag(),
        get: |draft| Value::Flag(draft.script_security),
    },
    Setting::<Node> {
        name: "vip_fifos",
        kind: Kind::VipFifos,
        unit: "",
        default: Nothing,
        takes_effect: TakesEffect::AtOnce,
        summary: "Named pipes into which a line is written at each change of a vip or group.",
        detail: "The lines are Keepalived's: `INSTANCE \"VI_1\" MASTER 100`, or `GROUP` with priority 0. A pipe that is not there is made, for `owner` alone, and removed at the end. `script` is run all the while with the path as its last argument, as `user`; where it ends, it is started again, and when the pipe goes, it has half a second to read the rest. Nothing ever waits for a reader: a pipe that is full loses lines, which an event tells.",
        example: "vip_fifos = [\"/run/vips.fifo owner root script /usr/local/bin/on-change\"]",
        also_known_as: &[("keepalived", "notify_fifo"), ("keepalived", "vrrp_notify_fifo")],
        put: |draft, value| draft.vip_fifos = value.vip_fifos(),
        get: |draft| Value::VipFifos(draft.vip_fifos.clone()),
    },
];
