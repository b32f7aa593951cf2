//! A small network: hosts joined by a switch, whose links can be cut, parted and made bad.
//!
//! A host is a namespace with one device, `eth0`, and the addresses `10.99.0.N/24` and
//! `fd99::N/64`, where N counts from 1. Its cable ends at `portN` of a bridge in a namespace of the
//! lab's own. Faults are made at the switch, so hosts don't notice them other than by their effects:
//! what is dropped there is dropped whole, ARP and multicast included. Needs root; tests ask
//! [`Lab::is_possible`] and say `skipped` where it isn't. Dropping a lab removes all it made and kills
//! what still runs inside.
//!
//! ```no_run
//! # use highgate_testkit::{HighgateProcess, Lab, MariaDb, MariaDbOptions};
//! # fn main() -> anyhow::Result<()> {
//! let lab = Lab::new(2)?;
//! let database = MariaDb::start_with(lab.host(2)?.mariadb())?;
//! let process = lab.host(1)?.inside(|| HighgateProcess::start("highgate", "…"))??;
//! lab.mute(2, 1)?; // what host 2 sends does not arrive at host 1, though it hears host 1
//! # Ok(()) }
//! ```

mod cable;
mod tap_unsafe;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::process::Command;

use anyhow::Context as _;
use parking_lot::Mutex;

use self::cable::Cable;
pub use self::cable::Impairment;
use crate::mariadb::MariaDbOptions;
use crate::netns::Netns;
use crate::scratch::{is_root, which};
use crate::wait::{self, Deadline};

/// What a test prints after `skipped: ` where no lab can be made.
pub const WHY_NOT: &str = "a lab needs root, ip (iproute2), nft (nftables) and network namespaces";

/// A switch and the hosts attached to it.
#[derive(Debug)]
pub struct Lab {
    // Before what they are attached to, so that their threads end first.
    cables: Mutex<Vec<(u8, Cable)>>,
    hosts: Vec<Host>,
    switch: Netns,
}

impl Lab {
    /// Whether labs can be made here.
    pub fn is_possible() -> bool {
        let programs = ["ip", "nft"].into_iter().all(|program| which(program).is_some());
        programs && is_root() && Self::new(1).is_ok()
    }

    /// Makes `hosts` hosts.
    ///
    /// # Errors
    /// Not root, or `ip` or `nft` is missing or refuses.
    pub fn new(hosts: u8) -> anyhow::Result<Self> {
        let switch = Netns::new()?;
        switch.ip("link add br0 type bridge stp_state 0 mcast_snooping 0")?;
        switch.ip("link set br0 up")?;
        switch.nft(
            "add table bridge lab; \
             add set bridge lab parted { type ifname . ifname; }; \
             add chain bridge lab forward { type filter hook forward priority 0; }; \
             add rule bridge lab forward iifname . oifname @parted drop",
        )?;
        let mut lab = Self { cables: Mutex::default(), hosts: Vec::new(), switch };
        for number in 1..=hosts {
            let host = Host { number, netns: Netns::new()? };
            let (port, name) = (port(number), host.netns.name());
            lab.switch.ip(&format!("link add {port} type veth peer name eth0 netns {name}"))?;
            lab.switch.ip(&format!("link set {port} master br0 up"))?;
            host.ip(&format!("addr add {}/24 dev eth0", host.v4()))?;
            host.ip(&format!("addr add {}/64 dev eth0 nodad", host.v6()))?;
            host.ip("link set eth0 up")?;
            lab.hosts.push(host);
        }
        // The kernel tells of a carrier a little later: what starts before takes its link for down.
        for host in &lab.hosts {
            wait::eventually(Deadline::seconds(5), "a carrier", || {
                let output = host.command("ip").args(["-o", "link", "show", "eth0"]).output()?;
                let shown = String::from_utf8_lossy(&output.stdout).into_owned();
                anyhow::ensure!(shown.contains(" state UP "), "host {}: {shown}", host.number);
                Ok(())
            })?;
        }
        Ok(lab)
    }

    /// A host by its number; the first is 1, as in its addresses.
    ///
    /// # Errors
    /// There is no such host.
    pub fn host(&self, number: u8) -> anyhow::Result<&Host> {
        let host = self.hosts.iter().find(|host| host.number == number);
        host.with_context(|| format!("the lab has no host {number}"))
    }

    /// Pulls a host's cable out: its device loses the carrier.
    ///
    /// # Errors
    /// `ip` refuses.
    pub fn unplug(&self, number: u8) -> anyhow::Result<()> {
        self.switch.ip(&format!("link set {} down", port(number)))
    }

    /// Puts a host's cable back.
    ///
    /// # Errors
    /// `ip` refuses.
    pub fn plug(&self, number: u8) -> anyhow::Result<()> {
        self.switch.ip(&format!("link set {} up", port(number)))
    }

    /// Cuts a host's power: its processes are killed at once and its link goes down.
    ///
    /// # Errors
    /// As [`Lab::unplug`].
    pub fn power_off(&self, number: u8) -> anyhow::Result<()> {
        self.unplug(number)?;
        self.host(number)?.netns.kill_all();
        Ok(())
    }

    /// Silently drops what `from` sends to `to`; the other way stays open.
    ///
    /// # Errors
    /// `nft` refuses.
    pub fn mute(&self, from: u8, to: u8) -> anyhow::Result<()> {
        self.parted("add", from, to)
    }

    /// Undoes [`Lab::mute`].
    ///
    /// # Errors
    /// `nft` refuses, as where it wasn't muted.
    pub fn unmute(&self, from: u8, to: u8) -> anyhow::Result<()> {
        self.parted("delete", from, to)
    }

    /// Silently drops what two hosts send to each other, while both reach all others.
    ///
    /// # Errors
    /// As [`Lab::mute`].
    pub fn part(&self, one: u8, other: u8) -> anyhow::Result<()> {
        self.mute(one, other)?;
        self.mute(other, one)
    }

    /// Undoes [`Lab::part`].
    ///
    /// # Errors
    /// As [`Lab::unmute`].
    pub fn join(&self, one: u8, other: u8) -> anyhow::Result<()> {
        self.unmute(one, other)?;
        self.unmute(other, one)
    }

    /// Undoes every [`Lab::mute`] and [`Lab::part`].
    ///
    /// # Errors
    /// `nft` refuses.
    pub fn heal(&self) -> anyhow::Result<()> {
        self.switch.nft("flush set bridge lab parted")
    }

    /// Makes a host's cable bad, each way on its own; a second call replaces what the first set.
    ///
    /// A thread of this process carries the frames (see [`Impairment`]), so that it works on
    /// kernels without `netem`. Connections live through the change.
    ///
    /// # Errors
    /// `ip` refuses, or there is no `/dev/net/tun`.
    pub fn impair(&self, number: u8, from: Impairment, to: Impairment) -> anyhow::Result<()> {
        self.host(number)?;
        let mut cables = self.cables.lock();
        if let Some((_, cable)) = cables.iter().find(|(host, _)| *host == number) {
            cable.set(from, to);
            return Ok(());
        }
        cables.push((number, Cable::insert(&self.switch, number, from, to)?));
        Ok(())
    }

    /// Makes a host's cable good again; frames under way still arrive late.
    ///
    /// # Errors
    /// As [`Lab::impair`].
    pub fn repair(&self, number: u8) -> anyhow::Result<()> {
        self.impair(number, Impairment::NONE, Impairment::NONE)
    }

    /// The host at whose port the switch has learned a MAC address, if it has.
    ///
    /// # Errors
    /// `bridge` can't be run.
    pub fn learned(&self, mac: &str) -> anyhow::Result<Option<u8>> {
        let output = self.switch.command("bridge").args(["fdb", "show", "br", "br0"]).output()?;
        let table = String::from_utf8_lossy(&output.stdout).into_owned();
        let line = table.lines().find(|line| line.starts_with(mac) && !line.contains("permanent"));
        let words = line.into_iter().flat_map(str::split_whitespace);
        Ok(words.filter_map(|word| word.strip_prefix("port")?.parse().ok()).next())
    }

    fn parted(&self, verb: &str, from: u8, to: u8) -> anyhow::Result<()> {
        self.host(from)?;
        self.host(to)?;
        // Behind an inserted cable a host's frames come from another device of the switch.
        let mut pairs = Vec::new();
        for from in [port(from), cable::port(from)] {
            pairs.extend([port(to), cable::port(to)].map(|to| format!("\"{from}\" . \"{to}\"")));
        }
        self.switch.nft(&format!("{verb} element bridge lab parted {{ {} }}", pairs.join(", ")))
    }
}

/// The switch's end of a host's cable.
fn port(number: u8) -> String {
    format!("port{number}")
}

/// One host of a lab.
#[derive(Debug)]
pub struct Host {
    number: u8,
    netns: Netns,
}

impl Host {
    /// Its number, from 1.
    pub fn number(&self) -> u8 {
        self.number
    }

    /// Its namespace.
    pub fn netns(&self) -> &Netns {
        &self.netns
    }

    /// Its IPv4 address, in `10.99.0.0/24`.
    pub fn v4(&self) -> Ipv4Addr {
        Ipv4Addr::new(10, 99, 0, self.number)
    }

    /// Its IPv6 address, in `fd99::/64`.
    pub fn v6(&self) -> Ipv6Addr {
        Ipv6Addr::new(0xfd99, 0, 0, 0, 0, 0, 0, u16::from(self.number))
    }

    /// A port of its IPv4 address.
    pub fn addr(&self, port: u16) -> SocketAddr {
        (self.v4(), port).into()
    }

    /// Runs `ip` with words inside.
    ///
    /// # Errors
    /// It fails.
    pub fn ip(&self, words: &str) -> anyhow::Result<()> {
        self.netns.ip(words)
    }

    /// A command of `program` that runs inside; whatever still runs when the lab goes is killed.
    pub fn command(&self, program: &str) -> Command {
        self.netns.command(program)
    }

    /// Runs `work` inside, as [`Netns::inside`].
    ///
    /// # Errors
    /// The namespace can't be entered.
    pub fn inside<T: Send>(&self, work: impl FnOnce() -> T + Send) -> anyhow::Result<T> {
        self.netns.inside(work)
    }

    /// A MariaDB that lives here and listens on the IPv4 address.
    pub fn mariadb(&self) -> MariaDbOptions {
        self.mariadb_at(self.v4().into())
    }

    /// A MariaDB that lives here and listens on one of the host's addresses.
    pub fn mariadb_at(&self, address: IpAddr) -> MariaDbOptions {
        MariaDbOptions {
            bind: address.to_string(),
            netns: Some(self.netns.name().to_owned()),
            ..MariaDbOptions::default()
        }
    }
}

#[cfg(test)]
mod tests;
