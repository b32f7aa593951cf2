//! The protocol's less common parts through Highgate, on a real server.

#[path = "client/raw.rs"]
mod raw;

use std::net::SocketAddr;

use highgate_mysql::Capabilities;
use highgate_testkit::{Deadline, HighgateProcess, MariaDb, MariaDbOptions, wait_until};
use raw::{Param, Part, RawClient, USUAL, about, execute};

/// A server with 64 MiB packets, and Highgate before it.
struct Shop {
    db: MariaDb,
    highgate: HighgateProcess,
}

fn shop(workers: u32, max: u32, user: &str) -> Option<Shop> {
    if !MariaDb::is_installed() {
        eprintln!("MariaDB is not installed");
        return None;
    }
    let args =
        ["--max-allowed-packet=67108864", "--local-infile=1", "--log-bin=binlog", "--server-id=1"];
    let options = MariaDbOptions { args: args.map(str::to_owned).to_vec(), ..Default::default() };
    let db = MariaDb::start_with(options).unwrap();
    db.sql("CREATE DATABASE shop").unwrap();
    db.create_user("app", "app", "ALL ON *.*").unwrap();
    db.create_user("monitor", "monitor", "REPLICATION CLIENT ON *.*").unwrap();
    let port = db.port();
    let toml = format!(
        "workers = {workers}\nadmin = {{ sql = \"off\", web = \"off\" }}\n\
         [[listener]]\nname = \"shop\"\nbind = \"127.0.0.1:0\"\nmode = \"mysql\"\nbackend = \"shop\"\n\
         [[backend]]\nname = \"shop\"\nqueue_timeout = \"20s\"\n\
         monitor = {{ user = \"monitor\", password = \"monitor\", interval = \"500ms\" }}\n\
         [[backend.server]]\nname = \"db1\"\naddress = \"127.0.0.1:{port}\"\nmax_connections = {max}\n\
         [[user]]\nname = \"app\"\npassword = \"app\"\nbackend = \"shop\"\n{user}"
    );
    let highgate = HighgateProcess::start(env!("CARGO_BIN_EXE_highgate"), &toml).unwrap();
    Some(Shop { db, highgate })
}

impl Shop {
    fn addr(&self) -> SocketAddr {
        self.highgate.listener("shop").unwrap()
    }

    fn client(&self, capabilities: Capabilities) -> RawClient {
        RawClient::connect(self.addr(), "app", "app", Some("shop"), capabilities).unwrap()
    }
}

fn id(part: &Part) -> u32 {
    match part {
        Part::Prepared { id, .. } => *id,
        other => panic!("{other:?}"),
    }
}

fn first(parts: &[Part]) -> String {
    parts[0].texts()[0][0].clone().unwrap_or_default()
}

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
fn a_prepared_statement_shows_the_columns_its_table_has_now() {
    let Some(shop) = shop(1, 2, "") else { return };
    let mut clients: Vec<RawClient> =
        (0..4).map(|_| shop.client(USUAL | Capabilities::DEPRECATE_EOF)).collect();
    clients[0].ok("CREATE TABLE d (a INT)").unwrap();
    clients[0].ok("INSERT INTO d VALUES (1)").unwrap();
    let ids: Vec<u32> =
        clients.iter_mut().map(|c| id(&c.prepare("SELECT * FROM d").unwrap())).collect();
    let columns =
        |client: &mut RawClient, id| match &client.command(&execute(id, 0, &[], true)).unwrap()[..]
        {
            [Part::Rows { columns, rows, .. }] => (columns.len(), rows.len()),
            other => panic!("{other:?}"),
        };
    for (client, id) in clients.iter_mut().zip(&ids) {
        assert_eq!(columns(client, *id), (1, 1));
    }
    for (ddl, expected) in [
        ("ALTER TABLE d ADD COLUMN b INT DEFAULT 2", 2),
        ("DROP TABLE d; CREATE TABLE d (x INT, y INT, z INT); INSERT INTO d VALUES (1, 2, 3)", 3),
    ] {
        let parts = clients[0].query(ddl).unwrap();
        assert!(parts.iter().all(|part| part.error().is_none()), "{parts:?}");
        for (client, id) in clients.iter_mut().zip(&ids) {
            assert_eq!(columns(client, *id), (expected, 1), "{ddl}");
            let again = client.prepare("SELECT * FROM d").unwrap();
            let Part::Prepared { columns, .. } = again else { panic!("{again:?}") };
            assert_eq!(columns.len(), expected, "{ddl}");
        }
    }
}

#[test]
fn cursors_are_fetched_in_parts_while_others_work() {
    let Some(shop) = shop(1, 3, "") else { return };
    let mut client = shop.client(USUAL);
    let mut other = shop.client(USUAL);
    let text = "SELECT seq FROM seq_1_to_10";
    let statement = id(&client.prepare(text).unwrap());
    let opened = client.command(&execute(statement, 1, &[], true)).unwrap();
    assert!(matches!(opened[..], [Part::Rows { open: true, .. }]), "{opened:?}");
    let mut rows = 0;
    for _ in 0..4 {
        assert_eq!(other.value("SELECT 1").unwrap(), "1");
        if let Part::Rows { rows: some, .. } = client.fetch(statement, 3).unwrap() {
            rows += some.len();
        }
    }
    assert_eq!(rows, 10);
    client.send(&about(0x19, statement)).unwrap();
    assert_eq!(client.value("SELECT 2").unwrap(), "2");
}

#[test]
fn bulk_executions_insert_every_row() {
    let Some(shop) = shop(1, 100, "") else { return };
    let bulk =
        USUAL.difference(Capabilities::LONG_PASSWORD) | Capabilities::MARIADB_STMT_BULK_OPERATIONS;
    // What servers can is known once one was seen.
    let is_known = wait_until(Deadline::seconds(10), || {
        let client = shop.client(bulk);
        client.capabilities.contains(Capabilities::MARIADB_STMT_BULK_OPERATIONS)
    });
    assert!(is_known);
    let mut client = shop.client(bulk);
    client.ok("CREATE TABLE b (id INT AUTO_INCREMENT PRIMARY KEY, v BIGINT)").unwrap();
    let statement = id(&client.prepare("INSERT INTO b (v) VALUES (?)").unwrap());
    let mut payload = vec![0xfa];
    payload.extend(statement.to_le_bytes());
    payload.extend(128_u16.to_le_bytes());
    payload.extend([8, 0]);
    for value in 0..100_i64 {
        payload.push(0);
        payload.extend(value.to_le_bytes());
    }
    let parts = client.command(&payload).unwrap();
    assert!(matches!(parts[..], [Part::Ok { affected: 100, .. }]), "{parts:?}");
    assert_eq!(client.value("SELECT SUM(v) FROM b").unwrap(), "4950");
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

#[test]
fn named_locks_let_their_connection_go_once_all_are_released() {
    let Some(shop) = shop(1, 1, "") else { return };
    let (mut one, mut other) = (shop.client(USUAL), shop.client(USUAL));
    for release in
        ["SELECT RELEASE_ALL_LOCKS()", "SELECT RELEASE_LOCK('a')", "DO RELEASE_LOCK('a')"]
    {
        assert_eq!(one.value("SELECT GET_LOCK('a', 1)").unwrap(), "1");
        one.query(release).unwrap();
        // There is one connection: it must be free.
        assert_eq!(other.value("SELECT IS_FREE_LOCK('a')").unwrap(), "1", "{release}");
    }
}

#[test]
fn sessions_without_autocommit_hold_a_connection_only_in_transactions() {
    let Some(shop) = shop(1, 1, "") else { return };
    let mut clients: Vec<RawClient> = (0..5).map(|_| shop.client(USUAL)).collect();
    clients[0].ok("CREATE TABLE a (v INT)").unwrap();
    for client in &mut clients {
        client.ok("SET autocommit = 0").unwrap();
    }
    for round in 0..3 {
        for client in &mut clients {
            client.ok("SELECT COUNT(*) FROM a").unwrap();
            client.ok(&format!("INSERT INTO a VALUES ({round})")).unwrap();
            client.ok(if round == 1 { "ROLLBACK" } else { "COMMIT" }).unwrap();
        }
    }
    assert_eq!(shop.db.value("SELECT COUNT(*) FROM shop.a").unwrap(), "10");
}

#[test]
fn prepared_inserts_stay_shared_whatever_id_they_get() {
    let Some(shop) = shop(1, 1, "") else { return };
    let mut clients: Vec<RawClient> = (0..4).map(|_| shop.client(USUAL)).collect();
    clients[0]
        .ok("CREATE TABLE p (id INT AUTO_INCREMENT PRIMARY KEY, v VARCHAR(20), n DOUBLE)")
        .unwrap();
    let text = "INSERT INTO p (v, n) VALUES (?, ?)";
    let ids: Vec<u32> = clients.iter_mut().map(|c| id(&c.prepare(text).unwrap())).collect();
    for round in 0..5_u32 {
        for (at, (client, statement)) in clients.iter_mut().zip(&ids).enumerate() {
            let params = [Param::Text(format!("v{round}")), Param::Double(-1.5)];
            client.command(&execute(*statement, 0, &params, round == 0)).unwrap();
            let expected = (round as usize * 4 + at + 1).to_string();
            assert_eq!(client.value("SELECT LAST_INSERT_ID()").unwrap(), expected);
        }
    }
}

#[test]
fn thousands_of_sessions_share_fifty_connections() {
    for workers in [1, 2] {
        let Some(shop) = shop(workers, 50, "") else {
            return;
        };
        shop.db
            .sql("CREATE TABLE shop.s (id INT AUTO_INCREMENT PRIMARY KEY, session INT, n INT)")
            .unwrap();
        let addr = shop.addr();
        let sessions = 2000;
        let threads: Vec<_> = (0..8)
            .map(|thread| std::thread::spawn(move || transactions(addr, thread, sessions / 8)))
            .collect();
        let mut most = 0;
        let done = wait_until(Deadline::seconds(100), || {
            let connected = shop
                .db
                .value("SELECT COUNT(*) FROM information_schema.processlist WHERE user = 'app'");
            most = most.max(connected.unwrap().parse().unwrap());
            threads.iter().all(std::thread::JoinHandle::is_finished)
        });
        assert!(done, "it takes too long");
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        assert!(most <= 50, "{most} connections");
        let count =
            shop.db.sql("SELECT COUNT(*), COUNT(DISTINCT session), SUM(n) FROM shop.s").unwrap();
        assert_eq!(count[0][0], (sessions * 2).to_string());
        assert_eq!(count[0][1], sessions.to_string());
        assert_eq!(count[0][2], (sessions * 3).to_string());
        eprintln!("workers {workers}: at most {most} connections");
    }
}

/// Opens sessions, then lets each run one transaction in two steps, interleaved with the others.
fn transactions(addr: SocketAddr, thread: u32, count: u32) {
    let mut clients: Vec<RawClient> = (0..count)
        .map(|_| RawClient::connect(addr, "app", "app", Some("shop"), USUAL).unwrap())
        .collect();
    // Fewer transactions are open at a time than there are connections.
    for (chunk, some) in clients.chunks_mut(5).enumerate() {
        for client in some.iter_mut() {
            client.ok("BEGIN").unwrap();
        }
        for (at, client) in some.iter_mut().enumerate() {
            let session = thread * 100_000 + u32::try_from(chunk * 5 + at).unwrap();
            for n in [1, 2] {
                client.ok(&format!("INSERT INTO s (session, n) VALUES ({session}, {n})")).unwrap();
            }
            let seen =
                client.value(&format!("SELECT COUNT(*) FROM s WHERE session = {session}")).unwrap();
            assert_eq!(seen, "2");
        }
        for client in some.iter_mut() {
            client.ok("COMMIT").unwrap();
        }
    }
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

#[test]
fn a_fetch_without_an_open_cursor_is_an_error_and_the_session_lives_on() {
    let Some(shop) = shop(1, 5, "") else { return };
    let mut direct = RawClient::connect(shop.db.addr(), "app", "app", Some("shop"), USUAL).unwrap();
    let mut through = shop.client(USUAL);
    let mut other = shop.client(USUAL);
    for text in ["SELECT 1 UNION SELECT 2", "DO 1", "SELECT 1 FROM (SELECT SLEEP(0)) AS t"] {
        // Without an execution, after one without a cursor, past a cursor's end, after a reset.
        let mut said = [&mut direct, &mut through].map(|client| {
            let mut said = Vec::new();
            let statement = id(&client.prepare(text).unwrap());
            let mut fetch = |client: &mut RawClient| {
                other.ok("DO 1").unwrap();
                said.push(client.fetch(statement, 5).unwrap().error());
                assert_eq!(client.value("SELECT 7").unwrap(), "7");
            };
            fetch(client);
            client.command(&execute(statement, 0, &[], false)).unwrap();
            fetch(client);
            client.command(&execute(statement, 1, &[], false)).unwrap();
            fetch(client);
            fetch(client);
            fetch(client);
            said
        });
        eprintln!("{text}: {said:?}");
        assert_eq!(said[1], said[0], "{text}");
        assert_eq!(std::mem::take(&mut said[0])[0], Some(1421));
    }
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

#[test]
fn what_a_login_adds_to_the_sql_mode_is_there_whoever_had_the_connection_before() {
    let Some(shop) = shop(1, 1, "") else { return };
    let spaced = USUAL | Capabilities::IGNORE_SPACE;
    let mode = |client: &mut RawClient| client.value("SELECT @@sql_mode").unwrap();
    let direct = RawClient::connect(shop.db.addr(), "app", "app", Some("shop"), spaced);
    let expected = mode(&mut direct.unwrap());
    assert!(expected.contains("IGNORE_SPACE"), "{expected}");
    for undone in
        ["SET sql_mode = ''", "SET sql_mode = DEFAULT", "SET @a = (SELECT 1)", "SET insert_id = 5"]
    {
        let mut before = shop.client(spaced);
        before.ok(undone).unwrap();
        before.ok("SELECT 1").unwrap();
        drop(before);
        let found = mode(&mut shop.client(spaced));
        let sorted = |text: &str| {
            let mut words: Vec<_> = text.split(',').map(str::to_owned).collect();
            words.sort_unstable();
            words
        };
        assert_eq!(sorted(&found), sorted(&expected), "{undone}");
    }
    let mut client = shop.client(spaced);
    client.ok("SET sql_mode = DEFAULT").unwrap();
    assert!(!mode(&mut client).contains("IGNORE_SPACE"));
    // mysql2 resets its connections, and saw the mode of its login again.
    let before = ["", "SET sql_mode = 'ANSI'"];
    for text in before {
        let mut seen = Vec::new();
        for address in [shop.db.addr(), shop.addr()] {
            let mut client =
                RawClient::connect(address, "app", "app", Some("shop"), spaced).unwrap();
            if !text.is_empty() {
                client.ok(text).unwrap();
            }
            client.command(b"\x1f").unwrap();
            seen.push(mode(&mut client));
        }
        assert_eq!(seen[1], seen[0], "after {text:?} and a reset");
    }
}

/// DBD::MariaDB's own suite found the server's collation in place of its schema's: a reset leaves the
/// schema of a connection, and takes from it the variable by which `LOAD DATA` reads files.
#[test]
fn the_charset_of_the_schema_is_there_whoever_had_the_connection_before() {
    let Some(shop) = shop(1, 1, "") else { return };
    shop.db.sql("ALTER DATABASE shop CHARACTER SET cp1251 COLLATE cp1251_bin").unwrap();
    let asked = "SELECT @@character_set_database, @@collation_database";
    for washed in ["SET insert_id = 5", "SET @a = (SELECT 1)", ""] {
        let mut before = shop.client(USUAL);
        if washed.is_empty() {
            before.ok("SET @b = (SELECT 1)").unwrap();
            before.command(b"\x1f").unwrap();
        } else {
            before.ok(washed).unwrap();
        }
        drop(before);
        let mut client = shop.client(USUAL);
        for round in 0..2 {
            let found = client.ok(asked).unwrap().texts();
            let expected = ["cp1251", "cp1251_bin"].map(|it| Some(it.to_owned()));
            assert_eq!(found, [expected.to_vec()], "after {washed:?}, round {round}");
        }
    }
}

#[test]
fn a_statement_of_very_many_parameters_can_be_prepared_again_elsewhere() {
    let Some(shop) = shop(1, 1, "") else { return };
    let many = 30_000;
    let mut client = shop.client(USUAL | Capabilities::DEPRECATE_EOF);
    let text = format!("SELECT ?{}", ", ?".repeat(many - 1));
    let statement = id(&client.prepare(&text).unwrap());
    // Another session leaves the only connection reset, and with it nothing that was prepared there.
    let mut other = shop.client(USUAL);
    other.ok("SET insert_id = 5").unwrap();
    drop(other);
    let params: Vec<Param> = (0..many).map(|_| Param::Text(String::new())).collect();
    match &client.command(&execute(statement, 0, &params, true)).unwrap()[..] {
        [Part::Rows { columns, rows, .. }] => assert_eq!((columns.len(), rows.len()), (many, 1)),
        other => panic!("{:.300}", format!("{other:?}")),
    }
}

/// The names of frameworks for migrations speak of schemas.
#[test]
fn a_change_of_a_table_leaves_idle_connections_in_use() {
    const THREAD: &str =
        "SELECT ID FROM information_schema.PROCESSLIST WHERE INFO LIKE 'SELECT ID FROM%'";
    let Some(shop) = shop(1, 1, "") else { return };
    let mut client = shop.client(USUAL);
    let before = client.value(THREAD).unwrap();
    client.ok("CREATE TABLE schema_migrations (version INT)").unwrap();
    client.ok("ALTER TABLE schema_migrations ADD database_name INT").unwrap();
    assert_eq!(client.value(THREAD).unwrap(), before);
    client.ok("ALTER SCHEMA shop CHARACTER SET latin2").unwrap();
    assert_ne!(client.value(THREAD).unwrap(), before);
}

/// A connection keeps the charset that its schema had when it chose it, and makes tables of it.
#[test]
fn the_charset_of_a_schema_that_was_changed_is_that_of_new_sessions() {
    let Some(shop) = shop(1, 5, "") else { return };
    let (mut one, mut other) = (shop.client(USUAL), shop.client(USUAL));
    let charset = |client: &mut RawClient| client.value("SELECT @@character_set_database").unwrap();
    let before = charset(&mut one);
    for wanted in ["latin2", "cp1250"] {
        assert_ne!(before, wanted);
        // Two connections, both of which are idle then.
        one.ok("BEGIN").unwrap();
        assert_eq!(other.value("SELECT DATABASE()").unwrap(), "shop");
        one.ok("COMMIT").unwrap();
        other.ok(&format!("ALTER DATABASE DEFAULT CHARACTER SET {wanted}")).unwrap();
        for _ in 0..3 {
            let mut new = shop.client(USUAL);
            new.ok("BEGIN").unwrap();
            assert_eq!(charset(&mut new), wanted);
            assert_eq!(charset(&mut shop.client(USUAL)), wanted);
        }
    }
}

/// Whoever looks for a statement that runs for too long kills by the number that the list shows.
#[test]
fn the_process_list_shows_the_accounts_sessions_by_the_numbers_that_kill_takes() {
    let other_account =
        "[[user]]\nname = \"monitor\"\npassword = \"monitor\"\nbackend = \"shop\"\n";
    let Some(shop) = shop(2, 100, other_account) else { return };
    let (mut victim, mut other) = (shop.client(USUAL), shop.client(USUAL));
    let stranger = RawClient::connect(shop.addr(), "monitor", "monitor", None, USUAL).unwrap();
    victim.send(b"\x03SELECT SLEEP(20) /* it */, 'secret'").unwrap();
    let list = |client: &mut RawClient, text: &str| {
        let answer = client.query(text).unwrap();
        let Part::Rows { columns, .. } = &answer[0] else { panic!("{answer:?}") };
        assert_eq!(columns.len(), 9, "as MariaDB's");
        answer[0].texts()
    };
    let running = || {
        let rows = list(&mut other, "SHOW FULL PROCESSLIST");
        let ids: Vec<_> = rows.iter().map(|row| row[0].clone().unwrap()).collect();
        assert!(ids.contains(&other.id.to_string()), "{rows:?}");
        assert!(!ids.contains(&stranger.id.to_string()), "{rows:?}");
        let found = rows.into_iter().find(|row| row[7].as_deref() == Some("SELECT SLEEP(?),?"));
        found.is_some_and(|row| {
            assert_eq!(row[0], Some(victim.id.to_string()));
            assert_eq!((row[1].as_deref(), row[3].as_deref()), (Some("app"), Some("shop")));
            row[6].as_deref() == Some("Executing")
        })
    };
    assert!(wait_until(Deadline::seconds(10), running));
    assert_eq!(other.value("SELECT FOUND_ROWS()").unwrap(), "2");
    // In a transaction as well, and as a command of its own.
    other.ok("SET autocommit = 0").unwrap();
    other.ok("INSERT INTO shop.t VALUES (1)").unwrap_err();
    for _ in 0..2 {
        assert_eq!(list(&mut other, "show processlist;").len(), 2);
        other.query("SELECT 1 FROM information_schema.tables LIMIT 1").unwrap();
    }
    let answer = other.command(b"\x0a").unwrap();
    assert_eq!(answer[0].texts().len(), 2, "{answer:?}");
    other.ok(&format!("KILL QUERY {}", victim.id)).unwrap();
    let ended = victim.answer().unwrap();
    assert!(ended[0].error() == Some(1317) || first(&ended) == "1", "{ended:?}");
    let rows = list(&mut other, "SHOW PROCESSLIST");
    let idle = rows.iter().find(|row| row[0] == Some(victim.id.to_string())).unwrap();
    assert_eq!((idle[4].as_deref(), idle[7].as_deref()), (Some("Sleep"), None));
    // Asked for by a hint, it is the server's own.
    let own = other.query("/* highgate: primary */ SHOW PROCESSLIST").unwrap()[0].texts();
    assert!(own.iter().all(|row| row[0] != Some(victim.id.to_string())), "{own:?}");
}

/// What was observed: it said of itself that it sleeps.
#[test]
fn who_asks_for_the_process_list_finds_itself_there_as_a_server_shows_it() {
    let Some(shop) = shop(1, 5, "") else { return };
    let direct = RawClient::connect(shop.db.addr(), "app", "app", Some("shop"), USUAL).unwrap();
    let mut clients = [direct, shop.client(USUAL)];
    let long = format!("\x03SHOW PROCESSLIST /* {} */", "long ".repeat(50));
    for command in ["\x03SHOW FULL PROCESSLIST", "\x03 show processlist ; ", &long, "\x0a"] {
        let own = clients.each_mut().map(|client| {
            let rows = client.command(command.as_bytes()).unwrap()[0].texts();
            let id = Some(client.id.to_string());
            rows.into_iter().find(|row| row[0] == id).unwrap()[4..].to_vec()
        });
        assert_eq!(own[1], own[0], "{command}");
    }
}

/// The server has no such session, or somebody else's.
#[test]
fn a_prepared_kill_ends_the_statement_of_that_session() {
    let Some(shop) = shop(1, 5, "") else { return };
    let (mut victim, mut other) = (shop.client(USUAL), shop.client(USUAL));
    victim.send(b"\x03SELECT SLEEP(20)").unwrap();
    let kill = id(&other.prepare(&format!("KILL QUERY {}", victim.id)).unwrap());
    // Told before it runs, it would end nothing.
    let text = "SELECT COUNT(*) FROM information_schema.processlist WHERE info LIKE '%SLEEP(20)'";
    assert!(wait_until(Deadline::seconds(10), || shop.db.value(text).unwrap() != "0"));
    let answer = other.command(&execute(kill, 0, &[], false)).unwrap();
    assert!(matches!(answer[..], [Part::Ok { .. }]), "{answer:?}");
    // As MariaDB answers: SLEEP() ends with 1.
    let ended = victim.answer().unwrap();
    assert!(ended[0].error() == Some(1317) || first(&ended) == "1", "{ended:?}");
    // Whom it means, only the server could work out; and that would be another one.
    let open = id(&other.prepare("KILL ?").unwrap());
    let refused = other.command(&execute(open, 0, &[Param::Int(7)], true)).unwrap();
    assert_eq!(refused[0].error(), Some(1235), "{refused:?}");
}

/// Each preparation left one more statement at the server, which has room for 16,382 of all its clients.
#[test]
fn a_text_that_is_prepared_again_and_again_does_not_fill_its_server_with_statements() {
    let Some(shop) = shop(1, 5, "") else { return };
    let mut client = shop.client(USUAL);
    client.ok("CREATE TABLE s (a INT)").unwrap();
    // Also within a transaction, on a connection that the session keeps.
    for (before, text) in [("DO 1", "SELECT ? + 1"), ("BEGIN", "INSERT INTO s VALUES (?)")] {
        client.ok(before).unwrap();
        for n in 0..200 {
            let statement = id(&client.prepare(text).unwrap());
            let answer = client.command(&execute(statement, 0, &[Param::Int(n)], true)).unwrap();
            assert_eq!(answer[0].error(), None, "{answer:?}");
            client.send(&about(0x19, statement)).unwrap();
        }
    }
    client.ok("COMMIT").unwrap();
    assert_eq!(client.value("SELECT COUNT(DISTINCT a) FROM s").unwrap(), "200");
    let asked = "SELECT variable_value FROM information_schema.global_status \
                 WHERE variable_name = 'Prepared_stmt_count'";
    let left: u32 = shop.db.value(asked).unwrap().parse().unwrap();
    assert!(left < 100, "{left} are left");
}

/// Whichever way it hears of that.
#[test]
fn a_session_with_a_temporary_table_ends_with_the_connection_that_an_operator_kills() {
    let Some(shop) = shop(1, 2, "") else { return };
    let mut client = shop.client(USUAL);
    client.ok("CREATE TEMPORARY TABLE own (a INT)").unwrap();
    client.send(b"\x03SELECT SLEEP(20), 'own'").unwrap();
    let text = "SELECT id FROM information_schema.processlist WHERE info LIKE 'SELECT SLEEP(20)%'";
    let rows = || shop.db.sql(text).unwrap();
    assert!(wait_until(Deadline::seconds(10), || !rows().is_empty()));
    shop.db.sql(&format!("KILL {}", rows()[0][0])).unwrap();
    // With the server's own word, or where that did not come with one that says as much.
    if let Ok(told) = client.answer() {
        assert!(matches!(told[0].error(), Some(1927 | 1158)), "{told:?}");
    }
    assert!(client.query("SELECT 1").is_err(), "it has ended");
    assert_eq!(shop.client(USUAL).value("SELECT 2").unwrap(), "2");
}

/// Its connection was dropped for its age, and what followed was committed by itself.
#[test]
fn a_transaction_goes_on_after_a_refused_command_although_its_connection_is_not_used_again() {
    let Some(shop) = shop(1, 5, "") else { return };
    shop.db.sql("CREATE TABLE shop.kept (a INT)").unwrap();
    shop.db.sql("CREATE TABLE shop.gone (a INT)").unwrap();
    let (mut client, mut other) = (shop.client(USUAL), shop.client(USUAL));
    let statement = id(&client.prepare("SELECT * FROM gone").unwrap());
    // Another session leaves that connection reset, and with it nothing that was prepared there.
    let mut washes = shop.client(USUAL);
    washes.ok("SET insert_id = 5").unwrap();
    drop(washes);
    client.ok("BEGIN").unwrap();
    client.ok("INSERT INTO kept VALUES (1)").unwrap();
    other.ok("DROP TABLE gone").unwrap();
    other.ok("ALTER DATABASE shop CHARACTER SET latin2").unwrap();
    let refused = client.command(&execute(statement, 0, &[], false)).unwrap();
    assert_eq!(refused[0].error(), Some(1146), "{refused:?}");
    client.ok("INSERT INTO kept VALUES (2)").unwrap();
    assert_eq!(client.value("SELECT COUNT(*) FROM kept").unwrap(), "2");
    client.ok("ROLLBACK").unwrap();
    assert_eq!(client.value("SELECT COUNT(*) FROM kept").unwrap(), "0");
}
