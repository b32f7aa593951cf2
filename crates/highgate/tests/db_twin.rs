//! Sessions that share server connections against twins that have one each: nothing may differ.
//!
//! `TWIN_SECONDS` makes the runs longer, `TWIN_SEED` repeats one.

#[path = "twin/generate.rs"]
mod generate;
#[path = "twin/locks.rs"]
mod locks;
#[path = "twin/pair.rs"]
mod pair;
#[path = "twin/random.rs"]
mod random;
#[path = "client/raw.rs"]
mod raw;
#[path = "twin/statements.rs"]
mod statements;

use std::time::Duration;

use highgate_testkit::{HighgateProcess, MariaDb, MariaDbOptions, wait};

use generate::{Twin, next, run, was_not_known};
use pair::{Action, SLOTS};
use random::Random;
use raw::Part;
use statements::Make;

const MAKE: Make = Make::MariaDb;
const SESSIONS: usize = 8;
const STEPS: usize = 1500;

/// Highgate's own word that no connection came free: the statement was not run.
fn is_queue_refusal(parts: &[Part]) -> bool {
    match parts {
        [Part::Err { code: 1040, .. }] => true,
        [Part::Text(packet)] => packet.starts_with(&[0xff, 0x10, 0x04]),
        _ => false,
    }
}

fn server() -> anyhow::Result<MariaDb> {
    // Nobody waits for anybody: a lock that is held is an error at once, on both sides.
    let args = [
        "--innodb-lock-wait-timeout=0",
        "--lock-wait-timeout=0",
        "--log-bin-trust-function-creators=1",
    ];
    let args = args.iter().chain(&locks::ARGS).map(|&arg| arg.to_owned()).collect();
    let options = MariaDbOptions { args, ..Default::default() };
    let server = MariaDb::start_with(options)?;
    for statement in statements::SETUP.all(MAKE) {
        server.sql(statement)?;
    }
    server.create_user("app", "app", "ALL ON *.*")?;
    server.create_user("monitor", "monitor", "REPLICATION CLIENT ON *.*")?;
    Ok(server)
}

fn config(port: u16, workers: u32, max: u32) -> String {
    format!(
        "workers = {workers}\nadmin = {{ sql = \"off\", web = \"off\" }}\n\
         [[listener]]\nname = \"shop\"\nbind = \"127.0.0.1:0\"\nmode = \"mysql\"\nbackend = \"shop\"\n\
         [[backend]]\nname = \"shop\"\nqueue_timeout = \"40ms\"\n\
         monitor = {{ user = \"monitor\", password = \"monitor\", interval = \"500ms\" }}\n\
         [[backend.server]]\nname = \"db1\"\naddress = \"127.0.0.1:{port}\"\nmax_connections = {max}\n\
         [[user]]\nname = \"app\"\npassword = \"app\"\nbackend = \"shop\"\n"
    )
}

/// A session that may hold a connection lets it go, on both sides.
fn let_go(twin: &mut Twin, seed: u64, step: usize) {
    twin.trace.push((step, Action::ResetConnection));
    twin.slots = [None; SLOTS];
    let left = run(twin, &Action::ResetConnection, seed, step, true);
    let right = run(twin, &Action::ResetConnection, seed, step, false);
    assert_eq!(left, right, "seed {seed} step {step}: reset");
}

/// The two servers, the first of them behind Highgate.
#[derive(Clone, Copy)]
struct Servers<'a> {
    shared: &'a MariaDb,
    alone: &'a MariaDb,
}

impl Servers<'_> {
    /// Says a command again on the one side where a lock was not to be had, unless Highgate holds it.
    fn without_purge(
        self,
        twin: &mut Twin,
        action: &Action,
        (seed, step): (u64, usize),
        [found, expected]: [&mut Vec<Part>; 2],
    ) {
        let Self { shared, alone } = self;
        match (locks::not_had(found), locks::not_had(expected)) {
            (true, false) if found.len() == 1 => {
                let judge = || locks::none_too_many(std::slice::from_ref(shared), alone);
                judge();
                *found = locks::insist(|| run(twin, action, seed, step, true), judge);
            }
            (false, true) if expected.len() == 1 => {
                *expected = locks::insist(|| run(twin, action, seed, step, false), || {});
            }
            _ => {}
        }
    }
}

/// Runs one seed; gives the number of commands.
fn interleave(
    through: std::net::SocketAddr,
    servers: Servers<'_>,
    seed: u64,
    steps: usize,
) -> usize {
    let mut random = Random::new(seed);
    let capabilities = generate::capabilities(&mut random);
    let connect = |_| Twin::connect(through, servers.alone.addr(), capabilities);
    let mut twins: Vec<Twin> = (0..SESSIONS).map(connect).collect();
    let (mut refusals, mut unknown) = (0, 0);
    for step in 0..steps {
        let at = random.below(SESSIONS);
        let action = next(&mut random, &mut twins[at]);
        twins[at].trace.push((step, action.clone()));
        if std::env::var_os("TWIN_TRACE").is_some() {
            eprintln!("step {step} session {at}: {action:?}");
        }
        let mut found = run(&mut twins[at], &action, seed, step, true);
        if is_queue_refusal(&found) {
            refusals += 1;
            twins.iter_mut().for_each(|twin| let_go(twin, seed, step));
            if action.names_statement() {
                // It is gone with the reset.
                twins[at].trace.pop();
                continue;
            }
            found = run(&mut twins[at], &action, seed, step, true);
        }
        if was_not_known(&mut twins[at], &action, &found, (seed, step)) {
            unknown += 1;
            continue;
        }
        let mut expected = run(&mut twins[at], &action, seed, step, false);
        let both = [&mut found, &mut expected];
        servers.without_purge(&mut twins[at], &action, (seed, step), both);
        if let (Action::Prepare(slot, _), [Part::Err { .. }]) = (&action, &found[..]) {
            // What Highgate says by itself of unknown ids is not among a server's warnings.
            twins[at].slots[*slot] = None;
        }
        if found != expected {
            let twin = &twins[at];
            let from = twin.trace.len().saturating_sub(14);
            for (step, action) in &twin.trace[from..] {
                eprintln!("  {step}: {action:?}");
            }
            let text = format!(
                "seed {seed}, step {step}, session {at}, {action:?}:\n through {found:?}\n direct  {expected:?}"
            );
            if std::env::var_os("TWIN_COLLECT").is_none() {
                panic!("{text}");
            }
            eprintln!("DIFFERENCE {text}");
            let twin = &mut twins[at];
            twin.slots = [None; SLOTS];
            twin.trace.clear();
            run(twin, &Action::ResetConnection, seed, step, true);
            run(twin, &Action::ResetConnection, seed, step, false);
        }
    }
    eprintln!(
        "seed {seed}: {steps} commands, {refusals} times no connection was free, {unknown} times a count was not known"
    );
    steps
}

fn seconds(default: u64) -> Duration {
    let given = std::env::var("TWIN_SECONDS").ok().and_then(|text| text.parse().ok());
    Duration::from_secs(given.unwrap_or(default))
}

/// Runs seeds from `first` on, until the time is over.
fn run_seeds(first: u64, seconds: Duration) {
    if !MariaDb::is_installed() {
        eprintln!("MariaDB is not installed");
        return;
    }
    let one = std::env::var("TWIN_SEED").ok().and_then(|text| text.parse::<u64>().ok());
    let until = wait::Deadline::after(seconds);
    let mut commands = 0;
    let mut seed = one.unwrap_or(first);
    loop {
        let (shared, alone) = (server().unwrap(), server().unwrap());
        let highgate =
            HighgateProcess::start(env!("CARGO_BIN_EXE_highgate"), &config(shared.port(), 1, 4))
                .unwrap();
        let through = highgate.listener("shop").unwrap();
        let servers = Servers { shared: &shared, alone: &alone };
        commands += interleave(through, servers, seed, STEPS);
        seed += 1;
        if one.is_some() || until.is_past() {
            break;
        }
    }
    eprintln!("{commands} commands, seeds up to {}", seed - 1);
}

#[test]
fn sessions_that_share_connections_see_what_they_see_alone() {
    run_seeds(1, seconds(12));
}

#[test]
#[ignore = "soak: seeds for half an hour"]
fn sessions_that_share_connections_see_what_they_see_alone_for_long() {
    run_seeds(1, seconds(1800));
}
