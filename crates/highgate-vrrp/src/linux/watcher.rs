//! The process that does nothing but watch the keeper. When that dies without having said that it
//! would, its will is carried out and its place taken.

use std::{
    io::{self, BufRead, BufReader},
    os::{
        fd::AsFd,
        unix::{net::UnixStream, process::CommandExt},
    },
    process::{Command, Stdio},
};

use super::{messages::FromKeeper, sys_unsafe, will::Will};

/// The argument by which a keeper is told that it took the place of one that died.
pub const AFTER_DEATH: &str = "--after-death";

/// Waits for the keeper's end. Its standard input is the stream of wills, its standard output the
/// keeper's stream to the main process; `program` is what is run as the next keeper.
///
/// # Errors
/// As the system says; the keeper then starts another watcher.
pub fn watch(program: Command) -> io::Result<()> {
    sys_unsafe::outlive_signals()?;
    // Both are nice to have; the keeper has said so if the right to them is missing.
    let _ = sys_unsafe::run_first(sys_unsafe::Rank::Decides);
    let _ = sys_unsafe::stay_in_memory();
    let wills = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    let mut will = Will::default();
    for line in BufReader::new(wills).lines() {
        match line.map(|line| serde_json::from_str(&line)) {
            Ok(Ok(newer)) => will = newer,
            Ok(Err(_)) => {}
            Err(_) => break,
        }
    }
    if will.is_over {
        return Ok(());
    }
    // What could not be done ends with the addresses' lifetime.
    let _ = will.carry_out();
    replace(program)
}

/// Becomes the next keeper. Gives an error or does not return.
fn replace(mut program: Command) -> io::Result<()> {
    let control = io::stdout().as_fd().try_clone_to_owned()?;
    Err(program.arg(AFTER_DEATH).stdin(Stdio::from(control)).stdout(Stdio::null()).exec())
}

/// What the next keeper says of itself.
pub(crate) fn hello(took_over: bool) -> FromKeeper {
    let why = took_over.then(|| {
        "the process that keeps the addresses died; its addresses were given away, and another \
         one keeps them now"
            .to_owned()
    });
    FromKeeper::Hello { pid: std::process::id(), why }
}
