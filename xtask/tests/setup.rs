//! `scripts/setup`, with programs that only write down how they were called.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
};

/// A folder with stand-ins; removed on drop.
struct Stage(PathBuf);

impl Stage {
    fn new(name: &str, user: &str, sudo_works: bool) -> Self {
        let stage = Self(std::env::temp_dir().join(format!("{name}-{}", std::process::id())));
        fs::create_dir_all(&stage.0).unwrap();
        for there in ["cc", "cmake", "pkg-config", "haproxy", "cargo"] {
            stage.program(there, "exit 0");
        }
        stage.program("id", &format!("echo {user}"));
        stage.program("apt-get", "exit 1");
        let log = stage.0.join("log");
        let sudo = if sudo_works { "exit 0" } else { "exit 1" };
        stage.program("sudo", &format!("echo \"called: $*\" >> {}; {sudo}", log.display()));
        stage
    }

    fn program(&self, name: &str, script: &str) {
        let path = self.0.join(name);
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// What the script said, and how `sudo` was called.
    fn set_up(&self, what: &str) -> (String, String) {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/setup");
        let ended = Command::new(script)
            .arg(what)
            .env("PATH", format!("{}:/usr/bin:/bin", self.0.display()))
            .env("LLVM_HOME", self.0.join("no-llvm"))
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&ended.stdout).into_owned();
        assert!(ended.status.success(), "{said}{}", String::from_utf8_lossy(&ended.stderr));
        (said, fs::read_to_string(self.0.join("log")).unwrap_or_default())
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Only root got it; everybody else with sudo built an unguided release without a word.
#[test]
fn who_may_use_sudo_gets_what_guides_a_release() {
    let stage = Stage::new("setup-sudo", "1000", true);
    let (_, log) = stage.set_up("release");
    assert!(log.contains("-n apt-get -q -y install --no-install-recommends llvm-19\n"), "{log}");
}

#[test]
fn who_may_not_is_told_that_the_release_is_not_guided() {
    let stage = Stage::new("setup-none", "1000", false);
    let (said, log) = stage.set_up("release");
    assert!(said.contains("install --no-install-recommends llvm-19"), "{said}");
    assert!(!log.contains("apt-get"), "{log}");
}
