//! Sessions that share server connections against twins that have one each: nothing may differ.

#[path = "twin/generate.rs"]
mod generate;
#[path = "twin/interleave.rs"]
mod interleave;
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

use std::net::SocketAddr;

use highgate_testkit::{MariaDb, MariaDbOptions, wait};

use generate::{Twin, run};
use interleave::{MODES, Servers, run_modes, run_seeds};
use pair::Action;
use raw::Part;
use statements::Make;

const MAKE: Make = Make::MariaDb;
/// The seed that `make test` begins with; one run is like the other.
const FIRST: u64 = 1;
/// Seeds of the soak, of which each day begins with others: half an hour has room for about so many.
const SEEDS: u64 = 2_400;
const A_DAY: u64 = 240;

/// The server itself locks tables for a moment, behind writes: to purge rows and to count them.
const PATIENT: &str = "SET lock_wait_timeout = 60, innodb_lock_wait_timeout = 60";

struct MariaDbs {
    shared: MariaDb,
    alone: MariaDb,
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
    for user in MariaDbs::ACCOUNTS {
        server.create_user(user, user, "ALL ON *.*")?;
    }
    server.create_user("monitor", "monitor", "REPLICATION CLIENT ON *.*")?;
    Ok(server)
}

impl Servers for MariaDbs {
    const SESSIONS: usize = 8;
    const STEPS: usize = 1500;
    const CONNECTIONS: u32 = 4;
    const ACCOUNTS: &[&str] = &["app", "app2"];
    const LET_GO: Action = Action::ResetConnection;

    fn start() -> anyhow::Result<Self> {
        Ok(Self { shared: server()?, alone: server()? })
    }

    fn renew(&self) -> anyhow::Result<()> {
        for server in [&self.shared, &self.alone] {
            wait::eventually(wait::Deadline::seconds(10), "sessions to be over", || {
                let count =
                    "SELECT COUNT(*) FROM information_schema.processlist WHERE user LIKE 'app%'";
                let left = server.sql(count)?;
                anyhow::ensure!(left == [["0"]], "{left:?}");
                Ok(())
            })?;
            server.sql(&format!("{PATIENT}; DROP DATABASE shop; DROP DATABASE other"))?;
            for statement in statements::SETUP.all(MAKE) {
                server.sql(&format!("{PATIENT}; {statement}"))?;
            }
        }
        Ok(())
    }

    fn shared(&self) -> u16 {
        self.shared.port()
    }

    fn alone(&self) -> SocketAddr {
        self.alone.addr()
    }

    /// Says a command again on the one side where a lock was not to be had, unless Highgate holds it.
    fn even_out(
        &self,
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

fn run_for(first: u64, seconds: u64) {
    if MariaDb::is_installed() {
        run_seeds::<MariaDbs>(first, seconds);
    } else {
        eprintln!("skipped: MariaDB is not installed");
    }
}

#[test]
fn sessions_that_share_connections_see_what_they_see_alone() {
    run_for(FIRST, 12);
}

/// The usual mode is that of the first seed, above.
#[test]
fn sessions_see_what_they_see_alone_whoever_of_them_shares_connections() {
    if MariaDb::is_installed() {
        run_modes::<MariaDbs>(FIRST + 1..=MODES, 250);
    } else {
        eprintln!("skipped: MariaDB is not installed");
    }
}

/// What was found by this seed: LOCK TABLES failed, had ended the transaction, and the answer to the
/// next reset of a statement said that it was open.
#[test]
fn after_an_error_a_reset_tells_whether_the_transaction_is_open() {
    if MariaDb::is_installed() {
        run_modes::<MariaDbs>([14], 600);
    } else {
        eprintln!("skipped: MariaDB is not installed");
    }
}

#[test]
#[ignore = "soak: seeds for half an hour"]
fn sessions_that_share_connections_see_what_they_see_alone_for_long() {
    run_for(random::turn(SEEDS, A_DAY).next().unwrap_or(FIRST), 1800);
}
