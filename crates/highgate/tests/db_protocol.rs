//! The protocol's less common parts through Highgate, on a real server.

#[path = "client/raw.rs"]
mod raw;
#[path = "common/shop.rs"]
mod shop;

use highgate_mysql::Capabilities;
use highgate_testkit::{Deadline, MariaDb, MariaDbOptions, wait_until};
use raw::{Param, Part, RawClient, USUAL, about, execute};
use shop::{first, id, shop};

#[test]
fn commands_sent_ahead_are_answered_in_order() {
    let Some(shop) = shop(1, 100, "") else { return };
    let mut client = shop.client(USUAL);
    let mut bytes = Vec::new();
    for n in 0..200_u32 {
        let text = format!("SELECT {n}, '{}'", "x".repeat(n as usize));
        highgate_mysql::packet::PacketWriter::new(&mut bytes, 0)
            .payload(&[&[3], text.as_bytes()].concat());
    }
    // A preparation and what closes it, then a ping, all without waiting.
    for payload in [&[&[0x16][..], b"SELECT 7"].concat(), &vec![0x0e]] {
        highgate_mysql::packet::PacketWriter::new(&mut bytes, 0).payload(payload);
    }
    client.send_raw(&bytes).unwrap();
    for n in 0..200_u32 {
        assert_eq!(first(&client.answer().unwrap()), n.to_string());
    }
    let prepared = id(&client.prepared().unwrap());
    assert!(matches!(client.answer().unwrap()[..], [Part::Ok { .. }]));
    client.send(&about(0x19, prepared)).unwrap();
    assert_eq!(client.value("SELECT 8").unwrap(), "8");
}

#[test]
fn packets_beyond_16_mib_pass_both_ways() {
    let Some(shop) = shop(1, 100, "") else { return };
    let mut client = shop.client(USUAL);
    let big = "x".repeat(20 << 20);
    let length = client.value(&format!("SELECT LENGTH('{big}')")).unwrap();
    assert_eq!(length, big.len().to_string());
    let row = client.value("SELECT REPEAT('y', 20971520)").unwrap();
    assert_eq!(row.len(), 20 << 20);
    // Exactly one full packet, whose end is an empty one.
    let exact = "z".repeat(0xff_ffff - "SELECT LENGTH('')".len() - 1);
    assert_eq!(
        client.value(&format!("SELECT LENGTH('{exact}')")).unwrap(),
        exact.len().to_string()
    );
    let statement = id(&client.prepare("SELECT LENGTH(?), ?").unwrap());
    let params = [Param::Text(big), Param::Int(5)];
    for with_types in [true, false] {
        let parts = client.command(&execute(statement, 0, &params, with_types)).unwrap();
        assert!(matches!(&parts[..], [Part::Rows { rows, .. }] if rows.len() == 1), "{parts:?}");
    }
    assert_eq!(client.value("SELECT 9").unwrap(), "9");
}

#[test]
fn one_answer_may_hold_many_results() {
    let Some(shop) = shop(1, 2, "") else { return };
    let mut client = shop.client(USUAL);
    let parts = client.query("SELECT 1; DO 1; SELECT 2; SELECT * FROM nowhere; SELECT 3").unwrap();
    assert_eq!(parts.len(), 4);
    assert_eq!(parts[3].error(), Some(1146));
    client.command(&[0x1b, 1, 0]).unwrap();
    assert_eq!(client.query("SELECT 1; SELECT 2").unwrap()[0].error(), Some(1064));
    client.command(&[0x1b, 0, 0]).unwrap();
    assert_eq!(client.query("SELECT 1; SELECT 2").unwrap().len(), 2);
    let Part::Text(text) = client.text(&[9]).unwrap() else { panic!() };
    assert!(text.starts_with(b"Uptime"), "{text:?}");
}

#[test]
fn several_statements_are_refused_where_the_client_said_so_also_within_a_transaction() {
    let Some(shop) = shop(1, 2, "") else { return };
    for caps in [USUAL, USUAL | Capabilities::DEPRECATE_EOF] {
        let (mut client, mut other) = (shop.client(caps), shop.client(caps));
        let several = |client: &mut RawClient| {
            let parts = client.query("SELECT 1; SELECT 2").unwrap();
            parts[0].error().map_or(parts.len(), usize::from)
        };
        client.ok("BEGIN").unwrap();
        assert_eq!(several(&mut client), 2);
        client.command(&[0x1b, 1, 0]).unwrap();
        assert_eq!(several(&mut client), 1064, "on the connection that it has");
        client.ok("COMMIT").unwrap();
        for _ in 0..3 {
            assert_eq!(several(&mut client), 1064, "on the next");
            assert_eq!(several(&mut other), 2, "nobody else is meant");
        }
        client.ok("BEGIN").unwrap();
        client.command(&[0x1b, 0, 0]).unwrap();
        assert_eq!(several(&mut client), 2);
        client.ok("COMMIT").unwrap();
        assert_eq!(several(&mut client), 2);
    }
}

#[test]
fn a_file_is_sent_only_where_the_account_may() {
    for (allowed, user) in [(true, "local_infile = true\n"), (false, "")] {
        let Some(shop) = shop(1, 100, user) else {
            return;
        };
        let mut client = shop.client(USUAL | Capabilities::LOCAL_FILES);
        client.ok("CREATE TABLE l (a INT, b VARCHAR(20))").unwrap();
        let load = "LOAD DATA LOCAL INFILE '/a/file' INTO TABLE l FIELDS TERMINATED BY ','";
        let asked = client.query(load).unwrap();
        if allowed {
            assert_eq!(asked[..], [Part::Text(b"\xfb/a/file".to_vec())]);
            let mut bytes = Vec::new();
            let mut writer = highgate_mysql::packet::PacketWriter::new(&mut bytes, 2);
            writer.payload(b"1,one\n2,two\n");
            writer.payload(b"");
            client.send_raw(&bytes).unwrap();
            let loaded = client.answer().unwrap();
            assert!(matches!(loaded[..], [Part::Ok { affected: 2, .. }]), "{loaded:?}");
        } else {
            assert!(asked[0].error().is_some(), "{asked:?}");
        }
        let rows = if allowed { "2" } else { "0" };
        assert_eq!(client.value("SELECT COUNT(*) FROM l").unwrap(), rows);
    }
}

/// It was said to be killed, and loaded all.
#[test]
fn a_load_that_is_killed_while_its_file_comes_loads_nothing_and_its_session_goes_on() {
    let Some(shop) = shop(2, 100, "local_infile = true\n") else { return };
    let mut client = shop.client(USUAL | Capabilities::LOCAL_FILES);
    client.ok("CREATE TABLE l (a INT) ENGINE=InnoDB").unwrap();
    client.ok("CREATE TABLE kept (a INT) ENGINE=InnoDB").unwrap();
    client.ok("BEGIN").unwrap();
    client.ok("INSERT INTO kept VALUES (1)").unwrap();
    let asked = client.query("LOAD DATA LOCAL INFILE '/a/file' INTO TABLE l").unwrap();
    assert_eq!(asked[..], [Part::Text(b"\xfb/a/file".to_vec())]);
    let frame = highgate_testkit::scripted::wire::frame;
    client.send_raw(&frame(2, b"1\n2\n")).unwrap();
    let mut other = shop.client(USUAL);
    other.ok(&format!("KILL QUERY {}", client.id)).unwrap();
    let came = wait_until(Deadline::seconds(10), || {
        let kills = other.query("SHOW GLOBAL STATUS LIKE 'Com_kill'").unwrap();
        kills[0].texts()[0][1].as_deref() == Some("1")
    });
    assert!(came, "the kill comes to the server while the file is on its way");
    client.send_raw(&[frame(3, b"3\n4\n5\n"), frame(4, b"")].concat()).unwrap();
    let loaded = client.answer().unwrap();
    assert_eq!(loaded[0].error(), Some(1317), "{loaded:?}");
    client.ok("COMMIT").unwrap();
    assert_eq!(client.value("SELECT COUNT(*) FROM l").unwrap(), "0");
    assert_eq!(client.value("SELECT COUNT(*) FROM kept").unwrap(), "1");
}

/// Behind what only reads its text was not kept, the request was refused, and its server kept out for all.
#[test]
fn a_file_that_is_named_behind_other_statements_is_sent_and_no_request_that_a_text_may_hide_keeps_a_server_out()
 {
    let Some(shop) = shop(1, 100, "local_infile = true\n") else { return };
    let mut client = shop.client(USUAL | Capabilities::LOCAL_FILES);
    client.ok("CREATE TABLE l (a INT, b VARCHAR(20))").unwrap();
    let load = "load data local infile '/a/file' into table l";
    for before in ["SELECT 1", "DO 1", "SET @a = 1"] {
        let asked = client.query(format!("{before}; {load}")).unwrap();
        assert_eq!(asked.last(), Some(&Part::Text(b"\xfb/a/file".to_vec())), "{asked:?}");
        let mut bytes = Vec::new();
        let mut writer = highgate_mysql::packet::PacketWriter::new(&mut bytes, client.seq() + 1);
        writer.payload(b"1\tone\n");
        writer.payload(b"");
        client.send_raw(&bytes).unwrap();
        let loaded = client.answer().unwrap();
        assert!(matches!(loaded[..], [Part::Ok { affected: 1, .. }]), "{loaded:?}");
    }
    assert_eq!(client.value("SELECT COUNT(*) FROM l").unwrap(), "3");
    client.ok(&format!("PREPARE p FROM \"{load}\"")).unwrap();
    let refused = client.query("EXECUTE p").unwrap();
    assert_eq!(refused[0].error(), Some(1148), "{refused:?}");
    shop.highgate.wait_for_log("no statement of its client names").unwrap();
    // Nor does a session go on whose transaction went with the connection, and take its COMMIT for one.
    let mut other = shop.client(USUAL | Capabilities::LOCAL_FILES);
    for text in ["BEGIN", "INSERT INTO l VALUES (7, 'lost')"] {
        other.ok(text).unwrap();
    }
    let refused = other.query(format!("EXECUTE IMMEDIATE \"{load}\"")).unwrap();
    assert_eq!(refused[0].error(), Some(1148), "{refused:?}");
    assert!(other.query("COMMIT").is_err());
    // It would have been said beside it.
    assert!(!shop.highgate.log().contains("kept out"), "{}", shop.highgate.log());
}

/// A replica whose master is the address of Highgate, with these settings of its own.
fn replicates(own: &str) {
    let Some(shop) = shop(1, 100, "") else { return };
    let args = ["--server-id=2", "--max-allowed-packet=67108864", own];
    let options = MariaDbOptions { args: args.map(str::to_owned).to_vec(), ..Default::default() };
    let replica = MariaDb::start_with(options).unwrap();
    let table = "CREATE TABLE shop.r (id INT PRIMARY KEY, text MEDIUMTEXT)";
    shop.db.sql(table).unwrap();
    // Behind its setup: accounts are not made twice.
    let position = shop.db.value("SELECT @@gtid_binlog_pos").unwrap();
    replica.sql(&format!("CREATE DATABASE shop; {table}")).unwrap();
    let port = shop.addr().port();
    replica
        .sql(&format!(
            "SET GLOBAL gtid_slave_pos = '{position}'; \
             CHANGE MASTER TO MASTER_HOST = '127.0.0.1', MASTER_PORT = {port}, MASTER_USER = 'app', \
             MASTER_PASSWORD = 'app', MASTER_USE_GTID = slave_pos; START SLAVE"
        ))
        .unwrap();
    let mut client = shop.client(USUAL);
    for id in 0..50 {
        client
            .ok(&format!("INSERT INTO r VALUES ({id}, REPEAT('some text', {id} * 1000))"))
            .unwrap();
    }
    let sum = "SELECT CONCAT(COUNT(*), ' ', SUM(CRC32(text))) FROM shop.r";
    let written = shop.db.value(sum).unwrap();
    let arrived =
        wait_until(Deadline::seconds(20), || replica.value(sum).is_ok_and(|rows| rows == written));
    assert!(arrived, "{:?}", replica.record("SHOW SLAVE STATUS").unwrap());
}

#[test]
fn a_replica_replicates_through_it() {
    replicates("--slave-compressed-protocol=0");
}

#[test]
fn a_replica_that_asks_for_compression_replicates_through_it() {
    replicates("--slave-compressed-protocol=1");
}

/// What the server adds to the type of a column, for clients that ask for it, and for no others.
#[test]
fn the_extended_description_of_a_column_reaches_who_asked_for_it() {
    let Some(shop) = shop(1, 5, "") else { return };
    shop.db.sql("CREATE TABLE shop.documents (d JSON)").unwrap();
    let formats = |capabilities: Capabilities| {
        let mut client = shop.client(capabilities);
        let answer = client.query("SELECT d FROM documents").unwrap();
        let Part::Rows { columns, .. } = &answer[0] else { panic!("{answer:?}") };
        columns[0].windows(4).any(|part| part == b"json")
    };
    let asks = USUAL | Capabilities::MARIADB_EXTENDED_METADATA;
    for round in 0..3 {
        assert!(formats(asks), "round {round}");
        assert!(!formats(USUAL), "round {round}");
    }
}

#[test]
fn what_has_no_answer_gets_none_even_if_it_is_wrong() {
    let Some(shop) = shop(1, 100, "") else { return };
    let mut client = shop.client(USUAL);
    client.send(&raw::long_data(77, 0, b"lost")).unwrap();
    client.send(&about(0x19, 78)).unwrap();
    assert_eq!(client.value("SELECT 1").unwrap(), "1");
    let unknown = client.command(&about(0x1a, 77)).unwrap();
    assert_eq!(unknown[0].error(), Some(1243));
    assert_eq!(client.value("SELECT 2").unwrap(), "2");
}

/// A statement of several is undone by the server as far as it likes: it is asked.
#[test]
fn a_ping_after_a_failed_packet_of_several_tells_of_the_transaction_as_the_server_does() {
    let Some(shop) = shop(1, 5, "") else { return };
    let capabilities = USUAL | Capabilities::MULTI_STATEMENTS;
    shop.db.sql("CREATE TABLE shop.p(a INT PRIMARY KEY)").unwrap();
    for texts in [
        "BEGIN; INSERT INTO p VALUES (1); COMMIT; SELEKT",
        "BEGIN; INSERT INTO p VALUES (2), (2); COMMIT",
        "BEGIN; INSERT INTO nowhere VALUES (1); COMMIT",
        "BEGIN; SELEKT; COMMIT",
        "BEGIN; COMMIT; SELECT nothing",
        "SELECT nothing; BEGIN; COMMIT",
    ] {
        let addresses = [shop.db.addr(), shop.addr()];
        let said = addresses.map(|address| {
            let mut client =
                RawClient::connect(address, "app", "app", Some("shop"), capabilities).unwrap();
            let answer = client.query(texts).unwrap();
            let ping = client.command(&[0x0e]).unwrap();
            client.ok("ROLLBACK").unwrap();
            client.ok("DELETE FROM p").unwrap();
            (answer.last().unwrap().error(), format!("{ping:?}"))
        });
        assert_eq!(said[1], said[0], "{texts}");
    }
}
