//! What strikes the active node.

use std::{process::Command, time::Duration};

use anyhow::Context as _;
use highgate_testkit::Lab;
use rustix::process::{Pid, Signal, kill_process};

/// What is struck.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// All processes of the node are killed.
    All,
    /// The process that keeps the addresses is.
    Keeper,
    /// The main process is.
    Main,
    /// All are, and the link goes down.
    Power,
    /// The process that watches the keeper is.
    Watcher,
}

/// A scenario.
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    /// Whether Keepalived is measured as well.
    pub(super) has_rival: bool,
    /// How each of them is told about version and interval.
    pub(super) highgate: &'static str,
    pub(super) keepalived: &'static str,
    /// How long both nodes are left alone before.
    pub(super) settles: Duration,
}

const V2: Fault = Fault {
    name: "v2-killed",
    kind: Kind::All,
    has_rival: true,
    highgate: "interval = \"1s\"\npassword = \"1111\"",
    keepalived: "advert_int 1\n authentication {\n auth_type PASS\n auth_pass 1111\n }",
    settles: Duration::from_millis(2500),
};

const V3: Fault = Fault {
    name: "v3-power",
    kind: Kind::Power,
    has_rival: true,
    highgate: "version = 3\ninterval = \"10ms\"",
    keepalived: "version 3\n advert_int 0.01",
    settles: Duration::from_millis(1500),
};

pub(super) const ALL: [Fault; 5] = [
    V2,
    Fault { name: "v2-keeper", kind: Kind::Keeper, has_rival: false, ..V2 },
    Fault { name: "v2-main", kind: Kind::Main, has_rival: false, ..V2 },
    Fault { name: "v2-watcher", kind: Kind::Watcher, has_rival: false, ..V2 },
    V3,
];

impl Fault {
    /// Strikes host 1.
    pub(super) fn strike(&self, lab: &Lab) -> anyhow::Result<()> {
        let role = match self.kind {
            Kind::Power => return lab.power_off(1),
            Kind::All => {
                lab.host(1)?.netns().kill_all();
                return Ok(());
            }
            Kind::Keeper => "vip-keeper",
            Kind::Main => "run",
            Kind::Watcher => "vip-watcher",
        };
        let pid = find(lab.host(1)?.netns().name(), role)?;
        kill_process(pid, Signal::KILL).context("killing it")
    }
}

/// The process of a role in a namespace.
fn find(netns: &str, role: &str) -> anyhow::Result<Pid> {
    let output = Command::new("ip").args(["netns", "pids", netns]).output()?;
    let list = String::from_utf8_lossy(&output.stdout).into_owned();
    let is_it = |pid: &i32| {
        let words = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        words.split(|byte| *byte == 0).nth(1) == Some(role.as_bytes())
    };
    let found = list.split_whitespace().filter_map(|word| word.parse().ok()).find(is_it);
    found.and_then(Pid::from_raw).with_context(|| format!("there is no {role}"))
}
