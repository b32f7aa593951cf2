//! Real Keepalived on a host of a lab.

#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::process::{Child, Stdio};

use anyhow::Context as _;
use highgate_testkit::{
    Host, Lab,
    scratch::{Scratch, which},
    wait::{self, Deadline},
};
use rustix::process::Signal;

use crate::vips::{lab, signal};

/// A running Keepalived; what is left of it goes with the lab.
pub(crate) struct Keepalived {
    child: Child,
    scratch: Scratch,
}

impl Keepalived {
    pub(crate) fn start(host: &Host, text: &str) -> anyhow::Result<Self> {
        let scratch = Scratch::new("keepalived")?;
        let file = |name: &str| scratch.join(name).display().to_string();
        std::fs::write(scratch.join("keepalived.conf"), text)?;
        let log = std::fs::File::create(scratch.join("log"))?;
        let mut command = host.command("keepalived");
        command.args(["-n", "-l", "-D", "-P", "-f", &file("keepalived.conf")]);
        command.args(["-p", &file("pid"), "-r", &file("vrrp.pid"), "-c", &file("checkers.pid")]);
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let child = command.spawn().context("starting keepalived")?;
        Ok(Self { child, scratch })
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.scratch.join("log")).unwrap_or_default()
    }

    /// Ends it as its service does.
    pub(crate) fn stop(&mut self) -> anyhow::Result<()> {
        signal(self.child.id(), Signal::TERM)
    }

    pub(crate) fn has_ended(&mut self) -> anyhow::Result<bool> {
        Ok(self.child.try_wait()?.is_some())
    }

    /// What it says of adverts that it does not like.
    pub(crate) fn complaints(&self) -> Vec<String> {
        let words =
            ["expected", "bogus", "mismatch", "invalid", "incorrect", "wrong", "received an"];
        let log = self.log();
        let is_one = |line: &&str| words.iter().any(|word| line.to_lowercase().contains(word));
        log.lines().filter(is_one).map(str::to_owned).collect()
    }
}

impl Drop for Keepalived {
    fn drop(&mut self) {
        let _ = self.stop();
        let by = Deadline::seconds(5);
        if !wait::wait_until(by, || self.child.try_wait().is_ok_and(|end| end.is_some())) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// Its text for the address of the lab.
pub(crate) fn instance(priority: u8, more: &str) -> String {
    instance_of(priority, more, "10.99.0.100")
}

/// The same for another address.
pub(crate) fn instance_of(priority: u8, more: &str, address: &str) -> String {
    format!(
        "global_defs {{\n router_id lab\n}}\n\
         vrrp_instance VI_1 {{\n state BACKUP\n interface eth0\n virtual_router_id 51\n\
         priority {priority}\n {more}\n virtual_ipaddress {{\n {address}\n }}\n}}\n"
    )
}

/// A lab, where there can be one and Keepalived is there.
pub(crate) fn setting(hosts: u8) -> Option<Lab> {
    if which("keepalived").is_none() {
        eprintln!("skipped: no keepalived");
        return None;
    }
    lab(hosts).unwrap()
}
