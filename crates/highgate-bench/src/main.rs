//! `highgate-bench`: what a proxy costs per operation, measured beside HAProxy, a bare relay and no proxy at all.
//!
//! `run` starts everything as child processes and drives the load itself, from one epoll thread. All
//! contenders take turns in short stretches of one run, so that what disturbs the machine disturbs
//! all of them; only ratios within one run mean anything.

mod contender;
mod lean;
mod load;
mod poll;
mod relay;
mod run;
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
        /// Where the table goes as well.
        #[arg(long)]
        out: Option<PathBuf>,
    },
    /// Serve prepared answers until killed.
    LeanServer {
        /// The address to listen on.
        #[arg(long)]
        listen: SocketAddr,
        /// `mysql` or `echo`.
        #[arg(long, default_value = "mysql")]
        mode: String,
        /// Answer monitors as a replica does.
        #[arg(long)]
        read_only: bool,
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
        Cli::Run {
            highgate,
            quick,
            only,
            out,
        } => {
            let table = run::run(&run::Plan {
                highgate,
                quick,
                only,
                out,
            })?;
            std::io::stdout().write_all(table.as_bytes())?;
            Ok(())
        }
        Cli::LeanServer {
            listen,
            mode,
            read_only,
        } => {
            let echo = mode == "echo";
            let mode = if echo {
                lean::Mode::Echo
            } else {
                lean::Mode::Mysql { read_only }
            };
            lean::serve(TcpListener::bind(listen)?, mode)
        }
        Cli::Relay { listen, to } => relay::serve(TcpListener::bind(listen)?, to),
    }
}
