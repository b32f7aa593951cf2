//! The processes of a run: servers, relay, and the proxies that are compared.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::Context as _;

use crate::poll::{now, pause};

/// One child, pinned to a processor, killed on drop.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    pub(crate) addr: SocketAddr,
}

impl Process {
    /// Starts a command on a processor and waits until `addr` accepts.
    pub(crate) fn start(
        command: &Command,
        cpu: usize,
        addr: SocketAddr,
        log: &Path,
    ) -> anyhow::Result<Self> {
        let file = std::fs::File::create(log)?;
        let mut pinned = Command::new("taskset");
        pinned
            .arg("-c")
            .arg(cpu.to_string())
            .arg(command.get_program())
            .args(command.get_args());
        pinned
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(file);
        let child = pinned
            .spawn()
            .with_context(|| format!("starting {pinned:?}"))?;
        let process = Self { child, addr };
        let end = now() + Duration::from_secs(10);
        while TcpStream::connect(addr).is_err() {
            anyhow::ensure!(
                now() < end,
                "{pinned:?} doesn't listen; see {}",
                log.display()
            );
            pause(Duration::from_millis(20));
        }
        Ok(process)
    }

    /// Nanoseconds of processor time of all its threads.
    pub(crate) fn cpu_nanos(&self) -> u64 {
        let folder = format!("/proc/{}/task", self.child.id());
        let tasks = std::fs::read_dir(folder).into_iter().flatten().flatten();
        tasks
            .filter_map(|task| std::fs::read_to_string(task.path().join("schedstat")).ok())
            .filter_map(|text| text.split(' ').next()?.parse::<u64>().ok())
            .sum()
    }

    /// Resident memory in KiB.
    pub(crate) fn rss_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()));
        let status = status.unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        line.and_then(|text| text.split_whitespace().next()?.parse().ok())
            .unwrap_or(0)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A port that is free now.
pub(crate) fn free_addr() -> anyhow::Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

/// The installed program of a name.
pub(crate) fn which(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(["/usr/sbin".into()]);
    folders
        .map(|folder| folder.join(program))
        .find(|file| file.is_file())
}

/// HAProxy in TCP mode with one thread.
pub(crate) fn haproxy_config(listen: SocketAddr, server: SocketAddr) -> String {
    format!(
        "global\n  nbthread 1\n  maxconn 9000\ndefaults\n  mode tcp\n  timeout connect 5s\n  \
         timeout client 10m\n  timeout server 10m\nlisten bench\n  bind {listen}\n  server one {server}\n"
    )
}

/// Highgate with one worker; 100 rules in mysql mode.
pub(crate) fn highgate_config(listen: SocketAddr, servers: [SocketAddr; 2], mysql: bool) -> String {
    let mode = if mysql { "mysql" } else { "tcp" };
    let mut out = format!(
        "workers = 1\n\n[[listener]]\nname = \"bench\"\nbind = \"{listen}\"\nmode = \"{mode}\"\n\
         backend = \"bench\"\n\n[[backend]]\nname = \"bench\"\n"
    );
    if mysql {
        out.push_str("topology = \"mariadb-replication\"\nmonitor = { user = \"app\", password = \"app\", interval = \"2s\" }\n");
    }
    for (index, server) in servers.iter().enumerate().take(if mysql { 2 } else { 1 }) {
        out.push_str(&format!(
            "\n[[backend.server]]\nname = \"db{index}\"\naddress = \"{server}\"\n"
        ));
    }
    if mysql {
        out.push_str("\n[[user]]\nname = \"app\"\npassword = \"app\"\n");
        for rule in 0..100 {
            out.push_str(&format!(
                "\n[[rule]]\nrule_id = {}\nactive = true\nmatch_digest = \"^SELECT x FROM never_{rule} \"\n\
                 backend = \"bench\"\napply = true\n",
                rule + 1
            ));
        }
    }
    out
}
