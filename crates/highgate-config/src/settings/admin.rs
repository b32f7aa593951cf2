//! The admin endpoints of a node and their accounts.

use super::{
    KeyOf, Kind, Setting, TableOf, TakesEffect, Value,
    WhenLeftOut::{Is, Nothing, Required},
    drafts::only,
    tls::tls_settings,
};
use crate::{Node, Secret, TlsMode};

pub(super) const USER: TableOf<Secret> = TableOf {
    name: "admin user",
    heading: "[[admin.user]]",
    key: Some(KeyOf { name: "name", kind: Kind::Name, summary: "The account's name." }),
    summary: "An account of the admin SQL port and the web page. Where none is given, the first start makes one: `admin`. It shows the password once and keeps it in the file `admin-password` of the data directory.",
    groups: &[USER_SETTINGS],
    children: &[],
    refused: &[],
    blank: || Secret::new(""),
};

pub(super) const SETTINGS: &[Setting<Node>] = &[
    Setting::<Node> {
        name: "admin.sql",
        kind: Kind::BindOrOff { port: 6032 },
        unit: "",
        default: Is("127.0.0.1:6032"),
        takes_effect: TakesEffect::NextStart,
        summary: "Where the admin SQL port listens, or `off`.",
        detail: "It speaks the MySQL protocol: `mysql -h 127.0.0.1 -P 6032 -u admin -p`. Everybody logs in. Beyond loopback it should have `admin.tls`.",
        example: "admin = { sql = \"127.0.0.1:6032\" }",
        also_known_as: &[("haproxy", "stats socket"), ("proxysql", "admin-mysql_ifaces")],
        put: |draft, value| draft.admin.sql = value.addresses().into_iter().next(),
        get: |draft| {
            draft.admin.sql.clone().map_or(Value::Absent, |one| Value::Addresses(vec![one]))
        },
    },
    Setting::<Node> {
        name: "admin.web",
        kind: Kind::BindOrOff { port: 6080 },
        unit: "",
        default: Is("127.0.0.1:6080"),
        takes_effect: TakesEffect::NextStart,
        summary: "Where the web pages, REST and `/metrics` are served, or `off`.",
        detail: "On a loopback address everybody on the machine may look without a login: sessions, forms of statements, metrics; actions need one. On any other address all but `/health` needs a login, `/metrics` too. With `admin.tls` it speaks HTTPS as well, on the same port, or alone. ProxySQL has pages and REST apart, on 6080 and 6070.",
        example: "admin = { web = \"127.0.0.1:6080\" }",
        also_known_as: &[
            ("haproxy", "listen with stats enable"),
            ("maxscale", "admin_host and admin_port"),
            ("proxysql", "admin-web_port and admin-restapi_port"),
        ],
        put: |draft, value| draft.admin.web = value.addresses().into_iter().next(),
        get: |draft| {
            draft.admin.web.clone().map_or(Value::Absent, |one| Value::Addresses(vec![one]))
        },
    },
];

pub(super) const TLS: &[Setting<Node>] = tls_settings!(
    Node,
    admin.tls,
    TakesEffect::NextConnection,
    &[
        ("haproxy", "bind ssl of stats"),
        ("maxscale", "admin_ssl_key and admin_ssl_cert"),
        ("proxysql", "admin-web_enabled, always over https"),
    ],
    "For the SQL port and the web port alike. With a certificate and no mode it is `preferred`: who connects chooses, also between http and https. `required` refuses what is not encrypted; the modes that verify ask for a client certificate.",
    "operators",
    "admin."
);

pub(super) const USER_SETTINGS: &[Setting<Secret>] = &[Setting::<Secret> {
    name: "password",
    kind: Kind::Secret,
    unit: "",
    default: Required,
    takes_effect: TakesEffect::NextConnection,
    summary: "The password, in clear or in a stored form.",
    detail: "Accepted on the SQL port and on the web page.",
    example: "password = \"secret\"",
    also_known_as: &[("proxysql", "admin-admin_credentials")],
    put: |draft, value| *draft = only(value.secrets()),
    get: |draft| Value::Secrets(vec![draft.clone()]),
}];
