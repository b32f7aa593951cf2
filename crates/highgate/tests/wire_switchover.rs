//! A planned switchover under sessions that hold the old primary, which lives on and takes no writes.

#[path = "common/failure.rs"]
mod failure;
#[path = "client/raw.rs"]
mod raw;

use std::sync::{
    Arc,
    atomic::{AtomicU16, Ordering},
};

use failure::{BINARY, table, toml};
use highgate_testkit::{
    HighgateProcess, Reply, Script, ScriptedServer,
    scripted::Command,
    wait::{self, Deadline},
};
use raw::{Part, RawClient, USUAL};

const BACKEND: &str = "topology = \"mariadb-replication\"\nfailover_wait = \"20s\"\nmax_lag = \"1h\"\n\
    monitor = { user = \"m\", password = \"m\", interval = \"100ms\" }\n";
const READ_ONLY: &str =
    "The MariaDB server is running with the --read-only option so it cannot execute this statement";

/// The two members of a replication, of which the first takes writes until they switch.
struct Pair {
    members: [ScriptedServer; 2],
    /// The port that each replicates from, 0 for the primary.
    sources: [Arc<AtomicU16>; 2],
}

impl Pair {
    fn start() -> Self {
        let sources = [Arc::new(AtomicU16::new(0)), Arc::new(AtomicU16::new(0))];
        let [first, second] = &sources;
        let members = [member(1, first), member(2, second)];
        second.store(members[0].addr().port(), Ordering::Relaxed);
        Self { members, sources }
    }

    fn front(&self) -> HighgateProcess {
        let addresses = [self.members[0].addr(), self.members[1].addr()];
        let split = "read_write_split = true\n";
        let process = HighgateProcess::start(BINARY, &toml(&addresses, BACKEND, split)).unwrap();
        until_roles(&process, ["primary", "replica"]);
        process
    }

    fn switch(&self, process: &HighgateProcess) {
        self.sources[0].store(self.members[1].addr().port(), Ordering::Relaxed);
        self.sources[1].store(0, Ordering::Relaxed);
        until_roles(process, ["replica", "primary"]);
    }
}

fn until_roles(process: &HighgateProcess, roles: [&str; 2]) {
    wait::eventually(Deadline::seconds(20), "the roles", || {
        let servers = failure::servers(process)?;
        let are = servers.iter().zip(roles).all(|(it, role)| it.role == role && it.status == "up");
        anyhow::ensure!(are && servers.len() == 2, "{servers:?}");
        Ok(())
    })
    .unwrap();
}

fn member(id: u16, source: &Arc<AtomicU16>) -> ScriptedServer {
    let source = Arc::clone(source);
    let rows = |names: &[&str], row: Option<Vec<String>>| {
        let row = row.map(|row| row.into_iter().map(Some).collect());
        Reply::Rows(names.iter().map(|it| (*it).to_owned()).collect(), row.into_iter().collect())
    };
    let script = Script::new(move |command: &Command| {
        let from = source.load(Ordering::Relaxed);
        match command.text().as_str() {
            text if text.starts_with("SELECT @@global.read_only") => {
                let values = [u16::from(from != 0).to_string(), id.to_string(), "0-1-1".to_owned()];
                rows(&["read_only", "server_id", "gtid"], Some(values.to_vec()))
            }
            text if text.starts_with("SHOW ALL SLAVES STATUS") => {
                let names = [
                    "Connection_name",
                    "Master_Host",
                    "Master_Port",
                    "Slave_IO_Running",
                    "Slave_SQL_Running",
                    "Seconds_Behind_Master",
                ];
                let row = ["", "127.0.0.1", &from.to_string(), "Yes", "Yes", "0"];
                rows(&names, (from != 0).then(|| row.map(str::to_owned).to_vec()))
            }
            text if text.starts_with("SELECT @@") => Reply::variables(text),
            text if from != 0 && writes(text) => Reply::Err(1290, "HY000", READ_ONLY.to_owned()),
            "SELECT n FROM v; SELECT 2" => {
                let second = Reply::value("2", "2");
                Reply::Several(vec![Reply::Result(10, vec!["n".to_owned()], Vec::new()), second])
            }
            // With an id that no OK tells of.
            text if text.starts_with("INSERT") && text.ends_with("RETURNING id") => {
                Reply::value("id", "7")
            }
            text if text.starts_with("SELECT") => Reply::value("n", "7"),
            "BEGIN" => Reply::OkStatus(3),
            _ => Reply::OkStatus(2),
        }
    });
    ScriptedServer::start(script).unwrap()
}

/// The view `v` does, by a function.
fn writes(text: &str) -> bool {
    ["INSERT", "UPDATE", "SELECT n FROM v"].iter().any(|begins| text.starts_with(begins))
}

fn client(process: &HighgateProcess) -> RawClient {
    let usual = USUAL | highgate_mysql::Capabilities::MULTI_STATEMENTS;
    let listener = process.listener("shop").unwrap();
    RawClient::connect(listener, "app", "app", None, usual).unwrap()
}

fn told_of_bound(process: &HighgateProcess) -> usize {
    let events = table(process, "events").unwrap();
    let is_one = |event: &&serde_json::Value| {
        event["text"].as_str().unwrap_or_default().contains("until it connects anew")
    };
    events.iter().filter(is_one).count()
}

/// It was told the server's own words, which name neither the session's state nor a way out; operators nothing.
#[test]
fn a_session_that_can_not_leave_a_demoted_primary_is_told_why() {
    let pair = Pair::start();
    let process = pair.front();
    let mut session = client(&process);
    session.ok("CREATE TEMPORARY TABLE kept (a INT)").unwrap();
    pair.switch(&process);
    for _ in 0..3 {
        let told = session.query("UPDATE t SET a = 1").unwrap();
        let [Part::Err { code: 1290, sqlstate, text }] = &told[..] else { panic!("{told:?}") };
        assert_eq!(sqlstate, "HY000");
        assert!(text.starts_with(READ_ONLY), "{text}");
        assert!(
            text.contains("bound to that server") && text.contains("temporary_table"),
            "{text}"
        );
    }
    assert_eq!(session.value("SELECT n FROM kept").unwrap(), "7", "it goes on where its table is");
    assert_eq!(told_of_bound(&process), 1, "{}", failure::ctl(&process, &["events"]).unwrap());
}

/// Who asked for a lock in any words but the plainest was bound as if it had taken one that nobody could name.
#[test]
fn a_session_that_gave_its_lock_back_leaves_a_demoted_primary() {
    let pair = Pair::start();
    let process = pair.front();
    let mut session = client(&process);
    session.ok("SELECT GET_LOCK(\"zz\", 0)").unwrap();
    session.ok("SELECT IS_USED_LOCK('zz') IS NOT NULL").unwrap();
    pair.switch(&process);
    let told = session.query("UPDATE t SET a = 1").unwrap();
    assert!(format!("{told:?}").contains("named_lock"), "{told:?}");
    session.ok("SELECT RELEASE_LOCK('zz')").unwrap();
    session.ok("UPDATE t SET a = 1").unwrap();
    assert_eq!(pair.members[1].queries().iter().filter(|it| it.starts_with("UPDATE")).count(), 1);
}

/// The transaction began on the old one, and was rolled back at its first write.
#[test]
fn a_session_with_an_insert_id_begins_its_next_transaction_on_the_new_primary() {
    let pair = Pair::start();
    let process = pair.front();
    let mut session = client(&process);
    session.ok("INSERT INTO t VALUES (DEFAULT) RETURNING id").unwrap();
    pair.switch(&process);
    session.ok("BEGIN").unwrap();
    session.ok("INSERT INTO t VALUES (8)").unwrap();
    session.ok("COMMIT").unwrap();
    assert_eq!(session.value("SELECT LAST_INSERT_ID()").unwrap(), "7", "the id goes along");
    let begun = |at: usize| pair.members[at].queries().iter().any(|it| it == "BEGIN");
    assert!(begun(1) && !begun(0));
}

/// One alone was sent there, several were answered with the replica's refusal.
#[test]
fn several_reads_of_which_the_first_writes_by_a_view_go_to_the_primary() {
    let pair = Pair::start();
    let process = pair.front();
    let mut session = client(&process);
    let results = session.query("SELECT n FROM v; SELECT 2").unwrap();
    assert_eq!(results.len(), 2, "{results:?}");
    assert!(results.iter().all(|it| it.error().is_none()), "{results:?}");
    let sent =
        |at: usize| pair.members[at].queries().iter().any(|it| it.starts_with("SELECT n FROM v"));
    assert!(sent(0) && sent(1), "by the replica to the primary");
}
