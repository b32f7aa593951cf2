//! A planned switchover under sessions that hold the old primary, which lives on and takes no writes.

#[path = "common/failure.rs"]
mod failure;
#[path = "client/raw.rs"]
mod raw;

use std::{
    fs::File,
    os::unix::net::UnixListener,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU16, Ordering},
    },
};

use failure::{BINARY, table, toml};
use highgate_io::handover;
use highgate_testkit::{
    HighgateProcess, Reply, Script, ScriptedServer,
    scripted::Command,
    wait::{self, Deadline},
};
use raw::{Part, RawClient, USUAL};
use rustix::{
    fs::{FlockOperation, flock},
    process::Signal,
};

const BACKEND: &str = "topology = \"mariadb-replication\"\nfailover_wait = \"20s\"\nmax_lag = \"1h\"\n\
    monitor = { user = \"m\", password = \"m\", interval = \"100ms\" }\n";
const READ_ONLY: &str =
    "The MariaDB server is running with the --read-only option so it cannot execute this statement";

/// The two members of a replication, of which the first takes writes until they switch.
struct Pair {
    members: [ScriptedServer; 2],
    /// The port that each replicates from, 0 for the primary.
    sources: [Arc<AtomicU16>; 2],
    /// Whether the first one says nothing, as if it were stopped.
    sleeps: Arc<AtomicBool>,
}

impl Pair {
    fn start() -> Self {
        let sources = [Arc::new(AtomicU16::new(0)), Arc::new(AtomicU16::new(0))];
        let [first, second] = &sources;
        let sleeps = Arc::new(AtomicBool::new(false));
        let members = [member(1, first, &sleeps), member(2, second, &Arc::default())];
        second.store(members[0].addr().port(), Ordering::Relaxed);
        Self { members, sources, sleeps }
    }

    fn front(&self) -> HighgateProcess {
        let process = HighgateProcess::start(BINARY, &self.toml()).unwrap();
        until_roles(&process, ["primary", "replica"]);
        process
    }

    fn toml(&self) -> String {
        let addresses = [self.members[0].addr(), self.members[1].addr()];
        toml(&addresses, BACKEND, "read_write_split = true\n")
    }

    fn without_first(&self) -> String {
        let first = format!("name = \"db1\"\naddress = \"{}\"\n", self.members[0].addr());
        let without = self.toml().replacen(&format!("[[backend.server]]\n{first}"), "", 1);
        assert_ne!(without, self.toml());
        without
    }

    fn switch(&self, process: &HighgateProcess) {
        self.demote_first();
        self.promote_second();
        until_roles(process, ["replica", "primary"]);
    }

    fn demote_first(&self) {
        self.sources[0].store(self.members[1].addr().port(), Ordering::Relaxed);
    }

    fn promote_second(&self) {
        self.sources[1].store(0, Ordering::Relaxed);
    }
}

fn until_roles<const N: usize>(process: &HighgateProcess, roles: [&str; N]) {
    wait::eventually(Deadline::seconds(20), "the roles", || {
        let servers = failure::servers(process)?;
        let are = servers.iter().zip(roles).all(|(it, role)| it.role == role && it.status == "up");
        anyhow::ensure!(are && servers.len() == N, "{servers:?}");
        Ok(())
    })
    .unwrap();
}

fn until_no_primary(process: &HighgateProcess) {
    wait::eventually(Deadline::seconds(20), "two replicas", || {
        let servers = failure::servers(process)?;
        anyhow::ensure!(servers.iter().all(|it| it.role != "primary"), "{servers:?}");
        Ok(())
    })
    .unwrap();
}

fn member(id: u16, source: &Arc<AtomicU16>, sleeps: &Arc<AtomicBool>) -> ScriptedServer {
    let (source, sleeps) = (Arc::clone(source), Arc::clone(sleeps));
    let greets = Arc::clone(&sleeps);
    let script = Script::new(move |command: &Command| {
        let from = source.load(Ordering::Relaxed);
        if sleeps.load(Ordering::Relaxed) {
            return Reply::Hang;
        }
        let text = command.text();
        if let Some(role) = Reply::role(&text, id, (from != 0).then_some(from)) {
            return role;
        }
        match text.as_str() {
            text if text.starts_with("SELECT @@") => Reply::variables(text),
            text if from != 0 && writes(text) => Reply::Err(1290, "HY000", READ_ONLY.to_owned()),
            "SELECT 1; SELECT n FROM v" => {
                let refused = Reply::Err(1290, "HY000", READ_ONLY.to_owned());
                Reply::Several(vec![Reply::Result(10, vec!["n".to_owned()], Vec::new()), refused])
            }
            "SELECT n FROM v; SELECT 2" => {
                let second = Reply::value("2", "2");
                Reply::Several(vec![Reply::Result(10, vec!["n".to_owned()], Vec::new()), second])
            }
            // With a warning, for which its session keeps its connection until it runs another statement.
            "DELETE FROM t; INSERT INTO t VALUES (DEFAULT)" => {
                Reply::Packets(vec![vec![0, 1, 0, 2, 0, 1, 0]])
            }
            text if text.starts_with("SELECT") => Reply::value("n", "7"),
            "BEGIN" => Reply::OkStatus(3),
            text if text.contains("in transaction") => Reply::OkStatus(3),
            "SET autocommit=0" => Reply::OkStatus(0),
            _ => Reply::OkStatus(2),
        }
    });
    let script = script.greets(move |_| greets.load(Ordering::Relaxed).then_some(Reply::Hang));
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

/// Each waited `failover_wait`, and was refused then: pools threw their sessions away, and drivers that begin with
/// autocommit off could not log in.
#[test]
fn what_ends_no_transaction_needs_no_primary() {
    let pair = Pair::start();
    let process = pair.front();
    let mut session = client(&process);
    pair.demote_first();
    until_no_primary(&process);
    for text in ["ROLLBACK", "COMMIT", "SET autocommit=0", "COMMIT", "SET autocommit=1"] {
        session.ok(text).unwrap();
    }
    let mut lent = client(&process);
    lent.ok("SET @a = 1").unwrap();
    lent.ok("ROLLBACK").unwrap();
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
        assert!(text.starts_with("Its server takes no writes any more (read-only)"), "{text}");
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
    session.ok("DELETE FROM t; INSERT INTO t VALUES (DEFAULT)").unwrap();
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

/// They were refused there, also when another had been the primary for long.
#[test]
fn several_statements_whose_first_is_refused_for_a_switchover_go_to_the_new_primary() {
    let pair = Pair::start();
    let process = pair.front();
    let mut session = client(&process);
    let text = "INSERT INTO t VALUES (1); INSERT INTO t VALUES (2)";
    session.ok(text).unwrap();
    // Both before Highgate knows of it, and after.
    pair.demote_first();
    pair.promote_second();
    for _ in 0..2 {
        let told = session.query(text).unwrap();
        assert!(told.iter().all(|it| it.error().is_none()), "{told:?}");
        until_roles(&process, ["replica", "primary"]);
    }
    let ran = |at: usize| pair.members[at].queries().iter().filter(|it| *it == text).count();
    assert!(ran(0) >= 1 && ran(1) == 2, "{} {}", ran(0), ran(1));
}

/// An account with the right to, or a routine of such an account, writes to a server that is read-only: what it
/// wrote to the old primary was lost, and broke its replication.
#[test]
fn a_session_that_is_bound_to_a_replaced_primary_writes_nothing_there_that_this_would_take() {
    let pair = Pair::start();
    let process = pair.front();
    let mut locks = with_a_lock(&process);
    let mut calls = client(&process);
    calls.ok("CALL p()").unwrap();
    let mut transaction = client(&process);
    transaction.ok("BEGIN").unwrap();
    transaction.ok("INSERT INTO t VALUES ('in transaction')").unwrap();
    pair.switch(&process);
    let count = || pair.members[0].queries().len();
    let before = count();
    for session in [&mut locks, &mut calls] {
        for text in ["CALL p()", "INSERT INTO t VALUES (1)", "SELECT f(1), GET_LOCK('b', 0)"] {
            let told = session.query(text).unwrap();
            assert_eq!(told[0].error(), Some(1290), "{told:?}");
            assert!(format!("{told:?}").contains("connect anew"), "{told:?}");
        }
    }
    let multi = "CREATE TEMPORARY TABLE own (a INT); INSERT INTO t VALUES (1)";
    assert_eq!(locks.query(multi).unwrap()[0].error(), Some(1290));
    for text in ["CREATE TEMPORARY TABLE own (a INT)", "DROP TEMPORARY TABLE own"] {
        locks.ok(text).unwrap();
    }
    let ends = transaction.query("ROLLBACK TO a; COMMIT").unwrap();
    assert_eq!(ends[0].error(), Some(1213), "{ends:?}");
    let sent: Vec<_> = pair.members[0].queries().split_off(before.min(count()));
    assert!(!sent.iter().any(|it| writes(it) || it == "CALL p()" || it == "COMMIT"), "{sent:?}");
    transaction.ok("INSERT INTO t VALUES (3)").unwrap();
    assert!(pair.members[1].queries().iter().any(|it| it == "INSERT INTO t VALUES (3)"));
}

/// What came before is at the client already: see docs/differences.md.
#[test]
fn several_reads_of_which_a_later_one_writes_by_a_view_are_sent_once() {
    let pair = Pair::start();
    let process = pair.front();
    let mut session = client(&process);
    let results = session.query("SELECT 1; SELECT n FROM v").unwrap();
    let errors: Vec<_> = results.iter().map(Part::error).collect();
    assert_eq!(errors, [None, Some(1290)], "{results:?}");
    let queries = pair.members.iter().flat_map(ScriptedServer::queries);
    assert_eq!(queries.filter(|it| it == "SELECT 1; SELECT n FROM v").count(), 1);
    session.ok("INSERT INTO t VALUES (1)").unwrap();
}

/// What they committed there nobody else saw: another server had taken the writes meanwhile.
#[test]
fn a_session_does_not_go_on_with_a_primary_that_slept_while_another_took_its_place() {
    let pair = Pair::start();
    let process = pair.front();
    let (mut transaction, mut locks) = (in_transaction(&process), with_a_lock(&process));
    pair.sleeps.store(true, Ordering::Relaxed);
    pair.promote_second();
    until(&process, |servers| servers[0].status == "down" && servers[1].role == "primary");
    pair.sleeps.store(false, Ordering::Relaxed);
    until(&process, |servers| servers[0].status == "quarantined");
    let committed = transaction.query("COMMIT").unwrap();
    assert_eq!(committed[0].error(), Some(1213), "{committed:?}");
    let written = locks.query("INSERT INTO t VALUES (2)").unwrap();
    assert_eq!(written[0].error(), Some(1927), "{written:?}");
    assert!(locks.query("SELECT n FROM t").is_err(), "the session is over");
    let old = pair.members[0].queries();
    assert!(!old.iter().any(|text| text == "COMMIT" || text.contains("(2)")), "{old:?}");
    // It goes on where the writes go.
    transaction.ok("INSERT INTO t VALUES (3)").unwrap();
    assert!(pair.members[1].queries().iter().any(|text| text.contains("(3)")));
}

/// No other took its place: nothing is lost, and nothing has to end.
#[test]
fn a_transaction_goes_on_where_its_primary_slept_and_stayed_the_primary() {
    let pair = Pair::start();
    let process = pair.front();
    let mut client = in_transaction(&process);
    pair.sleeps.store(true, Ordering::Relaxed);
    until(&process, |servers| servers[0].status == "down");
    pair.sleeps.store(false, Ordering::Relaxed);
    until_roles(&process, ["primary", "replica"]);
    client.ok("COMMIT").unwrap();
    assert!(pair.members[0].queries().iter().any(|text| text == "COMMIT"));
}

/// Somebody made another one writable and forgot this one: it is quarantined.
#[test]
fn a_session_does_not_go_on_with_a_server_that_is_quarantined() {
    let pair = Pair::start();
    let process = pair.front();
    let mut client = in_transaction(&process);
    pair.switch(&process);
    pair.sources[0].store(0, Ordering::Relaxed);
    until(&process, |servers| servers[0].status == "quarantined");
    let committed = client.query("COMMIT").unwrap();
    assert_eq!(committed[0].error(), Some(1213), "{committed:?}");
}

/// Its operator goes on to take it apart.
#[test]
fn a_session_does_not_go_on_with_a_server_in_maintenance() {
    let pair = Pair::start();
    let process = pair.front();
    let (mut transaction, mut locks) = (in_transaction(&process), with_a_lock(&process));
    failure::ctl(&process, &["maintenance", "shop/db1"]).unwrap();
    until(&process, |servers| servers[0].status == "maintenance");
    let committed = transaction.query("COMMIT").unwrap();
    assert_eq!(committed[0].error(), Some(1213), "{committed:?}");
    let asked = locks.query("SELECT n FROM t").unwrap();
    assert_eq!(asked[0].error(), Some(1927), "{asked:?}");
    assert!(!pair.members[0].queries().iter().any(|text| text == "COMMIT"));
}

/// Its locks stood in the way of the replica that its server had become, until its next command: which may
/// never come.
#[test]
fn an_idle_session_lets_go_of_a_server_with_which_it_can_not_go_on() {
    let pair = Pair::start();
    let process = pair.front();
    let (mut transaction, mut locks) = (in_transaction(&process), with_a_lock(&process));
    let mut rolled_back = in_transaction(&process);
    assert_eq!(held(&process), 3);
    failure::ctl(&process, &["maintenance", "shop/db1"]).unwrap();
    until_held(&process, 0);
    assert_eq!(transaction.query("SELECT n FROM t").unwrap()[0].error(), Some(1213));
    assert_eq!(locks.query("DO RELEASE_LOCK('a')").unwrap()[0].error(), Some(1927));
    assert!(locks.query("SELECT n FROM t").is_err(), "the session is over");
    rolled_back.ok("ROLLBACK").unwrap();
    rolled_back.ok("SELECT n FROM t").unwrap();
}

/// Half of them, those of the worker that looked at the new plan at once, kept their connections.
#[test]
fn all_idle_sessions_let_go_of_a_server_that_is_quarantined() {
    let pair = Pair::start();
    let process = pair.front();
    let mut clients: Vec<_> = (0..24).map(|_| in_transaction(&process)).collect();
    pair.switch(&process);
    assert_eq!(held(&process), 24);
    pair.sources[0].store(0, Ordering::Relaxed);
    until_held(&process, 0);
    for client in &mut clients {
        assert_eq!(client.query("COMMIT").unwrap()[0].error(), Some(1213));
    }
}

/// What they committed on the old primary, which the configuration named no more, nobody else saw.
#[test]
fn sessions_let_go_of_a_primary_that_was_removed_once_another_takes_the_writes() {
    let pair = Pair::start();
    let process = pair.front();
    let (mut transaction, mut locks) = (in_transaction(&process), with_a_lock(&process));
    let mut ends = in_transaction(&process);
    apply(&process, &pair.without_first());
    ends.ok("COMMIT").unwrap();
    assert_eq!(held(&process), 2, "while nobody else takes the writes");
    pair.promote_second();
    until_held(&process, 0);
    assert_eq!(transaction.query("COMMIT").unwrap()[0].error(), Some(1213));
    assert_eq!(locks.query("INSERT INTO t VALUES (2)").unwrap()[0].error(), Some(1927));
    let old = pair.members[0].queries();
    assert_eq!(old.iter().filter(|text| *text == "COMMIT").count(), 1, "{old:?}");
}

/// The group that they looked for had another name, and nobody judged: they went on writing there.
#[test]
fn sessions_let_go_of_a_replaced_primary_that_is_removed_as_its_backend_is_renamed() {
    let pair = Pair::start();
    let process = pair.front();
    let (transaction, locks) = (in_transaction(&process), with_a_lock(&process));
    pair.switch(&process);
    apply(&process, &renamed(&pair.without_first()));
    until_roles(&process, ["primary"]);
    until_held(&process, 0);
    let_go(&pair, transaction, locks);
}

/// Those alone were told whose listener or account named the backend: who came there by a rule went on.
#[test]
fn sessions_that_a_rule_sent_to_a_renamed_backend_let_go_of_its_replaced_primary() {
    let pair = Pair::start();
    let process = HighgateProcess::start(BINARY, &by_rule(&pair.toml())).unwrap();
    until_roles(&process, ["primary", "replica"]);
    let (transaction, locks) = (in_transaction(&process), with_a_lock(&process));
    pair.switch(&process);
    apply(&process, &renamed(&by_rule(&pair.without_first())));
    until_roles(&process, ["primary"]);
    until_held(&process, 0);
    let_go(&pair, transaction, locks);
}

/// It was told that its backend does not exist.
#[test]
fn a_session_goes_on_by_the_new_name_of_the_backend_that_a_rule_sent_it_to() {
    let pair = Pair::start();
    let process = HighgateProcess::start(BINARY, &by_rule(&pair.toml())).unwrap();
    until_roles(&process, ["primary", "replica"]);
    let (mut commits, mut rolls_back) = (in_transaction(&process), in_transaction(&process));
    apply(&process, &renamed(&by_rule(&pair.toml())));
    until_roles(&process, ["primary", "replica"]);
    commits.ok("COMMIT").unwrap();
    pair.members[0].close_all();
    rolls_back.ok("ROLLBACK").unwrap();
    rolls_back.ok("INSERT INTO t VALUES (3)").unwrap();
}

/// Another backend that knows no roles had its name: by that they went on at the old primary.
#[test]
fn sessions_let_go_of_a_replaced_primary_whose_backend_was_renamed_and_its_name_given_away() {
    for name in ["db1", "x1"] {
        let pair = Pair::start();
        let process = pair.front();
        let (transaction, locks) = (in_transaction(&process), with_a_lock(&process));
        pair.switch(&process);
        let taken = format!(
            "[[backend]]\nname = \"shop\"\n[[backend.server]]\nname = \"{name}\"\naddress = \"{}\"\n",
            pair.members[0].addr(),
        );
        apply(&process, &(renamed(&pair.without_first()) + &taken));
        until_roles(&process, ["primary", "member"]);
        until_held(&process, 0);
        let_go(&pair, transaction, locks);
    }
}

/// Their new backend has no server of the old one, by which they could know it: they went on holding it.
#[test]
fn idle_sessions_let_go_of_a_replaced_primary_by_what_their_listener_names_now() {
    let pair = Pair::start();
    let addresses = [pair.members[0].addr(), pair.members[1].addr()];
    let only = |at: usize| toml(&addresses[at..=at], BACKEND, "read_write_split = true\n");
    let process = HighgateProcess::start(BINARY, &only(0)).unwrap();
    until_roles(&process, ["primary"]);
    let (transaction, locks) = (in_transaction(&process), with_a_lock(&process));
    pair.promote_second();
    apply(&process, &renamed(&only(1)));
    until_roles(&process, ["primary"]);
    until_held(&process, 0);
    let_go(&pair, transaction, locks);
}

/// What a process stored in the end of who its primary is.
fn record(process: &HighgateProcess, primary: &str) -> Vec<u8> {
    let mut record = Vec::new();
    let path = process.folder().join("highgate-data/primaries.json");
    wait::eventually(Deadline::seconds(10), "the record to be stored", || {
        record = std::fs::read(&path)?;
        let text = String::from_utf8_lossy(&record);
        anyhow::ensure!(text.contains(&format!("\"server\": \"{primary}\"")), "{text}");
        Ok(())
    })
    .unwrap();
    record
}

/// A running process, played: another one took its place as the primary while its successor got ready.
fn plays_before(asked: &UnixListener, data: &Path, changed: &[u8]) {
    let lock = File::open(data.join("highgate.lock")).unwrap();
    flock(&lock, FlockOperation::NonBlockingLockExclusive).unwrap();
    let (new, _) = asked.accept().unwrap();
    for answer in [r#"{"sockets":{"sockets":[],"more":false,"first_session":0}}"#, ""] {
        handover::receive(&new).unwrap();
        if !answer.is_empty() {
            handover::send(&new, answer.as_bytes(), &[]).unwrap();
        }
    }
    std::fs::write(data.join("primaries.json"), changed).unwrap();
    drop(lock);
    handover::send(&new, br#"{"released":{"keeper":false}}"#, &[]).unwrap();
    let (taken, _) = handover::receive(&new).unwrap();
    assert_eq!(taken, br#""taken""#);
}

/// What a process makes of two writable servers that took over from one which stored `last`, and had stored
/// `first` when it started.
fn taken_over(
    pair: &Pair,
    before: &HighgateProcess,
    first: &[u8],
    last: &[u8],
) -> Vec<(String, String)> {
    let data = before.folder().join("highgate-data");
    std::fs::write(data.join("primaries.json"), first).unwrap();
    let _ = std::fs::remove_file(data.join("handover.sock"));
    let asked = UnixListener::bind(data.join("handover.sock")).unwrap();
    let _new = std::thread::scope(|scope| {
        scope.spawn(|| plays_before(&asked, &data, last));
        let adjust = |command: &mut std::process::Command| {
            command.arg("--replace").arg("--data-dir").arg(&data);
        };
        HighgateProcess::start_with(BINARY, &pair.toml(), adjust).unwrap()
    });
    let servers = failure::servers(before).unwrap();
    servers.into_iter().map(|it| (it.role, it.status)).collect()
}

/// It went by what was stored when it started: an old primary that came back meanwhile took writes. And it
/// did not hear of one that an operator had forgotten: writes were refused again.
#[test]
fn a_process_that_takes_over_goes_by_the_primary_that_the_one_before_stored_last() {
    let pair = Pair::start();
    let mut before = pair.front();
    let first = record(&before, "db1");
    pair.switch(&before);
    let second = record(&before, "db2");
    before.signal(Signal::TERM).unwrap();
    before.wait(Deadline::seconds(10)).unwrap();
    // The first one is back as it was.
    pair.sources[0].store(0, Ordering::Relaxed);
    // The one of fewer terms was stored behind `ctl forget-primary`.
    for (read, stored, primary) in [(&first, &second, 1), (&second, &first, 0)] {
        let servers = taken_over(&pair, &before, read, stored);
        assert_eq!(servers[primary].0, "primary", "{servers:?}");
        assert!(matches!(&*servers[primary].1, "up" | "starting"), "{servers:?}");
        assert_ne!(servers[1 - primary].0, "primary", "{servers:?}");
    }
}

/// The configuration in which a rule sends there what the listener would send elsewhere.
fn by_rule(text: &str) -> String {
    let elsewhere = text.replacen("backend = \"shop\"", "backend = \"empty\"", 1);
    elsewhere
        + "[[backend]]\nname = \"empty\"\n\
           [[rule]]\nrule_id = 1\nmatch_pattern = \".\"\nbackend = \"shop\"\n"
}

fn renamed(text: &str) -> String {
    text.replace("backend = \"shop\"", "backend = \"other\"")
        .replace("[[backend]]\nname = \"shop\"", "[[backend]]\nname = \"other\"")
}

/// Both are told with their next command, and nothing of it gets to the old primary.
fn let_go(pair: &Pair, mut transaction: RawClient, mut locks: RawClient) {
    assert_eq!(transaction.query("COMMIT").unwrap()[0].error(), Some(1213));
    transaction.ok("INSERT INTO t VALUES (3)").unwrap();
    assert_eq!(locks.query("INSERT INTO t VALUES (2)").unwrap()[0].error(), Some(1927));
    let old = pair.members[0].queries();
    assert!(!old.iter().any(|text| text == "COMMIT" || text.contains("VALUES (2)")), "{old:?}");
}

fn apply(process: &HighgateProcess, text: &str) {
    std::fs::write(process.config_file(), text).unwrap();
    let (done, said) = failure::apply(process, &[], &process.config_file());
    assert!(done, "{said}");
}

/// Sessions that hold a server's connection.
fn held(process: &HighgateProcess) -> usize {
    let sessions = table(process, "sessions").unwrap();
    sessions.iter().filter(|it| !it["server_thread"].is_null()).count()
}

fn until_held(process: &HighgateProcess, count: usize) {
    wait::eventually(Deadline::seconds(20), "connections closed", || {
        anyhow::ensure!(held(process) == count, "{:?}", table(process, "sessions")?);
        Ok(())
    })
    .unwrap();
}

/// One that has written within a transaction.
fn in_transaction(process: &HighgateProcess) -> RawClient {
    let mut client = client(process);
    client.ok("BEGIN").unwrap();
    client.ok("INSERT INTO t VALUES (1) /* in transaction */").unwrap();
    client
}

fn with_a_lock(process: &HighgateProcess) -> RawClient {
    let mut client = client(process);
    assert_eq!(client.value("SELECT GET_LOCK('a', 0)").unwrap(), "7");
    client
}

fn until(process: &HighgateProcess, holds: impl Fn(&[failure::Server]) -> bool) {
    wait::eventually(Deadline::seconds(20), "the servers", || {
        let servers = failure::servers(process)?;
        anyhow::ensure!(servers.len() == 2 && holds(&servers), "{servers:?}");
        Ok(())
    })
    .unwrap();
}
