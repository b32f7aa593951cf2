//! Changes that can't be put in force on this machine: refused whole, with the reason, by whatever
//! way they come.

#[path = "common/failure.rs"]
mod failure;
#[path = "client/raw.rs"]
mod raw;

use std::{
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    path::Path,
    process::Command,
};

use failure::{BINARY, table};
use highgate_testkit::{
    Scratch,
    highgate::HighgateProcess,
    scripted::{Reply, Script, ScriptedServer},
    wait::{self, Deadline},
};
use raw::{RawClient, USUAL};
use rustix::process::Signal;

fn server() -> ScriptedServer {
    let script = Script::new(|command| match command.text().as_str() {
        text if text.starts_with("SELECT @@") => Reply::variables(text),
        text if text.starts_with("SELECT") => Reply::value("name", "a"),
        "BEGIN" => Reply::OkStatus(0x0003),
        _ => Reply::OkStatus(0x0002),
    });
    ScriptedServer::start(script).unwrap()
}

/// One listener and what comes after it; `shop` belongs to the listener, `backend` to the backend.
fn toml(server: &ScriptedServer, shop: &str, backend: &str, more: &str) -> String {
    format!(
        "[admin]\nsql = \"127.0.0.1:0\"\nweb = \"127.0.0.1:0\"\n\
         [[listener]]\nname = \"shop\"\nbackend = \"shop\"\n{shop}\n\
         [[user]]\nname = \"app\"\npassword = \"app\"\n\
         [[backend]]\nname = \"shop\"\n{backend}\n\
         monitor = {{ user = \"m\", password = \"m\", check = \"connect\", interval = \"200ms\" }}\n\
         [[backend.server]]\nname = \"db1\"\naddress = \"{}\"\n{more}",
        server.addr()
    )
}

const ANYWHERE: &str = "bind = \"127.0.0.1:0\"";

fn apply(process: &HighgateProcess, text: &str) -> Result<String, String> {
    std::fs::write(process.config_file(), text).unwrap();
    let (is_done, told) = failure::apply(process, &[], &process.config_file());
    if is_done { Ok(told) } else { Err(told) }
}

fn version(process: &HighgateProcess) -> u64 {
    table(process, "node").unwrap()[0]["config_version"].as_u64().unwrap()
}

fn events(process: &HighgateProcess) -> String {
    let rows = table(process, "events").unwrap();
    let texts = rows.iter().map(|row| row["text"].as_str().unwrap().replace('\n', " "));
    texts.collect::<Vec<_>>().join("\n")
}

fn wait_for_event(process: &HighgateProcess, text: &str) {
    wait::eventually(Deadline::seconds(10), "an event", || {
        let events = events(process);
        anyhow::ensure!(events.contains(text), "no `{text}` in\n{events}");
        Ok(())
    })
    .unwrap();
}

fn comes_in(address: SocketAddr) -> anyhow::Result<RawClient> {
    let mut client = RawClient::connect(address, "app", "app", None, USUAL)?;
    anyhow::ensure!(client.value("SELECT name FROM t")? == "a");
    Ok(client)
}

/// A port of this machine that nobody has.
fn free_port() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port()
}

/// What is refused: `apply` and a signal say so, and nothing is as the file says.
fn is_refused(process: &HighgateProcess, text: &str, reason: &[&str]) {
    let before = version(process);
    let told = apply(process, text).unwrap_err();
    let event = |start: &str| {
        let events = events(process);
        let mut lines = events.lines().filter(|line| line.starts_with(start));
        lines.next_back().map(str::to_owned)
    };
    let refused = event("`apply` was refused: ").unwrap_or_default();
    for part in reason {
        assert!(told.contains(part), "no `{part}` in\n{told}");
        assert!(refused.contains(part), "no `{part}` in\n{refused}");
    }
    process.signal(Signal::HUP).unwrap();
    wait::eventually(Deadline::seconds(10), "the signal's event", || {
        let line = event("nothing was changed: ").unwrap_or_default();
        anyhow::ensure!(reason.iter().all(|part| line.contains(part)), "{reason:?} in {line}");
        Ok(())
    })
    .unwrap();
    assert_eq!(version(process), before);
    let events = events(process);
    assert!(!events.contains("read again") && !events.contains("not in force"), "{events}");
}

#[test]
fn a_taken_port_refuses_the_whole_change_and_a_free_one_accepts_it() {
    let db = server();
    let process = HighgateProcess::start(BINARY, &toml(&db, ANYWHERE, "", "")).unwrap();
    let address = process.listener("shop").unwrap();
    let mut resident = comes_in(address).unwrap();
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let (free, port) = (free_port(), taken.local_addr().unwrap().port());
    let listener = |name: &str, port: u16| {
        format!(
            "[[listener]]\nname = \"{name}\"\nbackend = \"shop\"\nbind = \"127.0.0.1:{port}\"\n"
        )
    };
    // Who tightens one listener in the same file is not to believe that it is tight.
    let narrowed = format!("{ANYWHERE}\nallow = [\"10.0.0.0/8\"]");
    let more = listener("extra", free) + &listener("second", port);
    let text = toml(&db, &narrowed, "", &more);
    let bind = format!("cannot listen on 127.0.0.1:{port}");
    let line = text.lines().position(|line| line.contains(&port.to_string())).unwrap() + 1;
    let at = format!("highgate.toml:{line}:8: listener second: ");
    is_refused(&process, &text, &[&at, &bind, "`bind`"]);
    assert!(comes_in(address).is_ok(), "as before");
    assert!(TcpStream::connect(("127.0.0.1", free)).is_err(), "nobody listens there");
    drop(taken);
    apply(&process, &text).unwrap();
    wait::eventually(Deadline::seconds(10), "the narrowed listener", || {
        anyhow::ensure!(comes_in(address).is_err());
        comes_in(process.listener("second")?)?;
        comes_in(process.listener("extra")?).map(drop)
    })
    .unwrap();
    assert_eq!(resident.value("SELECT name FROM t").unwrap(), "a");
    assert!(!process.log().contains("panicked"), "{}", process.log());
}

/// It was accepted and stored, and the next start ended with it: nobody was served.
#[test]
fn a_taken_port_for_operators_is_refused_by_apply_and_keeps_no_client_waiting_at_a_start() {
    let db = server();
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let (free, port) = (free_port(), taken.local_addr().unwrap().port());
    let of = |sql: u16, web: u16| {
        let ports = format!("[admin]\nsql = \"127.0.0.1:{sql}\"\nweb = \"127.0.0.1:{web}\"\n");
        let text = toml(&db, ANYWHERE, "", "");
        let (before, rest) = text.split_once("[admin]\n").unwrap();
        let (_, rest) = rest.split_once("[[").unwrap();
        format!("{before}{ports}[[{rest}")
    };
    let process = HighgateProcess::start(BINARY, &of(free, 0)).unwrap();
    let bind = format!("cannot listen on 127.0.0.1:{port}");
    let text = of(free, port);
    let line = text.lines().position(|line| line.starts_with("web")).unwrap() + 1;
    is_refused(&process, &text, &[&format!("highgate.toml:{line}:7: "), &bind, "`admin.web`"]);
    // What this process holds is free at a start.
    let told = apply(&process, &of(0, free)).unwrap();
    assert!(told.contains("with the next start"), "{told}");
    drop(process);

    let process = HighgateProcess::start(BINARY, &text).unwrap();
    assert!(comes_in(process.listener("shop").unwrap()).is_ok(), "it is served");
    assert!(process.admin_sql().is_ok() && process.admin_web().is_err());
    wait_for_event(&process, &format!("{bind}: "));
    wait_for_event(&process, "clients are served without it");
    drop(taken);
    wait_for_event(&process, &format!("[admin] web: listening on 127.0.0.1:{port} now"));
    assert!(TcpStream::connect(process.admin_web().unwrap()).is_ok());
}

#[test]
fn a_certificate_that_can_not_be_read_refuses_the_whole_change() {
    let db = server();
    let start = toml(&db, ANYWHERE, "", "");
    let process = HighgateProcess::start(BINARY, &start).unwrap();
    let address = process.listener("shop").unwrap();
    let tls =
        "tls = { mode = \"required\", cert = \"/nowhere/cert.pem\", key = \"/nowhere/key.pem\" }";
    let text = toml(&db, &format!("{ANYWHERE}\n{tls}"), "", "");
    let missing = "certificate `/nowhere/cert.pem`";
    is_refused(&process, &text, &["highgate.toml:8:", "listener shop: ", missing, "`tls.cert`"]);
    let tls = "tls = { mode = \"verify-ca\", ca = \"/nowhere/ca.pem\" }";
    let text = toml(&db, ANYWHERE, tls, "");
    let missing = "trusted authorities `/nowhere/ca.pem`";
    is_refused(&process, &text, &["highgate.toml:13:", "backend shop: ", missing, "`tls.ca`"]);
    let tls = "[admin]\ntls = { cert = \"/nowhere/a.pem\", key = \"/nowhere/b.pem\" }";
    let text = start.replace("[admin]", tls);
    let missing = "certificate `/nowhere/a.pem`";
    is_refused(
        &process,
        &text,
        &["highgate.toml:2:", "[admin] tls: ", missing, "`admin.tls.cert`"],
    );
    assert!(comes_in(address).is_ok(), "as before");
    std::fs::write(process.config_file(), &start).unwrap();
    process.signal(Signal::HUP).unwrap();
    wait_for_event(&process, "and certificates with them: nothing changes");
}

#[test]
fn an_address_moves_with_its_listener_when_that_gets_another_name() {
    let db = server();
    let bind = format!("bind = \"127.0.0.1:{}\"", free_port());
    let text = toml(&db, &bind, "", "");
    let process = HighgateProcess::start(BINARY, &text).unwrap();
    let address = process.listener("shop").unwrap();
    let mut resident = comes_in(address).unwrap();
    apply(&process, &text.replacen("\"shop\"", "\"store\"", 1)).unwrap();
    wait::eventually(Deadline::seconds(10), "the listener of the other name", || {
        anyhow::ensure!(process.listener("store")? == address);
        let rows = table(&process, "listeners")?;
        let names: Vec<_> = rows.iter().map(|row| row["name"].as_str().unwrap()).collect();
        anyhow::ensure!(names == ["store"], "{names:?}");
        Ok(())
    })
    .unwrap();
    for _ in 0..20 {
        comes_in(address).unwrap();
    }
    assert_eq!(resident.value("SELECT name FROM t").unwrap(), "a");
}

#[test]
fn an_empty_or_cut_off_file_does_not_take_the_last_listener_away() {
    let db = server();
    let text = toml(&db, ANYWHERE, "", "");
    let process = HighgateProcess::start(BINARY, &text).unwrap();
    let address = process.listener("shop").unwrap();
    let why = "no listener would be left: is a file empty, or cut off?";
    is_refused(&process, "", &[why, "stop the process and start it with these files"]);
    is_refused(&process, text.split("[[listener]]").next().unwrap(), &[why]);
    let file = process.config_file();
    let dry = |command: &[&str]| failure::said(&failure::highgate(&process, command, &file));
    assert!(dry(&["apply", "--dry-run"]).contains(why));
    assert!(dry(&["check"]).contains("warning: there is no listener and no vip"));
    assert!(comes_in(address).is_ok(), "as before");
}

/// As soon as another file had set anything of the listener, an emptied file took all else away: users,
/// other listeners, backends.
#[test]
fn an_emptied_file_is_refused_also_where_another_file_keeps_its_listener() {
    let db = server();
    let text = toml(&db, ANYWHERE, "", "");
    let process = HighgateProcess::start(BINARY, &text).unwrap();
    let address = process.listener("shop").unwrap();
    let (own, other) = (process.config_file(), process.folder().join("other.toml"));
    let listener = format!("[[listener]]\nname = \"shop\"\nbackend = \"shop\"\n{ANYWHERE}\n");
    let more = listener.replacen("shop", "more", 1);
    std::fs::write(&other, format!("{listener}max_connections = 77\n{more}")).unwrap();
    let (done, said) = failure::apply(&process, &[], &other);
    assert!(done, "{said}");
    let why = "no listener or vip is in the files, and there was when they were last applied: is a \
               file empty, or cut off?";
    std::fs::write(&own, "").unwrap();
    process.signal(Signal::HUP).unwrap();
    wait_for_event(&process, &format!("nothing was changed: {why}"));
    assert!(apply(&process, "").unwrap_err().contains(why));
    let dry = failure::highgate(&process, &["apply", "--dry-run"], &own);
    let told = String::from_utf8(dry.stdout).unwrap();
    assert!(told.contains(&format!("note: it would be refused: {why}")), "{told}");
    assert!(comes_in(address).is_ok(), "as before");
}

/// What one of several files said hid that another was emptied: all that this one had was taken away.
#[test]
fn one_of_several_files_that_is_emptied_is_refused_and_one_that_was_empty_is_not() {
    let db = server();
    let folder = Scratch::new("several").unwrap();
    let (more, blank) = (folder.join("more.toml"), folder.join("blank.toml"));
    let listener = |limit: u32| {
        format!(
            "[[listener]]\nname = \"more\"\nbackend = \"shop\"\n{ANYWHERE}\n\
             max_connections = {limit}\n"
        )
    };
    std::fs::write(&more, listener(7)).unwrap();
    std::fs::write(&blank, "# nothing yet\n").unwrap();
    let text = toml(&db, ANYWHERE, "", "");
    let with_all = |command: &mut Command| {
        command.args([&more, &blank]);
    };
    let process = HighgateProcess::start_with(BINARY, &text, with_all).unwrap();
    let (own, address) = (process.config_file(), process.listener("shop").unwrap());
    let all = |action: &[&str]| {
        let files = [&own, &more, &blank].map(|file| file.to_str().unwrap());
        let data = process.folder().join("highgate-data");
        let data = ["--data-dir", data.to_str().unwrap()];
        let output = Command::new(BINARY).args([action, &files, &data].concat()).output().unwrap();
        (output.status.success(), failure::said(&output))
    };
    let whole = std::fs::canonicalize(&own).unwrap().display().to_string();
    let why =
        format!("nothing is in {whole}, and there was when it was last applied: is a file empty");
    for emptied in ["", "\n# [[listener]]\n"] {
        std::fs::write(&own, emptied).unwrap();
        let (is_done, told) = all(&["apply"]);
        assert!(!is_done && told.contains(&why), "{told}");
        let (_, told) = all(&["apply", "--dry-run"]);
        assert!(told.contains(&format!("note: it would be refused: {why}")), "{told}");
    }
    process.signal(Signal::HUP).unwrap();
    wait_for_event(&process, &format!("nothing was changed: {why}"));
    assert!(comes_in(address).is_ok(), "as before");
    std::fs::write(&own, &text).unwrap();
    let (_, told) = all(&["apply"]);
    assert!(told.contains("nothing changes"), "{told}");
    // The other one, and once that was empty it says nothing that could go.
    std::fs::write(&more, "").unwrap();
    assert!(!all(&["apply"]).0);
    std::fs::write(&more, listener(8)).unwrap();
    std::fs::write(&blank, "[[user]]\nname = \"b\"\npassword = \"b\"\n").unwrap();
    assert!(all(&["apply"]).0, "what was empty at first may stay so, and be filled");
    std::fs::write(&blank, "").unwrap();
    let (is_done, told) = all(&["apply"]);
    assert!(!is_done && told.contains("stop the process and start it with these files"), "{told}");
}

#[test]
fn a_password_that_nobody_could_log_in_by_is_refused_with_its_place() {
    let db = server();
    let text = toml(&db, ANYWHERE, "", "");
    let process = HighgateProcess::start(BINARY, &text).unwrap();
    let wrong = text.replace("password = \"app\"", "password = \"$A$005$abc\"");
    let told = apply(&process, &wrong).unwrap_err();
    let place = "highgate.toml:10:12: error: ";
    assert!([place, "user `app`", "`$A$`"].iter().all(|part| told.contains(part)), "{told}");
    process.signal(Signal::HUP).unwrap();
    wait_for_event(&process, place);
    assert!(comes_in(process.listener("shop").unwrap()).is_ok(), "as before");
}

#[test]
fn who_waits_for_a_server_in_vain_is_told_which_limit_was_reached() {
    let server = server();
    let backend = "queue_timeout = \"1s\"\nmax_queue = 1";
    let toml = toml(&server, ANYWHERE, backend, "max_connections = 1\n");
    let process = HighgateProcess::start(BINARY, &toml).unwrap();
    let address = process.listener("shop").unwrap();
    let mut holder = comes_in(address).unwrap();
    let [mut waiter, mut other] =
        [(); 2].map(|()| RawClient::connect(address, "app", "app", None, USUAL).unwrap());
    holder.ok("BEGIN").unwrap();
    waiter.send(b"\x03SELECT name FROM t").unwrap();
    wait::eventually(Deadline::seconds(10), "one who waits", || {
        anyhow::ensure!(table(&process, "servers")?[0]["queued"].as_u64() == Some(1));
        Ok(())
    })
    .unwrap();
    let told = format!("{:?}", other.query("SELECT name FROM t").unwrap());
    assert!(told.contains("1040") && told.contains("as `max_queue` allows"), "{told}");
    let told = format!("{:?}", waiter.answer().unwrap());
    assert!(told.contains("1040") && told.contains("within `queue_timeout`"), "{told}");
}

fn make_pipe(at: &Path) {
    let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
    rustix::fs::mknodat(rustix::fs::CWD, at, rustix::fs::FileType::Fifo, mode, 0).unwrap();
}

/// The reload waited for somebody to write, and nothing that was changed afterwards came into force.
#[test]
fn a_reload_reads_no_pipe_and_what_is_changed_afterwards_is_in_force() {
    let server = server();
    let process = HighgateProcess::start(BINARY, &toml(&server, ANYWHERE, "", "")).unwrap();
    let file = process.config_file();
    std::fs::remove_file(&file).unwrap();
    make_pipe(&file);
    process.signal(Signal::HUP).unwrap();
    wait_for_event(&process, "nothing was changed: cannot read");
    assert!(events(&process).contains("it is no file but a pipe"), "{}", events(&process));
    std::fs::remove_file(&file).unwrap();
    apply(&process, &toml(&server, ANYWHERE, "", "weight = 7\n")).unwrap();
    wait::eventually(Deadline::seconds(10), "the weight", || {
        let weight = &table(&process, "servers")?[0]["weight"];
        anyhow::ensure!(*weight == 7000, "{weight}");
        Ok(())
    })
    .unwrap();
}

/// It waited for somebody to write, and every later action with it.
#[test]
fn a_pipe_that_is_named_as_a_certificate_is_refused_by_apply_and_a_reload() {
    let server = server();
    let start = toml(&server, ANYWHERE, "", "");
    let process = HighgateProcess::start(BINARY, &start).unwrap();
    let pipe = process.folder().join("pipe.pem");
    make_pipe(&pipe);
    let pipe = pipe.display();
    let pair = format!("tls = {{ cert = \"/nowhere\", key = \"{pipe}\" }}");
    let authorities = format!("tls = {{ mode = \"verify-ca\", ca = \"{pipe}\" }}");
    for (text, place) in [
        (toml(&server, &format!("{ANYWHERE}\n{pair}"), "", ""), "listener shop"),
        (toml(&server, ANYWHERE, &authorities, ""), "backend shop"),
        (start.replace("[admin]", &format!("[admin]\n{pair}")), ""),
    ] {
        let told = apply(&process, &text).unwrap_err();
        let why = "it is no file but a pipe, a device or a socket: write it to a file";
        let line = text.lines().position(|line| line.starts_with("tls =")).unwrap() + 1;
        let parts = [why, place, &format!("highgate.toml:{line}:")];
        assert!(parts.iter().all(|part| told.contains(part)), "{told}");
        std::fs::write(process.config_file(), &text).unwrap();
        process.signal(Signal::HUP).unwrap();
        wait_for_event(&process, &format!("highgate.toml:{line}:"));
    }
    apply(&process, &start).unwrap();
}

/// One that never ends was read until there was no memory left.
#[test]
fn a_reload_reads_no_certificate_that_is_a_device_or_longer_than_any() {
    let server = server();
    let process = HighgateProcess::start(BINARY, &toml(&server, ANYWHERE, "", "")).unwrap();
    let long = process.folder().join("long.pem");
    std::fs::File::create(&long).unwrap().set_len(5 << 20).unwrap();
    for (file, said) in [("/dev/null", "it is no file"), (long.to_str().unwrap(), "4 MiB")] {
        let pair = format!("tls = {{ cert = \"{file}\", key = \"{file}\" }}");
        let authorities = format!("tls = {{ mode = \"verify-ca\", ca = \"{file}\" }}");
        for (text, setting) in [
            (toml(&server, &format!("{ANYWHERE}\n{pair}"), "", ""), "`tls.cert`"),
            (toml(&server, ANYWHERE, &authorities, ""), "`tls.ca`"),
        ] {
            std::fs::write(process.config_file(), &text).unwrap();
            process.signal(Signal::HUP).unwrap();
            let line = text.lines().position(|line| line.starts_with("tls =")).unwrap() + 1;
            wait_for_event(&process, &format!("highgate.toml:{line}:"));
            wait_for_event(&process, setting);
            let told = events(&process);
            assert!(told.contains(said) && told.contains(file), "{told}");
        }
    }
    apply(&process, &toml(&server, ANYWHERE, "", "weight = 7\n")).unwrap();
}

/// The process waited for somebody to write, and every later action with it.
#[test]
fn a_pipe_or_a_device_is_no_file_to_apply() {
    let server = server();
    let account = "[[admin.user]]\nname = \"admin\"\npassword = \"secret\"\n";
    let process = HighgateProcess::start(BINARY, &toml(&server, ANYWHERE, "", account)).unwrap();
    let pipe = process.folder().join("pipe");
    make_pipe(&pipe);
    let data = process.folder().join("highgate-data");
    for file in [pipe.to_str().unwrap(), "/dev/zero"] {
        let output = Command::new(BINARY).args(["apply", file, "--data-dir"]).arg(&data).output();
        let output = output.unwrap();
        let told = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && told.contains("it is no file"), "{told}");
    }
    // Other ways than the command line leave the reading to the process: it waited, and all later actions.
    let port = process.admin_sql().unwrap();
    let mut operator = RawClient::connect(port, "admin", "secret", None, USUAL).unwrap();
    for (action, file) in [("apply", pipe.to_str().unwrap()), ("compare", "/dev/zero")] {
        let told = operator.query(format!("CALL node.{action}('{file}')")).unwrap();
        assert!(format!("{told:?}").contains("it is no file"), "{told:?}");
    }
    apply(&process, &toml(&server, ANYWHERE, "", account)).unwrap();
}
