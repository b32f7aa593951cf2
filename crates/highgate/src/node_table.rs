//! This process, for operators.

use std::{
    path::PathBuf,
    sync::{Arc, atomic::Ordering},
};

use highgate_cluster::Alone;
use highgate_config::{
    Config, ControlPlane, apply_all,
    native::Parsed,
    table::{
        Action, Column,
        Kind::{Integer, Text},
        Metric::{Counter, Gauge, Label, None as Hidden},
        Row, Table,
    },
};
use highgate_core::events::{Event, Kind as EventKind, Severity};
use highgate_io::{clock, log::LogLines, tasks};
use highgate_proxy::{certificate::CertificateDate, shared::Shared};

use crate::{
    applying::{Applying, keeps_a_listener},
    files,
    report::Before,
};

/// The table `node`.
pub(crate) struct NodeTable {
    pub(crate) alone: Arc<Alone>,
    pub(crate) shared: Arc<Shared>,
    /// Of the ports for operators.
    pub(crate) certificate: Arc<CertificateDate>,
    pub(crate) log: LogLines,
    pub(crate) applying: Applying,
}

const COLUMNS: &[Column] = &[
    column("name", Text, Label, "Name of the node."),
    column("version", Text, Hidden, "Version of Highgate."),
    column("pid", Integer, Hidden, "Process id."),
    column("uptime_seconds", Integer, Gauge, "Time since start, in seconds."),
    column("config_version", Integer, Gauge, "Version of the configuration in force."),
    column("snapshot_version", Integer, Gauge, "Version of the plan in force."),
    column("clients", Integer, Gauge, "Clients connected now."),
    column("max_clients", Integer, Gauge, "Most clients that may be connected."),
    column("draining", Integer, Gauge, "1 while the node drains."),
    column(
        "admin_certificate_expires_seconds",
        Integer,
        Gauge,
        "Time until the certificate of the ports for operators expires, in seconds; below 0 when it has.",
    ),
    column("log_lines_lost", Integer, Counter, "Lines of the log that could not be written."),
];

const fn column(
    name: &'static str,
    kind: highgate_config::table::Kind,
    metric: highgate_config::table::Metric,
    doc: &'static str,
) -> Column {
    Column { name, kind, metric, doc }
}

impl Table for NodeTable {
    fn name(&self) -> &'static str {
        "node"
    }

    fn doc(&self) -> &'static str {
        "This process: one row."
    }

    fn columns(&self) -> &'static [Column] {
        COLUMNS
    }

    fn rows(&self) -> Vec<Row> {
        let shared = &self.shared;
        let uptime = clock::now().saturating_duration_since(shared.started).as_secs();
        let (version, _) = self.alone.current();
        vec![vec![
            self.alone.node().to_string().into(),
            env!("CARGO_PKG_VERSION").into(),
            std::process::id().into(),
            uptime.into(),
            version.0.into(),
            shared.snapshot.load().version.into(),
            shared.connections.load(Ordering::Relaxed).into(),
            shared.max_connections.load(Ordering::Relaxed).into(),
            u32::from(shared.draining.load(Ordering::Relaxed)).into(),
            self.certificate.seconds_left().into(),
            self.log.losses().lines.into(),
        ]]
    }

    fn actions(&self) -> &'static [Action] {
        ACTIONS
    }

    fn act(&self, action: &str, arguments: &[&str]) -> Result<String, String> {
        let given: Vec<PathBuf> = arguments.iter().map(PathBuf::from).collect();
        let given = self.applying.own.meant_by(&given)?;
        let parsed = files::parsed_for_operator(&given, self.alone.node());
        let parsed = parsed.map_err(|error| format!("{error:#}"))?;
        match action {
            "compare" => {
                let key = self.applying.key_before(&given);
                let text = self.compare(&key, &parsed);
                let note = self.applying.vips.could_keep(&parsed.config);
                let note = note.and_then(|()| self.would_keep_a_listener(&key, &parsed));
                let note = note.err();
                Ok(note.map_or(text.clone(), |note| {
                    format!("{text}\nnote: it would be refused: {note}")
                }))
            }
            "apply" => self.apply(&given, parsed),
            _ => Err(format!("table `node` has no action `{action}`")),
        }
    }
}

const ACTIONS: &[Action] = &[
    Action {
        name: "apply",
        arguments: &["file…"],
        doc: "Puts in force what changed in configuration files since they were last applied.",
    },
    Action {
        name: "compare",
        arguments: &["file…"],
        doc: "Says what `apply` would change, and changes nothing.",
    },
];

impl NodeTable {
    /// Certificates in force that clients refuse.
    fn expired(&self) -> Vec<String> {
        let mut all = self.applying.node.expired_certificates();
        all.extend(self.certificate.has_expired("the ports for operators"));
        all
    }

    /// Whether there are files to be read again.
    fn has_certificates(&self, config: &Config) -> bool {
        let shared = &config.shared;
        let listeners = shared.listeners.values().map(|it| &it.tls);
        let backends = shared.backends.values().map(|it| &it.tls);
        let own = config.node.get(self.alone.node()).map(|it| &it.admin.tls);
        let mut all = listeners.chain(backends).chain(own);
        all.any(|tls| tls.cert.is_some() || tls.ca.is_some())
    }

    fn compare(&self, key: &str, parsed: &Parsed) -> String {
        let before = Before::of(&self.applying);
        let merged = self.alone.would_apply(key, &parsed.config);
        // What does not fit is said by `apply`.
        let after = apply_all(&before.config, &merged.changes).ok();
        let mut lines =
            before.lines((key, parsed), &merged.changes, &merged.conflicts, after.as_ref());
        lines.extend(after.into_iter().flat_map(|after| files::warnings_within(parsed, &after)));
        lines.join("\n")
    }

    fn would_keep_a_listener(&self, key: &str, parsed: &Parsed) -> Result<(), String> {
        let (_, current) = self.alone.current();
        self.applying.own.none_is_emptied(key, parsed)?;
        let parsed = &parsed.config;
        let merged = self.alone.would_apply(key, parsed);
        let emptied = self.applying.emptied(key, parsed);
        // What does not fit is said by `apply`.
        apply_all(&current, &merged.changes)
            .map_or(Ok(()), |after| keeps_a_listener(&current, &after, emptied.as_ref()))
    }

    fn apply(&self, files: &[PathBuf], parsed: Parsed) -> Result<String, String> {
        let refused = |error: &String| {
            let text = format!("`apply` was refused: {error}");
            self.shared.event(Event::new(Severity::Error, EventKind::Config, text));
        };
        let key = tasks::wait(self.applying.key_of(files)).inspect_err(refused)?;
        let before = Before::of(&self.applying);
        let applied = tasks::wait(self.applying.apply(&key, parsed.clone(), "apply"));
        let applied = applied.inspect_err(refused)?;
        let (_, after) = self.alone.current();
        let lines =
            before.lines((&key, &parsed), &applied.changes, &applied.conflicts, Some(&after));
        let mut text = lines.join("\n");
        let in_force = self.applying.again.ask(applied.changes.is_empty());
        if applied.changes.is_empty() && in_force.is_ok() && self.has_certificates(&after) {
            text.push_str("\ncertificates are read again");
        }
        for expired in self.expired() {
            text.push_str("\nwarning: ");
            text.push_str(&expired);
        }
        let told = format!("applied: {}", text.replace('\n', "; "));
        let event = Event::new(Severity::Info, EventKind::Config, told);
        self.shared.event(event);
        in_force.map_err(|error| format!("{text}\n{error}"))?;
        let mut told = vec![text];
        told.extend(files::warnings_within(&parsed, &after));
        Ok(told.join("\n"))
    }
}
