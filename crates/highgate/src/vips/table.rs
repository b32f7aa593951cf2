//! The tables `vips`, `vip_peers` and `vip_refusals`.

use std::sync::Arc;

use highgate_config::table::{
    Action, Column,
    Kind::{Integer, Text},
    Metric::{Counter, Gauge, Label, None as Hidden, State as Shown},
    Row, Table,
};
use highgate_vrrp::Status;

use super::Link;

/// The table `vips`.
pub(crate) struct VipsTable(pub(crate) Arc<Link>);

/// The table `vip_peers`.
pub(crate) struct PeersTable(pub(crate) Arc<Link>);

/// The table `vip_refusals`.
pub(crate) struct RefusalsTable(pub(crate) Arc<Link>);

macro_rules! columns {
    ($($name:literal, $kind:expr, $metric:expr, $doc:literal;)+) => {
        &[$(Column { name: $name, kind: $kind, metric: $metric, doc: $doc }),+]
    };
}

const VIPS: &[Column] = columns! {
    "name", Text, Label, "Name of the vip.";
    "state", Text, Shown, "`active` holds the addresses, `backup` would take them, `fault` can't, `init` waits.";
    "seconds", Integer, Gauge, "Time in this state, in seconds.";
    "why", Text, Hidden, "Why it is in this state.";
    "addresses", Text, Hidden, "The addresses that move.";
    "interface", Text, Hidden, "Interface on which VRRP is spoken.";
    "router_id", Integer, Hidden, "Number that the nodes of the vip share.";
    "version", Text, Hidden, "Version of VRRP.";
    "priority", Integer, Gauge, "Priority as configured.";
    "effective_priority", Integer, Gauge, "Priority with what tracking adds.";
    "active_node", Text, Hidden, "Who is active, as far as this node knows.";
    "takes_over_in_ms", Integer, Hidden, "Of a backup: when it takes over if it hears nothing more, in milliseconds.";
    "missing", Text, Hidden, "What keeps this node from taking part, with the reasons.";
    "became_active", Integer, Counter, "Times it became active.";
    "became_backup", Integer, Counter, "Times it became backup.";
    "became_fault", Integer, Counter, "Times it became unable to take part.";
    "adverts_sent", Integer, Counter, "Advertisements sent.";
    "adverts_heard", Integer, Counter, "Good advertisements heard.";
    "adverts_lower", Integer, Counter, "Advertisements of lower priority heard while active.";
    "adverts_refused", Integer, Counter, "Advertisements refused.";
    "refused_for", Text, Hidden, "Of them how many for what, as `password 3 ttl 1`; by itself in table `vip_refusals`.";
    "resignations_sent", Integer, Counter, "Advertisements of priority 0 sent.";
    "resignations_heard", Integer, Counter, "Advertisements of priority 0 heard.";
    "announced", Integer, Counter, "Times the addresses were announced on the network.";
};

const PEERS: &[Column] = columns! {
    "vip", Text, Label, "Name of the vip.";
    "address", Text, Label, "Address of the peer.";
    "heard_ms", Integer, Gauge, "Time since it was heard, in milliseconds.";
    "priority", Integer, Gauge, "Priority of its last good advertisement.";
    "interval_ms", Integer, Hidden, "Interval of its last good advertisement, in milliseconds.";
    "adverts", Integer, Counter, "Good advertisements.";
    "resignations", Integer, Counter, "Advertisements of priority 0.";
    "refused", Integer, Counter, "Refused advertisements.";
    "last_refusal", Text, Hidden, "Why the last one was refused.";
    "remark", Text, Hidden, "What is odd about its last good advertisement.";
};

const REFUSALS: &[Column] = columns! {
    "vip", Text, Label, "Name of the vip.";
    "kind", Text, Label, "What was wrong: `password`, `ttl`, `interval` and so on.";
    "adverts", Integer, Counter, "Advertisements refused for that.";
};

/// In place of a name.
const ALL: &str = "*";

const ACTIONS: &[Action] = &[
    Action {
        name: "drain",
        arguments: &["vip", "why?"],
        doc: "Gives the addresses of a vip away, or of all (`*`), and does not take them.",
    },
    Action {
        name: "enable",
        arguments: &["vip"],
        doc: "Lets a vip be taken again, or all of them (`*`).",
    },
];

impl Table for VipsTable {
    fn name(&self) -> &'static str {
        "vips"
    }

    fn doc(&self) -> &'static str {
        "Addresses that move between nodes: one row per vip of this node."
    }

    fn columns(&self) -> &'static [Column] {
        VIPS
    }

    fn rows(&self) -> Vec<Row> {
        self.0.status().iter().map(row).collect()
    }

    fn actions(&self) -> &'static [Action] {
        ACTIONS
    }

    fn act(&self, action: &str, arguments: &[&str]) -> Result<String, String> {
        let vip = arguments.first().copied().filter(|vip| *vip != ALL);
        let who =
            vip.map_or_else(|| "all vips of this node".to_owned(), |vip| format!("vip {vip}"));
        match (action, arguments) {
            ("drain", [_] | [_, _]) => {
                let given = arguments.get(1).filter(|why| !why.is_empty());
                let why = given.map_or_else(
                    || "an operator took it out".to_owned(),
                    |why| format!("an operator took it out: {why}"),
                );
                self.0.drain(vip, Some(&why))?;
                let back = vip.map_or_else(String::new, |vip| format!(" {vip}"));
                Ok(format!(
                    "{who}: the addresses are given away once their sessions have had a moment to end, \
                     and not taken until `highgate ctl vip enable{back}`"
                ))
            }
            ("enable", [_]) => {
                self.0.drain(vip, None)?;
                Ok(format!("{who} may be taken again"))
            }
            ("drain" | "enable", _) => {
                Err(format!("`{action}` takes the name of a vip, or `*` for all of them"))
            }
            _ => Err(format!("table `vips` has no action `{action}`")),
        }
    }
}

fn row(status: &Status) -> Row {
    let addresses: Vec<String> = status.addresses.iter().map(ToString::to_string).collect();
    let missing: Vec<String> =
        status.unmet.iter().map(|(need, why)| format!("{}: {why}", need.as_str())).collect();
    let counts = &status.counts;
    vec![
        status.name.clone().into(),
        status.state.as_str().into(),
        millis(status.state_for).div_euclid(1000).into(),
        status.why.clone().into(),
        addresses.join(" ").into(),
        status.interface.clone().into(),
        u32::from(status.vrid).into(),
        status.version.to_string().into(),
        u32::from(status.priority).into(),
        u32::from(status.effective_priority).into(),
        status.active.map(|active| active.to_string()).into(),
        status.takes_over_in.map(millis).into(),
        missing.join("; ").into(),
        counts.became_active.into(),
        counts.became_backup.into(),
        counts.became_fault.into(),
        counts.sent.into(),
        counts.heard.into(),
        counts.heard_lower.into(),
        counts.refused.values().sum::<u64>().into(),
        refused_for(status).into(),
        counts.sent_resignations.into(),
        counts.heard_resignations.into(),
        counts.announced.into(),
    ]
}

impl Table for PeersTable {
    fn name(&self) -> &'static str {
        "vip_peers"
    }

    fn doc(&self) -> &'static str {
        "Who else speaks for a vip: one row per vip and sender."
    }

    fn columns(&self) -> &'static [Column] {
        PEERS
    }

    fn rows(&self) -> Vec<Row> {
        let all = self.0.status();
        let rows = all.iter().flat_map(|status| {
            status.peers.iter().map(|peer| {
                vec![
                    status.name.clone().into(),
                    peer.address.to_string().into(),
                    millis(peer.heard_ago).into(),
                    peer.priority.map(u32::from).into(),
                    peer.interval.map(millis).into(),
                    peer.adverts.into(),
                    peer.resignations.into(),
                    peer.refused.into(),
                    peer.last_refusal.clone().into(),
                    peer.remark.clone().into(),
                ]
            })
        });
        rows.collect()
    }
}

/// Of each kind of refusal that there was, how many.
fn refusals(status: &Status) -> impl Iterator<Item = (&'static str, u64)> {
    status.counts.refused.iter().map(|(kind, count)| (kind.as_str(), *count))
}

fn refused_for(status: &Status) -> String {
    let each: Vec<String> =
        refusals(status).map(|(kind, count)| format!("{kind} {count}")).collect();
    each.join(" ")
}

impl Table for RefusalsTable {
    fn name(&self) -> &'static str {
        "vip_refusals"
    }

    fn doc(&self) -> &'static str {
        "Advertisements that were refused: one row per vip and kind, once there was one."
    }

    fn columns(&self) -> &'static [Column] {
        REFUSALS
    }

    fn rows(&self) -> Vec<Row> {
        let all = self.0.status();
        let rows = all.iter().flat_map(|status| {
            refusals(status)
                .map(|(kind, count)| vec![status.name.clone().into(), kind.into(), count.into()])
        });
        rows.collect()
    }
}

fn millis(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
