//! Changes of the configuration while clients work: what is in force, who notices, and what is shown
//! of it.

#[path = "common/failure.rs"]
mod failure;
#[path = "client/raw.rs"]
mod raw;

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    path::Path,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use failure::{BINARY, ctl, table};
use highgate_testkit::{
    PortLease,
    highgate::HighgateProcess,
    scripted::{Reply, Script, ScriptedServer},
    wait::{self, Deadline},
};
use raw::{RawClient, USUAL};
use rustix::process::Signal;

const IN_TRANSACTION: u16 = 0x0003;
const AUTOCOMMIT: u16 = 0x0002;
/// Sent within a transaction only.
const UPDATE: &str = "UPDATE t SET name = NULL";

/// A server that answers each SELECT with its name.
fn server(name: &'static str) -> ScriptedServer {
    let script = Script::new(move |command| match command.text().as_str() {
        text if text.starts_with("SELECT @@") => Reply::variables(text),
        text if text.starts_with("SELECT") => Reply::value("name", name),
        "BEGIN" | UPDATE => Reply::OkStatus(IN_TRANSACTION),
        _ => Reply::OkStatus(AUTOCOMMIT),
    });
    ScriptedServer::start(script).unwrap()
}

/// The configuration: those servers, more listeners and accounts, and a rule's time-out.
fn toml(servers: &[(&str, &ScriptedServer)], more: &str) -> String {
    let mut text = format!(
        "workers = 2\n[admin]\nsql = \"127.0.0.1:0\"\nweb = \"127.0.0.1:0\"\n\
         [[listener]]\nname = \"shop\"\nbind = \"127.0.0.1:0\"\nbackend = \"shop\"\n\
         [[user]]\nname = \"app\"\npassword = \"app\"\n{more}\n\
         [[backend]]\nname = \"shop\"\n\
         monitor = {{ user = \"m\", password = \"m\", check = \"connect\", interval = \"200ms\" }}\n"
    );
    for (name, server) in servers {
        text +=
            &format!("[[backend.server]]\nname = \"{name}\"\naddress = \"{}\"\n", server.addr());
    }
    text
}

/// Clients that ask all the time, each on one connection for good.
struct Crowd {
    ends: Arc<AtomicBool>,
    /// How often each server answered.
    answers: Arc<[AtomicU32; 2]>,
    clients: Vec<JoinHandle<()>>,
}

impl Crowd {
    fn at_work(address: SocketAddr, count: usize) -> Self {
        let ends = Arc::new(AtomicBool::new(false));
        let answers = Arc::new([const { AtomicU32::new(0) }; 2]);
        let clients = (0..count)
            .map(|_| {
                let (ends, answers) = (ends.clone(), answers.clone());
                let mut client = RawClient::connect(address, "app", "app", None, USUAL).unwrap();
                std::thread::spawn(move || {
                    while !ends.load(Ordering::Relaxed) {
                        let who = client.value("SELECT name FROM t").unwrap();
                        answers[usize::from(who == "b")].fetch_add(1, Ordering::Relaxed);
                        let _ =
                            wait::wait_until(Deadline::after(Duration::from_millis(3)), || false);
                    }
                })
            })
            .collect();
        Self { ends, answers, clients }
    }

    /// Waits until the server that is the first or the second answers, from now on.
    fn wait_for(&self, which: usize) {
        let before = self.answers[which].load(Ordering::Relaxed);
        wait::eventually(Deadline::seconds(10), "an answer of that server", || {
            anyhow::ensure!(self.answers[which].load(Ordering::Relaxed) > before + 20);
            Ok(())
        })
        .unwrap();
    }

    /// Ends it; who lost its connection or met an error panics here.
    fn stop(self) -> u32 {
        self.ends.store(true, Ordering::Relaxed);
        for client in self.clients {
            client.join().unwrap();
        }
        self.answers.iter().map(|count| count.load(Ordering::Relaxed)).sum()
    }
}

fn wait_for_event(process: &HighgateProcess, text: &str) {
    wait::eventually(Deadline::seconds(10), "an event", || {
        let events = ctl(process, &["events", "--last", "50"])?;
        anyhow::ensure!(events.contains(text), "no `{text}` in\n{events}");
        Ok(())
    })
    .unwrap();
}

fn version(process: &HighgateProcess) -> u64 {
    table(process, "node").unwrap()[0]["config_version"].as_u64().unwrap()
}

fn put(process: &HighgateProcess, text: &str) {
    std::fs::write(process.config_file(), text).unwrap();
}

/// `highgate apply`: what it says, on either stream.
fn apply(process: &HighgateProcess, arguments: &[&str]) -> (bool, String) {
    apply_file(process, &process.config_file(), arguments)
}

fn apply_file(process: &HighgateProcess, file: &Path, arguments: &[&str]) -> (bool, String) {
    failure::apply(process, arguments, file)
}

/// Eleven stayed open and in use for as long as clients went on, where one was allowed.
#[test]
fn a_lowered_limit_of_a_server_closes_what_is_open_above_it_under_load_and_without() {
    for is_busy in [true, false] {
        let a = server("a");
        let text = toml(&[("db1", &a)], "");
        let process = HighgateProcess::start(BINARY, &text).unwrap();
        let address = process.listener("shop").unwrap();
        let open = || table(&process, "servers").unwrap()[0]["opened"].as_u64();
        let mut owners: Vec<_> = (0..8)
            .map(|_| RawClient::connect(address, "app", "app", None, USUAL).unwrap())
            .collect();
        for owner in &mut owners {
            owner.ok("BEGIN").unwrap();
            owner.ok(UPDATE).unwrap();
        }
        assert!(open() >= Some(8), "{:?}", open());
        let crowd = is_busy.then(|| Crowd::at_work(address, 6));
        if let Some(crowd) = &crowd {
            crowd.wait_for(0);
        }
        put(&process, &(text + "max_connections = 1\n"));
        let (is_done, told) = apply(&process, &[]);
        assert!(is_done && told.contains("max_connections 200 → 1"), "{told}");
        // What transactions have is theirs; then it is closed instead of used by others.
        for owner in &mut owners {
            owner.ok(UPDATE).unwrap();
            owner.ok("COMMIT").unwrap();
        }
        wait::eventually(Deadline::seconds(5), "one connection to be left", || {
            anyhow::ensure!(open() == Some(1), "{:?}", open());
            Ok(())
        })
        .unwrap();
        if let Some(crowd) = crowd {
            crowd.wait_for(0);
            assert!(open() <= Some(1), "{:?}", open());
            crowd.stop();
        }
        assert_eq!(owners[0].value("SELECT name FROM t").unwrap(), "a");
    }
}

#[test]
fn changes_under_load_end_no_session_and_no_transaction_that_they_do_not_concern() {
    let (a, b) = (server("a"), server("b"));
    let echo = "[[listener]]\nname = \"plain\"\nbind = \"127.0.0.1:0\"\nmode = \"tcp\"\nbackend = \"shop\"\n";
    let process = HighgateProcess::start(BINARY, &toml(&[("db1", &a)], echo)).unwrap();
    let address = process.listener("shop").unwrap();
    let crowd = Crowd::at_work(address, 8);
    let relayed = process.listener("plain").unwrap();
    let mut relayed = RawClient::connect(relayed, "app", "app", None, USUAL).unwrap();
    let mut owner = RawClient::connect(address, "app", "app", None, USUAL).unwrap();
    owner.ok("BEGIN").unwrap();
    owner.ok(UPDATE).unwrap();
    crowd.wait_for(0);

    // A server more, by a signal.
    put(&process, &toml(&[("db1", &a), ("db2", &b)], echo));
    process.signal(Signal::HUP).unwrap();
    crowd.wait_for(1);
    crowd.wait_for(0);

    // Mistakes: told with their places, and nothing is changed.
    let before = version(&process);
    let wrong = toml(&[("db1", &a)], "[[user]]\nname = \"late\"\npasswort = \"late\"\n");
    put(&process, &wrong.replace("workers = 2", "workers = 2.5"));
    process.signal(Signal::HUP).unwrap();
    wait_for_event(&process, "nothing was changed: ");
    let (is_done, told) = apply(&process, &[]);
    assert!(!is_done);
    for part in ["highgate.toml:1:11:", "highgate.toml:14:1:", "`passwort`", "`password`"] {
        assert!(told.contains(part), "no `{part}` in\n{told}");
    }
    assert_eq!(version(&process), before);

    // The first server goes, an account and a listener come: first told, then done.
    let late = format!(
        "{echo}[[user]]\nname = \"late\"\npassword = \"late\"\n\
         [[listener]]\nname = \"second\"\nbind = \"127.0.0.1:0\"\nbackend = \"shop\"\n"
    );
    put(&process, &toml(&[("db2", &b)], &late));
    let (is_done, told) = apply(&process, &["--dry-run"]);
    assert!(is_done && told.contains("db1") && told.contains("late"), "{told}");
    assert_eq!(version(&process), before, "{told}");
    assert!(process.listener("second").is_err());
    let (is_done, told) = apply(&process, &[]);
    assert!(is_done, "{told}");
    assert_eq!(version(&process), before + 1, "{told}");
    let second = wait::eventually(Deadline::seconds(10), "the new listener", || {
        let address = process.listener("second")?;
        RawClient::connect(address, "late", "late", None, USUAL)
    });
    assert_eq!(second.unwrap().value("SELECT name FROM t").unwrap(), "b");
    crowd.wait_for(1);
    // A transaction ends where it began, although that server is no more.
    owner.ok(UPDATE).unwrap();
    owner.ok("COMMIT").unwrap();
    let had = |server: &ScriptedServer, text: &str| {
        server.commands().iter().filter(|command| command.text() == text).count()
    };
    assert_eq!((had(&a, UPDATE), had(&a, "COMMIT")), (2, 1));
    assert_eq!((had(&b, UPDATE), had(&b, "COMMIT")), (0, 0));
    assert_eq!(owner.value("SELECT name FROM t").unwrap(), "b");
    assert_eq!(relayed.value("SELECT name FROM t").unwrap(), "a", "relayed as before");

    // The same again changes nothing.
    let (is_done, told) = apply(&process, &[]);
    assert!(is_done, "{told}");
    assert_eq!(version(&process), before + 1, "{told}");
    crowd.wait_for(1);
    let count = crowd.stop();
    eprintln!("{count} statements, none failed, no connection lost");
    assert!(!process.log().contains("panicked"), "{}", process.log());
}

#[test]
fn what_was_changed_elsewhere_stays_until_the_file_says_otherwise() {
    let a = server("a");
    let mine = toml(&[("db1", &a)], "");
    let process = HighgateProcess::start(BINARY, &mine).unwrap();
    // Elsewhere: another file, from another hand.
    let theirs = process.folder().join("theirs.toml");
    let more = "[[user]]\nname = \"late\"\npassword = \"late\"\n";
    std::fs::write(&theirs, toml(&[("db1", &a)], more) + "weight = 5\n").unwrap();
    let (is_done, told) = apply_file(&process, &theirs, &[]);
    assert!(is_done && told.contains("weight 1 → 5"), "{told}");

    // The first file changes something else of the same server: both hold.
    put(&process, &(mine.clone() + "max_connections = 77\n"));
    let (is_done, told) = apply(&process, &[]);
    let kept = "server shop/db1: max_connections 200 → 77\nnote: server shop/db1, `weight`: in force is 5, set by ";
    assert!(is_done && told.starts_with(kept) && told.lines().count() == 2, "{told}");
    let shown = || table(&process, "servers").unwrap()[0].clone();
    assert_eq!(
        (shown()["weight"].as_u64(), shown()["max_connections"].as_u64()),
        (Some(5000), Some(77))
    );
    let address = process.listener("shop").unwrap();
    let mut late = RawClient::connect(address, "late", "late", None, USUAL).unwrap();
    assert_eq!(late.value("SELECT name FROM t").unwrap(), "a");

    // It changes the same: it holds, and who was overruled can read it.
    put(&process, &(mine + "max_connections = 77\nweight = 9\n"));
    process.signal(Signal::HUP).unwrap();
    wait_for_event(&process, "`weight`: changed elsewhere and in the file; the file's value holds");
    assert_eq!(shown()["weight"].as_u64(), Some(9000));
    assert_eq!(late.value("SELECT name FROM t").unwrap(), "a", "its session goes on");
}

#[test]
fn a_file_that_says_nothing_of_the_node_leaves_its_ports_where_they_are() {
    let a = server("a");
    let process = HighgateProcess::start(BINARY, &toml(&[("db1", &a)], "")).unwrap();
    let other = process.folder().join("other.toml");
    let users = "[[user]]\nname = \"late\"\npassword = \"l\"\n[[user]]\nname = \"later\"\npassword = \"l\"\n";
    std::fs::write(&other, users).unwrap();
    let (is_done, told) = apply_file(&process, &other, &[]);
    assert!(is_done && !told.contains("admin") && !told.contains("note:"), "{told}");
    let told: Vec<_> = told.lines().map(str::trim).collect();
    assert!(
        told[0].starts_with("user late: added") && told[1].starts_with("user later"),
        "{told:?}"
    );
    wait_for_event(&process, &format!("applied: {}; {}", told[0], told[1]));
}

/// A further file that said one setting of a backend made its topology `static`, and the file that
/// the process runs with changed nothing then, without a word.
#[test]
fn a_further_file_changes_what_it_says_alone_and_the_first_one_tells_what_differs_since() {
    let a = server("a");
    let mine = toml(&[("db1", &a)], "").replace(
        "name = \"shop\"\nmonitor",
        "name = \"shop\"\ntopology = \"galera\"\nmax_lag = \"3s\"\nmonitor",
    );
    let process = HighgateProcess::start(BINARY, &mine).unwrap();
    let other = process.folder().join("other.toml");
    std::fs::write(&other, "[[backend]]\nname = \"shop\"\nmax_lag = \"20s\"\n").unwrap();
    for arguments in [&["--dry-run"][..], &[]] {
        let (is_done, told) = apply_file(&process, &other, arguments);
        assert!(is_done && told.starts_with("backend shop: max_lag 3s → 20s\n"), "{told}");
        assert!(told.contains("note: backend shop, `max_lag`: new in this file"), "{told}");
        assert_eq!(told.lines().count(), 2, "{told}");
    }
    let note = format!(
        "note: backend shop, `max_lag`: in force is 20s, set by {}; this file's 3s was not changed \
         since it was applied",
        std::fs::canonicalize(&other).unwrap().display()
    );
    for arguments in [&["--dry-run"][..], &[]] {
        assert_eq!(apply(&process, arguments), (true, format!("nothing changes\n{note}\n")));
    }
    let of_other = apply_file(&process, &other, &[]);
    assert_eq!(of_other, (true, "nothing changes\n".to_owned()), "no certificate is read again");
}

/// `apply` told of the new weight and the new state alone, while the operator's stayed in force.
#[test]
fn what_the_file_says_of_a_server_and_an_operators_mark_hides_is_told_with_the_way_back() {
    let a = server("a");
    let mine = toml(&[("db1", &a)], "");
    let process = HighgateProcess::start(BINARY, &mine).unwrap();
    ctl(&process, &["weight", "shop/db1", "3"]).unwrap();
    ctl(&process, &["drain", "shop/db1"]).unwrap();
    put(&process, &(mine + "weight = 7\nstate = \"maintenance\"\n"));
    let back = "of an operator stays in force until `highgate ctl enable shop/db1` takes it back";
    let told = format!(
        "server shop/db1: weight 1 → 7, state \"enabled\" → \"maintenance\"\n\
         note: server shop/db1: the weight 3 {back}\nnote: server shop/db1: the drain {back}\n"
    );
    for arguments in [&["--dry-run"][..], &[]] {
        assert_eq!(apply(&process, arguments), (true, told.clone()));
    }
    let shown = |column: &str| table(&process, "servers").unwrap()[0][column].clone();
    assert_eq!((shown("weight"), shown("status")), (3000.into(), "draining".into()));
    ctl(&process, &["enable", "shop/db1"]).unwrap();
    ctl(&process, &["enable", "shop/db1"]).unwrap();
    assert_eq!((shown("weight"), shown("status")), (7000.into(), "maintenance".into()));
}

/// A server that was added weeks later came up draining, and there was "no server" whose mark could be taken back.
#[test]
fn a_mark_whose_server_went_is_told_and_taken_back_by_its_name() {
    let (a, b) = (server("a"), server("b"));
    let (one, both) = (toml(&[("db1", &a)], ""), toml(&[("db1", &a), ("db2", &b)], ""));
    let process = HighgateProcess::start(BINARY, &both).unwrap();
    ctl(&process, &["drain", "shop/db2"]).unwrap();
    put(&process, &one);
    let (_, told) = apply(&process, &[]);
    assert!(told.contains("shop/db2: the drain of an operator stays, for whatever"), "{told}");
    put(&process, &both);
    let (_, told) = apply(&process, &["--dry-run"]);
    assert!(told.contains("shop/db2: the drain that an operator gave this name before"), "{told}");
    assert!(ctl(&process, &["drain", "shop/db2"]).unwrap_err().to_string().contains("no server"));
    let told = ctl(&process, &["enable", "shop/db2"]).unwrap();
    assert!(told.contains("is no server now: the drain of an operator is taken back"), "{told}");
    assert!(!apply(&process, &[]).1.contains("note:"));
    assert_ne!(table(&process, "servers").unwrap()[1]["status"], "draining");
}

/// An open port that was to be closed was told of as closed: "1 changes are in force".
#[test]
fn a_signal_tells_what_apply_tells_and_what_waits_for_the_next_start() {
    let a = server("a");
    let mine = toml(&[("db1", &a)], "");
    let process = HighgateProcess::start(BINARY, &mine).unwrap();
    ctl(&process, &["weight", "shop/db1", "3"]).unwrap();
    put(&process, &(mine.replace("workers = 2", "workers = 1") + "weight = 7\n"));
    let told = apply(&process, &["--dry-run"]).1;
    assert!(told.contains("workers 2 → 1 (with the next start of the process)"), "{told}");
    assert!(told.contains("note: server shop/db1: the weight 3"), "{told}");
    process.signal(Signal::HUP).unwrap();
    // What was set twice comes first: the text of an event has an end.
    let mut told: Vec<_> = told.trim_end().lines().collect();
    told.sort_by_key(|line| !line.starts_with("note:"));
    let told = told.join("; ");
    wait_for_event(&process, &format!("read again, and certificates with them: {told}"));
}

/// Answers showed the program's own names of things (`shop/db1: Drain`), and not what a drain costs.
#[test]
fn what_an_operator_did_is_answered_in_words_with_the_way_back_and_the_price() {
    let a = server("a");
    let process = HighgateProcess::start(BINARY, &toml(&[("db1", &a)], "")).unwrap();
    for (given, said) in [
        (
            &["drain", "shop/db1"][..],
            "shop/db1 is draining: it finishes what runs and gets nothing new; \
             `highgate ctl enable shop/db1` takes that back\n",
        ),
        (
            &["weight", "shop/db1", "5"],
            "shop/db1 has the weight 5; it stays out of service (draining by operator) until \
             `highgate ctl enable shop/db1`, and has this weight then\n",
        ),
        (
            &["maintenance", "db1"],
            "shop/db1 is in maintenance: no work, no checks; `highgate ctl enable",
        ),
        (
            &["enable", "shop/db1"],
            "shop/db1 is as configured again but for one thing: the maintenance of an operator is \
             taken back, the weight 5 of an operator stays; `highgate ctl enable shop/db1` again \
             takes that back\n",
        ),
        (
            &["weight", "shop/db1", "6"],
            "shop/db1 has the weight 6; `highgate ctl enable shop/db1` takes that back\n",
        ),
        (
            &["enable", "shop/db1"],
            "shop/db1 is as configured again: the weight 6 of an operator is taken back\n",
        ),
        (&["enable", "shop/db1"], "shop/db1 is as configured; there was nothing to take back\n"),
    ] {
        let told = ctl(&process, given).unwrap();
        assert!(told.starts_with(said), "{given:?}: {told}");
    }
    wait_for_event(&process, "by an operator: shop/db1 has the weight 5");

    // Of a backend whose writes depend on it, also what that costs.
    let watched = toml(&[("db1", &a)], "")
        .replace("name = \"shop\"\nmonitor", "name = \"shop\"\ntopology = \"galera\"\nmonitor");
    let process = HighgateProcess::start(BINARY, &watched).unwrap();
    let told = ctl(&process, &["drain", "shop/db1"]).unwrap();
    assert!(told.contains("takes that back. Writes to shop can't be sent now: "), "{told}");
}

/// A weight took the drain's place, so the server got work again; a drain took the weight's.
#[test]
fn a_server_that_is_drained_or_in_maintenance_stays_so_and_keeps_the_weight_it_is_given() {
    let (a, b) = (server("a"), server("b"));
    let text = toml(&[("db1", &a), ("db2", &b)], "")
        .replace("name = \"shop\"\nmonitor", "name = \"shop\"\nslow_start = \"0s\"\nmonitor");
    let process = HighgateProcess::start(BINARY, &text).unwrap();
    let shown = || {
        let row = table(&process, "servers").unwrap()[0].clone();
        (row["status"].as_str().unwrap().to_owned(), row["weight"].as_u64().unwrap())
    };
    // Behind a maintenance it is checked first.
    let serves_with = |weight| {
        let wanted = ("up".to_owned(), weight);
        wait::eventually(Deadline::seconds(10), "a server that is up", || {
            let now = shown();
            anyhow::ensure!(now == wanted, "{now:?}, not {wanted:?}");
            Ok(())
        })
        .unwrap();
    };
    serves_with(1000);
    for (taken_out, status) in [("drain", "draining"), ("maintenance", "maintenance")] {
        let is_out = (status.to_owned(), 5000);
        ctl(&process, &[taken_out, "shop/db1"]).unwrap();
        ctl(&process, &["weight", "shop/db1", "5"]).unwrap();
        assert_eq!(shown(), is_out);
        ctl(&process, &["enable", "shop/db1"]).unwrap();
        serves_with(5000);
        ctl(&process, &[taken_out, "shop/db1"]).unwrap();
        assert_eq!(shown(), is_out);
        ctl(&process, &["enable", "shop/db1"]).unwrap();
        ctl(&process, &["enable", "shop/db1"]).unwrap();
        serves_with(1000);
    }
    // Who is out by the configuration: no `enable` of an operator changes that, and the answers say so.
    put(&process, &(text + "state = \"drain\"\n"));
    assert!(apply(&process, &[]).0);
    let told = ctl(&process, &["weight", "shop/db2", "5"]).unwrap();
    assert_eq!(
        told,
        "shop/db2 has the weight 5; it stays out of service (draining by configuration); \
         `highgate ctl enable shop/db2` takes the weight back\n"
    );
    let told = ctl(&process, &["enable", "shop/db2"]).unwrap();
    assert!(told.ends_with(". It stays out of service: draining by configuration\n"), "{told}");
}

/// `check` and `run` did: who only ever applies was never told of a port that is open to everybody.
#[test]
fn apply_warns_of_what_check_warns_of_in_the_same_words() {
    let a = server("a");
    let mine = toml(&[("db1", &a)], "");
    let process = HighgateProcess::start(BINARY, &mine).unwrap();
    assert_eq!(apply(&process, &[]), (true, "nothing changes\n".to_owned()));
    let users = "[[admin.user]]\nname = \"ann\"\npassword = \"\"\n";
    put(&process, &mine.replacen("[[listener]]", &format!("{users}[[listener]]"), 1));
    let checked = Command::new(BINARY).arg("check").arg(process.config_file()).output().unwrap();
    let warnings = String::from_utf8(checked.stderr).unwrap();
    assert!(warnings.contains("warning: ") && warnings.contains("password"), "{warnings}");
    for arguments in [&["--dry-run"][..], &[]] {
        let (done, said) = apply(&process, arguments);
        assert!(done && said.trim_end().ends_with(warnings.trim_end()), "{said}\n{warnings}");
    }
}

/// It waited for five seconds; once the process had ended meanwhile, it panicked, and nobody was answered.
#[test]
fn an_apply_while_the_process_ends_is_told_at_once_that_it_is_stored_and_not_in_force() {
    let a = server("a");
    let mine = toml(&[("db1", &a)], "");
    let process = HighgateProcess::start(BINARY, &mine).unwrap();
    let address = process.listener("shop").unwrap();
    let mut holds = RawClient::connect(address, "app", "app", None, USUAL).unwrap();
    holds.ok("BEGIN").unwrap();
    holds.ok(UPDATE).unwrap();
    process.signal(Signal::TERM).unwrap();
    process.wait_for_log("draining").unwrap();
    put(&process, &(mine + "weight = 7\n"));
    let (done, said) = apply(&process, &[]);
    assert!(!done && said.contains("server shop/db1: weight 1 → 7\n"), "{said}");
    assert!(
        said.contains("this process ends, or another one takes over; what is stored"),
        "{said}"
    );
    holds.ok("COMMIT").unwrap();
}

/// The thread of the SQL port knew no runtime: what had to be stored ended in "ran into a bug".
#[test]
fn an_action_over_sql_is_stored_as_one_of_ctl_is() {
    let a = server("a");
    let account = "[[admin.user]]\nname = \"ops\"\npassword = \"ops\"\n";
    let process = HighgateProcess::start(BINARY, &toml(&[("db1", &a)], account)).unwrap();
    let operators = process.admin_sql().unwrap();
    let mut sql = RawClient::connect(operators, "ops", "ops", None, USUAL).unwrap();
    sql.ok("CALL servers.weight('db1', 7)").unwrap();
    assert_eq!(table(&process, "servers").unwrap()[0]["weight"], 7000);
    sql.ok("CALL servers.enable('db1')").unwrap();
    assert_eq!(table(&process, "servers").unwrap()[0]["weight"], 1000);
    let before = version(&process);
    put(&process, &(toml(&[("db1", &a)], account) + "max_connections = 77\n"));
    sql.ok(&format!("CALL node.apply('{}')", process.config_file().display())).unwrap();
    assert_eq!(version(&process), before + 1);
}

/// "with the next start of the process" was told of the way back, too.
#[test]
fn a_setting_that_goes_back_to_what_the_process_runs_with_waits_for_no_start() {
    let a = server("a");
    let text = toml(&[("db1", &a)], "");
    let process = HighgateProcess::start(BINARY, &text).unwrap();
    put(&process, &format!("workers = 7\n{}", text.replace("workers = 2\n", "")));
    let (is_done, told) = apply(&process, &[]);
    assert!(is_done && told.contains("→ 7 (with the next start of the process)"), "{told}");
    put(&process, &text);
    for arguments in [&["--dry-run"][..], &[]] {
        let (is_done, told) = apply(&process, arguments);
        assert!(is_done && told.contains("workers 7 → "), "{told}");
        assert!(told.contains("(as the process runs already)"), "{told}");
    }
}

/// What no log, view or report may contain; each has this in it.
const MARK: &str = "hush";

/// Sessions kept what their listener and account said as they logged in: after a backend was renamed every
/// open one was refused each command, for ever.
#[test]
fn open_sessions_follow_the_settings_of_their_listener_with_the_next_command() {
    let (a, b) = (server("a"), server("b"));
    let first = toml(&[("a", &a)], "");
    let process = HighgateProcess::start(BINARY, &first).unwrap();
    let address = process.listener("shop").unwrap();
    let mut client = RawClient::connect(address, "app", "app", None, USUAL).unwrap();
    let mut holds = RawClient::connect(address, "app", "app", None, USUAL).unwrap();
    assert_eq!(client.value("SELECT name FROM t").unwrap(), "a");
    holds.ok("BEGIN").unwrap();
    holds.ok(UPDATE).unwrap();
    let renamed = toml(&[("b", &b)], "")
        .replace("backend = \"shop\"", "backend = \"other\"\nmax_allowed_packet = \"1KiB\"")
        .replace("[[backend]]\nname = \"shop\"", "[[backend]]\nname = \"other\"");
    put(&process, &renamed);
    let (done, said) = apply(&process, &[]);
    assert!(done, "{said}");
    assert_eq!(client.value("SELECT name FROM t").unwrap(), "b");
    let long = format!("SELECT name FROM t /* {} */", "x".repeat(2000));
    assert_eq!(client.query(&long).unwrap()[0].error(), Some(1153));
    put(&process, &renamed.replace("1KiB", "1MiB"));
    let (done, said) = apply(&process, &[]);
    assert!(done, "{said}");
    assert_eq!(client.value(&long).unwrap(), "b", "also by who sends nothing shorter");
    holds.ok("COMMIT").unwrap();
    assert_eq!(a.queries().iter().filter(|text| *text == "COMMIT").count(), 1, "where it began");
    assert_eq!(holds.value("SELECT name FROM t").unwrap(), "b");
}

/// It held from the second command on: the first was waited for, and taken in, under the old one.
#[test]
fn a_lower_bound_of_packets_holds_for_the_next_command_of_an_open_session() {
    let a = server("a");
    let text = toml(&[("a", &a)], "");
    let process = HighgateProcess::start(BINARY, &text).unwrap();
    let address = process.listener("shop").unwrap();
    let mut client = RawClient::connect(address, "app", "app", None, USUAL).unwrap();
    let long = format!("SELECT name FROM t /* {} */", "x".repeat(2000));
    assert_eq!(client.value(&long).unwrap(), "a");
    let lowered = "backend = \"shop\"\nmax_allowed_packet = \"1KiB\"";
    put(&process, &text.replacen("backend = \"shop\"", lowered, 1));
    let (done, said) = apply(&process, &[]);
    assert!(done, "{said}");
    assert_eq!(client.query(&long).unwrap()[0].error(), Some(1153));
    assert_eq!(client.query(&long).unwrap()[0].error(), Some(1153));
    assert_eq!(client.value("SELECT name FROM t").unwrap(), "a");
    assert_eq!(a.queries().iter().filter(|query| **query == long).count(), 1);
}

/// Who came by a listener that has another name since followed nothing any more, and was refused each
/// command when the backend was renamed, too.
#[test]
fn open_sessions_follow_a_listener_to_its_new_name() {
    let (a, b) = (server("a"), server("b"));
    let port = PortLease::take().unwrap();
    let bind = format!("bind = \"127.0.0.1:{}\"", port.port());
    let named = |name: &str, text: String| {
        let listener = format!("name = \"{name}\"\n{bind}");
        text.replacen("name = \"shop\"\nbind = \"127.0.0.1:0\"", &listener, 1)
    };
    let process = HighgateProcess::start(BINARY, &named("old", toml(&[("a", &a)], ""))).unwrap();
    let address = process.listener("old").unwrap();
    let mut client = RawClient::connect(address, "app", "app", None, USUAL).unwrap();
    assert_eq!(client.value("SELECT name FROM t").unwrap(), "a");
    let elsewhere = toml(&[("b", &b)], "")
        .replace("backend = \"shop\"", "backend = \"other\"")
        .replace("[[backend]]\nname = \"shop\"", "[[backend]]\nname = \"other\"");
    for (text, answers) in [
        (named("new", toml(&[("a", &a)], "")), "a"),
        (named("new", elsewhere.clone()), "b"),
        (named("newest", toml(&[("a", &a)], "")), "a"),
        (named("old", elsewhere), "b"),
    ] {
        put(&process, &text);
        let (done, said) = apply(&process, &[]);
        assert!(done, "{said}");
        assert_eq!(client.value("SELECT name FROM t").unwrap(), answers, "{text}");
    }
}

fn get(address: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nAuthorization: Basic b3BzOmh1c2gtb3Bz\r\nConnection: close\r\n\r\n").unwrap();
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    String::from_utf8_lossy(&bytes).into_owned()
}

#[test]
fn no_secret_is_in_any_log_view_or_report() {
    let a = server("a");
    let secrets = format!(
        "[[user]]\nname = \"two\"\npassword = [\"{MARK}-one\", \"{MARK}-two\"]\n\
         [[user]]\nname = \"mapped\"\npassword = \"{MARK}-outside\"\nserver_user = \"inner\"\n\
         server_password = \"{MARK}-inside\"\n\
         [[admin.user]]\nname = \"ops\"\npassword = \"{MARK}-ops\"\n"
    );
    let text = toml(&[("db1", &a)], &secrets)
        .replace("password = \"m\"", &format!("password = \"{MARK}-monitor\""));
    let process = HighgateProcess::start_with(BINARY, &text, |command| {
        command.args(["--log", "trace"]);
    })
    .unwrap();
    let (mut held, refusal) = use_secrets(process.listener("shop").unwrap());
    let mut seen = vec![("a refusal", refusal)];
    change_secrets(&process, &text, &mut seen);
    held.ok("SELECT name FROM t").unwrap();
    look_everywhere(&process, &mut seen);
    seen.push(("the log", process.log()));
    for (what, text) in &seen {
        let lines: Vec<&str> = text.lines().filter(|line| line.contains(MARK)).collect();
        assert!(lines.is_empty(), "{what} shows {lines:#?}");
    }
}

/// Logins that are right and wrong, by either password; statements with secrets in them. Gives a
/// session that goes on, and what a refused client was told.
fn use_secrets(address: SocketAddr) -> (RawClient, String) {
    for (user, password) in [("two", "one"), ("two", "two"), ("mapped", "outside")] {
        let mut client =
            RawClient::connect(address, user, &format!("{MARK}-{password}"), None, USUAL).unwrap();
        client.ok("SELECT name FROM t").unwrap();
        for statement in [
            format!("CREATE USER x IDENTIFIED BY '{MARK}-created'"),
            format!("SET PASSWORD = PASSWORD(\"{MARK}-set\")"),
            format!("ALTER USER x IDENTIFIED BY '{MARK}-it''s'"),
            format!("SELECT AES_ENCRYPT(c, '{MARK}-key') FROM t"),
            format!("SET @secret = '{MARK}-variable'"),
        ] {
            client.query(statement).unwrap();
        }
    }
    let refused = RawClient::connect(address, "two", &format!("{MARK}-guessed"), None, USUAL);
    let refusal = format!("{:#}", refused.unwrap_err());
    let mut held = RawClient::connect(address, "two", &format!("{MARK}-one"), None, USUAL).unwrap();
    held.ok(&format!("SET @secret = '{MARK}-held'")).unwrap();
    held.prepare(&format!("SELECT '{MARK}-prepared'")).unwrap();
    (held, refusal)
}

/// Configurations with other secrets, and with mistakes beside them.
fn change_secrets(process: &HighgateProcess, text: &str, seen: &mut Vec<(&'static str, String)>) {
    // A changed secret is told as a change, and a broken file by its places.
    put(process, &text.replace(&format!("{MARK}-inside"), &format!("{MARK}-changed")));
    let (is_done, told) = apply(process, &["--dry-run"]);
    assert!(is_done && told.contains("server_password"), "{told}");
    seen.push(("a comparison", told));
    seen.push(("an application", apply(process, &[]).1));
    for broken in [
        text.replace(&format!("{MARK}-one\""), &format!("{MARK}-one")),
        text.replace(&format!("\"{MARK}-ops\""), &format!("{{ is = \"{MARK}-ops\" }}")),
        text.replace("server_password", "server_passwort"),
    ] {
        put(process, &broken);
        process.signal(Signal::HUP).unwrap();
        seen.push(("a refused application", apply(process, &[]).1));
        let output = Command::new(BINARY).arg("check").arg(process.config_file()).output().unwrap();
        assert!(!output.status.success(), "{broken}");
        seen.push(("check", String::from_utf8_lossy(&output.stderr).into_owned()));
    }
    wait_for_event(process, "nothing was changed: ");
}

/// Every table in every form, and the rest of what operators may look at.
fn look_everywhere(process: &HighgateProcess, seen: &mut Vec<(&'static str, String)>) {
    let tables = ctl(process, &["show", "--format", "json"]).unwrap_or_default();
    seen.push(("the list of tables", tables));
    let operators = process.admin_sql().unwrap();
    let mut sql =
        RawClient::connect(operators, "ops", &format!("{MARK}-ops"), None, USUAL).unwrap();
    wait::eventually(Deadline::seconds(5), "forms of statements", || {
        anyhow::ensure!(!table(process, "digests")?.is_empty());
        Ok(())
    })
    .unwrap();
    for name in [
        "backends",
        "digests",
        "events",
        "listeners",
        "node",
        "rules",
        "servers",
        "sessions",
        "vip_peers",
        "vip_refusals",
        "vips",
        "workers",
    ] {
        let rows = sql.ok(&format!("SELECT * FROM {name}")).unwrap();
        seen.push(("SQL", format!("{:?}", rows.texts())));
        for format in ["text", "json", "csv"] {
            let shown = ctl(process, &["show", name, "--format", format]).unwrap();
            assert!(!shown.is_empty());
            seen.push(("a table", shown));
        }
    }
    let web = process.admin_web().unwrap();
    for path in
        ["/", "/metrics", "/api/v1/tables", "/api/v1/tables/sessions", "/api/v1/tables/events"]
    {
        let answer = get(web, path);
        assert!(answer.starts_with("HTTP/1.1 200"), "{path}: {answer}");
        seen.push(("the web port", answer));
    }
    let explained = ctl(process, &["explain", "SELECT 1", "--user", "mapped"]).unwrap();
    seen.push(("explain", explained));
}
