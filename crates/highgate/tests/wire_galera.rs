//! Members of Galera whose connections sessions reset, or leave in a state of their own.

#[path = "common/failure.rs"]
mod failure;
#[path = "client/raw.rs"]
mod raw;

use failure::{BINARY, toml};
use highgate_mysql::command::COM_RESET_CONNECTION;
use highgate_testkit::{
    HighgateProcess, Reply, Script, ScriptedServer,
    scripted::Command,
    wait::{self, Deadline},
};
use raw::{RawClient, USUAL};

const BACKEND: &str = "topology = \"galera\"\nfailover_wait = \"20s\"\nslow_start = \"0s\"\n\
    monitor = { user = \"m\", password = \"m\", interval = \"100ms\" }\n";
const WAIT: &str = "SET STATEMENT wsrep_sync_wait=1 FOR SELECT 1 LIMIT 1";

/// A synced member of that index.
fn member(index: usize) -> ScriptedServer {
    let table = |rows: &[(&str, &str)]| {
        let row = |(name, value): &(&str, &str)| {
            vec![Some((*name).to_owned()), Some((*value).to_owned())]
        };
        Reply::Rows(
            ["Variable_name", "Value"].map(str::to_owned).to_vec(),
            rows.iter().map(row).collect(),
        )
    };
    let script = Script::new(move |command: &Command| match command.text().as_str() {
        text if text.starts_with("SHOW GLOBAL STATUS LIKE 'wsrep") => table(&[
            ("wsrep_cluster_status", "Primary"),
            ("wsrep_local_state", "4"),
            ("wsrep_ready", "ON"),
            ("wsrep_cluster_state_uuid", "a-b-c"),
            ("wsrep_cluster_size", "2"),
            ("wsrep_local_index", &index.to_string()),
        ]),
        text if text.starts_with("SHOW GLOBAL VARIABLES LIKE 'wsrep") => {
            table(&[("wsrep_reject_queries", "NONE"), ("wsrep_desync", "OFF")])
        }
        text if text.starts_with("SELECT @@global.read_only") => {
            let row = ["0", &(index + 1).to_string(), "0-1-1"].map(|it| Some(it.to_owned()));
            Reply::Rows(["a", "b", "c"].map(str::to_owned).to_vec(), vec![row.to_vec()])
        }
        text if text.starts_with("SELECT @@") => Reply::variables(text),
        WAIT => Reply::value("1", "1"),
        text if text.starts_with("SELECT") => Reply::value("n", "7"),
        "START TRANSACTION READ ONLY" => Reply::OkStatus(3),
        _ => Reply::OkStatus(2),
    });
    ScriptedServer::start(script).unwrap()
}

fn client(process: &HighgateProcess) -> RawClient {
    let listener = process.listener("shop").unwrap();
    RawClient::connect(listener, "app", "app", None, USUAL).unwrap()
}

/// The connections on which that came, in its order.
fn connections(server: &ScriptedServer, is_it: impl Fn(&Command) -> bool) -> Vec<usize> {
    server.commands().iter().filter(|it| is_it(it)).map(|it| it.connection).collect()
}

/// Its `wsrep_sync_wait` did nothing any more: a session's own writes were missing there, without a word,
/// until the connection was an hour old.
#[test]
fn a_causal_read_waits_on_no_connection_that_a_session_left_or_had_reset() {
    let members = [member(0), member(1)];
    let addresses = members.each_ref().map(ScriptedServer::addr);
    let listener = "read_write_split = true\ncausal_reads = true\n";
    let process = HighgateProcess::start(BINARY, &toml(&addresses, BACKEND, listener)).unwrap();
    wait::eventually(Deadline::seconds(20), "the roles", || {
        let servers = failure::servers(&process)?;
        let has = |role| servers.iter().any(|it| it.role == role && it.status == "up");
        anyhow::ensure!(has("primary") && has("replica"), "{servers:?}");
        Ok(())
    })
    .unwrap();
    let is_first = failure::servers(&process).unwrap()[0].role == "replica";
    let reader = &members[usize::from(!is_first)];
    let reads_own = |session: &mut RawClient| {
        session.ok("UPDATE t SET n = 7").unwrap();
        assert_eq!(session.value("SELECT n FROM t").unwrap(), "7");
    };
    let waited = || connections(reader, |it| it.text() == WAIT);

    // A session that leaves within a transaction.
    let mut leaves = client(&process);
    leaves.ok("START TRANSACTION READ ONLY").unwrap();
    let left = connections(reader, |it| it.text() == "START TRANSACTION READ ONLY");
    drop(leaves);
    wait::eventually(Deadline::seconds(10), "the session to end", || {
        anyhow::ensure!(failure::table(&process, "sessions")?.is_empty());
        Ok(())
    })
    .unwrap();
    let mut session = client(&process);
    reads_own(&mut session);
    assert_eq!(waited().len(), 1);
    assert_ne!(waited(), left, "another one");
    let resets = |it: &Command| it.code == COM_RESET_CONNECTION;
    assert!(connections(reader, resets).is_empty(), "what would be reset is closed");

    // One that has what it holds reset, as pools of connections do.
    session.ok("START TRANSACTION READ ONLY").unwrap();
    session.command(&[COM_RESET_CONNECTION]).unwrap();
    let reset = connections(reader, resets);
    assert_eq!(reset.len(), 1);
    let before = waited().len();
    reads_own(&mut session);
    let since = waited().split_off(before);
    assert!(since.len() == 1 && since != reset, "{since:?} {reset:?}");

    // What holds nothing is reset by Highgate, and costs no connection.
    for _ in 0..5 {
        session.command(&[COM_RESET_CONNECTION]).unwrap();
        reads_own(&mut session);
    }
    assert_eq!(connections(reader, resets), reset);
    let now = waited().split_off(before);
    assert!(now.iter().all(|it| *it == since[0]), "{now:?}");
}
