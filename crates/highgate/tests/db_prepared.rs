//! Prepared statements through Highgate, on a real server: sessions share the connections that have them.

#[path = "client/raw.rs"]
mod raw;
#[path = "common/shop.rs"]
mod shop;

use highgate_mysql::Capabilities;
use highgate_testkit::{Deadline, wait_until};
use raw::{Param, Part, RawClient, USUAL, about, execute};
use shop::{first, id, shop};

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

#[test]
fn a_statement_with_full_names_outlives_the_schema_it_was_prepared_in() {
    let Some(shop) = shop(1, 2, "") else { return };
    let count = |client: &mut RawClient, statement| match &client
        .command(&execute(statement, 0, &[], true))
        .unwrap()[..]
    {
        [Part::Rows { rows, .. }] => rows.len(),
        other => panic!("{other:?}"),
    };
    shop.db.sql("CREATE DATABASE other; CREATE TABLE other.a (v INT)").unwrap();
    let (mut one, mut other) = (shop.client(USUAL), shop.client(USUAL));
    one.ok("CREATE TABLE b (v INT)").unwrap();
    let prepared = |client: &mut RawClient, text| id(&client.prepare(text).unwrap());
    let full = prepared(&mut one, "SELECT COUNT(*) FROM other.a");
    let short = prepared(&mut one, "SELECT COUNT(*) FROM b");
    let of_other = prepared(&mut other, "SELECT COUNT(*) FROM other.a");
    one.ok("DROP DATABASE shop").unwrap();
    for _ in 0..3 {
        assert_eq!(count(&mut one, full), 1, "its own session dropped it");
        assert_eq!(count(&mut other, of_other), 1, "another session dropped it");
        let parts = one.command(&execute(short, 0, &[], true)).unwrap();
        assert_eq!(parts[0].error(), Some(1046), "{parts:?}");
    }
    assert_eq!(one.value("SELECT DATABASE() IS NULL").unwrap(), "1");
    one.ok("CREATE DATABASE shop").unwrap();
    one.ok("CREATE TABLE shop.b (v INT)").unwrap();
    one.ok("USE shop").unwrap();
    assert_eq!(count(&mut one, short), 1);
}
