//! The command line, and what is read from the environment.

use std::{path::PathBuf, process::ExitCode};

use clap::{Args, Parser, Subcommand};

const IN_AN_OUTAGE: &str = "\
When something is wrong, ask in this order:
  highgate ctl status         which server is primary, or why none is
  highgate top                the same and more, live
  highgate ctl events         what happened, and why; the latest last
  highgate explain \"SQL\"      where a statement goes, and why not elsewhere";

/// One address in front of a cluster of databases, which keeps answering.
#[derive(Debug, Parser)]
#[command(name = "highgate", version, about, max_term_width = 100, after_help = IN_AN_OUTAGE)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Serve with this configuration until told to stop.
    Run(Run),
    /// Say everything that is wrong with a configuration, and change nothing.
    Check(Check),
    /// Put changed configuration files in force in the running process.
    Apply(Apply),
    /// Print a configuration in the native form, in order and without settings that equal their
    /// defaults. Passwords are printed as well.
    Convert(Convert),
    /// Where a statement would go, and why.
    Explain(Explain),
    /// Write a first configuration, with what to run on the databases for it.
    Init(Init),
    /// Look at the running process, and steer it.
    Ctl(Ctl),
    /// Watch the running process: servers, listeners, the busiest statements and sessions, events.
    Top(Top),
    /// Show it: a MariaDB cluster in a scratch folder, a load, a switchover and a kill -9.
    Demo(Demo),
    /// Print the reference of all settings, and what the words in tables mean.
    Manual,
    /// Keep addresses for the process whose stream is the standard input.
    #[command(hide = true)]
    VipKeeper {
        /// The keeper before died.
        #[arg(long)]
        after_death: bool,
    },
    /// Watch the keeper whose last orders come by the standard input.
    #[command(hide = true)]
    VipWatcher,
}

/// Arguments of `run`.
#[derive(Debug, Args)]
pub(crate) struct Run {
    /// The configuration; several files are read as one.
    #[arg(required = true, value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
    /// Where state is kept; by default `highgate-data` beside the first file.
    #[arg(long, value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,
    /// Set aside all that is stored, also who the primaries were, and start from the files.
    #[arg(long)]
    pub(crate) initial: bool,
    /// Take over the listening sockets of the process that uses the data directory now, without a
    /// refused connection; that process lets its sessions end, and ends. Where none runs, this is a
    /// usual start.
    #[arg(long, conflicts_with = "initial")]
    pub(crate) replace: bool,
    /// Name of this node.
    #[arg(long, default_value = "main", value_name = "NAME")]
    pub(crate) node: String,
    /// What is logged, e.g. `info` or `info,highgate_proxy=debug`.
    #[arg(long, default_value = "info", value_name = "FILTER")]
    pub(crate) log: String,
}

/// Arguments of `check`.
#[derive(Debug, Args)]
pub(crate) struct Check {
    /// The configuration; several files are read as one.
    #[arg(required = true, value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
    /// Name of the node.
    #[arg(long, default_value = "main", value_name = "NAME")]
    pub(crate) node: String,
}

/// Arguments of `apply`.
#[derive(Debug, Args)]
pub(crate) struct Apply {
    /// The configuration: all the files that the process runs with.
    #[arg(required = true, value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
    /// Where the running process keeps its state.
    #[arg(long, value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,
    /// Show what would change, and change nothing.
    #[arg(long)]
    pub(crate) dry_run: bool,
}

/// Arguments of `convert`.
#[derive(Debug, Args)]
pub(crate) struct Convert {
    /// The configuration; several files are read as one.
    #[arg(required = true, value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
    /// Name of the node.
    #[arg(long, default_value = "main", value_name = "NAME")]
    pub(crate) node: String,
}

/// Arguments of `explain`.
#[derive(Debug, Args)]
pub(crate) struct Explain {
    #[command(flatten)]
    pub(crate) question: Question,
    /// Where the running process keeps its state: by default `highgate-data` beside its configuration.
    #[arg(long, value_name = "DIR", default_value = "highgate-data", conflicts_with = "files")]
    pub(crate) data_dir: PathBuf,
    /// Decide on this configuration instead, without a running process: the health of servers is
    /// not known then. Several times for several files.
    #[arg(long = "config", value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
    /// Name of the node, with --config.
    #[arg(long, default_value = "main", value_name = "NAME")]
    pub(crate) node: String,
}

/// What is to be explained.
#[derive(Debug, Args)]
pub(crate) struct Question {
    /// The statement.
    pub(crate) sql: String,
    /// As this account; needed where there are several.
    #[arg(long)]
    pub(crate) user: Option<String>,
    /// By this listener; needed where there are several.
    #[arg(long)]
    pub(crate) listener: Option<String>,
    /// Within this schema; else the account's default.
    #[arg(long)]
    pub(crate) schema: Option<String>,
    /// From this address: rules with `client_addr` match no other way.
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) client: Option<std::net::IpAddr>,
}

/// Arguments of `init`.
#[derive(Debug, Args)]
pub(crate) struct Init {
    /// The file to write; it must not be there yet.
    #[arg(default_value = "highgate.toml", value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// A database server, as ADDRESS or NAME=ADDRESS; once for each.
    #[arg(long = "server", required = true, value_name = "[NAME=]HOST:PORT")]
    pub(crate) servers: Vec<String>,
    /// Who is primary: mariadb-replication (also for MySQL), galera, or static for equals.
    #[arg(long, default_value = "mariadb-replication", value_parser = ["galera", "mariadb-replication", "static"])]
    pub(crate) topology: String,
    /// Where applications connect.
    #[arg(long, default_value = "127.0.0.1:6033", value_name = "ADDRESS:PORT")]
    pub(crate) listen: String,
    /// The account of applications, which the databases have too.
    #[arg(long, default_value = "app", value_name = "NAME")]
    pub(crate) user: String,
}

/// Arguments of `ctl`.
#[derive(Debug, Args)]
pub(crate) struct Ctl {
    /// Where the running process keeps its state: by default `highgate-data` beside its configuration.
    #[arg(long, value_name = "DIR", default_value = "highgate-data", global = true)]
    pub(crate) data_dir: PathBuf,
    #[command(subcommand)]
    pub(crate) command: CtlCommand,
}

/// Arguments of `top`.
#[derive(Debug, Args)]
pub(crate) struct Top {
    /// Where the running process keeps its state: by default `highgate-data` beside its configuration.
    #[arg(long, value_name = "DIR", default_value = "highgate-data")]
    pub(crate) data_dir: PathBuf,
    /// One frame on standard output, and no more. So it is also where that is no terminal.
    #[arg(long)]
    pub(crate) once: bool,
    /// Between two frames.
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub(crate) seconds: u64,
}

/// Arguments of `demo`.
#[derive(Debug, Args)]
pub(crate) struct Demo {
    /// At the end, go on with the load until Enter is pressed.
    #[arg(long)]
    pub(crate) keep: bool,
    /// How long the scenes take together, beside what the databases need.
    #[arg(long, default_value_t = 50, value_name = "N", value_parser = clap::value_parser!(u64).range(5..=3600))]
    pub(crate) seconds: u64,
}

/// What an operator does with addresses that move.
#[derive(Debug, Subcommand)]
pub(crate) enum VipCommand {
    /// Give the addresses of a vip away once their sessions have had a moment to end, and do not take
    /// them again; without a name those of all vips.
    Drain {
        /// The vip.
        vip: Option<String>,
        /// The reason, for events and for who looks at it later.
        #[arg(long, value_name = "TEXT")]
        why: Option<String>,
    },
    /// Let a vip be taken again; without a name all of them.
    Enable {
        /// The vip.
        vip: Option<String>,
    },
}

/// What `ctl` can do.
#[derive(Debug, Subcommand)]
pub(crate) enum CtlCommand {
    /// Backends, servers and listeners at one glance.
    Status,
    /// One table, or the list of tables.
    Show {
        /// Its name; without one, the list of tables.
        table: Option<String>,
        /// Only rows that contain this text.
        #[arg(long, value_name = "TEXT")]
        filter: Option<String>,
        /// At most so many rows.
        #[arg(long, value_name = "N")]
        limit: Option<u32>,
        /// How it is written.
        #[arg(long, default_value = "text", value_parser = ["text", "json", "csv"])]
        format: String,
    },
    /// The latest events: what happened to servers, roles and writes, and why.
    Events {
        /// How many.
        #[arg(long, default_value_t = 30, value_name = "N")]
        last: u32,
    },
    /// Addresses that move between nodes: who has them, since when, why, and who else was heard; and
    /// giving them away.
    Vip {
        /// What to do with them, where they are not to be shown.
        #[command(subcommand)]
        action: Option<VipCommand>,
    },
    /// Let a server finish what runs, and give it nothing new. Of a primary: writes stop until another
    /// server is promoted.
    Drain {
        /// BACKEND/SERVER.
        server: String,
    },
    /// Take a server out: no work, no checks. Of a primary: writes stop until another server takes
    /// them, which a Galera cluster's next member does by itself.
    Maintenance {
        /// BACKEND/SERVER.
        server: String,
    },
    /// Take back what was said by `drain`, `maintenance` or `weight`.
    Enable {
        /// BACKEND/SERVER.
        server: String,
    },
    /// Another weight, until it is taken back.
    Weight {
        /// BACKEND/SERVER.
        server: String,
        /// The weight.
        weight: u32,
    },
    /// Forget which server was the primary, for when that one is gone for good: then the only writable
    /// server becomes it, whatever it may lack.
    ForgetPrimary {
        /// The backend.
        backend: String,
    },
    /// End a session.
    Kill {
        /// Its number.
        session: u32,
        /// Only the statement that it runs.
        #[arg(long)]
        query: bool,
    },
    /// Where a statement would go, and why.
    Explain(Question),
    /// Any action of a table.
    Act {
        /// The table.
        table: String,
        /// The action.
        action: String,
        /// Its arguments.
        arguments: Vec<String>,
    },
}

/// A variable of the environment that a configuration file names.
#[expect(clippy::disallowed_methods, reason = "this module is where the environment is read")]
pub(crate) fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// Reads the command line; what clap has to say was said when it gives a code.
pub(crate) fn parse() -> Result<Command, ExitCode> {
    match Cli::try_parse() {
        Ok(cli) => Ok(cli.command),
        Err(error) => {
            let code = if error.use_stderr() { 2 } else { 0 };
            // A terminal that has gone has no use for it.
            let _ = error.print();
            Err(ExitCode::from(code))
        }
    }
}
