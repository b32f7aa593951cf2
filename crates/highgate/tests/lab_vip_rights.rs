//! A node whose service manager gives its account the rights for vips, instead of starting it as root.

#[path = "common/vips.rs"]
mod vips;

use std::{
    os::unix::fs::{PermissionsExt, chown},
    process::{Command, Stdio},
};

use highgate_testkit::scratch::{Scratch, which};
use vips::{BINARY, Node, lab, toml};

/// An account without any right.
const NOBODY: u32 = 65534;
/// What does in tests as `AmbientCapabilities=` does.
const SETPRIV: &[&str] = &[
    "--reuid=65534",
    "--regid=65534",
    "--clear-groups",
    "--inh-caps=+net_admin,+net_raw",
    "--ambient-caps=+net_admin,+net_raw",
];

/// Starts the command as that account, with those rights.
fn as_nobody(command: &mut Command) {
    let folder = command.get_current_dir().unwrap().to_owned();
    chown(&folder, Some(NOBODY), Some(NOBODY)).unwrap();
    let mut own = Command::new("setpriv");
    own.args(SETPRIV).arg(command.get_program()).args(command.get_args()).current_dir(folder);
    own.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    *command = own;
}

/// Whether it may be run by that account at all.
fn is_possible() -> bool {
    let run = || Command::new("setpriv").args(SETPRIV).args(["test", "-x", BINARY]).status();
    which("setpriv").is_some() && run().is_ok_and(|status| status.success())
}

/// What was observed: it had them all, and ran as our account where another was asked for.
#[test]
fn a_script_has_none_of_our_rights_and_is_refused_where_it_is_to_run_as_another() {
    let Some(lab) = lab(1).unwrap() else { return };
    if !is_possible() {
        return eprintln!("skipped: no setpriv, or {BINARY} is not for everybody");
    }
    let scratch = Scratch::new("rights").unwrap();
    let script = scratch.join("check.sh");
    let check = "#!/bin/sh\n! grep -qE 'Cap(Inh|Prm|Eff|Amb):.*[1-9a-f]' /proc/self/status\n";
    std::fs::write(&script, check).unwrap();
    std::fs::set_permissions(&script, PermissionsExt::from_mode(0o755)).unwrap();
    let text = |user: &str| {
        let more = format!(
            "track = \"script check\"\n[[script]]\nname = \"check\"\ncommand = \"{}\"\n\
             interval = \"200ms\"\ntimeout = \"5s\"\n{user}",
            script.display()
        );
        toml(100, &more)
    };
    let one = Node::start_with(&lab, 1, &text(""), as_nobody).unwrap();
    one.until("active").unwrap();
    drop(one);
    let one = Node::start_with(&lab, 1, &text("user = \"daemon\"\n"), as_nobody).unwrap();
    one.until_told(&["script check failed", "run as `daemon`", "CAP_SETUID"]).unwrap();
    one.until("fault").unwrap();
}
