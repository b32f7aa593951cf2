//! `highgate-bench`: what a proxy costs per operation, measured beside HAProxy, a bare relay and no proxy at all.
//!
//! `run` starts everything as child processes and drives the load itself, from one epoll thread. All
//! contenders take turns in short stretches of one run, so that what disturbs the machine disturbs
//! all of them; only ratios within one run mean anything.

mod client;
mod contender;
mod guessers;
mod lean;
mod load;
mod memory;
mod outage;
mod poll;
mod probe;
mod relay;
mod report;
mod run;
mod setup;
mod sysbench;
mod vips;
mod wire;

use std::io::Write as _;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;

use clap::Parser;

/// Measures Highgate beside others.
#[derive(Debug, Parser)]
enum Cli {
    /// Measure the scenarios and print a table.
    Run {
        /// The program to measure; without it, only the others are.
        #[arg(long)]
        highgate: Option<PathBuf>,
        /// Fewer and shorter rounds.
        #[arg(long)]
        quick: bool,
        /// Only scenarios whose name starts so.
        #[arg(long)]
        only: Option<String>,
        /// Where the tables go as well; the same as JSON goes beside it, with the ending `.json`.
        #[arg(long)]
        out: Option<PathBuf>,
        /// A contender to profile with perf in one more stretch of each scenario; beside the tables.
        #[arg(long)]
        profile: Option<String>,
        /// A contender whose system calls per operation to count with strace; beside the tables.
        #[arg(long)]
        strace_count: Option<String>,
        /// Ask for results that end in the old way (without DEPRECATE_EOF).
        #[arg(long)]
        old_eof: bool,
    },
    /// Strike a node that has a virtual address, and print how long its clients wait.
    Vips {
        /// The program to measure.
        #[arg(long)]
        highgate: PathBuf,
        /// How often each.
        #[arg(long, default_value_t = 10)]
        rounds: usize,
        /// Only faults whose name starts so; `planned` is the end of a node under load.
        #[arg(long)]
        only: Option<String>,
    },
    /// Serve prepared answers until killed.
    LeanServer {
        /// The address to listen on.
        #[arg(long)]
        listen: SocketAddr,
        /// `mysql` or `echo`.
        #[arg(long, default_value = "mysql")]
        mode: String,
        /// The server id that monitors see.
        #[arg(long, default_value_t = 1)]
        server_id: u32,
        /// Answer monitors as a replica of this address does.
        #[arg(long)]
        replica_of: Option<SocketAddr>,
    },
    /// Relay TCP until killed.
    Relay {
        /// The address to listen on.
        #[arg(long)]
        listen: SocketAddr,
        /// The server's address.
        #[arg(long)]
        to: SocketAddr,
    },
}

fn main() -> anyhow::Result<()> {
    match Cli::parse() {
        Cli::Run { highgate, quick, only, out, profile, strace_count, old_eof } => {
            let table = run::run(&run::Plan {
                highgate,
                quick,
                only,
                out,
                profile,
                strace_count,
                old_eof,
            })?;
            std::io::stdout().write_all(table.as_bytes())?;
            Ok(())
        }
        Cli::Vips { highgate, rounds, only } => {
            let table = vips::run(&highgate, rounds, only.as_deref())?;
            std::io::stdout().write_all(table.as_bytes())?;
            Ok(())
        }
        Cli::LeanServer { listen, mode, server_id, replica_of } => {
            let echo = mode == "echo";
            let mode =
                if echo { lean::Mode::Echo } else { lean::Mode::Mysql { server_id, replica_of } };
            lean::serve(TcpListener::bind(listen)?, mode)
        }
        Cli::Relay { listen, to } => relay::serve(TcpListener::bind(listen)?, to),
    }
}
