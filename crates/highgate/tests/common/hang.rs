//! A thread of a running process that has no turn: as if it were in an endless loop.

#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::{
    io::{BufRead as _, BufReader},
    process::{Child, Command, Stdio},
};

use highgate_testkit::scratch::which;

/// Holds one thread of a process until the standard input ends.
const HOLD: &str = r#"
import ctypes, os, sys
ptrace = ctypes.CDLL(None, use_errno=True).ptrace
ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
seize, interrupt, wall, thread = 0x4206, 0x4207, 0x40000000, int(sys.argv[1])
for request in (seize, interrupt):
    if ptrace(request, thread, None, None) != 0:
        sys.exit(os.strerror(ctypes.get_errno()))
os.waitpid(thread, wall)
print("held", flush=True)
sys.stdin.read()
"#;

/// The thread of a process that has that name.
fn thread_of(pid: u32, name: &str) -> Option<String> {
    let all = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap().flatten();
    let is_meant = |thread: &std::fs::DirEntry| {
        let own = std::fs::read_to_string(thread.path().join("comm")).unwrap_or_default();
        own.trim_end() == name
    };
    let mut found = all.filter(is_meant).map(|thread| thread.file_name());
    found.next().map(|number| number.to_string_lossy().into_owned())
}

/// A thread that is held.
#[derive(Debug)]
pub(crate) struct Held(Child);

impl Held {
    /// Holds that thread; `None` where there is no Python, or nobody may hold threads of others.
    pub(crate) fn thread(pid: u32, name: &str) -> Option<Self> {
        which("python3")?;
        let thread = thread_of(pid, name).unwrap();
        let mut command = Command::new("python3");
        command.args(["-c", HOLD, &thread]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut holder = command.spawn().unwrap();
        let mut said = String::new();
        BufReader::new(holder.stdout.take().unwrap()).read_line(&mut said).unwrap();
        let held = Self(holder);
        (said == "held\n").then_some(held)
    }

    /// Lets it go on.
    pub(crate) fn go_on(self) {}
}

impl Drop for Held {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}
