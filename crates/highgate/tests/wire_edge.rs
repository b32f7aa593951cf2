//! The edge towards clients: who may come, as whom, and how many.

#[path = "common/certificates.rs"]
mod certificates;
#[path = "common/failure.rs"]
mod failure;
#[path = "client/raw.rs"]
mod raw;

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use failure::{BINARY, ctl, table};
use highgate_testkit::{
    highgate::HighgateProcess,
    scratch::Scratch,
    scripted::{Reply, Script, ScriptedServer},
    wait::{self, Deadline},
};
use raw::{RawClient, USUAL};

const BACKEND: &str = "monitor = { user = \"m\", password = \"m\", check = \"connect\" }\n";
const V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

fn server() -> ScriptedServer {
    let script = Script::new(|command| match command.text().as_str() {
        text if text.starts_with("SELECT @@") => Reply::variables(text),
        text if text.starts_with("SELECT") => Reply::value("n", "1"),
        _ => Reply::Ok,
    });
    ScriptedServer::start(script).unwrap()
}

fn front(server: &ScriptedServer, listener: &str) -> HighgateProcess {
    HighgateProcess::start(BINARY, &failure::toml(&[server.addr()], BACKEND, listener)).unwrap()
}

/// A connection that began with `header`.
fn opened(address: SocketAddr, header: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    stream.write_all(header).unwrap();
    stream
}

fn log_in(stream: TcpStream, user: &str) -> anyhow::Result<RawClient> {
    RawClient::over(stream, user, user, None, USUAL)
}

fn v1(client: &str) -> Vec<u8> {
    format!("PROXY TCP4 {client} 127.0.0.1 40000 3306\r\n").into_bytes()
}

/// Version 2 with an extension behind the addresses.
fn v2(client: [u8; 4]) -> Vec<u8> {
    let addresses =
        [&client[..], &[127, 0, 0, 1], &40000_u16.to_be_bytes(), &3306_u16.to_be_bytes()];
    let extension = [4, 0, 2, 7, 7];
    [V2, &[0x21, 0x11, 0, 17], &addresses.concat(), &extension].concat()
}

/// Everything until the connection ends; an error where it does not end in time.
fn rest(mut stream: TcpStream) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    match stream.read_to_end(&mut bytes) {
        Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => Ok(bytes),
        Err(error) => Err(error),
        Ok(_) => Ok(bytes),
    }
}

fn wait_for_event(process: &HighgateProcess, text: &str) {
    wait::eventually(Deadline::seconds(5), "an event", || {
        let events = ctl(process, &["events", "--last", "50"])?;
        anyhow::ensure!(events.contains(text), "no `{text}` in\n{events}");
        Ok(())
    })
    .unwrap();
}

fn clients_shown(process: &HighgateProcess) -> Vec<String> {
    let rows = table(process, "sessions").unwrap();
    rows.iter().filter_map(|row| row.get("client")?.as_str().map(str::to_owned)).collect()
}

#[test]
fn a_client_behind_a_trusted_proxy_is_known_by_its_own_address() {
    let server = server();
    let process = front(&server, "proxy_protocol_from = \"127.0.0.0/8\"");
    let address = process.listener("shop").unwrap();
    let v6 = b"PROXY TCP6 2001:db8::7 ::1 40000 3306\r\n".to_vec();
    let mapped = b"PROXY TCP6 ::ffff:203.0.113.9 ::1 40000 3306\r\n".to_vec();
    for (header, shown) in [
        (v1("203.0.113.7"), "203.0.113.7:40000"),
        (v2([203, 0, 113, 8]), "203.0.113.8:40000"),
        (v6, "[2001:db8::7]:40000"),
        (mapped, "203.0.113.9:40000"),
    ] {
        let mut client = log_in(opened(address, &header), "app").unwrap();
        assert_eq!(client.value("SELECT 1").unwrap(), "1");
        assert_eq!(clients_shown(&process), [shown]);
        drop(client);
        wait::eventually(Deadline::seconds(5), "the session's end", || {
            anyhow::ensure!(clients_shown(&process).is_empty());
            Ok(())
        })
        .unwrap();
    }
    // A proxy's own connection (its check of us) is the proxy's.
    let local = [V2, &[0x20, 0, 0, 0]].concat();
    for header in [local, b"PROXY UNKNOWN\r\n".to_vec()] {
        let mut client = log_in(opened(address, &header), "app").unwrap();
        assert_eq!(client.value("SELECT 1").unwrap(), "1");
    }
}

#[test]
fn a_header_may_come_byte_by_byte_and_with_the_first_command_behind_it() {
    let server = server();
    let process = front(&server, "proxy_protocol_from = \"127.0.0.0/8\"");
    let address = process.listener("shop").unwrap();
    let mut stream = opened(address, b"");
    stream.set_nodelay(true).unwrap();
    for byte in v2([203, 0, 113, 8]) {
        stream.write_all(&[byte]).unwrap();
    }
    assert_eq!(log_in(stream, "app").unwrap().value("SELECT 1").unwrap(), "1");
}

#[test]
fn a_header_from_elsewhere_is_refused_with_an_event_and_no_other_client_is() {
    let server = server();
    let process = front(&server, "proxy_protocol_from = \"10.99.0.0/16\"");
    let address = process.listener("shop").unwrap();
    for header in [v1("203.0.113.7"), v2([203, 0, 113, 7])] {
        let bytes = rest(opened(address, &header)).unwrap();
        let text = String::from_utf8_lossy(&bytes).into_owned();
        assert!(text.contains("is not accepted from this address"), "{text}");
    }
    wait_for_event(
        &process,
        "refused 127.0.0.1: it sent a PROXY header and is not in `proxy_protocol_from`",
    );
    assert_eq!(log_in(opened(address, b""), "app").unwrap().value("SELECT 1").unwrap(), "1");
    assert!(server.logins().len() <= 1, "nothing of a refused client reached the server");
}

#[test]
fn a_header_from_elsewhere_does_not_reach_a_server_through_tcp_mode() {
    let server = server();
    let text = failure::toml(&[server.addr()], BACKEND, "proxy_protocol_from = \"10.99.0.0/16\"");
    let text = text.replace("mode = \"mysql\"", "mode = \"tcp\"");
    let process = HighgateProcess::start(BINARY, &text).unwrap();
    let address = process.listener("shop").unwrap();
    let mut slow = opened(address, b"");
    slow.set_nodelay(true).unwrap();
    for byte in v1("203.0.113.7") {
        if slow.write_all(&[byte]).is_err() {
            break;
        }
    }
    for stream in [slow, opened(address, &v1("203.0.113.7")), opened(address, &v2([1, 2, 3, 4]))] {
        rest(stream).unwrap();
    }
    wait_for_event(&process, "it sent a PROXY header and is not in `proxy_protocol_from`");
    assert!(server.logins().is_empty(), "{:?}", server.logins());
    assert_eq!(log_in(opened(address, b""), "app").unwrap().value("SELECT 1").unwrap(), "1");
}

#[test]
fn a_wrong_slow_or_missing_header_ends_in_time_with_an_event() {
    let server = server();
    let process =
        front(&server, "proxy_protocol_from = \"127.0.0.0/8\"\nhandshake_timeout = \"700ms\"");
    let address = process.listener("shop").unwrap();
    let long = [V2, &[0x21, 0x11, 0xff, 0xff]].concat();
    for wrong in [
        b"GET / HTTP/1.1\r\n\r\n".to_vec(),
        b"PROXY TCP4 1.2.3.4 5.6.7.8 99999 1\r\n".to_vec(),
        b"PROXY TCP4 1.2.3.4 ::1 1 1\r\n".to_vec(),
        [b"PROXY ".to_vec(), vec![b'x'; 300]].concat(),
        [V2, &[0x31, 0x11, 0, 12]].concat(),
        [V2, &[0x21, 0x11, 0, 3, 1, 2, 3]].concat(),
        long,
    ] {
        let started = wait::now();
        let said = rest(opened(address, &wrong)).unwrap();
        assert!(said.is_empty(), "{said:?}");
        assert!(wait::now() - started < Duration::from_millis(500), "{wrong:?}: waited for more");
    }
    wait_for_event(&process, "sent no right PROXY header");
    // Half a header, none, and one that trickles: all end with the handshake's time.
    let started = wait::now();
    let trickling = opened(address, b"P");
    trickling.set_nodelay(true).unwrap();
    let silent = opened(address, b"");
    let half = opened(address, &v1("203.0.113.7")[..20]);
    let writer = trickling.try_clone().unwrap();
    let drip = std::thread::spawn(move || {
        let mut writer = writer;
        for byte in v1("203.0.113.7").split_off(1) {
            if writer.write_all(&[byte]).is_err() {
                return;
            }
            let _ = wait::wait_until(Deadline::after(Duration::from_millis(200)), || false);
        }
    });
    for stream in [silent, half, trickling] {
        assert!(rest(stream).unwrap().is_empty());
    }
    let took = wait::now() - started;
    assert!(took > Duration::from_millis(600) && took < Duration::from_secs(3), "{took:?}");
    wait_for_event(&process, "sent no PROXY header within `handshake_timeout`");
    drip.join().unwrap();
    assert!(!process.log().contains("panicked"), "{}", process.log());
}

#[test]
fn networks_and_limits_hold_for_the_client_that_a_header_announces() {
    let server = server();
    let process = front(
        &server,
        "proxy_protocol_from = \"127.0.0.0/8\"\nallow = [\"203.0.113.0/24\", \"2001:db8::/32\"]\n\
         max_connections_per_address = 1",
    );
    let address = process.listener("shop").unwrap();
    let one = log_in(opened(address, &v1("203.0.113.7")), "app").unwrap();
    let _two = log_in(opened(address, &v2([203, 0, 113, 8])), "app").unwrap();
    assert!(rest(opened(address, &v1("203.0.113.7"))).unwrap().is_empty());
    wait_for_event(&process, "refused 203.0.113.7: max_connections_per_address");
    assert!(rest(opened(address, &v1("198.51.100.1"))).unwrap().is_empty());
    wait_for_event(&process, "refused 198.51.100.1: its network is not in `allow`");
    drop(one);
    wait::eventually(Deadline::seconds(5), "the place to be free again", || {
        log_in(opened(address, &v1("203.0.113.7")), "app").map(drop)
    })
    .unwrap();
}

#[test]
fn a_listener_serves_its_networks_only_and_ipv4_is_ipv4_on_an_ipv6_socket() {
    let server = server();
    let text = failure::toml(&[server.addr()], BACKEND, "allow = \"10.99.0.0/16\"");
    let more = |name: &str, allow: &str| {
        format!(
            "[[listener]]\nname = \"{name}\"\nbind = \"[::]:0\"\nbackend = \"shop\"\nallow = \"{allow}\"\n"
        )
    };
    let text = [
        text,
        more("v4", "127.0.0.0/8"),
        more("mapped", "::ffff:127.0.0.0/104"),
        more("v6", "::1"),
    ];
    let process = HighgateProcess::start(BINARY, &text.concat()).unwrap();
    assert!(rest(opened(process.listener("shop").unwrap(), b"")).unwrap().is_empty());
    wait_for_event(&process, "listener shop refused 127.0.0.1: its network is not in `allow`");
    let port = |name: &str| process.listener(name).unwrap().port();
    let v4 = |name: &str| SocketAddr::from(([127, 0, 0, 1], port(name)));
    let v6 = |name: &str| SocketAddr::from((std::net::Ipv6Addr::LOCALHOST, port(name)));
    for address in [v4("v4"), v4("mapped"), v6("v6")] {
        assert_eq!(log_in(opened(address, b""), "app").unwrap().value("SELECT 1").unwrap(), "1");
    }
    assert!(rest(opened(v4("v6"), b"")).unwrap().is_empty());
    assert!(rest(opened(v6("v4"), b"")).unwrap().is_empty());
}

#[test]
fn an_account_is_held_to_its_networks_and_its_number_and_operators_are_told_why() {
    let server = server();
    let text = failure::toml(&[server.addr()], BACKEND, "proxy_protocol_from = \"127.0.0.0/8\"");
    let user = "[[user]]\nname = \"near\"\npassword = \"near\"\nallow = \"203.0.113.0/24\"\n\
        max_connections = 1\n";
    let process = HighgateProcess::start(BINARY, &format!("{text}{user}")).unwrap();
    let address = process.listener("shop").unwrap();
    let near = log_in(opened(address, &v1("203.0.113.7")), "near").unwrap();
    let far = log_in(opened(address, &v1("198.51.100.1")), "near").unwrap_err();
    let stranger = log_in(opened(address, &v1("198.51.100.1")), "nobody").unwrap_err();
    let plain =
        |error: anyhow::Error| format!("{error:#}").replace("near", "X").replace("nobody", "X");
    assert_eq!(plain(far), plain(stranger), "clients can't tell one from the other");
    wait_for_event(
        &process,
        "login of near from 198.51.100.1 refused: the account may not come from that address",
    );
    let more = log_in(opened(address, &v1("203.0.113.8")), "near").unwrap_err();
    assert!(format!("{more:#}").contains("max_user_connections"), "{more:#}");
    wait_for_event(&process, "a client of near was refused: its max_connections is 1");
    drop(near);
}

#[test]
fn a_listener_and_an_address_have_as_many_clients_as_they_may() {
    let server = server();
    for (limit, told) in [
        (
            "max_connections_per_address = 2",
            "max_connections_per_address of the listener is reached",
        ),
        ("max_connections = 2", "max_connections of the listener is reached"),
    ] {
        let process = front(&server, limit);
        let address = process.listener("shop").unwrap();
        let mut clients: Vec<RawClient> =
            (0..2).map(|_| log_in(opened(address, b""), "app").unwrap()).collect();
        for _ in 0..3 {
            let said = rest(opened(address, b"")).unwrap();
            assert!(String::from_utf8_lossy(&said).contains(told), "{said:?}");
        }
        wait_for_event(&process, told);
        assert_eq!(clients[0].value("SELECT 1").unwrap(), "1");
        drop(clients.pop());
        wait::eventually(Deadline::seconds(5), "the place to be free again", || {
            log_in(opened(address, b""), "app").map(drop)
        })
        .unwrap();
    }
}

#[test]
fn a_server_at_its_limit_is_told_of_when_clients_wait_and_when_they_waited_in_vain() {
    let server = server();
    let backend = format!("{BACKEND}queue_timeout = \"300ms\"\n");
    for mode in ["mode = \"mysql\"", "mode = \"tcp\""] {
        let text = failure::toml(&[server.addr()], &backend, "")
            .replace("mode = \"mysql\"", mode)
            .replace("[[backend.server]]\n", "[[backend.server]]\nmax_connections = 1\n");
        assert!(text.contains("max_connections = 1\n"), "{text}");
        let process = HighgateProcess::start(BINARY, &text).unwrap();
        let address = process.listener("shop").unwrap();
        let mut holder = log_in(opened(address, b""), "app").unwrap();
        holder.value("SELECT GET_LOCK('a', 0)").unwrap();
        let refused =
            log_in(opened(address, b""), "app").and_then(|mut client| client.value("SELECT 1"));
        assert!(refused.is_err(), "{mode}: {refused:?}");
        wait_for_event(&process, "its 1 connections are all in use");
        wait_for_event(&process, "and was refused; the server's limit is 1");
        assert_eq!(holder.value("SELECT 1").unwrap(), "1", "{mode}");
    }
}

/// It was told of as refused.
#[test]
fn a_login_that_waited_in_vain_to_ask_for_its_schema_is_told_of_as_let_in() {
    let server = server();
    let backend = format!("{BACKEND}queue_timeout = \"300ms\"\n");
    let text = failure::toml(&[server.addr()], &backend, "")
        .replace("[[backend.server]]\n", "[[backend.server]]\nmax_connections = 1\n");
    let process = HighgateProcess::start(BINARY, &text).unwrap();
    let address = process.listener("shop").unwrap();
    let mut holder = log_in(opened(address, b""), "app").unwrap();
    holder.value("SELECT GET_LOCK('a', 0)").unwrap();
    RawClient::connect(address, "app", "app", Some("own"), USUAL).unwrap();
    wait_for_event(&process, "and was let in, though nobody could be asked for its schema");
    let events = ctl(&process, &["events", "--last", "50"]).unwrap();
    assert!(!events.contains("was refused"), "{events}");
}

#[test]
fn a_listener_whose_certificate_has_expired_serves_and_check_and_an_event_say_so() {
    let folder = Scratch::new("expired").unwrap();
    let Some(pair) = certificates::expired(folder.path()) else { return };
    let (cert, key) = (pair.cert.display(), pair.key.display());
    let server = server();
    let process = front(&server, &format!("tls = {{ cert = \"{cert}\", key = \"{key}\" }}"));
    let says = "the certificate of listener shop has expired: clients that verify it are lost; put a new one in its place, and run `highgate apply` or send SIGHUP";
    wait::eventually(Deadline::seconds(10), "the event", || {
        let events = ctl(&process, &["events", "--last", "50"])?;
        anyhow::ensure!(events.contains(says), "{events}");
        Ok(())
    })
    .unwrap();
    let left = table(&process, "listeners").unwrap()[0]["certificate_expires_seconds"].as_i64();
    assert!(left.is_some_and(|seconds| seconds < 0), "{left:?}");
    // Who does not verify it is served.
    let stream = TcpStream::connect(process.listener("shop").unwrap()).unwrap();
    assert_eq!(log_in(stream, "app").unwrap().value("SELECT 1").unwrap(), "1");
    let check = || {
        let mut command = std::process::Command::new(BINARY);
        let output = command.arg("check").arg(process.config_file()).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stderr).unwrap()
    };
    assert!(check().contains(&format!("warning: {says}")), "{}", check());
    // The files may lie on another machine than the one where they are checked.
    std::fs::remove_file(&pair.key).unwrap();
    assert!(check().contains(&format!("`{key}`")), "{}", check());
}

/// "Access denied", as for a wrong password: clients did not try again, and looked for a mistake of theirs.
#[test]
fn a_login_before_the_accounts_are_read_is_told_that_they_are_not_known_yet() {
    let is_open = Arc::new(AtomicBool::new(false));
    let opened = is_open.clone();
    let server = ScriptedServer::start(Script::new(move |command| match command.text().as_str() {
        text if text.contains("mysql.global_priv") && opened.load(Ordering::Relaxed) => {
            Reply::Rows(["User", "Host", "Priv"].map(str::to_owned).to_vec(), Vec::new())
        }
        text if text.contains("mysql.global_priv") => {
            Reply::Err(1317, "70100", "not now".to_owned())
        }
        text if text.starts_with("SELECT @@") => Reply::variables(text),
        text if text.starts_with("SELECT") => Reply::value("n", "1"),
        _ => Reply::Ok,
    }))
    .unwrap();
    let front = |queue: &str| {
        let backend = format!("{BACKEND}queue_timeout = \"{queue}\"\n");
        let text = failure::toml(&[server.addr()], &backend, "auth = \"cluster\"");
        failure::start(&text, 1).unwrap()
    };
    let (hurried, patient) = (front("50ms"), front("30s"));
    let refused = |process: &HighgateProcess, user: &str| {
        let client = RawClient::connect(process.listener("shop").unwrap(), user, "x", None, USUAL);
        format!("{:#}", client.unwrap_err())
    };
    for user in ["app", "nobody"] {
        let told = refused(&hurried, user);
        assert!(told.contains("1040") && told.contains("not known yet"), "{user}: {told}");
    }
    std::thread::scope(|scope| {
        let waits = scope.spawn(|| refused(&patient, "nobody"));
        wait::eventually(Deadline::seconds(10), "a login", || {
            anyhow::ensure!(table(&patient, "node")?[0]["clients"].as_u64() == Some(1));
            Ok(())
        })
        .unwrap();
        is_open.store(true, Ordering::Relaxed);
        let told = waits.join().unwrap();
        assert!(told.contains("1045"), "decided once they are known: {told}");
    });
}

/// The accounts were given up with the last listener that verifies by them: who had been let in was told 1045
/// at each change of its user, and operators that they were never read.
#[test]
fn accounts_are_read_while_sessions_are_there_that_they_let_in() {
    let readings = Arc::new(AtomicUsize::new(0));
    let read = readings.clone();
    let server = ScriptedServer::start(Script::new(move |command| match command.text().as_str() {
        text if text.contains("mysql.global_priv") => {
            read.fetch_add(1, Ordering::Relaxed);
            let account = |name: &str| {
                let document =
                    "{\"plugin\":\"mysql_native_password\",\"authentication_string\":\"\"}";
                [name, "%", document].map(|field| Some(field.to_owned())).to_vec()
            };
            let rows = ["app", "two"].map(account).to_vec();
            Reply::Rows(["User", "Host", "Priv"].map(str::to_owned).to_vec(), rows)
        }
        text if text.starts_with("SELECT @@") => Reply::variables(text),
        text if text.starts_with("SELECT") => Reply::value("n", "1"),
        _ => Reply::Ok,
    }))
    .unwrap();
    let backend = format!("{BACKEND}accounts = {{ interval = \"1s\" }}\n");
    let text =
        |auth: &str| failure::toml(&[server.addr()], &backend, &format!("auth = \"{auth}\""));
    let process = failure::start(&text("cluster"), 1).unwrap();
    let address = process.listener("shop").unwrap();
    let [mut client, other] =
        [(); 2].map(|()| RawClient::connect(address, "app", "", None, USUAL).unwrap());
    std::fs::write(process.config_file(), text("local")).unwrap();
    let (is_done, told) = failure::apply(&process, &[], &process.config_file());
    assert!(is_done, "{told}");
    drop(other);
    let before = readings.load(Ordering::Relaxed);
    wait::eventually(Deadline::seconds(10), "the next readings", || {
        anyhow::ensure!(readings.load(Ordering::Relaxed) > before + 1);
        Ok(())
    })
    .unwrap();
    client.send(b"\x11two\0\0\0\x2d\0mysql_native_password\0").unwrap();
    assert_eq!(client.packet().unwrap()[0], 0xfe, "a challenge, which nothing answers");
    client.send_raw(&[0, 0, 0, 2]).unwrap();
    let told = client.answer().unwrap();
    assert_eq!(told[0].error(), None, "{told:?}");
    assert_eq!(client.value("SELECT n FROM t").unwrap(), "1");
}

#[test]
fn statistics_tell_how_many_commands_went_to_servers() {
    let server = server();
    let process = front(&server, "");
    let mut client =
        RawClient::connect(process.listener("shop").unwrap(), "app", "app", None, USUAL).unwrap();
    for _ in 0..3 {
        client.ok("SELECT n FROM t").unwrap();
    }
    client.send(&[0x09]).unwrap();
    let told = String::from_utf8(client.packet().unwrap()).unwrap();
    assert!(told.contains("Questions: 3  "), "{told}");
}

/// What a pool prepared was counted for as long as its session, however often that was reset.
#[test]
fn statements_that_go_with_a_reset_count_no_more_under_the_memory_limit() {
    const RESET: &[u8] = b"\x1f";
    let last = AtomicUsize::new(0);
    let script = Script::new(move |command| match command.code {
        0x16 => {
            let id = last.fetch_add(1, Ordering::Relaxed) + 1;
            Reply::Prepared(u32::try_from(id).unwrap(), Vec::new(), Vec::new())
        }
        _ => Reply::Ok,
    });
    let server = ScriptedServer::start(script).unwrap();
    let text = failure::toml(&[server.addr()], &format!("{BACKEND}multiplex = false\n"), "");
    let process =
        HighgateProcess::start(BINARY, &format!("memory_limit = \"16MiB\"\n{text}")).unwrap();
    let address = process.listener("shop").unwrap();
    let mut client = RawClient::connect(address, "app", "app", None, USUAL).unwrap();
    let text = format!("DO 1 /*{}*/", "x".repeat(512 << 10));
    for round in 0..16 {
        for _ in 0..4 {
            let prepared = client.prepare(&text).unwrap();
            assert_eq!(prepared.error(), None, "round {round}: {prepared:?}");
        }
        client.command(RESET).unwrap();
    }
    let resets = server.commands().iter().filter(|command| command.code == 0x1f).count();
    assert!(resets >= 16, "they went to the server: {resets}");
}
