//! Servers known by a name: a scripted name server, and a process that asks it and no other.
//!
//! Needs root, for port 53 of a loopback address and for a mount namespace with a resolv.conf of its own.

#[path = "common/failure.rs"]
mod failure;

use std::{
    net::{Ipv4Addr, SocketAddr, UdpSocket},
    process::{Command, Stdio},
    sync::Arc,
    time::Duration,
};

use failure::{BINARY, connect, run, toml};
use highgate_mysql::command::COM_PING;
use highgate_testkit::{
    highgate::HighgateProcess,
    scripted::{Reply, Script, ScriptedServer},
    wait::{self, Deadline},
};
use mysql_async::prelude::Queryable as _;
use parking_lot::Mutex;

/// What the name server says, of IPv4 addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Answer {
    Addresses(Vec<Ipv4Addr>),
    Empty,
    Failure,
    Silence,
}

/// A name server that says the same of every name, and forgets at once (a time to live of 0).
struct NameServer {
    address: Ipv4Addr,
    answer: Arc<Mutex<Answer>>,
    asked: Arc<Mutex<u32>>,
}

impl NameServer {
    fn start(answer: Answer) -> Option<Self> {
        let [.., a, b] = std::process::id().to_be_bytes();
        // Tests of one process have one each.
        let mut addresses = (53..63).map(|net| Ipv4Addr::new(127, net, a, b));
        let (address, socket) =
            addresses.find_map(|at| Some((at, UdpSocket::bind((at, 53)).ok()?)))?;
        let (answer, asked) = (Arc::new(Mutex::new(answer)), Arc::new(Mutex::new(0)));
        let server = Self { address, answer: answer.clone(), asked: asked.clone() };
        std::thread::spawn(move || {
            let mut packet = [0; 512];
            while let Ok((length, from)) = socket.recv_from(&mut packet) {
                *asked.lock() += 1;
                let answer = answer.lock().clone();
                if let Some(reply) = reply(&packet[..length], &answer) {
                    let _ = socket.send_to(&reply, from);
                }
            }
        });
        Some(server)
    }

    fn says(&self, answer: Answer) {
        *self.answer.lock() = answer;
    }
}

/// RFC 1035: the question again, and perhaps one address.
fn reply(question: &[u8], answer: &Answer) -> Option<Vec<u8>> {
    let end = 12 + question[12..].iter().position(|byte| *byte == 0)? + 5;
    let is_a = question[end - 4..end - 2] == [0, 1];
    let (code, addresses): (u8, &[Ipv4Addr]) = match answer {
        Answer::Silence => return None,
        Answer::Failure => (2, &[]),
        Answer::Addresses(addresses) if is_a => (0, addresses.as_slice()),
        Answer::Addresses(_) | Answer::Empty => (0, &[]),
    };
    let mut bytes = question[..2].to_vec();
    bytes.extend([0x81, 0x80 | code, 0, 1, 0, u8::try_from(addresses.len()).ok()?, 0, 0, 0, 0]);
    bytes.extend(&question[12..end]);
    for address in addresses {
        bytes.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4]);
        bytes.extend(address.octets());
    }
    Some(bytes)
}

fn server(name: &'static str, at: SocketAddr) -> ScriptedServer {
    let script = Script::new(move |command| match command.text().as_str() {
        text if text.starts_with("SELECT @@") => Reply::variables(text),
        text if text.starts_with("SELECT SLEEP") => Reply::UntilKilled,
        text if text.starts_with("SELECT") => Reply::value("name", name),
        _ => Reply::Ok,
    });
    ScriptedServer::start_at(script, at).unwrap()
}

/// The program, in a mount namespace in which `resolv` is the resolver's configuration.
fn front(text: &str, resolv: &std::path::Path) -> HighgateProcess {
    HighgateProcess::start_with(BINARY, text, |command| {
        let mut inside = Command::new("unshare");
        inside
            .args(["-m", "sh", "-c", "mount --bind \"$0\" /etc/resolv.conf && exec \"$@\""])
            .arg(resolv)
            .arg(command.get_program())
            .args(command.get_args())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        if let Some(folder) = command.get_current_dir() {
            inside.current_dir(folder);
        }
        *command = inside;
    })
    .unwrap()
}

/// Highgate with one server, known by a name of that name server; also the file that says whom to ask.
fn front_by_name(
    names: &NameServer,
    server: SocketAddr,
    check: &str,
) -> (HighgateProcess, std::path::PathBuf) {
    let file = format!("highgate-resolv-{}-{}-{check}", std::process::id(), server.port());
    let resolv = std::env::temp_dir().join(file);
    let configuration = format!("nameserver {}\noptions timeout:1 attempts:1\n", names.address);
    std::fs::write(&resolv, configuration).unwrap();
    let backend = format!(
        "monitor = {{ user = \"m\", password = \"m\", check = \"{check}\", interval = \"200ms\" }}\n"
    );
    let by_name = format!("address = \"db.highgate.test:{}\"", server.port());
    let text = toml(&[server], &backend, "").replace(&format!("address = \"{server}\""), &by_name);
    (front(&text, &resolv), resolv)
}

fn may_mount() -> bool {
    let tried = Command::new("unshare").args(["-m", "true"]).stderr(Stdio::null()).status();
    tried.is_ok_and(|status| status.success())
}

#[test]
fn a_name_is_followed_and_a_resolver_that_fails_takes_nothing_away() {
    let first = server("one", SocketAddr::from(([127, 0, 0, 1], 0)));
    let second = server("two", SocketAddr::from(([127, 0, 0, 2], first.addr().port())));
    let (one, two) = (Ipv4Addr::new(127, 0, 0, 1), Ipv4Addr::new(127, 0, 0, 2));
    let names = NameServer::start(Answer::Addresses(vec![one]));
    let Some(names) = names.filter(|_| may_mount()) else {
        eprintln!("skipped: needs root for a name server and a mount namespace of its own");
        return;
    };
    let (process, resolv) = front_by_name(&names, first.addr(), "connect");
    let address = process.listener("shop").unwrap();
    let ask = || {
        run(async {
            let mut conn = connect(address).await?;
            let started = wait::now();
            let name = conn.query_first::<String, _>("SELECT name").await?.unwrap_or_default();
            let took = wait::now() - started;
            anyhow::ensure!(took < Duration::from_secs(1), "{name} after {took:?}");
            Ok(name)
        })
    };
    let until = |wanted: &str, event: &str| {
        let mut count = 0;
        wait::eventually(Deadline::seconds(15), wanted, || {
            count += 1;
            let name = ask()?;
            anyhow::ensure!(name == wanted, "{name}");
            anyhow::ensure!(process.log().contains(event), "no `{event}`:\n{}", process.log());
            Ok(())
        })
        .unwrap();
        count
    };
    until("one", "");
    names.says(Answer::Addresses(vec![two]));
    until("two", "has other addresses: 127.0.0.2; connections to the former ones end");
    for (answer, event) in [
        (Answer::Empty, "db.highgate.test: cannot be resolved"),
        (Answer::Silence, "its last addresses stay in use"),
        (Answer::Failure, "its last addresses stay in use"),
    ] {
        names.says(answer.clone());
        let before = *names.asked.lock();
        wait::eventually(Deadline::seconds(12), "the next question", || {
            // Connections that have to be opened anew need the address, and have it.
            second.close_all();
            anyhow::ensure!(ask()? == "two");
            anyhow::ensure!(*names.asked.lock() > before);
            Ok(())
        })
        .unwrap();
        until("two", event);
    }
    let told = process.log().matches("cannot be resolved").count();
    assert_eq!(told, 1, "{}", process.log());
    names.says(Answer::Addresses(vec![one]));
    until("one", "is resolved again");
    // Every five seconds, two kinds of address each: a time to live of 0 makes no flood.
    let asked = *names.asked.lock();
    eprintln!("asked {asked} times");
    assert!(asked < 40, "{asked}");
    let _ = std::fs::remove_file(resolv);
}

/// A name that is moved by way of both addresses kept its connections, the monitor's too, at the first machine.
#[test]
fn a_name_that_loses_one_of_two_addresses_leaves_it_with_its_checks() {
    let first = server("one", SocketAddr::from(([127, 0, 0, 1], 0)));
    let second = server("two", SocketAddr::from(([127, 0, 0, 2], first.addr().port())));
    let (one, two) = (Ipv4Addr::new(127, 0, 0, 1), Ipv4Addr::new(127, 0, 0, 2));
    let names = NameServer::start(Answer::Addresses(vec![one]));
    let Some(names) = names.filter(|_| may_mount()) else {
        eprintln!("skipped: needs root for a name server and a mount namespace of its own");
        return;
    };
    let (process, resolv) = front_by_name(&names, first.addr(), "ping");
    let address = process.listener("shop").unwrap();
    let until = |wanted: &str, event: &str| {
        wait::eventually(Deadline::seconds(15), wanted, || {
            let name: Option<String> = run(async {
                let mut conn = connect(address).await?;
                anyhow::Ok(conn.query_first("SELECT name").await?)
            })?;
            let name = name.unwrap_or_default();
            anyhow::ensure!(name == wanted, "{name}");
            anyhow::ensure!(process.log().contains(event), "no `{event}`:\n{}", process.log());
            Ok(())
        })
        .unwrap();
    };
    until("one", "");
    names.says(Answer::Addresses(vec![one, two]));
    until("one", "has other addresses: 127.0.0.1, 127.0.0.2");
    names.says(Answer::Addresses(vec![two]));
    until("two", "has other addresses: 127.0.0.2; connections to the former ones end");
    let checks = |count| {
        wait::eventually(Deadline::seconds(10), "checks of the second machine", || {
            let commands = second.commands();
            let pings = commands.iter().filter(|command| command.code == COM_PING).count();
            anyhow::ensure!(pings >= count, "{pings}");
            Ok(())
        })
        .unwrap();
    };
    // None of the first one is under way any more.
    checks(1);
    let heard = first.commands().len();
    checks(6);
    assert_eq!(first.commands().len(), heard, "{:?}", first.commands());
    let _ = std::fs::remove_file(resolv);
}

/// It went to where the name leads now, with the number of the machine before: there it is somebody else's
/// connection, and that statement ended, or that transaction.
#[test]
fn a_statement_is_ended_on_the_machine_that_it_runs_on_and_not_on_another_of_its_name() {
    let first = server("one", SocketAddr::from(([127, 0, 0, 1], 0)));
    let second = server("two", SocketAddr::from(([127, 0, 0, 2], first.addr().port())));
    let names = NameServer::start(Answer::Addresses(vec![Ipv4Addr::LOCALHOST]));
    let Some(names) = names.filter(|_| may_mount()) else {
        eprintln!("skipped: needs root for a name server and a mount namespace of its own");
        return;
    };
    let (process, resolv) = front_by_name(&names, first.addr(), "connect");
    let address = process.listener("shop").unwrap();
    let kills = |server: &ScriptedServer| -> Vec<String> {
        server.queries().into_iter().filter(|text| text.starts_with("KILL")).collect()
    };
    run(async {
        let mut victim = connect(address).await?;
        let id = victim.id();
        let mut sleeps = Box::pin(victim.query_drop("SELECT SLEEP(1000)"));
        let moves = async {
            names.says(Answer::Addresses(vec![Ipv4Addr::new(127, 0, 0, 2)]));
            wait::eventually(Deadline::seconds(15), "the name to lead elsewhere", || {
                anyhow::ensure!(process.log().contains("has other addresses"), "{}", process.log());
                Ok(())
            })
        };
        // What has been polled once was sent.
        tokio::select! {
            biased;
            ended = &mut sleeps => anyhow::bail!("{ended:?}"),
            moved = moves => moved?,
        }
        connect(address).await?.query_drop(format!("KILL QUERY {id}")).await?;
        let ended = format!("{:?}", sleeps.await);
        anyhow::ensure!(ended.contains("1317") && !ended.contains("did not confirm"), "{ended}");
        Ok(())
    })
    .unwrap();
    assert_eq!((kills(&first).len(), kills(&second)), (1, Vec::new()));
    let _ = std::fs::remove_file(resolv);
}
