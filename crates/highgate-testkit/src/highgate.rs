//! The program itself, run as its users run it.
//!
//! The caller names the binary (`env!("CARGO_BIN_EXE_highgate")` in a test of that crate). What it
//! listens on is read from its log: lines `listening listener=shop address=127.0.0.1:43210` and
//! `listening admin=sql address=…`, then one that contains `ready`. So configurations bind port 0.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::Context as _;
use parking_lot::Mutex;
use rustix::process::{Pid, Signal, kill_process};

use crate::reaper::Reaper;
use crate::scratch::Scratch;
use crate::wait::{Deadline, wait_until};

const PATIENCE: Duration = Duration::from_secs(30);

/// A running Highgate; dropping it sends SIGTERM, and SIGKILL if that doesn't end it within 5 s.
#[derive(Debug)]
pub struct HighgateProcess {
    child: Child,
    log: Arc<Mutex<String>>,
    reader: JoinHandle<()>,
    scratch: Scratch,
    _reaper: Reaper,
}

impl HighgateProcess {
    /// Runs `binary run FILE` with this configuration, and returns once it is ready.
    ///
    /// # Errors
    /// It can't be started, ends, or doesn't get ready; the message carries its log.
    pub fn start(binary: impl AsRef<Path>, toml: &str) -> anyhow::Result<Self> {
        Self::start_with(binary, toml, |_| {})
    }

    /// As [`HighgateProcess::start`], with a last word on the command (arguments, environment).
    ///
    /// # Errors
    /// As [`HighgateProcess::start`].
    pub fn start_with(
        binary: impl AsRef<Path>,
        toml: &str,
        adjust: impl FnOnce(&mut Command),
    ) -> anyhow::Result<Self> {
        let process = Self::spawn(binary.as_ref(), toml, adjust)?;
        process.wait_for_log("ready").context("waiting for Highgate to be ready")?;
        Ok(process)
    }

    /// The address of a listener by its name.
    ///
    /// # Errors
    /// The log names no such listener.
    pub fn listener(&self, name: &str) -> anyhow::Result<SocketAddr> {
        self.address("listener", name)
    }

    /// The address of the SQL port.
    ///
    /// # Errors
    /// It has none.
    pub fn admin_sql(&self) -> anyhow::Result<SocketAddr> {
        self.address("admin", "sql")
    }

    /// The address of the web page and `/metrics`.
    ///
    /// # Errors
    /// It has none.
    pub fn admin_web(&self) -> anyhow::Result<SocketAddr> {
        self.address("admin", "web")
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// All it has logged so far.
    pub fn log(&self) -> String {
        self.log.lock().clone()
    }

    /// The configuration file, to be rewritten before a SIGHUP.
    pub fn config_file(&self) -> std::path::PathBuf {
        self.scratch.join("highgate.toml")
    }

    /// The folder it runs in.
    pub fn folder(&self) -> &Path {
        self.scratch.path()
    }

    /// Waits until its log contains `text`, not as a part of a longer word ("already" is not "ready").
    ///
    /// # Errors
    /// It doesn't in time; the message carries the log.
    pub fn wait_for_log(&self, text: &str) -> anyhow::Result<()> {
        let pid = self.child.id();
        let mut ended = false;
        let found = wait_until(Deadline::after(PATIENCE), || {
            ended = !is_alive(pid);
            has_words(&self.log.lock(), text) || ended
        });
        if ended {
            // Its last words may still be in the pipe; a child of its own may also hold the pipe open.
            let _ = wait_until(Deadline::seconds(1), || self.reader.is_finished());
        }
        let log = self.log();
        anyhow::ensure!(
            found && has_words(&log, text),
            "no `{text}` in its log (ended: {ended}):\n{log}"
        );
        Ok(())
    }

    /// Sends a signal.
    ///
    /// # Errors
    /// The process is gone.
    pub fn signal(&self, what: Signal) -> anyhow::Result<()> {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).context("no pid")?;
        kill_process(pid, what).with_context(|| format!("sending {what:?}"))
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// It goes on past the deadline.
    pub fn wait(&mut self, deadline: Deadline) -> anyhow::Result<ExitStatus> {
        let mut status = None;
        let _ = wait_until(deadline, || {
            status = self.child.try_wait().ok().flatten();
            status.is_some()
        });
        status.with_context(|| format!("still running:\n{}", self.log()))
    }

    fn spawn(binary: &Path, toml: &str, adjust: impl FnOnce(&mut Command)) -> anyhow::Result<Self> {
        let scratch = Scratch::new("highgate")?;
        let file = scratch.join("highgate.toml");
        std::fs::write(&file, toml).context("writing the configuration")?;
        let mut command = Command::new(binary);
        command.arg("run").arg(&file).current_dir(scratch.path());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        adjust(&mut command);
        let mut child = command.spawn().with_context(|| format!("starting {command:?}"))?;
        let reaper = Reaper::guard(child.id(), scratch.path())?;
        let stderr = child.stderr.take().context("no standard error")?;
        let log = Arc::new(Mutex::new(String::new()));
        let sink = Arc::clone(&log);
        let thread = std::thread::Builder::new().name("highgate-log".to_owned());
        let reader = thread.spawn(move || {
            for line in BufReader::new(stderr).lines() {
                let Ok(line) = line else { return };
                let mut log = sink.lock();
                log.push_str(&line);
                log.push('\n');
            }
        })?;
        Ok(Self { child, log, reader, scratch, _reaper: reaper })
    }

    fn address(&self, key: &str, name: &str) -> anyhow::Result<SocketAddr> {
        let log = self.log();
        find_address(&log, key, name)
            .with_context(|| format!("no address of {key} {name} in:\n{log}"))
    }
}

impl Drop for HighgateProcess {
    fn drop(&mut self) {
        let _ = self.signal(Signal::TERM);
        if self.wait(Deadline::seconds(5)).is_err() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

fn is_alive(pid: u32) -> bool {
    // A child that ended stays a zombie until it is waited for.
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(')').next().is_some_and(|rest| !rest.trim_start().starts_with(['Z', 'X']))
        && !stat.is_empty()
}

/// Whether `text` occurs with no letter or digit right before or after it.
fn has_words(log: &str, text: &str) -> bool {
    log.match_indices(text).any(|(at, found)| {
        let before = log.get(..at).and_then(|part| part.chars().next_back());
        let after = log.get(at + found.len()..).and_then(|part| part.chars().next());
        ![before, after].into_iter().flatten().any(char::is_alphanumeric)
    })
}

/// The last `listening` line of a name, since a reload may have moved it.
fn find_address(log: &str, key: &str, name: &str) -> Option<SocketAddr> {
    let wanted = format!("{key}={name}");
    log.lines()
        .rev()
        .filter(|line| line.contains("listening"))
        .filter(|line| line.split_whitespace().any(|word| word.replace('"', "") == wanted))
        .find_map(|line| {
            let words = line.split_whitespace();
            let value = words.filter_map(|word| word.strip_prefix("address=")).next()?;
            value.trim_matches('"').parse().ok()
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCRIPT: &str = "#!/bin/sh\n\
        echo 'level=info listening listener=shop address=127.0.0.1:4001' >&2\n\
        echo 'level=info listening admin=sql address=\"127.0.0.1:4002\"' >&2\n\
        echo 'level=info ready' >&2\n\
        exec sleep 60\n";

    fn stand_in(scratch: &Scratch, text: &str) -> std::path::PathBuf {
        use std::os::unix::fs::PermissionsExt as _;
        let path = scratch.join("program");
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o700)).unwrap();
        path
    }

    #[test]
    fn the_addresses_are_those_that_the_log_names() {
        let scratch = Scratch::new("stand-in").unwrap();
        let process = HighgateProcess::start(stand_in(&scratch, SCRIPT), "").unwrap();
        assert_eq!(process.listener("shop").unwrap().port(), 4001);
        assert_eq!(process.admin_sql().unwrap().port(), 4002);
        assert!(process.admin_web().is_err());
    }

    #[test]
    fn a_word_is_not_found_within_a_longer_one() {
        assert!(!has_words("error: address already in use", "ready"));
        assert!(has_words("address already in use\nlevel=info ready\n", "ready"));
    }

    #[test]
    fn a_program_that_ends_at_once_fails_with_its_log() {
        let scratch = Scratch::new("stand-in").unwrap();
        let program = stand_in(&scratch, "#!/bin/sh\necho 'line 3: no such key' >&2\nexit 1\n");
        let error = HighgateProcess::start(program, "").unwrap_err();
        assert!(format!("{error:#}").contains("no such key"), "{error:#}");
    }
}
