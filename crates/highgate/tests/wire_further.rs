//! Files that are applied beside those that a process was started with: what they say lies over those, and
//! goes with them.

#[path = "common/failure.rs"]
mod failure;
#[path = "client/raw.rs"]
mod raw;

use std::{
    fs,
    process::{Command, Stdio},
};

use failure::{BINARY, said};
use highgate_testkit::{
    Scratch,
    highgate::HighgateProcess,
    scripted::{Reply, Script, ScriptedServer},
    wait::Deadline,
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
