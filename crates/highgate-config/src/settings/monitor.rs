//! Monitors: how the servers of a backend are checked, as the table `monitor` of it.

use std::time::Duration;

use super::{
    Kind, Setting, TakesEffect, Value,
    WhenLeftOut::{Is, Nothing},
    drafts::only,
};
use crate::{Backend, Check, Monitor, Secret};

pub(super) fn blank() -> Monitor {
    Monitor {
        user: String::new(),
        password: Secret::new(""),
        check: Check::Ping,
        interval: Duration::ZERO,
        timeout: Duration::ZERO,
        rise: 0,
        fall: 0,
    }
}

fn check_of(text: String) -> Check {
    match text.as_str() {
        "connect" => Check::Connect,
        "handshake" => Check::Handshake,
        "off" => Check::Off,
        "ping" => Check::Ping,
        _ => Check::Sql(text),
    }
}

fn check_text(check: &Check) -> &str {
    match check {
        Check::Connect => "connect",
        Check::Handshake => "handshake",
        Check::Off => "off",
        Check::Ping => "ping",
        Check::Sql(statement) => statement,
    }
}

pub(super) const SETTINGS: &[Setting<Backend>] = &[
    Setting::<Backend> {
        name: "monitor.user",
        kind: Kind::Text,
        unit: "",
        default: Is(""),
        takes_effect: TakesEffect::NextCheck,
        summary: "Account with which servers are checked.",
        detail: "It needs no privilege to ping; to see roles it needs REPLICATION CLIENT, on MariaDB also SLAVE MONITOR.",
        example: "monitor = { user = \"monitor\", password = \"secret\" }",
        also_known_as: &[
            ("haproxy", "option mysql-check user"),
            ("maxscale", "user of a monitor"),
            ("proxysql", "mysql-monitor_username"),
        ],
        put: |draft, value| draft.monitor.user = value.text(),
        get: |draft| Value::Text(draft.monitor.user.clone()),
    },
    Setting::<Backend> {
        name: "monitor.password",
        kind: Kind::Secret,
        unit: "",
        default: Nothing,
        takes_effect: TakesEffect::NextCheck,
        summary: "The password of that account, in clear.",
        detail: "It is never shown, logged or written to an event.",
        example: "monitor = { user = \"monitor\", password = \"secret\" }",
        also_known_as: &[
            ("maxscale", "password of a monitor"),
            ("proxysql", "mysql-monitor_password"),
        ],
        put: |draft, value| draft.monitor.password = only(value.secrets()),
        get: |draft| {
            if draft.monitor.password.expose().is_empty() {
                Value::Secrets(Vec::new())
            } else {
                Value::Secrets(vec![draft.monitor.password.clone()])
            }
        },
    },
    Setting::<Backend> {
        name: "monitor.check",
        kind: Kind::Check,
        unit: "",
        default: Is("ping"),
        takes_effect: TakesEffect::NextCheck,
        summary: "What a check does: `connect`, `handshake`, `ping`, `off`, or a statement that must not fail.",
        detail: "Without an account it is `connect` when left out. `ping` and a statement log in. The kernel of a process that hangs still takes connections: so `connect` reads the server's greeting as well where a session got no login within `connect_timeout`, or where sessions of mode `mysql` wait and nothing was heard since the check before.",
        example: "monitor = { user = \"monitor\", check = \"SELECT 1 FROM app.health\" }",
        also_known_as: &[
            ("haproxy", "option mysql-check"),
            ("proxysql", "mysql-monitor_ping_interval"),
        ],
        put: |draft, value| draft.monitor.check = check_of(value.text()),
        get: |draft| Value::Text(check_text(&draft.monitor.check).to_owned()),
    },
    Setting::<Backend> {
        name: "monitor.interval",
        kind: Kind::Duration { min: Duration::from_millis(10), max: Duration::from_secs(3600) },
        unit: "",
        default: Is("500ms"),
        takes_effect: TakesEffect::NextCheck,
        summary: "Time between two checks of a server.",
        detail: "With `timeout` and `fall` it decides how fast a silent server is found: 500ms, 500ms and 2 stay below two seconds from a server's last word to the verdict. Where an answer came late within the last minute, as on a link that loses packets, silence has to last one `timeout` longer (below 2.6 seconds), and for ten minutes a second connection of the monitor stands by, so that what is lost on one holds nothing up on the other. HAProxy's default is 2s, ProxySQL's 8s for pings.",
        example: "monitor = { interval = \"500ms\" }",
        also_known_as: &[
            ("haproxy", "server inter"),
            ("maxscale", "monitor_interval"),
            ("proxysql", "mysql-monitor_ping_interval"),
        ],
        put: |draft, value| draft.monitor.interval = value.duration(),
        get: |draft| Value::Duration(draft.monitor.interval),
    },
    Setting::<Backend> {
        name: "monitor.timeout",
        kind: Kind::Duration { min: Duration::from_millis(10), max: Duration::from_secs(600) },
        unit: "",
        default: Is("500ms"),
        takes_effect: TakesEffect::NextCheck,
        summary: "Time without a word from the server after which a check counts as failed.",
        detail: "It includes connecting. A check that hears something goes on, and so does the server: the check is late, not failed. Answers to sessions count as well, unless `check` is a statement.",
        example: "monitor = { timeout = \"500ms\" }",
        also_known_as: &[
            ("haproxy", "timeout check"),
            ("maxscale", "backend_connect_timeout"),
            ("proxysql", "mysql-monitor_ping_timeout"),
        ],
        put: |draft, value| draft.monitor.timeout = value.duration(),
        get: |draft| Value::Duration(draft.monitor.timeout),
    },
    Setting::<Backend> {
        name: "monitor.rise",
        kind: Kind::Count { min: 1, max: 100 },
        unit: "checks",
        default: Is("2"),
        takes_effect: TakesEffect::NextCheck,
        summary: "Successful checks in a row after which a server is up.",
        detail: "",
        example: "monitor = { rise = 2 }",
        also_known_as: &[("haproxy", "server rise")],
        put: |draft, value| draft.monitor.rise = value.count(),
        get: |draft| Value::Count(draft.monitor.rise.into()),
    },
    Setting::<Backend> {
        name: "monitor.fall",
        kind: Kind::Count { min: 1, max: 100 },
        unit: "checks",
        default: Is("2"),
        takes_effect: TakesEffect::NextCheck,
        summary: "Failed checks in a row after which a server is down.",
        detail: "A refused connection and what sessions see count as well, so that a killed server is found at once.",
        example: "monitor = { fall = 2 }",
        also_known_as: &[
            ("haproxy", "server fall"),
            ("maxscale", "failcount"),
            ("proxysql", "mysql-monitor_ping_max_failures"),
        ],
        put: |draft, value| draft.monitor.fall = value.count(),
        get: |draft| Value::Count(draft.monitor.fall.into()),
    },
];
