//! Sessions that wait for a connection while their listener or account is pointed at another backend.

#[path = "common/failure.rs"]
mod failure;
#[path = "client/raw.rs"]
mod raw;

use std::{
    io::{Read as _, Write as _},
    net::{Shutdown, SocketAddr, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use failure::{BINARY, apply, table, toml};
use highgate_mysql::command::{COM_STMT_EXECUTE, COM_STMT_PREPARE};
use highgate_testkit::{
    HighgateProcess, Reply, Script, ScriptedServer,
    scripted::Command,
    wait::{self, Deadline},
};
use raw::{Part, RawClient, USUAL};

/// Longer than any test may take.
const BACKEND: &str =
    "queue_timeout = \"5m\"\nfailover_wait = \"5m\"\nmonitor = { check = \"off\" }\n";
const WATCHED: &str = "topology = \"mariadb-replication\"\nfailover_wait = \"5m\"\nmax_lag = \"1h\"\n\
    monitor = { user = \"m\", password = \"m\", interval = \"100ms\" }\n";

/// A server of which all is well.
fn usual(command: &Command) -> Reply {
    match command.text().as_str() {
        _ if command.code == COM_STMT_PREPARE => Reply::Prepared(9, Vec::new(), Vec::new()),
        text if text.starts_with("SELECT @@") => Reply::variables(text),
        text if text.starts_with("SELECT") => Reply::value("n", "1"),
        // Autocommit is on, and a transaction open.
        "BEGIN" => Reply::OkStatus(3),
        _ => Reply::OkStatus(2),
    }
}

/// One of a replication: of that primary, or itself one.
fn member(id: u16, source: Option<u16>) -> ScriptedServer {
    let script = Script::new(move |command: &Command| {
        Reply::role(&command.text(), id, source).unwrap_or_else(|| usual(command))
    });
    ScriptedServer::start(script).unwrap()
}

/// The listener's backend `shop` with a server for one connection, and the backend `two`.
fn two(first: SocketAddr, second: &[SocketAddr], settings: &str) -> String {
    let mut text = toml(&[first], BACKEND, "read_write_split = true\n");
    text += &format!("max_connections = 1\n[[backend]]\nname = \"two\"\n{settings}");
    for (index, address) in second.iter().enumerate() {
        text += &format!("[[backend.server]]\nname = \"x{index}\"\naddress = \"{address}\"\n");
    }
    text
}

fn listener_at_two(text: &str) -> String {
    text.replacen("backend = \"shop\"", "backend = \"two\"", 1)
}

fn account_at_two(text: &str) -> String {
    text.replacen("password = \"app\"\n", "password = \"app\"\nbackend = \"two\"\n", 1)
}

fn put_in_force(process: &HighgateProcess, text: &str) {
    std::fs::write(process.config_file(), text).unwrap();
    let (done, said) = apply(process, &[], &process.config_file());
    assert!(done, "{said}");
}

fn client(process: &HighgateProcess) -> RawClient {
    RawClient::connect(process.listener("shop").unwrap(), "app", "app", None, USUAL).unwrap()
}

/// One that has the one connection of `shop`.
fn holder(process: &HighgateProcess) -> RawClient {
    let mut holder = client(process);
    holder.ok("BEGIN").unwrap();
    holder
}

/// One that waits with that statement.
fn waits(process: &HighgateProcess, text: &str) -> RawClient {
    let mut client = client(process);
    client.send(&[b"\x03", text.as_bytes()].concat()).unwrap();
    client
}

fn until_waiting(process: &HighgateProcess, count: usize) {
    wait::eventually(Deadline::seconds(20), "sessions to wait", || {
        let sessions = table(process, "sessions")?;
        let waiting = sessions.iter().filter(|it| it["state"] == "waiting").count();
        anyhow::ensure!(waiting == count, "{sessions:?}");
        Ok(())
    })
    .unwrap();
}

fn until_up(process: &HighgateProcess, roles: &[&str]) {
    wait::eventually(Deadline::seconds(20), "the roles", || {
        let servers = failure::servers(process)?;
        let of_two = || servers.iter().filter(|it| it.name.starts_with('x'));
        anyhow::ensure!(of_two().map(|it| &*it.role).eq(roles.iter().copied()), "{servers:?}");
        Ok(())
    })
    .unwrap();
}

fn runs(server: &ScriptedServer, text: &str) -> usize {
    server.queries().iter().filter(|query| *query == text).count()
}

/// They waited on to the end of `queue_timeout`, and were refused, while new sessions were served at once.
#[test]
fn who_waits_for_a_connection_goes_where_its_listener_or_account_is_pointed() {
    type Change = fn(&str) -> String;
    for change in [listener_at_two as Change, account_at_two] {
        let [first, second] = [(); 2].map(|()| ScriptedServer::start(Script::new(usual)).unwrap());
        let text = two(first.addr(), &[second.addr()], BACKEND);
        let process = HighgateProcess::start(BINARY, &text).unwrap();
        let mut holder = holder(&process);
        let texts = ["INSERT INTO t VALUES (1)", "SELECT n FROM t", "BEGIN", "SET @a = 1"];
        let mut waiting = texts.map(|text| waits(&process, text));
        until_waiting(&process, texts.len());
        put_in_force(&process, &change(&text));
        for (client, text) in waiting.iter_mut().zip(texts) {
            assert_eq!(client.answer().unwrap()[0].error(), None, "{text}");
            assert_eq!(
                (runs(&first, text), runs(&second, text)),
                (usize::from(text == "BEGIN"), 1)
            );
        }
        holder.ok("COMMIT").unwrap();
        assert_eq!(runs(&first, "COMMIT"), 1, "it ends where it began");
    }
}

#[test]
fn a_login_that_waits_to_ask_for_its_schema_asks_where_its_listener_is_pointed() {
    let [first, second] = [(); 2].map(|()| ScriptedServer::start(Script::new(usual)).unwrap());
    let text = two(first.addr(), &[second.addr()], BACKEND);
    let process = HighgateProcess::start(BINARY, &text).unwrap();
    let _holder = holder(&process);
    let listener = process.listener("shop").unwrap();
    std::thread::scope(|scope| {
        let login = scope.spawn(|| RawClient::connect(listener, "app", "app", Some("own"), USUAL));
        until_waiting(&process, 1);
        put_in_force(&process, &listener_at_two(&text));
        login.join().unwrap().unwrap().ok("SELECT n FROM t").unwrap();
    });
    assert!(!first.commands().iter().any(|command| command.text().contains("own")));
    let asked = second.commands();
    assert!(asked.iter().any(|command| command.text().contains("own")), "{asked:?}");
}

/// Any server of a backend without roles will do for a write.
#[test]
fn a_write_that_goes_from_a_backend_without_roles_to_a_replication_goes_to_its_primary() {
    let first = ScriptedServer::start(Script::new(usual)).unwrap();
    let primary = member(1, None);
    let replica = member(2, Some(primary.addr().port()));
    let text = two(first.addr(), &[replica.addr(), primary.addr()], WATCHED);
    let process = HighgateProcess::start(BINARY, &text).unwrap();
    until_up(&process, &["replica", "primary"]);
    let _holder = holder(&process);
    let insert = "INSERT INTO t VALUES (1)";
    let mut waiting: Vec<_> = (0..6).map(|_| waits(&process, insert)).collect();
    until_waiting(&process, waiting.len());
    put_in_force(&process, &listener_at_two(&text));
    for client in &mut waiting {
        assert_eq!(client.answer().unwrap()[0].error(), None);
    }
    assert_eq!((runs(&first, insert), runs(&replica, insert), runs(&primary, insert)), (0, 0, 6));
}

#[test]
fn a_write_that_waits_for_a_primary_goes_where_its_listener_is_pointed() {
    let elsewhere = ScriptedServer::start(Script::new(usual)).unwrap();
    let replica = member(2, Some(elsewhere.addr().port()));
    let of_two = two(elsewhere.addr(), &[replica.addr()], WATCHED);
    let text = listener_at_two(&of_two);
    let process = HighgateProcess::start(BINARY, &text).unwrap();
    until_up(&process, &["replica"]);
    let mut client = waits(&process, "INSERT INTO t VALUES (1)");
    until_waiting(&process, 1);
    put_in_force(&process, &of_two);
    assert_eq!(client.answer().unwrap()[0].error(), None);
    assert_eq!(runs(&elsewhere, "INSERT INTO t VALUES (1)"), 1);
}

/// The rule stands, wherever the listener points.
#[test]
fn a_command_that_waits_where_a_rule_sends_it_waits_on_there() {
    let [first, second] = [(); 2].map(|()| ScriptedServer::start(Script::new(usual)).unwrap());
    let rule =
        "[[rule]]\nrule_id = 1\nmatch_pattern = \"by_rule\"\nbackend = \"shop\"\napply = true\n";
    let text = two(first.addr(), &[second.addr()], BACKEND) + rule;
    let process = HighgateProcess::start(BINARY, &text).unwrap();
    let mut holder = holder(&process);
    let texts = ["INSERT INTO by_rule VALUES (1)", "INSERT INTO t VALUES (1)"];
    let [mut by_rule, mut other] = texts.map(|text| waits(&process, text));
    until_waiting(&process, 2);
    put_in_force(&process, &listener_at_two(&text));
    assert_eq!(other.answer().unwrap()[0].error(), None);
    until_waiting(&process, 1);
    holder.ok("COMMIT").unwrap();
    assert!(matches!(by_rule.answer().unwrap()[..], [Part::Ok { .. }]));
    assert_eq!(texts.map(|text| runs(&first, text)), [1, 0]);
    assert_eq!(texts.map(|text| runs(&second, text)), [0, 1]);
}

/// What a rule sends to `two` instead of `shop`, where one connection is to be had.
fn ruled(first: SocketAddr, second: &[SocketAddr], settings: &str) -> String {
    let rule = "[[rule]]\nrule_id = 1\nmatch_pattern = \"by_rule\"\nbackend = \"two\"\n";
    two(first, second, settings) + "max_connections = 1\n" + rule
}

fn renamed_with_its_rule(text: &str) -> String {
    text.replace("\"two\"", "\"three\"")
}

fn without_two(text: &str) -> String {
    text[..text.find("[[backend]]\nname = \"two\"").unwrap()].to_owned()
}

/// They were told at once that the backend does not exist, while new ones were served.
#[test]
fn who_waits_where_a_rule_sent_it_goes_where_the_rules_send_it_once_that_backend_is_no_more() {
    type Change = fn(&str) -> String;
    for (change, at) in [(renamed_with_its_rule as Change, 1), (without_two, 0)] {
        let servers = [(); 2].map(|()| ScriptedServer::start(Script::new(usual)).unwrap());
        let text = ruled(servers[0].addr(), &[servers[1].addr()], BACKEND);
        let process = HighgateProcess::start(BINARY, &text).unwrap();
        let mut executes = client(&process);
        let prepared = executes.prepare("INSERT INTO by_rule VALUES (2)").unwrap();
        let Part::Prepared { id, .. } = prepared else { panic!("{prepared:?}") };
        let mut holder = client(&process);
        holder.value("SELECT GET_LOCK('by_rule', 0)").unwrap();
        assert_eq!(runs(&servers[1], "SELECT GET_LOCK('by_rule', 0)"), 1);
        let texts = ["INSERT INTO by_rule VALUES (1)", "SELECT n FROM by_rule", "SET @by_rule = 1"];
        let mut waiting = texts.map(|text| waits(&process, text));
        let execution = [&[COM_STMT_EXECUTE][..], &id.to_le_bytes(), b"\0\x01\0\0\0"].concat();
        executes.send(&execution).unwrap();
        until_waiting(&process, texts.len() + 1);
        put_in_force(&process, &change(&text));
        for (client, text) in waiting.iter_mut().zip(texts) {
            assert_eq!(client.answer().unwrap()[0].error(), None, "{text}");
            assert_eq!([runs(&servers[at], text), runs(&servers[1 - at], text)], [1, 0], "{text}");
        }
        assert_eq!(executes.answer().unwrap()[0].error(), None);
        let executed = servers[at].commands();
        assert!(executed.iter().any(|command| command.code == COM_STMT_EXECUTE), "{executed:?}");
    }
}

#[test]
fn who_waits_where_a_rule_sent_it_is_told_what_the_rules_say_once_that_backend_is_no_more() {
    let [first, second] = [(); 2].map(|()| ScriptedServer::start(Script::new(usual)).unwrap());
    let text = ruled(first.addr(), &[second.addr()], BACKEND);
    let process = HighgateProcess::start(BINARY, &text).unwrap();
    let mut holder = client(&process);
    holder.value("SELECT GET_LOCK('by_rule', 0)").unwrap();
    let insert = "INSERT INTO by_rule VALUES (1)";
    let mut waiting = waits(&process, insert);
    until_waiting(&process, 1);
    let rule = "[[rule]]\nrule_id = 1\nmatch_pattern = \"by_rule\"\nerror_msg = \"no more\"\n";
    put_in_force(&process, &(without_two(&text) + rule));
    assert_eq!(waiting.answer().unwrap()[0].error(), Some(1148));
    assert_eq!(runs(&first, insert) + runs(&second, insert), 0);
    assert_eq!(waiting.value("SELECT n FROM t").unwrap(), "1");
}

/// Its server's number was read as the client's, and that of another statement ran.
#[test]
fn an_execution_that_was_lost_with_its_backend_is_that_of_the_same_statement_elsewhere() {
    let (goes, is_gone) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let (waits, comes) = (goes.clone(), is_gone.clone());
    let lost = ScriptedServer::start(Script::new(move |command: &Command| {
        if command.code == COM_STMT_EXECUTE {
            comes.store(true, Ordering::Relaxed);
            assert!(wait::wait_until(Deadline::seconds(20), || waits.load(Ordering::Relaxed)));
            return Reply::Close;
        }
        match command.code {
            COM_STMT_PREPARE => Reply::Prepared(1, Vec::new(), vec!["n".to_owned()]),
            _ => usual(command),
        }
    }))
    .unwrap();
    // Its numbers are texts' lengths.
    let first = ScriptedServer::start(Script::new(|command: &Command| match command.code {
        COM_STMT_PREPARE => {
            let number = u32::try_from(command.body.len()).unwrap();
            Reply::Prepared(number, Vec::new(), vec!["n".to_owned()])
        }
        COM_STMT_EXECUTE => Reply::Ok,
        _ => usual(command),
    }))
    .unwrap();
    let text = ruled(first.addr(), &[lost.addr()], BACKEND);
    let process = HighgateProcess::start(BINARY, &text).unwrap();
    let mut client = client(&process);
    let by_rule = "SELECT n FROM by_rule";
    client.prepare("SELECT n FROM other").unwrap();
    let prepared = client.prepare(by_rule).unwrap();
    let Part::Prepared { id: 2, .. } = prepared else { panic!("{prepared:?}") };
    client.send(&[&[COM_STMT_EXECUTE, 2, 0, 0, 0][..], b"\0\x01\0\0\0"].concat()).unwrap();
    assert!(wait::wait_until(Deadline::seconds(20), || is_gone.load(Ordering::Relaxed)));
    put_in_force(&process, &without_two(&text));
    goes.store(true, Ordering::Relaxed);
    let answer = client.answer().unwrap();
    assert_eq!(answer[0].error(), None, "{answer:?}");
    let commands = first.commands();
    let executed = commands.iter().filter(|it| it.code == COM_STMT_EXECUTE);
    let numbers: Vec<_> = executed.map(|it| usize::from(it.body[0])).collect();
    assert_eq!(numbers, [by_rule.len()]);
}

/// `failover_wait` was of no use to them.
#[test]
fn who_waits_for_a_primary_where_a_rule_sent_it_waits_on_by_the_new_name_of_that_backend() {
    let elsewhere = ScriptedServer::start(Script::new(usual)).unwrap();
    let primary = member(1, None);
    let replica = member(2, Some(primary.addr().port()));
    let text = ruled(elsewhere.addr(), &[replica.addr()], WATCHED);
    let process = HighgateProcess::start(BINARY, &text).unwrap();
    until_up(&process, &["replica"]);
    let insert = "INSERT INTO by_rule VALUES (1)";
    let mut waiting: Vec<_> = (0..4).map(|_| waits(&process, insert)).collect();
    until_waiting(&process, waiting.len());
    put_in_force(&process, &renamed_with_its_rule(&text));
    until_up(&process, &["replica"]);
    until_waiting(&process, waiting.len());
    let both = ruled(elsewhere.addr(), &[replica.addr(), primary.addr()], WATCHED);
    put_in_force(&process, &renamed_with_its_rule(&both));
    for client in &mut waiting {
        assert_eq!(client.answer().unwrap()[0].error(), None);
    }
    assert_eq!([&elsewhere, &replica, &primary].map(|server| runs(server, insert)), [0, 0, 4]);
}

/// A listener in tcp mode that is served by `shop`, with one connection.
fn tcp(first: SocketAddr, second: SocketAddr) -> String {
    two(first, &[second], BACKEND).replacen("mode = \"mysql\"", "mode = \"tcp\"", 1).replacen(
        "read_write_split = true\n",
        "",
        1,
    )
}

/// A client that has its server's greeting.
fn greeted(process: &HighgateProcess) -> TcpStream {
    let client = TcpStream::connect(process.listener("shop").unwrap()).unwrap();
    is_greeted(&client);
    client
}

fn is_greeted(mut client: &TcpStream) {
    client.set_read_timeout(Some(std::time::Duration::from_secs(5))).unwrap();
    client.read_exact(&mut [0; 8]).unwrap();
}

#[test]
fn a_client_in_tcp_mode_that_waits_goes_where_its_listener_is_pointed() {
    let [first, second] = [(); 2].map(|()| ScriptedServer::start(Script::new(usual)).unwrap());
    let text = tcp(first.addr(), second.addr());
    let process = HighgateProcess::start(BINARY, &text).unwrap();
    let _holder = greeted(&process);
    let waiting = TcpStream::connect(process.listener("shop").unwrap()).unwrap();
    until_waiting(&process, 1);
    put_in_force(&process, &listener_at_two(&text));
    is_greeted(&waiting);
    assert_eq!((first.accepted(), second.accepted()), (1, 1));
}

/// Each kept its place to the end of `queue_timeout`, and a connection was opened for it if its turn came.
#[test]
fn a_client_in_tcp_mode_that_leaves_while_it_waits_frees_its_place() {
    let [first, second] = [(); 2].map(|()| ScriptedServer::start(Script::new(usual)).unwrap());
    let process = HighgateProcess::start(BINARY, &tcp(first.addr(), second.addr())).unwrap();
    let holder = greeted(&process);
    let address = process.listener("shop").unwrap();
    let leave = [(); 3].map(|()| TcpStream::connect(address).unwrap());
    until_waiting(&process, 3);
    drop(leave);
    until_waiting(&process, 0);
    let waiting = TcpStream::connect(address).unwrap();
    until_waiting(&process, 1);
    drop(holder);
    is_greeted(&waiting);
    assert_eq!(first.accepted(), 2, "none for who has left");
}

/// It may only have ended its half, and wait for the answer to what it said.
#[test]
fn a_client_in_tcp_mode_that_has_spoken_is_served_though_it_says_no_more() {
    let [first, second] = [(); 2].map(|()| ScriptedServer::start(Script::new(usual)).unwrap());
    let text = tcp(first.addr(), second.addr());
    let process = HighgateProcess::start(BINARY, &text).unwrap();
    let holder = greeted(&process);
    let mut speaks = TcpStream::connect(process.listener("shop").unwrap()).unwrap();
    until_waiting(&process, 1);
    speaks.write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
    speaks.shutdown(Shutdown::Write).unwrap();
    // Each new setting has it look again.
    put_in_force(&process, &text.replace("5m", "4m"));
    until_waiting(&process, 1);
    drop(holder);
    is_greeted(&speaks);
}
