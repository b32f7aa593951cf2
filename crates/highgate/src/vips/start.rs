//! Starting the process that keeps the addresses, while this one still has the right to.

use std::{
    io,
    os::{fd::OwnedFd, unix::net::UnixStream, unix::process::CommandExt},
    process::{Command, Stdio},
};

use anyhow::Context;
use highgate_config::Node;
use highgate_vrrp::linux;

/// The stream to a keeper that was started.
#[derive(Debug)]
pub(crate) struct Keeper(pub(crate) UnixStream);

/// Starts a keeper where this node has vips.
///
/// # Errors
/// The program can't be run.
pub(crate) fn start(node: Option<&Node>) -> anyhow::Result<Option<Keeper>> {
    if node.is_none_or(|node| node.vips.is_empty()) {
        return Ok(None);
    }
    let (ours, theirs) = UnixStream::pair().context("cannot make a pair of sockets")?;
    let mut command = program("vip-keeper");
    command.stdin(Stdio::from(OwnedFd::from(theirs))).process_group(0);
    // Its end is told by its stream.
    let _child = command.spawn().context("cannot start the process that keeps the addresses")?;
    Ok(Some(Keeper(ours)))
}

/// Gives up every right beyond those of a usual process; the keeper binds the ports below 1024. To be
/// called before any thread is started: each has rights of its own.
///
/// # Errors
/// As the system says.
pub(crate) fn drop_rights() -> io::Result<()> {
    use rustix::thread::{CapabilitySet, CapabilitySets, set_capabilities};
    let none = CapabilitySet::empty();
    let sets = CapabilitySets { effective: none, permitted: none, inheritable: none };
    set_capabilities(None, sets)?;
    Ok(rustix::thread::set_no_new_privs(true)?)
}

/// `highgate vip-keeper`: not for people.
pub(crate) fn keep(took_over: bool) -> anyhow::Result<()> {
    linux::keep(&program, took_over).map_err(explain)
}

/// `highgate vip-watcher`: not for people.
pub(crate) fn watch() -> anyhow::Result<()> {
    linux::watch(program("vip-keeper")).map_err(explain)
}

fn explain(error: io::Error) -> anyhow::Error {
    let hint = match error.kind() {
        io::ErrorKind::PermissionDenied => {
            ": it needs the capabilities CAP_NET_ADMIN and CAP_NET_RAW (run as root)"
        }
        _ => "",
    };
    anyhow::Error::from(error).context(format!("vips can't be kept{hint}"))
}

/// This very program, whatever lies under its name by now.
fn program(role: &str) -> Command {
    let mut command = Command::new("/proc/self/exe");
    command.arg(role);
    command
}
