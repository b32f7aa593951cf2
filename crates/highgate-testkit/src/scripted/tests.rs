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
