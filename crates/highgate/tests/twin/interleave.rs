//! Sessions that take turns at random over a few shared connections, each against its twin.
//!
//! How Highgate is set up follows from the seed as well. `TWIN_SEED` runs one seed, `TWIN_SECONDS` says
//! for how long, `TWIN_TRACE` prints each command and `TWIN_COLLECT` goes on after a difference.

use std::{fmt::Write as _, net::SocketAddr, time::Duration};

use highgate_testkit::{HighgateProcess, wait};

use crate::{
    generate::{self, Twin, next, run, was_not_known},
    pair::{Action, SLOTS},
    random::Random,
    raw::Part,
};

/// Two servers of one make with the same data: one is shared through Highgate, on the other each
/// session has a connection of its own.
pub(crate) trait Servers: Sized {
    const SESSIONS: usize;
    const STEPS: usize;
    /// Connections that the sessions share.
    const CONNECTIONS: u32;
    /// Whose sessions they may be, in turns; the name of each is its password.
    const ACCOUNTS: &[&str] = &["app"];
    /// What makes a session let its connection go, and leaves nothing of it.
    const LET_GO: Action;

    fn start() -> anyhow::Result<Self>;

    /// All data as at the start, once the sessions of before are over.
    fn renew(&self) -> anyhow::Result<()> {
        Ok(())
    }

    /// The port of the one behind Highgate.
    fn shared(&self) -> u16;

    fn alone(&self) -> SocketAddr;

    /// Leaves out what that make itself does not do well.
    fn tame(_action: &mut Action) {}

    /// Evens out what may differ between any two servers.
    fn even_out(
        &self,
        _twin: &mut Twin,
        _action: &Action,
        _at: (u64, usize),
        _answers: [&mut Vec<Part>; 2],
    ) {
    }
}

/// Setups that take turns by the seed: who shares connections, and how many there are of what.
pub(crate) const MODES: u64 = 8;

/// How often a command is said again once all have let go.
const TRIES: usize = 20;

/// Highgate's own word that no connection came free: the statement was not run.
fn is_queue_refusal(parts: &[Part]) -> bool {
    match parts {
        [Part::Err { code: 1040, .. }] => true,
        [Part::Text(packet)] => packet.starts_with(&[0xff, 0x10, 0x04]),
        _ => false,
    }
}

/// Who shares connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sharing {
    All,
    /// The backend says that nobody does.
    None,
    /// A rule says that the last account does not.
    NotTheLastAccount,
    /// The last account has a backend of its own, of which nobody does.
    NotTheLastBackend,
    /// Rules say so and take it back, in the midst of sessions.
    NowAndThen,
    /// The servers verify logins, so nobody can.
    Passthrough,
}

impl Sharing {
    /// Settings of the listener, those of the backend, and tables of their own.
    fn config(self, last: &str, connections: u32, port: u16) -> [String; 3] {
        let rule = |id: u8, matches: &str, multiplex: bool| {
            format!("[[rule]]\nrule_id = {id}\n{matches}\nmultiplex = {multiplex}\napply = true\n")
        };
        let multiplex = "multiplex = false".to_owned();
        let [mut listener, mut backend, mut more] = [const { String::new() }; 3];
        match self {
            Self::All => {}
            Self::None => backend = multiplex,
            Self::NotTheLastAccount => more = rule(1, &format!("username = \"{last}\""), false),
            Self::NotTheLastBackend => {
                more = format!(
                    "[[backend]]\nname = \"own\"\nqueue_timeout = \"40ms\"\n{multiplex}\n{MONITOR}\
                     [[backend.server]]\nname = \"own1\"\naddress = \"127.0.0.1:{port}\"\n\
                     max_connections = {connections}\n"
                );
            }
            Self::NowAndThen => {
                let off = rule(1, "match_digest = \"^(SELECT COUNT|INSERT)\"", false);
                more = off + &rule(2, "match_digest = \"^(UPDATE|SET|ROLLBACK)\"", true);
            }
            Self::Passthrough => listener = "auth = \"passthrough\"".to_owned(),
        }
        [listener, backend, more]
    }

    fn backend_of(self, is_last: bool) -> &'static str {
        if self == Self::NotTheLastBackend && is_last { "own" } else { "shop" }
    }
}

const MONITOR: &str =
    "monitor = { user = \"monitor\", password = \"monitor\", interval = \"500ms\" }\n";

/// How Highgate is set up for a seed.
#[derive(Debug, Clone, Copy)]
struct Setup {
    workers: u8,
    sharing: Sharing,
    accounts: usize,
    connections: u32,
    steps: usize,
}

impl Setup {
    fn of<S: Servers>(seed: u64) -> Self {
        let (steps, accounts) = (S::STEPS, S::ACCOUNTS.len());
        let sharing = Sharing::All;
        let usual = Self { workers: 1, sharing, accounts: 1, connections: S::CONNECTIONS, steps };
        // A connection for each session, and for each one that it has just given up.
        let each = Self { connections: u32::try_from(S::SESSIONS * 2).unwrap(), ..usual };
        match seed % MODES {
            1 => usual,
            2 => Self { sharing: Sharing::None, ..each },
            3 => Self { workers: 2, ..usual },
            4 => Self { accounts, ..usual },
            5 => Self { sharing: Sharing::NotTheLastAccount, accounts, ..each },
            6 => Self { sharing: Sharing::NotTheLastBackend, accounts, ..each },
            7 => Self { sharing: Sharing::NowAndThen, ..each },
            _ => Self { sharing: Sharing::Passthrough, accounts, ..each },
        }
    }

    fn config<S: Servers>(self, port: u16) -> String {
        let Self { workers, sharing, connections, .. } = self;
        let last = S::ACCOUNTS.last().copied().unwrap_or_default();
        let [listener, backend, more] = sharing.config(last, connections, port);
        let mut text = format!(
            "workers = {workers}\nadmin = {{ sql = \"off\", web = \"off\" }}\n\
             [[listener]]\nname = \"shop\"\nbind = \"127.0.0.1:0\"\nmode = \"mysql\"\nbackend = \"shop\"\n{listener}\n\
             [[backend]]\nname = \"shop\"\nqueue_timeout = \"40ms\"\n{backend}\n{MONITOR}\
             [[backend.server]]\nname = \"db1\"\naddress = \"127.0.0.1:{port}\"\nmax_connections = {connections}\n{more}"
        );
        for user in S::ACCOUNTS {
            let backend = sharing.backend_of(*user == last);
            let _ = write!(
                text,
                "[[user]]\nname = \"{user}\"\npassword = \"{user}\"\nbackend = \"{backend}\"\n"
            );
        }
        text
    }
}

/// A session that may hold a connection lets it go, on both sides.
fn let_go<S: Servers>(twin: &mut Twin, (seed, step): (u64, usize)) {
    twin.trace.push((step, S::LET_GO));
    twin.slots = [None; SLOTS];
    let left = run(twin, &S::LET_GO, seed, step, true);
    let right = run(twin, &S::LET_GO, seed, step, false);
    assert_eq!(left, right, "seed {seed} step {step}: reset");
}

/// Runs one seed; gives the number of commands.
fn interleave<S: Servers>(through: SocketAddr, servers: &S, seed: u64, setup: Setup) -> usize {
    let mut random = Random::new(seed);
    let capabilities = generate::capabilities(&mut random);
    let connect = |at: usize| {
        let user = S::ACCOUNTS[at % setup.accounts];
        Twin::connect(through, servers.alone(), user, capabilities)
    };
    let mut twins: Vec<Twin> = (0..S::SESSIONS).map(connect).collect();
    let (mut refusals, mut unknown) = (0, 0);
    for step in 0..setup.steps {
        let at = random.below(S::SESSIONS);
        let mut action = next(&mut random, &mut twins[at]);
        S::tame(&mut action);
        twins[at].trace.push((step, action.clone()));
        if std::env::var_os("TWIN_TRACE").is_some() {
            eprintln!("step {step} session {at}: {action:?}");
        }
        let mut found = run(&mut twins[at], &action, seed, step, true);
        if is_queue_refusal(&found) {
            refusals += 1;
            twins.iter_mut().for_each(|twin| let_go::<S>(twin, (seed, step)));
            if action.names_statement() {
                // It is gone with the reset.
                twins[at].trace.pop();
                continue;
            }
            // What was let go is washed, or closed for another account, before it can be had.
            for _ in 0..TRIES {
                found = run(&mut twins[at], &action, seed, step, true);
                if !is_queue_refusal(&found) {
                    break;
                }
            }
        }
        if was_not_known(&mut twins[at], &action, &found, (seed, step)) {
            unknown += 1;
            continue;
        }
        let mut expected = run(&mut twins[at], &action, seed, step, false);
        let both = [&mut found, &mut expected];
        servers.even_out(&mut twins[at], &action, (seed, step), both);
        if let (Action::Prepare(slot, _), [Part::Err { .. }]) = (&action, &found[..]) {
            // What Highgate says by itself of unknown ids is not among a server's warnings.
            twins[at].slots[*slot] = None;
        }
        if found != expected {
            let text = format!(
                "seed {seed}, step {step}, session {at}, {action:?}:\n through {found:?}\n direct  {expected:?}"
            );
            differ(&mut twins[at], (seed, step), &text);
        }
    }
    eprintln!(
        "seed {seed}, {setup:?}: {} commands, {refusals} times no connection was free, {unknown} times a count was not known",
        setup.steps
    );
    setup.steps
}

/// The sides differ: what led there, and the end, unless differences are collected.
fn differ(twin: &mut Twin, (seed, step): (u64, usize), text: &str) {
    let from = twin.trace.len().saturating_sub(14);
    for (step, action) in &twin.trace[from..] {
        eprintln!("  {step}: {action:?}");
    }
    assert!(std::env::var_os("TWIN_COLLECT").is_some(), "{text}");
    eprintln!("DIFFERENCE {text}");
    twin.slots = [None; SLOTS];
    twin.trace.clear();
    run(twin, &Action::ResetConnection, seed, step, true);
    run(twin, &Action::ResetConnection, seed, step, false);
}

fn run_one<S: Servers>(servers: &S, seed: u64, setup: Setup) -> usize {
    eprintln!("seed {seed} (again: TWIN_SEED={seed}), {setup:?}");
    let config = setup.config::<S>(servers.shared());
    let highgate = HighgateProcess::start(env!("CARGO_BIN_EXE_highgate"), &config).unwrap();
    interleave(highgate.listener("shop").unwrap(), servers, seed, setup)
}

/// Runs a few steps of each of these seeds, whose setups differ, one after the other on the same servers.
#[allow(dead_code, reason = "one of the tests does")]
pub(crate) fn run_modes<S: Servers>(seeds: impl IntoIterator<Item = u64>, steps: usize) {
    let servers = S::start().unwrap();
    for seed in seeds {
        run_one(&servers, seed, Setup { steps, ..Setup::of::<S>(seed) });
        servers.renew().unwrap();
    }
}

/// Runs seeds from `first` on, for so many seconds unless told otherwise.
pub(crate) fn run_seeds<S: Servers>(first: u64, seconds: u64) {
    let given = |name| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let one = given("TWIN_SEED");
    let seconds = given("TWIN_SECONDS").unwrap_or(seconds);
    let until = wait::Deadline::after(Duration::from_secs(seconds));
    let mut commands = 0;
    let mut seed = one.unwrap_or(first);
    loop {
        commands += run_one(&S::start().unwrap(), seed, Setup::of::<S>(seed));
        seed += 1;
        if one.is_some() || until.is_past() {
            break;
        }
    }
    eprintln!("{commands} commands, seeds up to {}", seed - 1);
}
