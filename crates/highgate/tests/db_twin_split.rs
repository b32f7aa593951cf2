//! A session whose reads go to a replica and whose writes go to the primary, against its twin on one
//! server: with causal reads nothing may differ.
//!
//! One session at a time: what it locks on the primary would be no obstacle to others on the replica.
//! Those that come later use the connections of those before. `TWIN_SEED` runs another seed.

#[path = "twin/generate.rs"]
mod generate;
#[path = "twin/pair.rs"]
mod pair;
#[path = "twin/random.rs"]
mod random;
#[path = "client/raw.rs"]
mod raw;
#[path = "twin/statements.rs"]
mod statements;

use std::net::SocketAddr;

use highgate_testkit::{
    HighgateProcess, MariaDb, ReplicationCluster, replication::ReplicationOptions, wait,
};

use generate::{Twin, next, run};
use pair::Action;
use random::Random;
use raw::{Part, RawClient, USUAL};

/// Sessions of a seed, one after the other.
const SESSIONS: usize = 12;
const STEPS: usize = 150;
/// Known to run through: each takes seconds.
const SEEDS: [u64; 3] = [1, 2, 5];

fn cluster(nodes: usize) -> anyhow::Result<ReplicationCluster> {
    let args = ["--log-bin-trust-function-creators=1".to_owned()].to_vec();
    let options = ReplicationOptions { nodes, args, ..ReplicationOptions::default() };
    let cluster = ReplicationCluster::start_with(options)?;
    let primary = cluster.primary()?;
    for statement in statements::SETUP {
        primary.sql(statement)?;
    }
    // Whoever may write to a replica all the same would hide a wrong turn.
    primary
        .sql("GRANT ALL ON *.* TO app@'%'; REVOKE SUPER, READ_ONLY ADMIN ON *.* FROM app@'%'")?;
    // Nobody waits for anybody: a lock that is held is an error at once, on both sides.
    primary.sql("SET GLOBAL innodb_lock_wait_timeout = 0, GLOBAL lock_wait_timeout = 0")?;
    cluster.wait_caught_up()?;
    Ok(cluster)
}

fn config(cluster: &ReplicationCluster) -> String {
    let server = |(at, node): (usize, &MariaDb)| {
        let port = node.port();
        format!("[[backend.server]]\nname = \"db{at}\"\naddress = \"127.0.0.1:{port}\"\n")
    };
    let servers: String = cluster.nodes().iter().enumerate().map(server).collect();
    format!(
        "workers = 1\nadmin = {{ sql = \"off\", web = \"off\" }}\n\
         [[listener]]\nname = \"shop\"\nbind = \"127.0.0.1:0\"\nmode = \"mysql\"\nbackend = \"shop\"\n\
         causal_reads = true\ncausal_reads_timeout = \"5s\"\n\
         [[backend]]\nname = \"shop\"\ntopology = \"mariadb-replication\"\n\
         monitor = {{ user = \"monitor\", password = \"monitor\", interval = \"300ms\" }}\n{servers}\
         [[user]]\nname = \"app\"\npassword = \"app\"\nbackend = \"shop\"\n"
    )
}

/// What can be compared: warnings are there for the next command, and where the one after that
/// goes to another server they are gone.
fn alike(action: Action, twin: &Twin) -> Action {
    const ASKS: [&str; 5] =
        ["SHOW WARNINGS", "SHOW ERRORS", "COUNT(*) WARNINGS", "_count", "DIAGNOSTICS"];
    let asks = |text: &str| ASKS.iter().any(|ask| text.contains(ask));
    let leaves = |action: &Action| matches!(action, Action::Query(text) if !asks(text) && text.contains("INTO"));
    match action {
        Action::Prepare(slot, text) if asks(text) => Action::Prepare(slot, "SELECT 1"),
        Action::Query(text)
            if asks(&text) && !twin.trace.last().is_some_and(|(_, a)| leaves(a)) =>
        {
            Action::Query("SELECT 1".to_owned())
        }
        action => action,
    }
}

/// Again where a lock was not to be had: InnoDB's purge holds tables for a moment, on either side,
/// and nobody here waits for locks.
fn unless_purged(mut run: impl FnMut() -> Vec<Part>) -> Vec<Part> {
    const NOT_HAD: u16 = 1205;
    let mut parts = run();
    for _ in 0..200 {
        if !matches!(parts[..], [Part::Err { code: NOT_HAD, .. }]) {
            break;
        }
        parts = run();
    }
    parts
}

/// Runs one session of a seed to its end.
fn live(twin: &mut Twin, random: &mut Random, seed: u64, session: usize) {
    for step in 0..STEPS {
        let action = alike(next(random, twin), twin);
        twin.trace.push((step, action.clone()));
        if std::env::var_os("TWIN_TRACE").is_some() {
            eprintln!("session {session} step {step}: {action:?}");
        }
        let found = unless_purged(|| run(twin, &action, seed, step, true));
        let expected = unless_purged(|| run(twin, &action, seed, step, false));
        if let (Action::Prepare(slot, _), [Part::Err { .. }]) = (&action, &found[..]) {
            twin.slots[*slot] = None;
        }
        if found == expected {
            continue;
        }
        let from = twin.trace.len().saturating_sub(14);
        for (step, action) in &twin.trace[from..] {
            eprintln!("  {step}: {action:?}");
        }
        panic!(
            "seed {seed}, session {session}, step {step}, {action:?}:\n through {found:?}\n direct  {expected:?}"
        );
    }
}

fn seed(through: SocketAddr, direct: SocketAddr, seed: u64, split: &ReplicationCluster) {
    let mut random = Random::new(seed);
    let capabilities = generate::capabilities(&mut random);
    for session in 0..SESSIONS {
        let mut twin = Twin::connect(through, direct, capabilities);
        live(&mut twin, &mut random, seed, session);
        drop(twin);
        // What one session wrote, the next may not see at once.
        split.wait_caught_up().unwrap();
    }
}

/// Waits until reads go to the replica.
fn until_split(through: SocketAddr, cluster: &ReplicationCluster) -> anyhow::Result<()> {
    let replica = cluster.node(1)?;
    let selects = || -> anyhow::Result<u64> {
        let row = replica.record("SHOW GLOBAL STATUS LIKE 'Com_select'")?;
        Ok(row.get("Value").and_then(|text| text.parse().ok()).unwrap_or(0))
    };
    let mut client = RawClient::connect(through, "app", "app", Some("shop"), USUAL)?;
    wait::eventually(wait::Deadline::seconds(10), "reads on the replica", || {
        let before = selects()?;
        for _ in 0..50 {
            client.value("SELECT COUNT(*) FROM t")?;
        }
        anyhow::ensure!(selects()? >= before + 50, "reads go elsewhere");
        Ok(())
    })
}

#[test]
fn a_session_split_over_a_primary_and_a_replica_sees_what_it_sees_on_one_server() {
    if !MariaDb::is_installed() {
        eprintln!("MariaDB is not installed");
        return;
    }
    let one = std::env::var("TWIN_SEED").ok().and_then(|text| text.parse::<u64>().ok());
    for number in one.map_or_else(|| SEEDS.to_vec(), |seed| vec![seed]) {
        let (split, alone) = (cluster(2).unwrap(), cluster(1).unwrap());
        let highgate =
            HighgateProcess::start(env!("CARGO_BIN_EXE_highgate"), &config(&split)).unwrap();
        let through = highgate.listener("shop").unwrap();
        until_split(through, &split).unwrap();
        let replica = split.node(1).unwrap();
        let before = commands(replica);
        seed(through, alone.primary().unwrap().addr(), number, &split);
        let on_replica = commands(replica) - before;
        let all = SESSIONS * STEPS;
        eprintln!("seed {number}: {all} commands, {on_replica} reads on the replica");
        assert!(on_replica > 20, "the session was hardly split");
    }
}

/// SELECTs that a server ran for clients.
fn commands(server: &MariaDb) -> u64 {
    let row = server.record("SHOW GLOBAL STATUS LIKE 'Com_select'").unwrap();
    row.get("Value").and_then(|text| text.parse().ok()).unwrap()
}
