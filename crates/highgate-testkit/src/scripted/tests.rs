use mysql_async::prelude::Queryable as _;
use mysql_async::{Conn, OptsBuilder};

use super::*;

fn ask(server: &ScriptedServer, sql: &str) -> mysql_async::Result<Option<String>> {
    let options = OptsBuilder::default()
        .ip_or_hostname("127.0.0.1")
        .tcp_port(server.addr().port())
        .user(Some("app"))
        .prefer_socket(false)
        .max_allowed_packet(Some(16_777_216))
        .wait_timeout(Some(100));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut connection = Conn::new(options).await?;
        connection.query_first(sql).await
    })
}

fn colour() -> Reply {
    Reply::value("colour", "green")
}

#[test]
fn a_real_driver_reads_the_scripted_result_with_both_result_endings() {
    for script in [Script::new(|_| colour()), Script::new(|_| colour()).old_eof()] {
        let server = ScriptedServer::start(script).unwrap();
        assert_eq!(ask(&server, "SELECT colour").unwrap().as_deref(), Some("green"));
        assert_eq!(server.queries(), ["SELECT colour"]);
        assert_eq!(server.accepted(), 1);
    }
}

#[test]
fn a_real_driver_executes_what_the_script_prepared_and_reads_several_results() {
    fn answer(command: &Command) -> Reply {
        let names = || vec!["colour".to_owned()];
        let result = |status, row: &[u8]| Reply::Result(status, names(), vec![row.to_vec()]);
        match command.code {
            0x16 => Reply::Prepared(7, vec!["?".to_owned()], names()),
            0x17 => result(wire::AUTOCOMMIT, b"\0\0\x05green"),
            _ if command.text().starts_with("SELECT @@") => Reply::variables(&command.text()),
            0x03 => Reply::Several(vec![
                result(wire::AUTOCOMMIT | wire::MORE_RESULTS, b"\x03red"),
                result(wire::AUTOCOMMIT, b"\x04blue"),
            ]),
            _ => Reply::Ok,
        }
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    for script in [Script::new(answer), Script::new(answer).old_eof()] {
        let server = ScriptedServer::start(script).unwrap();
        let url = format!("mysql://app@127.0.0.1:{}", server.addr().port());
        runtime.block_on(async {
            let options = OptsBuilder::from_opts(mysql_async::Opts::from_url(&url).unwrap());
            let mut connection = Conn::new(options.prefer_socket(false)).await.unwrap();
            let green: Option<String> = connection.exec_first("SELECT ?", (1,)).await.unwrap();
            assert_eq!(green.as_deref(), Some("green"));
            let mut results = connection.query_iter("SELECT red; SELECT blue").await.unwrap();
            for colour in ["red", "blue"] {
                assert_eq!(results.collect::<String>().await.unwrap(), [colour]);
            }
        });
    }
}

#[test]
fn a_file_is_taken_up_to_its_empty_packet_and_connections_open_as_told() {
    let script = Script::new(|_| Reply::TakesFile("rows".to_owned()))
        .greets(|connection| (connection == 1).then_some(Reply::Garbage))
        .admits(|connection| {
            let switch = b"\xfemysql_native_password\0abcdefghijklmnopqrst\0".to_vec();
            (connection == 0).then(|| Reply::Packets(vec![switch]))
        });
    let server = ScriptedServer::start(script).unwrap();
    let mut client = TcpStream::connect(server.addr()).unwrap();
    let read = |client: &mut TcpStream| {
        let mut head = [0; 4];
        client.read_exact(&mut head).unwrap();
        let mut payload = vec![0; usize::from(head[0])];
        client.read_exact(&mut payload).unwrap();
        (head[3], payload)
    };
    assert_eq!(read(&mut client).1[0], 10);
    client.write_all(&wire::frame(1, &[0; 40])).unwrap();
    assert_eq!(read(&mut client).1[0], 0xfe);
    client.write_all(&wire::frame(3, &[1; 20])).unwrap();
    assert_eq!(read(&mut client), (4, wire::ok(wire::AUTOCOMMIT)));
    client.write_all(&wire::frame(0, b"\x03LOAD")).unwrap();
    assert_eq!(read(&mut client), (1, b"\xfbrows".to_vec()));
    for (seq, part) in [(2, &b"some"[..]), (3, b"more"), (4, b"")] {
        client.write_all(&wire::frame(seq, part)).unwrap();
    }
    assert_eq!(read(&mut client), (5, wire::ok(wire::AUTOCOMMIT)));
    let mut other = TcpStream::connect(server.addr()).unwrap();
    assert_eq!(read(&mut other).0, 0xa5);
}

#[test]
fn a_reply_in_single_bytes_is_the_same_reply() {
    let server =
        ScriptedServer::start(Script::new(|_| Reply::ByteByByte(Box::new(colour())))).unwrap();
    assert_eq!(ask(&server, "SELECT 1").unwrap().as_deref(), Some("green"));
}

#[test]
fn every_kind_of_break_reaches_the_client_as_an_error() {
    let breaks = [
        Reply::Close,
        Reply::CloseAfter(7, Box::new(colour())),
        Reply::Garbage,
        Reply::Err(1290, "HY000", "read only".to_owned()),
    ];
    for reply in breaks {
        let answer = reply.clone();
        let server = ScriptedServer::start(Script::new(move |_| answer.clone())).unwrap();
        assert!(ask(&server, "SELECT 1").is_err(), "{reply:?}");
    }
}

#[test]
fn a_hanging_server_ends_with_its_value() {
    let server = ScriptedServer::start(Script::ok().greeting_hang()).unwrap();
    let mut client = TcpStream::connect(server.addr()).unwrap();
    // Dropping may race the accept; either way the client sees an end.
    drop(server);
    let mut byte = [0];
    assert!(!matches!(client.read(&mut byte), Ok(1)));
}
