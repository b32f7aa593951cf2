//! The folder of the demo and the processes in it: both go away with the demo, however it ends.

use std::{
    fs,
    os::unix::{fs::DirBuilderExt, process::CommandExt},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
};

use anyhow::Context;

/// Kills what is left and removes the folder once its standard input ends: when the demo is gone.
const REAPER: &str = r#"read -r _
for file in "$1"/*.pid; do [ -e "$file" ] && kill -9 "$(cat "$file")"; done
rm -rf "$1""#;

/// The demo's folder.
#[derive(Debug)]
pub(super) struct Scratch {
    path: PathBuf,
    reaper: Child,
}

impl Scratch {
    /// Makes it, for this account only.
    pub(super) fn new() -> anyhow::Result<Self> {
        let path = std::env::temp_dir().join(format!("highgate-demo-{}", std::process::id()));
        let made = fs::DirBuilder::new().mode(0o700).create(&path);
        made.with_context(|| format!("cannot make {}", path.display()))?;
        let reaper = Command::new("/bin/sh")
            .args(["-c", REAPER, "highgate-demo-reaper"])
            .arg(&path)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // Ctrl-C at the terminal is for the demo, not for those who clean up after it.
            .process_group(0)
            .spawn()
            .context("cannot start /bin/sh")?;
        Ok(Self { path, reaper })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Starts a process that lives no longer than the demo; what it writes goes to `NAME.log`.
    pub(super) fn start(&self, name: &str, command: &mut Command) -> anyhow::Result<Process> {
        let log = self.path.join(format!("{name}.log"));
        let sink = fs::File::options().create(true).append(true).open(&log)?;
        command.stdin(Stdio::null()).stdout(sink.try_clone()?).stderr(sink).process_group(0);
        let child = command.spawn().with_context(|| format!("cannot start {command:?}"))?;
        let pid_file = self.path.join(format!("{name}.pid"));
        let process = Process { child, log, pid_file };
        fs::write(&process.pid_file, process.child.id().to_string())?;
        Ok(process)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.path);
        let _ = self.reaper.kill();
        let _ = self.reaper.wait();
    }
}

/// A running process; dropping it kills it.
#[derive(Debug)]
pub(super) struct Process {
    child: Child,
    log: PathBuf,
    pid_file: PathBuf,
}

impl Process {
    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// How it ended, or `None` while it runs.
    pub(super) fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// Sends SIGKILL and waits until it is gone.
    pub(super) fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_file(&self.pid_file);
    }

    /// All it has written.
    pub(super) fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// The last lines that it has written.
    pub(super) fn last_words(&self) -> String {
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        lines.get(lines.len().saturating_sub(15)..).unwrap_or_default().join("\n")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Runs a program to its end; its words are the error when it fails.
pub(super) fn run(command: &mut Command) -> anyhow::Result<()> {
    let output = command.output().with_context(|| format!("cannot start {command:?}"))?;
    anyhow::ensure!(
        output.status.success(),
        "{command:?} failed: {}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dropped_scratch_folder_is_gone_with_its_process() {
        let scratch = Scratch::new().unwrap();
        let path = scratch.path().to_owned();
        let process = scratch.start("sleeper", Command::new("sleep").arg("600")).unwrap();
        let proc = PathBuf::from(format!("/proc/{}", process.pid()));
        assert!(path.join("sleeper.pid").exists() && proc.exists());
        drop(process);
        drop(scratch);
        assert!(!path.exists() && !proc.exists());
    }
}
