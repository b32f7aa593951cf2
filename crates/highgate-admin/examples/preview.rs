//! Serves the page over made-up tables, to look at it: `cargo run --example preview [port] [calm]`.
//! The SQL port is the next one, for user and password `admin`.

use std::{net::SocketAddr, sync::Arc};

use highgate_admin::{Alarm, Logins, Room, Tables, TlsOffer, Users, sql, web};
use highgate_config::Secret;
use highgate_config::table::{Action, Column, Kind, Metric, Row, Table, Value};
use highgate_io::{clock, tasks};

struct Made {
    name: &'static str,
    columns: &'static [Column],
    actions: &'static [Action],
    rows: fn(u64) -> Vec<Row>,
}

impl Table for Made {
    fn name(&self) -> &'static str {
        self.name
    }
    fn doc(&self) -> &'static str {
        "Made up."
    }
    fn columns(&self) -> &'static [Column] {
        self.columns
    }
    fn rows(&self) -> Vec<Row> {
        (self.rows)(clock::wall_ms())
    }
    fn actions(&self) -> &'static [Action] {
        self.actions
    }
    fn act(&self, action: &str, arguments: &[&str]) -> Result<String, String> {
        Ok(format!("{action} {arguments:?}"))
    }
}

const fn text(name: &'static str) -> Column {
    Column { name, kind: Kind::Text, metric: Metric::None, doc: "Says it." }
}

const fn number(name: &'static str) -> Column {
    Column { name, kind: Kind::Integer, metric: Metric::Gauge, doc: "Counts it." }
}

const LISTENERS: &[Column] =
    &[text("name"), text("mode"), text("address"), text("backend"), number("clients")];
const BACKENDS: &[Column] =
    &[text("name"), text("topology"), text("primary"), text("writes"), text("reason")];
const SERVERS: &[Column] = &[
    text("backend"),
    text("name"),
    text("address"),
    text("role"),
    text("status"),
    text("reason"),
    number("weight"),
    number("lag_ms"),
    number("leased"),
    number("idle"),
    number("queued"),
    number("commands"),
    number("errors"),
    number("latency_us"),
];
const SESSIONS: &[Column] = &[
    number("id"),
    text("user"),
    text("listener"),
    text("client"),
    text("backend"),
    text("server"),
    text("state"),
    number("seconds"),
    text("statement"),
    text("pinned_by"),
    text("may_release"),
    text("may_move"),
];
const EVENTS: &[Column] = &[
    number("id"),
    number("time"),
    text("severity"),
    text("kind"),
    text("backend"),
    text("server"),
    number("session"),
    text("text"),
];
const NODE: &[Column] =
    &[text("name"), text("version"), number("uptime"), number("config_version")];
const DRAIN: &[Action] = &[Action {
    name: "drain",
    arguments: &["backend", "server"],
    doc: "Takes it out of service once its sessions are done.",
}];

fn servers(now: u64) -> Vec<Row> {
    let count = |rate: u64| Value::from(now / 100 * rate / 10 % 1_000_000_000);
    let row = |backend: &'static str,
               name: &'static str,
               address: &'static str,
               role: &'static str,
               status: &'static str,
               reason: &'static str,
               lag: Option<i64>,
               rate: u64|
     -> Row {
        vec![
            backend.into(),
            name.into(),
            address.into(),
            role.into(),
            status.into(),
            reason.into(),
            100_i64.into(),
            lag.into(),
            i64::try_from(rate / 60).unwrap_or(0).into(),
            12_i64.into(),
            0_i64.into(),
            count(rate),
            3_i64.into(),
            412_i64.into(),
        ]
    };
    vec![
        row("orders", "db1", "10.0.0.11:3306", "primary", "up", "", None, 1240),
        row("orders", "db2", "10.0.0.12:3306", "replica", "up", "", Some(12), 6210),
        row(
            "orders",
            "db3",
            "10.0.0.13:3306",
            "replica",
            "down",
            "no answer to a ping within 1 s, three times since 03:12:08; last error: connection refused",
            None,
            0,
        ),
        row(
            "orders",
            "db4",
            "10.0.0.14:3306",
            "replica",
            "draining",
            "ctl drain by root: disk replacement",
            Some(8),
            3,
        ),
        row("reports", "wide-1", "[2001:db8::17]:9030", "follower", "up", "", None, 80),
    ]
}

fn sessions(_: u64) -> Vec<Row> {
    (0..700_i64)
        .map(|id| {
            let pinned = match id % 9 {
                0 => Value::from("transaction"),
                1 => "user variable, prepared statement".into(),
                _ => Value::Null,
            };
            vec![
                (16_777_216 + id).into(),
                ["app", "report", "<b>evil</b>"][usize::try_from(id % 3).unwrap_or(0)].into(),
                "main".into(),
                format!("10.1.{}.{}:{}", id / 250, id % 250, 40000 + id).into(),
                "orders".into(),
                ["db1", "db2"][usize::try_from(id % 2).unwrap_or(0)].into(),
                "running".into(),
                (id % 60).into(),
                "SELECT * FROM orders WHERE id = ?".into(),
                pinned,
                "no".into(),
                "no".into(),
            ]
        })
        .collect()
}

fn events(now: u64) -> Vec<Row> {
    [
        (
            "info",
            "config",
            "",
            "",
            "configuration version 7 in force: applied highgate.toml by root",
        ),
        (
            "warning",
            "lag",
            "orders",
            "db2",
            "lag 3,210 ms is above max_lag 3 s; no reads for it until below 2 s",
        ),
        ("info", "lag", "orders", "db2", "lag 12 ms: takes reads again, slowly for 30 s"),
        (
            "error",
            "down",
            "orders",
            "db3",
            "no answer to a ping within 1 s, three times; its 14 sessions continue on db2",
        ),
        ("info", "override", "orders", "db4", "drain by root: disk replacement"),
    ]
    .into_iter()
    .enumerate()
    .map(|(id, (severity, kind, backend, server, says))| {
        vec![
            id.to_string().parse::<i64>().unwrap_or(0).into(),
            (now - 60_000 * (5 - id as u64)).into(),
            severity.into(),
            kind.into(),
            backend.into(),
            server.into(),
            Value::Null,
            says.into(),
        ]
    })
    .collect()
}

fn tables(is_calm: bool) -> Tables {
    let made = |name, columns, actions, rows| {
        Arc::new(Made { name, columns, actions, rows }) as Arc<dyn Table>
    };
    let few: fn(u64) -> Vec<Row> = |now| servers(now).into_iter().take(2).collect();
    Tables::new(vec![
        made("node", NODE, &[], |_| {
            vec![vec!["alpha".into(), "0.1.0".into(), 93_412_i64.into(), 7_i64.into()]]
        }),
        made("listeners", LISTENERS, &[], |_| {
            vec![
                vec![
                    "main".into(),
                    "mysql".into(),
                    "0.0.0.0:3306".into(),
                    "orders".into(),
                    683_i64.into(),
                ],
                vec![
                    "legacy".into(),
                    "mysql".into(),
                    "0.0.0.0:3307".into(),
                    "orders".into(),
                    17_i64.into(),
                ],
                vec![
                    "reports".into(),
                    "tcp".into(),
                    "0.0.0.0:9030".into(),
                    "reports".into(),
                    4_i64.into(),
                ],
            ]
        }),
        made("backends", BACKENDS, &[], |_| {
            vec![
                vec![
                    "orders".into(),
                    "mariadb-replication".into(),
                    "db1".into(),
                    "ok".into(),
                    Value::Null,
                ],
                vec!["reports".into(), "starrocks".into(), Value::Null, "ok".into(), Value::Null],
            ]
        }),
        made("servers", SERVERS, DRAIN, if is_calm { few } else { servers }),
        made("sessions", SESSIONS, &[], if is_calm { |_| Vec::new() } else { sessions }),
        made("events", EVENTS, &[], events),
    ])
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().collect();
    let port = arguments.get(1).and_then(|port| port.parse().ok()).unwrap_or(6080);
    let logins =
        |users| Logins::new(Users::fixed(users), Alarm::new(|text| eprintln!("{text}")), None);
    let site = web::Site {
        tables: tables(arguments.iter().any(|argument| argument == "calm")),
        logins: logins(Default::default()),
        turn: Default::default(),
        serving: tokio::sync::watch::channel(true).1,
        fault: tokio::sync::watch::channel(None).1,
    };
    let sql_port = sql::port::Port {
        engine: sql::Engine::start(site.tables.clone(), "8.0.0-preview", sql::Limits::default())?,
        logins: logins([("admin".into(), Secret::new("admin"))].into()),
        tls: TlsOffer::none(),
        version: "8.0.0-preview".into(),
        limits: sql::port::PortLimits::default(),
    };
    let router = web::router(&site, web::Door::Loopback);
    let (_stopper, stop) = tasks::Stopper::new();
    tasks::local_runtime()?.block_on(async {
        let listen = |port| -> std::io::Result<_> {
            let address = SocketAddr::from(([127, 0, 0, 1], port));
            tokio::net::TcpListener::from_std(highgate_io::listen::tcp(address)?)
        };
        let (pages, statements) = (listen(port)?, listen(port + 1)?);
        tokio::join!(
            web::serve(
                web::WebPort::new(pages, TlsOffer::none()),
                router,
                Room::default(),
                stop.clone()
            ),
            sql::port::serve(statements, sql_port, stop)
        );
        Ok(())
    })
}
