//! One network namespace, removed on drop.
//!
//! Names are `hg<pid>-<number>`, so no two objects of this machine share one, and what a killed test
//! process left behind is known by its dead process id: the next process that makes a namespace
//! removes it. Whatever still runs inside when a namespace goes is killed.

use std::fs;
use std::process::Command;
use std::sync::Once;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::Context as _;
use rustix::process::{Pid, Signal, kill_process};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::scratch::run;

const PREFIX: &str = "hg";
const FOLDER: &str = "/run/netns";

/// One network namespace; needs root.
#[derive(Debug)]
pub struct Netns {
    name: String,
}

impl Netns {
    /// Makes an empty namespace with loopback up, where IPv6 addresses are usable at once.
    ///
    /// # Errors
    /// Not root, or `ip` is missing.
    pub fn new() -> anyhow::Result<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        static SWEPT: Once = Once::new();
        SWEPT.call_once(sweep);
        let unique = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("{PREFIX}{}-{unique}", std::process::id());
        run(Command::new("ip").args(["netns", "add", &name]))?;
        let namespace = Self { name };
        namespace.ip("link set lo up")?;
        // Duplicate address detection would keep each address unusable for its first second or two.
        namespace.inside(|| fs::write("/proc/sys/net/ipv6/conf/default/accept_dad", "0"))??;
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

    /// Runs `nft` with a script inside.
    ///
    /// # Errors
    /// It is missing or refuses.
    pub fn nft(&self, script: &str) -> anyhow::Result<()> {
        run(self.command("nft").arg(script))?;
        Ok(())
    }

    /// A command of `program` that runs inside, with the namespace's own view of `/sys`.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name, program]);
        command
    }

    /// Runs `work` on a thread of its own inside: sockets that it opens and processes that it
    /// starts live there, and stay there when it has ended.
    ///
    /// # Errors
    /// The namespace can't be entered.
    pub fn inside<T: Send>(&self, work: impl FnOnce() -> T + Send) -> anyhow::Result<T> {
        let path = format!("{FOLDER}/{}", self.name);
        let door = fs::File::open(&path).with_context(|| format!("opening {path}"))?;
        let answer = std::thread::scope(|scope| {
            let task = scope.spawn(move || -> anyhow::Result<T> {
                use std::os::fd::AsFd as _;
                // The thread ends after the work, so it need not find its way back.
                move_into_link_name_space(door.as_fd(), Some(LinkNameSpaceType::Network))
                    .with_context(|| format!("entering {path}"))?;
                Ok(work())
            });
            task.join()
        });
        answer.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }

    /// Kills all processes inside at once, as a loss of power does.
    pub fn kill_all(&self) {
        kill_inside(&self.name);
    }
}

impl Drop for Netns {
    fn drop(&mut self) {
        remove(&self.name);
    }
}

/// Removes the namespaces of test processes that are gone.
fn sweep() {
    let Ok(entries) = fs::read_dir(FOLDER) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if owner(&name).is_some_and(|pid| !fs::exists(format!("/proc/{pid}")).unwrap_or(true)) {
            remove(&name);
        }
    }
}

/// The process that made a namespace, by its name.
fn owner(name: &str) -> Option<u32> {
    name.strip_prefix(PREFIX)?.split_once('-')?.0.parse().ok()
}

fn remove(name: &str) {
    kill_inside(name);
    let _ = Command::new("ip").args(["netns", "del", name]).output();
}

fn kill_inside(name: &str) {
    let Ok(list) = run(Command::new("ip").args(["netns", "pids", name])) else { return };
    for word in list.split_whitespace() {
        let Some(pid) = word.parse().ok().and_then(Pid::from_raw) else { continue };
        if pid != rustix::process::getpid() {
            let _ = kill_process(pid, Signal::KILL);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_owner_of_a_namespace_is_read_from_its_name() {
        assert_eq!(owner("hg4711-3"), Some(4711));
        assert_eq!(owner("hgx-3"), None);
        assert_eq!(owner("other"), None);
    }

    #[test]
    fn what_a_dead_process_left_is_swept_and_what_a_live_one_has_stays() {
        if !crate::Lab::is_possible() {
            return eprintln!("skipped: {}", crate::lab::WHY_NOT);
        }
        // No process has the number of a thread that is not its first, and none goes so high.
        let left = "hg99999999-0";
        run(Command::new("ip").args(["netns", "add", left])).unwrap();
        let mine = Netns::new().unwrap();
        sweep();
        assert!(!fs::exists(format!("{FOLDER}/{left}")).unwrap());
        assert!(fs::exists(format!("{FOLDER}/{}", mine.name())).unwrap());
    }
}
