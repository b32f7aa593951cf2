//! What a proxy does during one stretch: its profile by `perf`, its system calls by `strace`.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::Context as _;
use rustix::process::{Pid, Signal, kill_process};

use crate::contender::which;
use crate::poll::pause;

/// A tool that is attached to a process until [`Probe::finish`].
#[derive(Debug)]
pub(crate) struct Probe {
    child: Child,
    file: PathBuf,
    kind: Kind,
}

/// Which tool it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Perf,
    Strace,
}

impl Probe {
    /// Attaches, and returns once that should be done.
    pub(crate) fn attach(kind: Kind, pid: u32, folder: &Path) -> anyhow::Result<Self> {
        let (program, name) = match kind {
            Kind::Perf => ("perf", "perf.data"),
            Kind::Strace => ("strace", "strace.txt"),
        };
        which(program).with_context(|| format!("{program} is not installed"))?;
        let file = folder.join(name);
        let mut command = Command::new(program);
        match kind {
            Kind::Perf => command.args(["record", "-q", "-g", "-F", "997"]),
            Kind::Strace => command.args(["-c", "-f"]),
        };
        command.arg("-o").arg(&file).arg("-p").arg(pid.to_string());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().with_context(|| format!("starting {program}"))?;
        pause(Duration::from_millis(400));
        Ok(Self { child, file, kind })
    }

    /// Detaches; the calls per operation, or the heaviest functions.
    pub(crate) fn finish(mut self, operations: u64) -> anyhow::Result<String> {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        kill_process(pid.context("no process id")?, Signal::INT)?;
        self.child.wait()?;
        match self.kind {
            Kind::Strace => {
                let text = std::fs::read_to_string(&self.file)?;
                Ok(per_operation(&text, operations))
            }
            Kind::Perf => self.hottest(),
        }
    }

    fn hottest(&self) -> anyhow::Result<String> {
        let mut command = Command::new("perf");
        command.args([
            "report",
            "--stdio",
            "--no-children",
            "-g",
            "none",
            "--percent-limit",
            "0.4",
        ]);
        command.args(["--sort", "dso,symbol", "-i"]).arg(&self.file);
        let output = command.stderr(Stdio::null()).output()?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let lines = text.lines().filter(|line| !line.starts_with('#') && !line.trim().is_empty());
        Ok(lines.take(60).fold(String::new(), |mut out, line| {
            let _ = writeln!(out, "{}", line.trim_end());
            out
        }))
    }
}

/// `strace -c` counts calls; what matters is how many an operation takes.
fn per_operation(text: &str, operations: u64) -> String {
    let mut out = String::new();
    for line in text.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        // % time, seconds, usecs/call, calls, [errors,] name
        let calls = words.get(3).and_then(|word| word.parse::<f64>().ok());
        let (Some(calls), Some(name)) = (calls, words.last()) else {
            continue;
        };
        let each = calls / operations.max(1) as f64;
        if each >= 0.001 {
            let errors = if words.len() == 6 && *name != "total" {
                words.get(4).copied().unwrap_or("")
            } else {
                ""
            };
            let _ = writeln!(out, "{name:<20} {each:>9.3} per operation {errors:>9} errors");
        }
    }
    let _ = writeln!(out, "{operations} operations");
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_divided_by_operations() {
        let text = "% time     seconds  usecs/call     calls    errors syscall\n\
                    ------ ----------- ----------- --------- --------- ----------------\n \
                    60.00    0.100000           5      2000       100 recvfrom\n \
                    40.00    0.050000           5      1000           sendto\n";
        let told = per_operation(text, 1000);
        assert!(told.contains("recvfrom                 2.000"), "{told}");
        assert!(told.contains("sendto                   1.000"), "{told}");
    }
}
