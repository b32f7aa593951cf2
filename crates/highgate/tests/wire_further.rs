//! Files that are applied beside those that a process was started with: what they say lies over those, and
//! goes with them.

#[path = "common/failure.rs"]
mod failure;
#[path = "client/raw.rs"]
mod raw;

use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
    process::{Command, Stdio},
};

use failure::{BINARY, said};
use highgate_cluster::Alone;
use highgate_config::{Batch, Change, ControlPlane};
use highgate_testkit::{
    Scratch,
    highgate::HighgateProcess,
    scripted::{Reply, Script, ScriptedServer},
    wait::{self, Deadline},
};
use raw::{RawClient, USUAL};
use rustix::process::Signal;

/// One server, whose configuration lies in a folder that outlives processes.
struct Shop {
    server: ScriptedServer,
    folder: Scratch,
}

impl Shop {
    fn new() -> Self {
        let script = Script::new(|command| match command.text().as_str() {
            text if text.starts_with("SELECT @@") => Reply::variables(text),
            text if text.starts_with("SELECT") => Reply::value("name", "a"),
            _ => Reply::OkStatus(0x0002),
        });
        let server = ScriptedServer::start(script).unwrap();
        Self { server, folder: Scratch::new("further").unwrap() }
    }

    /// The file that a process needs, with more accounts.
    fn first(&self, users: &[&str]) -> String {
        let backend = format!(
            "[admin]\nsql = \"127.0.0.1:0\"\nweb = \"127.0.0.1:0\"\n\
             [[listener]]\nname = \"shop\"\nbind = \"127.0.0.1:0\"\nbackend = \"shop\"\n\
             [[backend]]\nname = \"shop\"\n\
             monitor = {{ user = \"m\", password = \"m\", check = \"connect\", interval = \"200ms\" }}\n\
             [[backend.server]]\nname = \"db1\"\naddress = \"{}\"\n",
            self.server.addr()
        );
        backend + &accounts(users)
    }

    fn put(&self, file: &str, text: &str) {
        fs::write(self.folder.join(file), text).unwrap();
    }

    fn command(&self, words: &[&str], files: &[&str]) -> Command {
        let mut command = Command::new(BINARY);
        let data = self.folder.join("data");
        command.args(words).arg("--data-dir").arg(data).args(files);
        command.current_dir(self.folder.path()).stdin(Stdio::null());
        command
    }

    fn run(&self, words: &[&str], files: &[&str]) -> HighgateProcess {
        let adjust = |command: &mut Command| {
            *command = self.command(&[&["run"], words].concat(), files);
            command.stdout(Stdio::null()).stderr(Stdio::piped());
        };
        HighgateProcess::start_with(BINARY, "", adjust).unwrap()
    }

    /// What `apply` and its dry run say of a file, which is the same.
    fn apply(&self, files: &[&str]) -> String {
        let dry = said(&self.command(&["apply", "--dry-run"], files).output().unwrap());
        let done = self.command(&["apply"], files).output().unwrap();
        assert_eq!(said(&done), dry);
        assert!(done.status.success(), "{dry}");
        dry
    }

    fn path(&self, file: &str) -> String {
        let folder = fs::canonicalize(self.folder.path()).unwrap();
        folder.join(file).display().to_string()
    }
}

fn accounts(names: &[&str]) -> String {
    let account = |name| format!("[[user]]\nname = \"{name}\"\npassword = \"{name}\"\n");
    names.iter().map(account).collect()
}

fn comes_in(process: &HighgateProcess, user: &str) -> bool {
    let address = process.listener("shop").unwrap();
    RawClient::connect(address, user, user, None, USUAL).is_ok()
}

fn end(mut process: HighgateProcess) {
    process.signal(Signal::TERM).unwrap();
    process.wait(Deadline::seconds(20)).unwrap();
}

/// It removed accounts of the file that the process runs with, set others' settings to their defaults, and
/// neither that file nor a restart brought them back.
#[test]
fn a_further_file_that_takes_back_what_it_said_leaves_what_the_first_one_says() {
    let shop = Shop::new();
    let first = shop.first(&["app", "late"]) + "allow = \"127.0.0.0/8\"\n";
    shop.put("a.toml", &first);
    let process = shop.run(&[], &["a.toml"]);
    let late = accounts(&["late"]);
    shop.put("b.toml", &(accounts(&["app", "later"]) + &late + "allow = \"10.0.0.0/8\"\n"));
    let told = shop.apply(&["b.toml"]);
    assert!(told.contains("user later: added") && told.contains("user late: allow"), "{told}");
    assert!(!comes_in(&process, "late") && comes_in(&process, "later"));

    shop.put("b.toml", &late);
    let told = shop.apply(&["b.toml"]);
    let stays =
        format!("note: user app: no longer in this file, and in {}; it stays", shop.path("a.toml"));
    assert!(told.contains("user later: removed") && told.contains(&stays), "{told}");
    assert!(comes_in(&process, "late") && comes_in(&process, "app"));
    shop.put("b.toml", "");
    assert!(shop.apply(&["b.toml"]).contains("note: user late: no longer in this file"));
    assert_eq!(shop.apply(&["a.toml"]), "nothing changes\n");
    end(process);
    let again = shop.run(&[], &["a.toml"]);
    assert!(comes_in(&again, "late") && comes_in(&again, "app") && !comes_in(&again, "later"));
}

/// What went from it in the same edit could log in for ever.
#[test]
fn a_further_file_that_the_next_process_is_started_with_is_a_part_of_its_files() {
    let shop = Shop::new();
    shop.put("a.toml", &shop.first(&["app"]));
    let mut process = shop.run(&[], &["a.toml"]);
    shop.put("c.toml", &accounts(&["temp", "more"]));
    shop.apply(&["c.toml"]);
    assert!(comes_in(&process, "temp"));
    shop.put("c.toml", &accounts(&["more"]));
    let next = shop.run(&["--replace"], &["a.toml", "c.toml"]);
    process.wait(Deadline::seconds(20)).unwrap();
    assert!(!comes_in(&next, "temp") && comes_in(&next, "more"));
    end(next);
    let back = shop.run(&[], &["a.toml"]);
    assert!(!comes_in(&back, "more"));
    assert!(shop.apply(&["c.toml"]).starts_with("user more: added"));
    assert!(comes_in(&back, "more"));
}

/// The new process served nothing, and the old one ended: a deployment that was cut off took the service down.
#[test]
fn a_hand_over_to_an_emptied_or_cut_off_file_is_refused_and_the_old_process_goes_on() {
    let shop = Shop::new();
    let (first, more) = (shop.first(&["app"]), accounts(&["more"]));
    shop.put("a.toml", &first);
    shop.put("b.toml", &more);
    let mut process = shop.run(&[], &["a.toml", "b.toml"]);
    let emptied = |file: &str| {
        let file = shop.path(file);
        format!(
            "nothing is in {file}, and there was when it was last applied: is a file empty, or cut off?"
        )
    };
    let cut_off = first.split("[[listener]]").next().unwrap();
    for (a, b, why) in [
        ("", &*more, emptied("a.toml")),
        (&*first, "# none\n", emptied("b.toml")),
        (cut_off, &*more, "no listener would be left: is a file empty, or cut off?".to_owned()),
    ] {
        shop.put("a.toml", a);
        shop.put("b.toml", b);
        let mut command = shop.command(&["run", "--replace"], &["a.toml", "b.toml"]);
        let done = command.output().unwrap();
        assert!(!done.status.success() && said(&done).contains(&why), "{}", said(&done));
        wait::eventually(Deadline::seconds(10), "an event", || {
            let events = said(&shop.command(&["ctl"], &["events"]).output()?);
            let told = format!("this one goes on: the other process refused: {why}");
            anyhow::ensure!(events.contains(&told), "no `{told}` in\n{events}");
            Ok(())
        })
        .unwrap();
        assert!(comes_in(&process, "app") && comes_in(&process, "more"), "as before");
    }
    shop.put("a.toml", &first);
    let next = shop.run(&["--replace"], &["b.toml", "a.toml"]);
    process.wait(Deadline::seconds(20)).unwrap();
    assert!(comes_in(&next, "app") && !comes_in(&next, "late"));
}

#[test]
fn a_start_with_an_empty_file_is_taken_and_its_node_is_not_healthy_until_it_serves() {
    let shop = Shop::new();
    let ports = "[admin]\nsql = \"127.0.0.1:0\"\nweb = \"127.0.0.1:0\"\n";
    shop.put("a.toml", ports);
    let process = shop.run(&[], &["a.toml"]);
    let web = process.admin_web().unwrap();
    let health = || {
        let mut stream = TcpStream::connect(web).unwrap();
        stream.write_all(b"GET /health HTTP/1.0\r\nHost: localhost\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    };
    assert!(health().contains(" 503 "), "{}", health());
    shop.put("a.toml", &shop.first(&["app"]));
    shop.apply(&["a.toml"]);
    wait::eventually(Deadline::seconds(10), "it serves", || {
        anyhow::ensure!(health().contains(" 200 "), "{}", health());
        Ok(())
    })
    .unwrap();
}

/// Nothing at all said so: `apply` told it, and a start did not.
#[test]
fn a_start_warns_of_what_is_in_its_file_and_was_deleted_elsewhere() {
    let shop = Shop::new();
    shop.put("a.toml", &shop.first(&["app", "late"]));
    end(shop.run(&["--node", "n"], &["a.toml"]));
    let alone = Alone::open(&shop.folder.join("data"), "n".into()).unwrap();
    let batch = Batch {
        base_version: alone.current().0,
        changes: vec![Change::User("late".into(), None)],
        who: "test".to_owned(),
        why: "deleted elsewhere".to_owned(),
    };
    failure::run(alone.propose(batch)).unwrap();
    drop(alone);
    let again = shop.run(&["--node", "n"], &["a.toml"]);
    assert!(comes_in(&again, "app") && !comes_in(&again, "late"));
    let told = format!(
        "started with {}: user late: deleted elsewhere; not in force, though it is in this file",
        shop.path("a.toml")
    );
    again.wait_for_log(&told).unwrap();
    let next = shop.run(&["--replace", "--node", "n"], &["a.toml"]);
    next.wait_for_log(&told).unwrap();
}
