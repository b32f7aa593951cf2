//! Highgate: one address in front of a cluster of databases, which keeps answering.
//!
//! This crate is the program: command line, wiring, signals. It routes nothing and speaks no
//! protocol. Start reading at `wiring`.

mod acting_table;
mod admin_password;
mod admin_side;
mod again;
mod applying;
mod backend_actions;
mod check;
mod cli;
mod convert;
mod ctl;
mod demo;
mod differs;
mod explain;
mod files;
mod handover;
mod included;
mod init;
mod log;
mod marked;
mod node_table;
mod output;
mod own_files;
mod records;
mod report;
mod rule_actions;
mod run;
mod server_actions;
mod signals;
mod start;
mod top;
mod vips;
mod vitals;
mod wiring;

use std::process::ExitCode;

fn main() -> ExitCode {
    match cli::parse() {
        Ok(command) => dispatch(command),
        Err(code) => code,
    }
}

fn dispatch(command: cli::Command) -> ExitCode {
    let done = match command {
        cli::Command::Run(arguments) => run::run(&arguments),
        cli::Command::Check(arguments) => check::check(&arguments),
        cli::Command::Apply(arguments) => ctl::apply(&arguments),
        cli::Command::Convert(arguments) => convert::convert(&arguments),
        cli::Command::Explain(arguments) => explain::explain(&arguments),
        cli::Command::Init(arguments) => init::init(&arguments),
        cli::Command::Ctl(arguments) => ctl::ctl(&arguments),
        cli::Command::Top(arguments) => top::top(&arguments),
        cli::Command::Demo(arguments) => demo::demo(&arguments),
        cli::Command::Manual => {
            let settings = highgate_config::manual::whole();
            output::say(&format!("{settings}\n{}", highgate_core::manual::words().trim_end()))
        }
        cli::Command::VipKeeper { after_death } => vips::keep(after_death),
        cli::Command::VipWatcher => vips::watch(),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            output::complain(&format!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}
