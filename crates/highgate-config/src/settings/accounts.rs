//! Accounts of the cluster: who reads the grant tables of a backend, as the table `accounts` of it.

use std::time::Duration;

use super::{
    Kind, Setting, TakesEffect, Value,
    WhenLeftOut::{Is, Nothing},
    drafts::only,
};
use crate::Backend;

pub(super) const SETTINGS: &[Setting<Backend>] = &[
    Setting::<Backend> {
        name: "accounts.user",
        kind: Kind::Text,
        unit: "",
        default: Is(""),
        takes_effect: TakesEffect::NextCheck,
        summary: "Account that reads the grant tables, where a listener has `auth = \"cluster\"`.",
        detail: "Left empty it is the monitor's. It needs SELECT on `mysql.global_priv` (MariaDB from 10.4 on) or `mysql.user`, and nothing else.",
        example: "accounts = { user = \"reader\", password = \"secret\" }",
        also_known_as: &[("maxscale", "user of a service")],
        put: |draft, value| draft.accounts.user = value.text(),
        get: |draft| Value::Text(draft.accounts.user.clone()),
    },
    Setting::<Backend> {
        name: "accounts.password",
        kind: Kind::Secret,
        unit: "",
        default: Nothing,
        takes_effect: TakesEffect::NextCheck,
        summary: "The password of that account, in clear.",
        detail: "It is never shown, logged or written to an event.",
        example: "accounts = { user = \"reader\", password = \"secret\" }",
        also_known_as: &[("maxscale", "password of a service")],
        put: |draft, value| draft.accounts.password = only(value.secrets()),
        get: |draft| {
            if draft.accounts.password.expose().is_empty() {
                Value::Secrets(Vec::new())
            } else {
                Value::Secrets(vec![draft.accounts.password.clone()])
            }
        },
    },
    Setting::<Backend> {
        name: "accounts.interval",
        kind: Kind::Duration { min: Duration::from_millis(100), max: Duration::from_secs(86400) },
        unit: "",
        default: Is("10s"),
        takes_effect: TakesEffect::NextCheck,
        summary: "Time between two readings of the grant tables.",
        detail: "A failed login has them read as well, at most once per second, so that a new account or password works with the next try. While they can't be read, what was read last holds; before the first reading nobody can log in.",
        example: "accounts = { interval = \"10s\" }",
        also_known_as: &[("maxscale", "users_refresh_interval")],
        put: |draft, value| draft.accounts.interval = value.duration(),
        get: |draft| Value::Duration(draft.accounts.interval),
    },
];
