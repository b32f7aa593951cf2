//! What rules do to a command: a text that one rewrites is judged by what is sent, and one may keep the
//! session's connection.

#[path = "common/failure.rs"]
mod failure;
#[path = "common/faulty.rs"]
mod faulty;
#[path = "client/raw.rs"]
mod raw;

use failure::{BINARY, table, toml};
use faulty::{BACKEND, VICTIM, usual};
use highgate_mysql::command::{COM_STMT_EXECUTE, COM_STMT_PREPARE, COM_STMT_SEND_LONG_DATA};
use highgate_testkit::{
    highgate::HighgateProcess,
    scripted::{Reply, Script, ScriptedServer},
    wait::{self, Deadline},
};
use raw::{Param, Part, RawClient, USUAL, execute, long_data};
use rustix::process::Signal;

/// A read that no server is to see.
const QUIET: &str = "[[rule]]\nrule_id = 4\nactive = true\nmatch_pattern = \"^SELECT n FROM quiet\"\n\
     OK_msg = \"done\"\napply = true\n";

/// The read `SELECT n FROM old` becomes a write, and another one a temporary table.
const REWRITES: &str = "[[rule]]\nrule_id = 1\nactive = true\nmatch_pattern = \"^SELECT n FROM old\"\n\
     replace_pattern = \"INSERT INTO victim SELECT n FROM new\"\napply = true\n\
     [[rule]]\nrule_id = 2\nactive = true\nmatch_pattern = \"^SELECT n FROM tmp\"\n\
     replace_pattern = \"CREATE TEMPORARY TABLE tmp SELECT 1 AS n\"\napply = true\n\
     [[rule]]\nrule_id = 3\nactive = true\nmatch_pattern = \"^SELECT n FROM harmless\"\n\
     replace_pattern = \"KILL 7\"\napply = true\n";

/// What it prepares has no parameters and no columns; its connection is lost when a text with
/// [`VICTIM`] in it is to run.
fn server() -> ScriptedServer {
    let script = Script::new(|command| match command.code {
        COM_STMT_PREPARE => Reply::Packets(vec![[&[0, 9, 0, 0, 0][..], &[0; 7]].concat()]),
        COM_STMT_EXECUTE => Reply::CloseAfter(0, Box::new(Reply::Ok)),
        _ if command.text().contains(VICTIM) => Reply::CloseAfter(0, Box::new(Reply::Ok)),
        _ if command.text().starts_with("SELECT n") => Reply::value("n", "1"),
        _ => usual(command),
    });
    ScriptedServer::start(script).unwrap()
}

fn front(server: &ScriptedServer, rules: &str) -> (HighgateProcess, RawClient) {
    let text = toml(&[server.addr()], BACKEND, "") + rules;
    let process = HighgateProcess::start(BINARY, &text).unwrap();
    let address = process.listener("shop").unwrap();
    let client = RawClient::connect(address, "app", "app", None, USUAL).unwrap();
    (process, client)
}

fn is_unknown(parts: &[Part]) {
    let [Part::Err { code, sqlstate, .. }] = parts else { panic!("{parts:?}") };
    assert_eq!((*code, sqlstate.as_str()), (1158, "08007"));
}

/// What binds the only session.
fn pinned(process: &HighgateProcess, by: &str) {
    wait::eventually(Deadline::seconds(10), "the session's pins", || {
        let rows = table(process, "sessions")?;
        let pins = rows.first().and_then(|row| row["pinned_by"].as_str()).unwrap_or_default();
        anyhow::ensure!(pins == by, "`{pins}`, not `{by}`");
        Ok(())
    })
    .unwrap();
}

#[test]
fn a_read_that_a_rule_made_a_write_is_sent_once_and_its_outcome_told_as_unknown() {
    let server = server();
    let (_process, mut client) = front(&server, REWRITES);
    is_unknown(&client.query("SELECT n FROM old").unwrap());
    let sent =
        server.queries().iter().filter(|text| text.starts_with("INSERT INTO victim")).count();
    assert_eq!(sent, 1, "{:?}", server.queries());
    assert_eq!(client.value("SELECT n FROM t").unwrap(), "1", "the session goes on");
}

#[test]
fn a_prepared_read_that_a_rule_made_a_write_is_executed_once() {
    let server = server();
    let (_process, mut client) = front(&server, REWRITES);
    let Part::Prepared { id, .. } = client.prepare("SELECT n FROM old").unwrap() else {
        panic!("not prepared");
    };
    is_unknown(&client.command(&execute(id, 0, &[], false)).unwrap());
    let commands = server.commands();
    let prepared = commands.iter().find(|command| command.code == COM_STMT_PREPARE).unwrap();
    assert_eq!(prepared.text(), "INSERT INTO victim SELECT n FROM new");
    let executed = commands.iter().filter(|command| command.code == COM_STMT_EXECUTE).count();
    assert_eq!(executed, 1);
}

#[test]
fn what_a_rule_makes_of_a_text_binds_the_session_and_is_refused_as_if_it_were_the_clients() {
    let server = server();
    let (process, mut client) = front(&server, REWRITES);
    client.ok("SELECT n FROM tmp").unwrap();
    pinned(&process, "temporary_table");
    // A number of Highgate's own, whatever runs on a server under it.
    let killed = client.query("SELECT n FROM harmless").unwrap();
    assert_eq!(killed[0].error(), Some(1094), "{killed:?}");
    assert!(server.queries().iter().all(|text| !text.starts_with("KILL")));
}

#[test]
fn a_rule_keeps_the_sessions_connection_until_another_gives_it_back() {
    let server = server();
    let rule = |id: u32, table: &str, multiplex: bool| {
        format!(
            "[[rule]]\nrule_id = {id}\nactive = true\nmatch_digest = \"FROM {table}\"\n\
             multiplex = {multiplex}\napply = true\n"
        )
    };
    let (process, mut client) = front(&server, &(rule(1, "mine", false) + &rule(2, "ours", true)));
    client.ok("SELECT n FROM t").unwrap();
    pinned(&process, "");
    client.ok("SELECT n FROM mine").unwrap();
    pinned(&process, "multiplex_off");
    // Others get connections of their own.
    let address = process.listener("shop").unwrap();
    let mut others: Vec<_> =
        (0..4).map(|_| RawClient::connect(address, "app", "app", None, USUAL).unwrap()).collect();
    for _ in 0..3 {
        client.ok("SELECT n FROM t WHERE mine = 1").unwrap();
        for other in &mut others {
            other.ok("SELECT n FROM t WHERE others = 1").unwrap();
        }
    }
    drop(others);
    let commands = server.commands();
    let connections = |word: &str| -> std::collections::BTreeSet<usize> {
        let with = commands.iter().filter(|command| command.text().contains(word));
        with.map(|command| command.connection).collect()
    };
    let (mine, others) = (connections("mine"), connections("others"));
    assert_eq!(mine.len(), 1);
    assert!(mine.is_disjoint(&others), "{mine:?} {others:?}");
    wait::eventually(Deadline::seconds(10), "the others to be gone", || {
        let rows = table(&process, "sessions")?;
        anyhow::ensure!(rows.len() == 1, "{rows:?}");
        Ok(())
    })
    .unwrap();
    client.ok("SELECT n FROM ours").unwrap();
    pinned(&process, "");
}

/// A plain OK was read as a statement with thousands of parameters, whose client waited for ever.
#[test]
fn what_a_rule_answers_with_ok_is_not_prepared_and_its_client_told_so() {
    let server = server();
    let (_process, mut client) = front(&server, QUIET);
    let answer = client.prepare("SELECT n FROM quiet").unwrap();
    assert_eq!(answer.error(), Some(1295), "{answer:?}");
    let said = client.ok("SELECT n FROM quiet").unwrap();
    assert!(matches!(&said, Part::Ok { info, .. } if info == "done"), "{said:?}");
    assert!(client.prepare("SELECT n FROM t").unwrap().error().is_none());
    let mut prepared = server.commands();
    prepared.retain(|command| command.code == COM_STMT_PREPARE);
    assert!(prepared.iter().all(|command| command.text() == "SELECT n FROM t"), "{prepared:?}");
}

#[test]
fn executions_of_what_was_prepared_before_a_rule_says_ok_are_answered_with_ok() {
    let server = ScriptedServer::start(Script::new(|command| match command.code {
        COM_STMT_PREPARE => Reply::Prepared(9, vec!["?".to_owned()], vec!["n".to_owned()]),
        _ if command.text().starts_with("SELECT n") => Reply::value("n", "1"),
        _ => usual(command),
    }))
    .unwrap();
    let (process, mut client) = front(&server, "");
    let Part::Prepared { id, .. } = client.prepare("SELECT n FROM quiet WHERE a = ?").unwrap()
    else {
        panic!("not prepared");
    };
    let file = process.config_file();
    let text = std::fs::read_to_string(&file).unwrap() + QUIET;
    std::fs::write(&file, text).unwrap();
    process.signal(Signal::HUP).unwrap();
    wait::eventually(Deadline::seconds(10), "the rule", || {
        let said = client.query("SELECT n FROM quiet")?;
        anyhow::ensure!(matches!(&said[..], [Part::Ok { .. }]), "{said:?}");
        Ok(())
    })
    .unwrap();
    // Nobody waits for an answer to the first of these.
    client.send(&long_data(id, 0, b"long")).unwrap();
    let said = client.command(&execute(id, 0, &[Param::Long], true)).unwrap();
    assert!(matches!(&said[..], [Part::Ok { info, .. }] if info == "done"), "{said:?}");
    assert_eq!(client.value("SELECT n FROM t").unwrap(), "1", "the session is in step");
    let codes = [COM_STMT_EXECUTE, COM_STMT_SEND_LONG_DATA];
    let reached = server.commands().into_iter().find(|command| codes.contains(&command.code));
    assert_eq!(reached, None);
}

/// Its server, which had executed it, was called garbled, and the client told that nobody knows.
#[test]
fn what_a_rule_makes_a_packet_of_is_refused_where_it_came_in_two() {
    const RULE: &str = "[[rule]]\nrule_id = 5\nactive = true\nmatch_pattern = \"^SELECT n FROM huge.*\"\n\
         replace_pattern = \"SELECT n FROM small\"\napply = true\n";
    let server = server();
    let (process, mut client) = front(&server, RULE);
    let refused = client.query(format!("SELECT n FROM huge /*{}*/", "x".repeat(17 << 20))).unwrap();
    assert_eq!(refused[0].error(), Some(1105), "{refused:?}");
    assert!(!server.queries().iter().any(|text| text.contains("small")));
    assert_eq!(client.value("SELECT n FROM t").unwrap(), "1", "the session goes on");
    assert_eq!(failure::server(&process, "db1").unwrap().status, "up");
}

/// So was it with an execution that types are put into, as another connection has had them.
#[test]
fn an_execution_that_types_make_a_packet_longer_is_refused_and_a_shorter_one_brings_them() {
    const FULL: usize = 0xff_ffff;
    let last = std::sync::atomic::AtomicU32::new(0);
    let script = Script::new(move |command| match command.code {
        COM_STMT_PREPARE => {
            let id = last.fetch_add(1, std::sync::atomic::Ordering::Relaxed) + 1;
            Reply::Prepared(id, vec!["p".to_owned()], Vec::new())
        }
        _ => usual(command),
    });
    let server = ScriptedServer::start(script).unwrap();
    let (_process, mut client) = front(&server, "");
    let prepare = |client: &mut RawClient| {
        let parts = client.prepare("INSERT INTO t VALUES (?)").unwrap();
        let Part::Prepared { id, .. } = parts else { panic!("{parts:?}") };
        id
    };
    let id = prepare(&mut client);
    let text = |length: usize| [Param::Text("x".repeat(length))];
    let run = |client: &mut RawClient, params: &[Param], with_types| {
        client.command(&execute(id, 0, params, with_types)).unwrap()[0].error()
    };
    assert_eq!(run(&mut client, &text(3), true), None);
    // The server's statement of that text is another one, which types were never sent for.
    prepare(&mut client);
    let around = execute(id, 0, &text(1 << 20), false).len() - (1 << 20);
    assert_eq!(run(&mut client, &text(FULL - 1 - around), false), Some(1105));
    assert_eq!(run(&mut client, &text(3), false), None);
    let mut executed = server.commands();
    executed.retain(|command| command.code == COM_STMT_EXECUTE);
    // Behind the id, flags, iterations and a NULL bitmap.
    let with_types: Vec<_> = executed.iter().map(|command| command.body[10]).collect();
    assert_eq!(with_types, [1, 1]);
}

/// The statement before it ran, with what was meant for the one that was refused: drivers send both at once.
#[test]
fn an_execution_behind_a_preparation_that_was_refused_runs_nothing() {
    let script = Script::new(|command| match command.code {
        COM_STMT_PREPARE => Reply::Prepared(9, Vec::new(), Vec::new()),
        _ => usual(command),
    });
    let server = ScriptedServer::start(script).unwrap();
    let refuses =
        "[[rule]]\nrule_id = 1\nmatch_pattern = \"refuse_me\"\nerror_msg = \"no\"\napply = true\n";
    let text = toml(&[server.addr()], BACKEND, "max_allowed_packet = \"1KiB\"\n") + refuses;
    let process = HighgateProcess::start(BINARY, &text).unwrap();
    let address = process.listener("shop").unwrap();
    let mut client = RawClient::connect(address, "app", "app", None, USUAL).unwrap();
    let last = execute(u32::MAX, 0, &[], false);
    let long = format!("SELECT '{}'", "x".repeat(2000));
    for (text, code) in [("SELECT 'refuse_me'", 1148), (&*long, 1153)] {
        client.prepare("INSERT INTO t VALUES (1)").unwrap();
        let prepare = [&[COM_STMT_PREPARE], text.as_bytes()].concat();
        let at_once = [&prepare, &last].map(|payload| {
            let mut packet = Vec::new();
            highgate_mysql::packet::PacketWriter::new(&mut packet, 0).payload(payload);
            packet
        });
        client.send_raw(&at_once.concat()).unwrap();
        assert_eq!(client.prepared().unwrap().error(), Some(code), "{text}");
        assert_eq!(client.answer().unwrap()[0].error(), Some(1243), "{text}");
    }
    let executed = server.commands().iter().filter(|it| it.code == COM_STMT_EXECUTE).count();
    assert_eq!(executed, 0);
}
