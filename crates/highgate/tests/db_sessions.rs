//! What is a session's own while many share few connections to a real server, and who sees it.

#[path = "client/raw.rs"]
mod raw;
#[path = "common/shop.rs"]
mod shop;

use std::{
    iter,
    net::{Ipv4Addr, SocketAddr},
    sync::atomic::{AtomicBool, Ordering},
};

use highgate_mysql::Capabilities;
use highgate_testkit::{Deadline, scratch::Scratch, wait_until};
use raw::{Part, RawClient, USUAL, execute};
use shop::{first, id, shop};

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

/// Statements whose answers do not tell the insert id, on `i (id, v)` of two rows.
const UNTOLD: [&str; 18] = [
    "INSERT INTO i SET v = 'c'",
    "INSERT INTO i (v) VALUES (LENGTH('abcd')) ON DUPLICATE KEY UPDATE v = 'd'",
    "INSERT INTO i (v) SELECT CONCAT(v, v) FROM i WHERE v = 'a'",
    "INSERT INTO i (v) VALUES ('f'), ('f')",
    "CREATE TABLE c (id INT AUTO_INCREMENT PRIMARY KEY) SELECT 'a' AS v",
    "INSERT INTO i (id) VALUES (77)",
    "INSERT INTO i (v) VALUES ('g'), ('h') RETURNING id",
    "REPLACE INTO i (v) SELECT 'i' RETURNING v",
    "UPDATE i SET id = LAST_INSERT_ID(id + 90) WHERE v = 'g'",
    "UPDATE i SET v = LAST_INSERT_ID(0) WHERE v = 'g'",
    "UPDATE i SET v = LAST_INSERT_ID(5) WHERE v = 'none'",
    "BEGIN; INSERT INTO i SET v = 'j'; COMMIT",
    "INSERT INTO i SET v = 'm'; INSERT INTO i SET v = 'j'",
    "INSERT INTO i SET v = 'n' RETURNING (id)",
    "SET last_insert_id = 40 + 4",
    "SELECT LAST_INSERT_ID(99) WHERE FALSE",
    "SELECT LAST_INSERT_ID(99)",
    "DELETE FROM i WHERE id = LAST_INSERT_ID(id) AND v = 'h'",
];

/// Who had loaded a file, or inserted what may name an id itself, and said nothing more kept a connection from
/// others; and another session's `LAST_INSERT_ID()` was the one that the file's first row was given.
#[test]
fn an_insert_id_that_no_answer_tells_is_asked_for_and_keeps_no_connection() {
    let Some(shop) = shop(1, 1, "") else { return };
    let folder = Scratch::new("loads").unwrap();
    let file = folder.path().join("rows").display().to_string();
    std::fs::write(&file, "a\nb\n").unwrap();
    for schema in ["shop", "twin"] {
        shop.db
            .sql(&format!(
                "CREATE DATABASE IF NOT EXISTS {schema}; CREATE TABLE {schema}.n (id INT); \
                 CREATE TABLE {schema}.i (id INT AUTO_INCREMENT PRIMARY KEY, v VARCHAR(9) UNIQUE)"
            ))
            .unwrap();
    }
    let directly = (Ipv4Addr::LOCALHOST, shop.db.port()).into();
    let mut direct = RawClient::connect(directly, "app", "app", Some("twin"), USUAL).unwrap();
    let (mut one, mut other) = (shop.client(USUAL), shop.client(USUAL));
    let load = format!("LOAD DATA INFILE '{file}' INTO TABLE i (v)");
    for (number, text) in iter::once(&*load).chain(UNTOLD).enumerate() {
        for client in [&mut one, &mut direct] {
            client.query(text).unwrap();
            // Behind an error its text is kept, until a table is used.
            client.ok("SELECT MIN(id) FROM n").unwrap();
        }
        // There is one connection: it must be free, and say this session's own.
        let free = other.ok("INSERT INTO n VALUES (LAST_INSERT_ID())");
        assert!(free.is_ok(), "{text}: {free:?}");
        assert_eq!(other.value("SELECT SUM(id) FROM n").unwrap(), "0", "{text}");
        let [id, expected] =
            [&mut one, &mut direct].map(|client| client.value("SELECT LAST_INSERT_ID()").unwrap());
        assert_eq!(id, expected, "{text}");
        assert_eq!(other.value("SELECT COUNT(*) FROM n").unwrap(), (number + 1).to_string());
    }
    for client in [&mut one, &mut direct] {
        client.ok("TRUNCATE i").unwrap();
        client.ok("BEGIN").unwrap();
        client.ok(&load).unwrap();
        assert_eq!(client.value("SELECT LAST_INSERT_ID()").unwrap(), "1");
        client.ok("COMMIT").unwrap();
    }
    assert_eq!(other.value("SELECT LAST_INSERT_ID() + COUNT(*) FROM i").unwrap(), "2");
    assert_eq!(one.value("SELECT LAST_INSERT_ID()").unwrap(), "1");
    for client in [&mut one, &mut direct] {
        client.ok("BEGIN").unwrap();
        client.ok("INSERT INTO i SET v = 'k'").unwrap();
        client.ok("INSERT INTO i SET v = 'l'").unwrap();
        client.ok("COMMIT").unwrap();
    }
    assert_eq!(other.value("SELECT LAST_INSERT_ID() + COUNT(*) FROM i").unwrap(), "4");
    let [id, expected] =
        [&mut one, &mut direct].map(|client| client.value("SELECT LAST_INSERT_ID()").unwrap());
    assert_eq!(id, expected);
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
    // The list has the columns of the server, once that has been seen.
    assert_eq!(other.value("SELECT 1").unwrap(), "1");
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
    // The list has the columns of the server, once that has been seen.
    assert_eq!(clients[1].value("SELECT 1").unwrap(), "1");
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

/// It was sent eight times over as many connections, and answered with 1040: try again.
#[test]
fn a_statement_that_is_too_long_for_its_server_is_refused_once_in_the_servers_words() {
    let Some(shop) = shop(1, 5, "") else { return };
    shop.db.sql("SET GLOBAL max_allowed_packet = 1048576").unwrap();
    let mut client = shop.client(USUAL);
    for size in [12 << 20, 20 << 20, 40 << 20] {
        let text = format!("SELECT '{}'", "x".repeat(size));
        let told = client.query(&text).unwrap();
        assert_eq!(told[0].error(), Some(1153), "{size}: {told:?}");
        assert_eq!(client.value("SELECT 1").unwrap(), "1", "the session goes on");
    }
    // Whether the server read all of it before it closed, or not.
    for size in [1 << 20, 2 << 20, 20 << 20] {
        client.ok("BEGIN").unwrap();
        client.query("SELECT COUNT(*) FROM mysql.help_topic").unwrap();
        let told = client.query(format!("SELECT '{}'", "x".repeat(size))).unwrap();
        assert_eq!(told[0].error(), Some(1153), "{size}: {told:?}");
        assert_eq!(client.query("SELECT 1").unwrap()[0].error(), Some(1213), "it went along");
        assert_eq!(client.value("SELECT 1").unwrap(), "1");
    }
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

#[test]
fn a_session_whose_schema_another_one_dropped_goes_on_in_none() {
    let Some(shop) = shop(1, 2, "") else { return };
    shop.db.sql("CREATE DATABASE other").unwrap();
    let gone =
        |client: &mut RawClient, statement: &str| client.query(statement).unwrap()[0].error();
    for (statement, meets) in [
        ("SELECT 1", None),
        ("SET @a = 1", None),
        ("COMMIT", None),
        ("SELECT COUNT(*) FROM mysql.plugin", None),
        ("CREATE TABLE a (v INT)", Some(1046)),
        ("USE nowhere", Some(1049)),
    ] {
        shop.db.sql("CREATE DATABASE IF NOT EXISTS shop").unwrap();
        let mut client = shop.client(USUAL);
        client.ok("DO 1").unwrap();
        let mut elsewhere =
            RawClient::connect(shop.addr(), "app", "app", Some("other"), USUAL).unwrap();
        elsewhere.ok("DROP DATABASE shop").unwrap();
        for _ in 0..3 {
            assert_eq!(gone(&mut client, statement), meets, "{statement}");
        }
        // It is in the schema again once that is there, as on a server.
        elsewhere.ok("CREATE DATABASE shop").unwrap();
        assert_eq!(
            client.value("SELECT DATABASE() FROM (SELECT 1) AS t").unwrap(),
            "shop",
            "{statement}"
        );
    }
}

#[test]
fn a_session_whose_schema_another_one_dropped_chooses_another_one() {
    let Some(shop) = shop(1, 3, "") else { return };
    shop.db.sql("CREATE DATABASE other").unwrap();
    let choices: [&[u8]; 3] = [b"\x03USE other", b"\x03 use `other`", b"\x02other"];
    for choice in choices {
        shop.db.sql("CREATE DATABASE IF NOT EXISTS shop").unwrap();
        let mut client = shop.client(USUAL);
        shop.db.sql("DROP DATABASE shop").unwrap();
        let parts = client.command(choice).unwrap();
        assert_eq!(parts[0].error(), None, "{parts:?}");
        assert_eq!(client.value("SELECT DATABASE()").unwrap(), "other");
    }
}

#[test]
fn a_transaction_runs_without_the_schema_that_another_session_dropped() {
    let Some(shop) = shop(1, 2, "") else { return };
    shop.db.sql("CREATE DATABASE other; CREATE TABLE other.a (v INT)").unwrap();
    let mut client = shop.client(USUAL);
    shop.db.sql("DROP DATABASE shop").unwrap();
    client.ok("BEGIN").unwrap();
    client.ok("INSERT INTO other.a VALUES (1)").unwrap();
    shop.db.sql("CREATE DATABASE shop").unwrap();
    client.ok("COMMIT").unwrap();
    assert_eq!(shop.db.value("SELECT COUNT(*) FROM other.a").unwrap(), "1");
    assert_eq!(client.value("SELECT DATABASE()").unwrap(), "shop");
}

#[test]
fn a_session_without_a_schema_finds_a_connection_among_many_that_have_one() {
    let Some(shop) = shop(1, 12, "") else { return };
    let mut clients: Vec<RawClient> = (0..12).map(|_| shop.client(USUAL)).collect();
    for statement in ["BEGIN", "COMMIT"] {
        for client in &mut clients {
            client.ok(statement).unwrap();
        }
    }
    let mut bare = RawClient::connect(shop.addr(), "app", "app", None, USUAL).unwrap();
    assert_eq!(bare.value("SELECT DATABASE() IS NULL").unwrap(), "1");
}

/// In the queue it was handed one with a schema, again and again, and was refused.
#[test]
fn a_session_without_a_schema_is_served_beside_busy_ones_that_have_one() {
    let Some(shop) = shop(1, 2, "") else { return };
    let mut bare = RawClient::connect(shop.addr(), "app", "app", None, USUAL).unwrap();
    let ends = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..6 {
            let mut client = shop.client(USUAL);
            let ends = &ends;
            scope.spawn(move || {
                while !ends.load(Ordering::Relaxed) {
                    client.query("SELECT SLEEP(0.002)").unwrap();
                }
            });
        }
        let answers: Vec<_> =
            (0..40).map(|_| bare.query("SELECT DATABASE() IS NULL").unwrap()).collect();
        ends.store(true, Ordering::Relaxed);
        assert!(answers.iter().all(|it| it[0].error().is_none()), "{answers:?}");
    });
}
