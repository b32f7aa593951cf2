//! Files of other programs, checked and served as they are.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    path::Path,
    process::Command,
    time::Duration,
};

use highgate_testkit::{highgate::HighgateProcess, scratch::Scratch};

const HAPROXY: &str = include_str!("../../highgate-config/tests/golden/haproxy.cfg");
const KEEPALIVED: &str = include_str!("../../highgate-config/tests/golden/keepalived.conf");

fn highgate(folder: &Path, arguments: &[&str]) -> (bool, String, String) {
    let ended = Command::new(env!("CARGO_BIN_EXE_highgate"))
        .current_dir(folder)
        .args(arguments)
        .output()
        .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (ended.status.success(), text(ended.stdout), text(ended.stderr))
}

fn folder(name: &str, files: &[(&str, &str)]) -> Scratch {
    let folder = Scratch::new(name).unwrap();
    for (name, text) in files {
        fs::write(folder.path().join(name), text).unwrap();
    }
    folder
}

#[test]
fn the_usual_pair_of_files_is_one_configuration() {
    let files = [("haproxy.cfg", HAPROXY), ("keepalived.conf", KEEPALIVED)];
    let folder = folder("imports", &files);
    let (good, out, err) = highgate(folder.path(), &["check", "haproxy.cfg", "keepalived.conf"]);
    assert!(good, "{err}");
    assert!(out.contains("1 listener, 1 backend with 3 servers"), "{out}");
    assert!(out.contains(", 1 vip\n"), "{out}");
    assert!(err.contains("keepalived.conf:9:13: note: script `haproxy_runs` stands for"), "{err}");
    assert!(!err.contains("hunter2") && !err.contains("1111"), "{err}");
}

#[test]
fn mistakes_of_both_files_are_told_at_once_and_fail() {
    let haproxy = HAPROXY.replace("maxconn 4000", "maxconn many");
    let keepalived = KEEPALIVED.replace("priority 100", "priorty 100");
    let files = [("haproxy.cfg", haproxy.as_str()), ("keepalived.conf", keepalived.as_str())];
    let folder = folder("import-mistakes", &files);
    let (good, _, err) = highgate(folder.path(), &["check", "haproxy.cfg", "keepalived.conf"]);
    assert!(!good && err.contains("haproxy.cfg:3:13: error: `many`"), "{err}");
    assert!(err.contains("keepalived.conf:19:5: error: unknown keyword `priorty`"), "{err}");
    assert!(err.contains("2 errors; nothing was changed"), "{err}");
}

#[test]
fn included_files_are_found_beside_their_file() {
    let main = "include conf.d/*.conf\nglobal_defs {\n}\n";
    let folder = folder("import-include", &[("keepalived.conf", main)]);
    fs::create_dir(folder.path().join("conf.d")).unwrap();
    fs::write(folder.path().join("conf.d/vip.conf"), KEEPALIVED).unwrap();
    let file = folder.path().join("keepalived.conf").display().to_string();
    let (good, out, err) = highgate(Path::new("/"), &["check", &file]);
    assert!(good && out.contains(", 1 vip\n"), "{err}");
}

/// Answers one client with its greeting, and then with what it sends.
fn echo() -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for client in listener.incoming() {
            let mut client = client.unwrap();
            std::thread::spawn(move || {
                let mut bytes = [0; 256];
                while let Ok(count @ 1..) = client.read(&mut bytes) {
                    if client.write_all(&bytes[..count]).is_err() {
                        return;
                    }
                }
            });
        }
    });
    address
}

#[test]
fn a_file_of_haproxy_serves_its_clients_in_tcp_mode() {
    let server = echo();
    let text = HAPROXY
        .replace("bind *:8080", "bind 127.0.0.1:0")
        .replace("10.0.0.80:8802", &server.to_string())
        .replace("inter 5s", "inter 200ms");
    let admin = "[admin]\nsql = 'off'\nweb = 'off'\n";
    let folder = folder("import-run", &[("admin.toml", admin)]);
    let admin = folder.path().join("admin.toml");
    let process = HighgateProcess::start_with(env!("CARGO_BIN_EXE_highgate"), &text, |command| {
        command.arg(&admin);
    })
    .unwrap();
    let mut client = TcpStream::connect(process.listener("shop_in").unwrap()).unwrap();
    client.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    client.write_all(b"hello").unwrap();
    let mut heard = Vec::new();
    while !heard.ends_with(b"hello") {
        let mut bytes = [0; 256];
        let count = client.read(&mut bytes).unwrap();
        assert!(
            count > 0,
            "closed after {:?}:\n{}",
            String::from_utf8_lossy(&heard),
            process.log()
        );
        heard.extend_from_slice(&bytes[..count]);
    }
    // `send-proxy` of the file: the server hears who the client is, first.
    let own = client.local_addr().unwrap();
    let header = format!("PROXY TCP4 127.0.0.1 127.0.0.1 {} ", own.port());
    assert!(heard.starts_with(header.as_bytes()), "{:?}", String::from_utf8_lossy(&heard));
}
