//! Takes a fixture's process down when the test process dies without dropping it.
//!
//! A killed or aborted test runs no destructor. A small shell holds the reading end of a pipe whose
//! writing end lives in the test process; the end of file, however it comes, makes it kill and remove.
//! (The kernel's parent-death signal follows the *thread* that started the child, so it would kill
//! a database whose starter thread merely ended.)

use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::Context as _;

/// Guards one process and its directory.
#[derive(Debug)]
pub struct Reaper {
    shell: Child,
}

impl Reaper {
    /// Kills `pid` and removes `folder` once this process is gone.
    ///
    /// # Errors
    /// No shell can be started.
    pub fn guard(pid: u32, folder: &Path) -> anyhow::Result<Self> {
        let shell = Command::new("/bin/sh")
            .args(["-c", r#"read -r _; kill -9 "$1"; rm -rf "$2""#, "reaper"])
            .arg(pid.to_string())
            .arg(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("starting the reaper")?;
        Ok(Self { shell })
    }
}

impl Drop for Reaper {
    fn drop(&mut self) {
        // The fixture has cleaned up by itself: a late shell could hit a reused process id.
        let _ = self.shell.kill();
        let _ = self.shell.wait();
    }
}
