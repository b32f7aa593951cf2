//! Waits for a server that end just as its connection comes free: by the clock, by a kill, by who leaves. What was on
//! its way then is of another account, or to another server, than what the session waits for next.

#[path = "common/failure.rs"]
mod failure;
#[path = "client/raw.rs"]
mod raw;

use failure::{BINARY, table, toml};
use highgate_mysql::packet::PacketWriter;
use highgate_testkit::{
    HighgateProcess, Reply, Script, ScriptedServer,
    scripted::Command,
    wait::{self, Deadline},
};
use raw::{RawClient, USUAL};

const ROUNDS: usize = 15;
/// Who waits at once: enough that a worker has not told the last when the first one's answer is read.
const WAITS: usize = 100;
const READ: &str = "SELECT n FROM ";

fn usual(command: &Command) -> Reply {
    match command.text().as_str() {
        text if text.starts_with("SELECT @@") => Reply::variables(text),
        text if text.starts_with(READ) => Reply::value("n", text.trim_start_matches(READ)),
        // Autocommit is on, and a transaction open.
        "BEGIN" => Reply::OkStatus(3),
        _ => Reply::OkStatus(2),
    }
}

/// A server with two connections for the accounts `one` and `two`, and another one with one for `far`.
struct Bench {
    near: ScriptedServer,
    far: ScriptedServer,
    process: HighgateProcess,
}

impl Bench {
    fn start(queue_timeout: &str) -> Self {
        let [near, far] = [(); 2].map(|()| ScriptedServer::start(Script::new(usual)).unwrap());
        let unwatched = "monitor = { check = \"off\" }\n";
        let backend = format!("queue_timeout = \"{queue_timeout}\"\n{unwatched}");
        let text = toml(&[near.addr()], &backend, "")
            + "max_connections = 2\n\
               [[user]]\nname = \"one\"\npassword = \"\"\n\
               [[user]]\nname = \"two\"\npassword = \"\"\n\
               [[user]]\nname = \"far\"\npassword = \"\"\nbackend = \"far\"\n\
               [[backend]]\nname = \"far\"\nqueue_timeout = \"30s\"\n"
            + unwatched
            + &format!("[[backend.server]]\nname = \"db2\"\naddress = \"{}\"\n", far.addr())
            + "max_connections = 1\n";
        let process = HighgateProcess::start(BINARY, &text).unwrap();
        Self { near, far, process }
    }

    fn client(&self, account: &str) -> RawClient {
        let listener = self.process.listener("shop").unwrap();
        RawClient::connect(listener, account, "", None, USUAL).unwrap()
    }

    /// Two that have all connections of the one server, and one that has that of the other.
    fn holders(&self) -> [RawClient; 3] {
        ["one", "one", "far"].map(|account| {
            let mut holder = self.client(account);
            holder.ok("BEGIN").unwrap();
            holder
        })
    }

    /// One whose read as `one` waits, and behind it the account that it goes on as, with a read of its own.
    fn waits(&self, next: &str) -> RawClient {
        let change = [b"\x11", next.as_bytes(), b"\0\0\0\x2d\0mysql_native_password\0"].concat();
        let mut bytes = Vec::new();
        // The challenge of a change of user, which is number 1, is answered by nothing.
        for (number, packet) in [(0, read("one")), (0, change), (2, Vec::new()), (0, read(next))] {
            PacketWriter::new(&mut bytes, number).payload(&packet);
        }
        let mut client = self.client("one");
        client.send_raw(&bytes).unwrap();
        client
    }

    fn until_queued(&self, count: usize) {
        wait::eventually(Deadline::seconds(20), "commands to wait", || {
            let rows = table(&self.process, "servers")?;
            let queued = rows.iter().filter_map(|row| row["queued"].as_u64()).sum::<u64>();
            anyhow::ensure!(queued == count as u64, "{queued}");
            Ok(())
        })
        .unwrap();
    }

    /// Each read came to its own server, over a connection of its own account; and no connection was lost on the
    /// way from one wait to another.
    fn all_went_right(&self) {
        for account in ["one", "two", "far"] {
            assert_eq!(self.client(account).value(&format!("{READ}{account}")).unwrap(), account);
        }
        for (server, accounts) in [(&self.near, &["one", "two"][..]), (&self.far, &["far"])] {
            for command in server.commands() {
                let text = command.text();
                let Some(account) = text.strip_prefix(READ) else { continue };
                assert!(accounts.contains(&account), "{text} is not for this server");
                let over = server.account_of(command.connection);
                assert_eq!(over.as_deref(), Some(account), "{text}");
            }
        }
        for (name, max) in [("db1", 2), ("db2", 1)] {
            let server = failure::server(&self.process, name).unwrap();
            assert!(server.connections <= max, "{server:?}");
        }
    }
}

/// COM_QUERY.
fn read(account: &str) -> Vec<u8> {
    [b"\x03", READ.as_bytes(), account.as_bytes()].concat()
}

/// Behind its first read the session becomes the next account, and reads as that.
fn goes_on(mut client: RawClient, next: &str, has_ended: bool) {
    assert_eq!(client.packet().unwrap()[0], 0xfe, "a challenge");
    assert_eq!(client.answer().unwrap()[0].error(), None, "COM_CHANGE_USER");
    let answer = client.answer().unwrap();
    // A kill that comes behind the first read ends what it finds.
    let is_killed = !has_ended && answer[0].error() == Some(1317);
    assert!(is_killed || answer[0].texts() == [[Some(next.to_owned())]], "{answer:?}");
}

#[test]
fn what_comes_for_a_wait_that_timed_out_reaches_no_later_wait_of_its_session() {
    let bench = Bench::start("200ms");
    for _ in 0..ROUNDS {
        let [mut first, mut second, mut far] = bench.holders();
        let mut clients: Vec<_> = (0..WAITS).map(|_| bench.waits("far")).collect();
        let mut ended = vec![clients[0].answer().unwrap()[0].error()];
        for holder in [&mut first, &mut second] {
            holder.send(b"\x03COMMIT").unwrap();
        }
        for holder in [&mut first, &mut second] {
            assert_eq!(holder.answer().unwrap()[0].error(), None);
        }
        ended.extend(clients[1..].iter_mut().map(|it| it.answer().unwrap()[0].error()));
        assert!(ended.iter().all(|it| matches!(it, Some(1040) | None)), "{ended:?}");
        far.ok("COMMIT").unwrap();
        for (client, ended) in clients.into_iter().zip(ended) {
            goes_on(client, "far", ended.is_some());
        }
    }
    bench.all_went_right();
}

#[test]
fn what_comes_for_a_wait_that_was_killed_reaches_no_later_wait_of_its_session() {
    let bench = Bench::start("30s");
    for _ in 0..ROUNDS {
        let [mut first, mut second, mut far] = bench.holders();
        let nexts = || ["far", "two"].into_iter().cycle();
        let mut clients: Vec<_> = nexts().take(WAITS).map(|next| bench.waits(next)).collect();
        bench.until_queued(WAITS);
        let mut kills = Vec::new();
        for client in &clients {
            let kill = format!("\x03KILL QUERY {}", client.id);
            PacketWriter::new(&mut kills, 0).payload(kill.as_bytes());
        }
        let mut killer = bench.client("one");
        killer.send_raw(&kills).unwrap();
        for holder in [&mut first, &mut second] {
            holder.send(b"\x03COMMIT").unwrap();
        }
        for _ in 0..WAITS {
            // 1095: it was served before, and is somebody else by now.
            let told = killer.answer().unwrap()[0].error();
            assert!(matches!(told, None | Some(1095)), "{told:?}");
        }
        for holder in [&mut first, &mut second] {
            assert_eq!(holder.answer().unwrap()[0].error(), None);
        }
        let firsts = clients.iter_mut().map(|it| it.answer().unwrap()[0].error());
        let ended: Vec<_> = firsts.collect();
        assert!(ended.iter().all(|it| matches!(it, Some(1317) | None)), "{ended:?}");
        far.ok("COMMIT").unwrap();
        for ((client, next), ended) in clients.into_iter().zip(nexts()).zip(ended) {
            goes_on(client, next, ended.is_some());
        }
    }
    bench.all_went_right();
}

#[test]
fn what_comes_for_a_client_that_left_its_wait_reaches_nobody_who_comes_after_it() {
    let bench = Bench::start("30s");
    for _ in 0..ROUNDS {
        let [mut first, mut second, mut far] = bench.holders();
        let clients: Vec<_> = (0..WAITS).map(|_| bench.waits("two")).collect();
        bench.until_queued(WAITS);
        first.send(b"\x03COMMIT").unwrap();
        drop(clients);
        second.send(b"\x03COMMIT").unwrap();
        // Their places among the sessions are taken by these.
        let mut after: Vec<_> = (0..WAITS).map(|_| bench.client("far")).collect();
        for client in &mut after {
            client.send(&read("far")).unwrap();
        }
        for holder in [&mut first, &mut second] {
            assert_eq!(holder.answer().unwrap()[0].error(), None);
        }
        bench.until_queued(WAITS);
        far.ok("COMMIT").unwrap();
        for client in &mut after {
            assert_eq!(client.answer().unwrap()[0].texts(), [[Some("far".to_owned())]]);
        }
    }
    bench.all_went_right();
}
