//! Networks of their own: namespaces joined by a bridge, whose links can be cut.
//!
//! Needs root. Names are unique per process and object, and dropping a [`Lab`] removes all it made.

use std::process::{Child, Command};
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::Context as _;

use crate::scratch::{is_root, run, which};

/// A bridge in a namespace of its own, and the namespaces attached to it; net 10.99.0.0/24.
#[derive(Debug)]
pub struct Lab {
    switch: Netns,
    hosts: Vec<Netns>,
}

impl Lab {
    /// Whether namespaces can be made here; tests say `skipped` when not.
    pub fn is_possible() -> bool {
        is_root() && which("ip").is_some() && Netns::new().is_ok()
    }

    /// Makes `hosts` namespaces with the addresses 10.99.0.1, 10.99.0.2 and so on.
    ///
    /// # Errors
    /// Not root, or `ip` refuses.
    pub fn new(hosts: u8) -> anyhow::Result<Self> {
        let mut lab = Self { switch: Netns::new()?, hosts: Vec::new() };
        lab.switch.ip("link add br0 type bridge")?;
        lab.switch.ip("link set br0 up")?;
        for number in 1..=hosts {
            let host = Netns::new()?;
            let (port, switch) = (format!("port{number}"), &lab.switch);
            switch
                .ip(&format!("link add {port} type veth peer name eth0 netns {}", host.name()))?;
            switch.ip(&format!("link set {port} master br0 up"))?;
            host.ip(&format!("addr add 10.99.0.{number}/24 dev eth0"))?;
            host.ip("link set eth0 up")?;
            lab.hosts.push(host);
        }
        Ok(lab)
    }

    /// The namespace of a host; the first is 1, as in its address.
    ///
    /// # Errors
    /// There is no such host.
    pub fn host(&self, number: u8) -> anyhow::Result<&Netns> {
        let index = usize::from(number).checked_sub(1).context("hosts count from 1")?;
        self.hosts.get(index).with_context(|| format!("the lab has no host {number}"))
    }

    /// Pulls a host's cable out.
    ///
    /// # Errors
    /// `ip` refuses.
    pub fn unplug(&self, number: u8) -> anyhow::Result<()> {
        self.switch.ip(&format!("link set port{number} down"))
    }

    /// Puts a host's cable back.
    ///
    /// # Errors
    /// `ip` refuses.
    pub fn plug(&self, number: u8) -> anyhow::Result<()> {
        self.switch.ip(&format!("link set port{number} up"))
    }

    /// Silently drops what two hosts send to each other, while both reach all others.
    ///
    /// # Errors
    /// `nft` is missing or refuses.
    pub fn part(&self, one: u8, other: u8) -> anyhow::Result<()> {
        self.host(one)?.drop_from(&format!("10.99.0.{other}"))?;
        self.host(other)?.drop_from(&format!("10.99.0.{one}"))
    }

    /// Undoes [`Lab::part`] for two hosts (and all drop rules of both).
    ///
    /// # Errors
    /// `nft` refuses.
    pub fn join(&self, one: u8, other: u8) -> anyhow::Result<()> {
        self.host(one)?.drop_nothing()?;
        self.host(other)?.drop_nothing()
    }
}

/// One network namespace, removed on drop.
#[derive(Debug)]
pub struct Netns {
    name: String,
}

impl Netns {
    /// Makes an empty namespace with loopback up.
    ///
    /// # Errors
    /// Not root, or `ip` is missing.
    pub fn new() -> anyhow::Result<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let unique = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("hg{}-{unique}", std::process::id());
        run(Command::new("ip").args(["netns", "add", &name]))?;
        let namespace = Self { name };
        namespace.ip("link set lo up")?;
        Ok(namespace)
    }

    /// Its name, as `ip netns` shows it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Runs `ip` with words inside.
    ///
    /// # Errors
    /// It fails.
    pub fn ip(&self, words: &str) -> anyhow::Result<()> {
        run(Command::new("ip").args(["-n", &self.name]).args(words.split_whitespace()))?;
        Ok(())
    }

    /// A command of `program` that runs inside.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name, program]);
        command
    }

    /// Starts a command made by [`Netns::command`].
    ///
    /// # Errors
    /// It can't be started.
    pub fn spawn(&self, mut command: Command) -> anyhow::Result<Child> {
        command.spawn().with_context(|| format!("starting {command:?}"))
    }

    /// Adds delay and loss to what `device` sends, as in `delay 20ms loss 1%`.
    ///
    /// # Errors
    /// `tc` is missing or refuses.
    pub fn impair(&self, device: &str, how: &str) -> anyhow::Result<()> {
        let mut command = self.command("tc");
        command.args(["qdisc", "replace", "dev", device, "root", "netem"]);
        run(command.args(how.split_whitespace()))?;
        Ok(())
    }

    /// Silently drops all packets that come from an address.
    ///
    /// # Errors
    /// `nft` is missing or refuses.
    pub fn drop_from(&self, address: &str) -> anyhow::Result<()> {
        let rules = format!(
            "add table ip testkit; \
             add chain ip testkit in {{ type filter hook input priority 0; }}; \
             add rule ip testkit in ip saddr {address} drop"
        );
        run(self.command("nft").arg(rules))?;
        Ok(())
    }

    /// Removes all rules of [`Netns::drop_from`].
    ///
    /// # Errors
    /// `nft` is missing or refuses.
    pub fn drop_nothing(&self) -> anyhow::Result<()> {
        run(self.command("nft").arg("add table ip testkit; delete table ip testkit"))?;
        Ok(())
    }
}

impl Drop for Netns {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["netns", "del", &self.name]).output();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reaches(lab: &Lab, from: u8, to: u8) -> bool {
        let script = format!("exec 3<>/dev/tcp/10.99.0.{to}/9");
        let mut command = lab.host(from).unwrap().command("timeout");
        let output = command.args(["2", "bash", "-c", &script]).output().unwrap();
        // Nobody listens: a refusal shows that the packet arrived, silence that it didn't.
        String::from_utf8_lossy(&output.stderr).contains("refused")
    }

    #[test]
    fn two_parted_hosts_reach_only_the_third() {
        if !Lab::is_possible() {
            return eprintln!("skipped: namespaces need root");
        }
        let lab = Lab::new(3).unwrap();
        assert!(reaches(&lab, 1, 2));
        if which("nft").is_some() {
            lab.part(1, 2).unwrap();
            assert!(!reaches(&lab, 1, 2));
            assert!(reaches(&lab, 1, 3));
            lab.join(1, 2).unwrap();
            assert!(reaches(&lab, 1, 2));
        }
        lab.unplug(2).unwrap();
        assert!(!reaches(&lab, 1, 2));
    }
}
