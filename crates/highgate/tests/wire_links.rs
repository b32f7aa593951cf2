//! Configuration files that are links, swapped as a Kubernetes ConfigMap and every `current ->` of a
//! deployment is: another file lies there then, which counts as the same one.

#[path = "common/failure.rs"]
mod failure;
#[path = "client/raw.rs"]
mod raw;

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use failure::{BINARY, ctl, table};
use highgate_testkit::{
    highgate::HighgateProcess,
    scripted::{Reply, Script, ScriptedServer},
    wait::{self, Deadline},
};
use raw::{RawClient, USUAL};
use rustix::process::Signal;

fn server() -> ScriptedServer {
    let script = Script::new(|command| match command.text().as_str() {
        text if text.starts_with("SELECT @@") => Reply::variables(text),
        _ => Reply::OkStatus(0x0002),
    });
    ScriptedServer::start(script).unwrap()
}

/// The usual file.
fn less(server: &ScriptedServer) -> String {
    format!(
        "[admin]\nsql = \"127.0.0.1:0\"\nweb = \"127.0.0.1:0\"\n\
         [[listener]]\nname = \"shop\"\nbind = \"127.0.0.1:0\"\nbackend = \"shop\"\n\
         [[user]]\nname = \"app\"\npassword = \"app\"\n\
         [[backend]]\nname = \"shop\"\n\
         monitor = {{ user = \"m\", password = \"m\", check = \"connect\", interval = \"200ms\" }}\n\
         [[backend.server]]\nname = \"db1\"\naddress = \"{}\"\n",
        server.addr()
    )
}

/// As [`less`], and with a server, an account and a listener more.
fn more(server: &ScriptedServer) -> String {
    less(server)
        + "[[backend.server]]\nname = \"db2\"\naddress = \"127.0.0.1:9\"\n\
           [[user]]\nname = \"late\"\npassword = \"late\"\n\
           [[listener]]\nname = \"second\"\nbind = \"127.0.0.1:0\"\nbackend = \"shop\"\n"
}

/// Puts a form of a file into a folder of its own.
fn form(folder: &Path, name: &str, text: &str) -> PathBuf {
    fs::create_dir(folder.join(name)).unwrap();
    let file = folder.join(name).join("highgate.toml");
    fs::write(&file, text).unwrap();
    file
}

/// Makes a link lead elsewhere, in one step.
fn swap(folder: &Path, link: &str, to: &str) {
    symlink(to, folder.join("new link")).unwrap();
    fs::rename(folder.join("new link"), folder.join(link)).unwrap();
}

/// A process whose file is a link to `..data/highgate.toml`, where `..data` leads to `v1`; beside that lies `v2`.
fn start(v1: &str, v2: &str, words: &[&str]) -> HighgateProcess {
    let link = |command: &mut Command| {
        let folder = command.get_current_dir().unwrap().to_owned();
        form(&folder, "v1", v1);
        form(&folder, "v2", v2);
        swap(&folder, "..data", "v1");
        swap(&folder, "highgate.toml", "..data/highgate.toml");
        command.args(words);
    };
    HighgateProcess::start_with(BINARY, v1, link).unwrap()
}

fn apply(process: &HighgateProcess, words: &[&str], file: &str) -> (bool, String) {
    let data = process.folder().join("highgate-data");
    let data = ["--data-dir", data.to_str().unwrap()];
    failure::apply(process, &[words, &data].concat(), Path::new(file))
}

fn events(process: &HighgateProcess) -> String {
    ctl(process, &["events", "--last", "50"]).unwrap()
}

fn wait_for_event(process: &HighgateProcess, text: &str) {
    wait::eventually(Deadline::seconds(10), "an event", || {
        let events = events(process);
        anyhow::ensure!(events.contains(text), "no `{text}` in\n{events}");
        Ok(())
    })
    .unwrap();
}

/// The listeners, the servers and whether `late` may come in.
fn in_force(process: &HighgateProcess) -> (usize, usize, bool) {
    let count = |name| table(process, name).unwrap().len();
    let address = process.listener("shop").unwrap();
    let comes_in = RawClient::connect(address, "late", "late", None, USUAL).is_ok();
    (count("listeners"), count("servers"), comes_in)
}

const LESS: (usize, usize, bool) = (1, 1, false);
const MORE: (usize, usize, bool) = (2, 2, true);

/// It was another file, which had never been applied: what it does not have stayed in force, without a word.
#[test]
fn what_is_gone_from_a_file_whose_link_was_swapped_is_taken_back() {
    let db = server();
    let process = start(&more(&db), &less(&db), &[]);
    let folder = process.folder().to_owned();
    assert_eq!(in_force(&process), MORE);
    swap(&folder, "..data", "v2");
    process.signal(Signal::HUP).unwrap();
    wait_for_event(&process, "read again");
    assert_eq!(in_force(&process), LESS, "{}", events(&process));

    // Rolled back, and on again.
    swap(&folder, "..data", "v1");
    let (is_done, told) = apply(&process, &[], "highgate.toml");
    assert!(is_done && told.contains("user late: added"), "{told}");
    assert_eq!(in_force(&process), MORE);
    swap(&folder, "..data", "v2");
    for words in [&["--dry-run"][..], &[]] {
        let (is_done, told) = apply(&process, words, "v1/../highgate.toml");
        assert!(is_done && told.contains("user late: removed"), "{told}");
    }
    assert_eq!(in_force(&process), LESS);

    // By another name of what lies there now, too; what lies elsewhere is another file.
    let nothing = (true, "nothing changes\n".to_owned());
    for name in ["..data/highgate.toml", "v2/highgate.toml", "./highgate.toml"] {
        assert_eq!(apply(&process, &[], name), nothing, "{name}");
    }
    fs::write(folder.join("v2/highgate.toml"), more(&db)).unwrap();
    assert!(apply(&process, &[], "v2/highgate.toml").0);
    assert_eq!(in_force(&process), MORE);
    swap(&folder, "..data", "v3");
    process.signal(Signal::HUP).unwrap();
    wait_for_event(&process, "nothing was changed: cannot read");
    assert!(!apply(&process, &[], "highgate.toml").0, "its link leads nowhere");
    assert_eq!(in_force(&process), MORE);
}

#[test]
fn the_next_process_takes_back_what_is_gone_since_its_link_was_swapped() {
    let db = server();
    let process = start(&more(&db), &less(&db), &[]);
    let folder = process.folder().to_owned();
    let next = |words: &[&str]| {
        let adjust = |command: &mut Command| {
            *command = Command::new(BINARY);
            command.args(["run", "highgate.toml"]).args(words).current_dir(&folder);
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        };
        HighgateProcess::start_with(BINARY, "", adjust).unwrap()
    };
    let shown = |process: &HighgateProcess| {
        let tell = |name: &str| {
            let data = folder.join("highgate-data");
            let mut ctl = Command::new(BINARY);
            ctl.args(["ctl", "--data-dir"]).arg(data).args(["show", name, "--format", "csv"]);
            failure::said(&ctl.output().unwrap()).lines().count() - 1
        };
        let address = process.listener("shop").unwrap();
        let late = RawClient::connect(address, "late", "late", None, USUAL).is_ok();
        (tell("listeners"), tell("servers"), late)
    };
    swap(&folder, "..data", "v2");
    let mut second = next(&["--replace"]);
    assert_eq!(shown(&second), LESS);
    swap(&folder, "..data", "v1");
    second.signal(Signal::HUP).unwrap();
    second.wait_for_log("read again").unwrap();
    assert_eq!(shown(&second), MORE);
    second.signal(Signal::TERM).unwrap();
    second.wait(Deadline::seconds(20)).unwrap();
    swap(&folder, "..data", "v2");
    let third = next(&[]);
    assert_eq!(shown(&third), LESS);
    assert!(!third.log().contains("started with other files"), "{}", third.log());
}

#[test]
fn of_several_files_links_may_be_swapped_and_they_are_known_by_other_names_in_any_order() {
    let db = server();
    let account = |name: &str| format!("[[user]]\nname = \"{name}\"\npassword = \"{name}\"\n");
    let extra = highgate_testkit::Scratch::new("links").unwrap();
    let real = form(extra.path(), "v1", &account("late"));
    form(extra.path(), "v2", &account("other"));
    let link = extra.join("extra.toml");
    symlink("v1/highgate.toml", &link).unwrap();
    let process = start(&less(&db), &less(&db), &[link.to_str().unwrap()]);
    let own = process.config_file();
    let all = |files: [&Path; 2]| {
        let data = process.folder().join("highgate-data");
        let mut apply = Command::new(BINARY);
        let output = apply.arg("apply").args(files).arg("--data-dir").arg(data).output().unwrap();
        (output.status.success(), failure::said(&output))
    };
    assert_eq!(all([&real, &own]), (true, "nothing changes\n".to_owned()));
    let (is_done, told) = apply(&process, &[], real.to_str().unwrap());
    let names = [&own, &link].map(|file| file.display().to_string()).join(" ");
    assert!(!is_done && told.contains(&format!("together: {names}")), "{told}");
    swap(extra.path(), "extra.toml", "v2/highgate.toml");
    let (is_done, told) = all([&link, &own]);
    let changed = |told: &str| told.contains("late: removed") && told.contains("other: added");
    assert!(is_done && changed(&told), "{told}");
    fs::write(extra.join("v2/highgate.toml"), "").unwrap();
    let (is_done, told) = all([&own, &extra.join("v2/highgate.toml")]);
    assert!(!is_done && told.contains(&format!("nothing is in {}", link.display())), "{told}");
}

/// The base of what was applied by the name to which the link leads, as older versions noted it, is not lost.
#[test]
fn a_further_file_is_known_by_its_link_from_when_it_was_given_by_that() {
    let db = server();
    let process = start(&less(&db), "", &[]);
    let folder = process.folder();
    let account = |name: &str| format!("[[user]]\nname = \"{name}\"\npassword = \"{name}\"\n");
    form(folder, "a", &(account("late") + &account("later")));
    form(folder, "b", &account("later"));
    symlink("a/highgate.toml", folder.join("further.toml")).unwrap();
    assert!(apply(&process, &[], "a/highgate.toml").0);
    for words in [&["--dry-run"][..], &[]] {
        let nothing = (true, "nothing changes\n".to_owned());
        assert_eq!(apply(&process, words, "further.toml"), nothing);
    }
    swap(folder, "further.toml", "b/highgate.toml");
    let (is_done, told) = apply(&process, &[], "further.toml");
    assert!(is_done && told.starts_with("user late: removed\n"), "{told}");
    // By another name it is the same, and stays known by its link.
    fs::write(folder.join("b/highgate.toml"), "").unwrap();
    let (is_done, told) = apply(&process, &[], "b/highgate.toml");
    assert!(is_done && told.starts_with("user later: removed\n"), "{told}");
    let state = fs::read_to_string(folder.join("highgate-data/state.json")).unwrap();
    let name = |name: &str| format!("{}\": ", folder.join(name).display());
    assert!(state.contains(&name("further.toml")), "{state}");
    assert!(!state.contains(&name("a/highgate.toml")) && !state.contains(&name("b/highgate.toml")));
}
