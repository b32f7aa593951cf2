//! COM_CHANGE_USER between two accounts whose sessions share server connections: nothing of the former
//! account goes on, and nothing of its other sessions is touched.

#[path = "common/failure.rs"]
mod failure;

use std::net::SocketAddr;

use failure::{code, connect, run};
use highgate_testkit::{
    highgate::HighgateProcess,
    mariadb::MariaDb,
    wait::{self, Deadline},
};
use mysql_async::{ChangeUserOpts, Conn, prelude::Queryable as _};

const MONITOR: &str =
    "monitor = { user = \"monitor\", password = \"monitor\", interval = \"300ms\" }\n";
const OTHER: &str = "[[user]]\nname = \"other\"\npassword = \"other\"\n";

/// `app` may read `app_only`, `other` may read `other_only`, both may write `both`.
fn start() -> Option<(MariaDb, HighgateProcess)> {
    if !MariaDb::is_installed() {
        eprintln!("skipped: MariaDB is not installed");
        return None;
    }
    let db = MariaDb::start().unwrap();
    db.sql("CREATE DATABASE shop").unwrap();
    db.sql("CREATE TABLE shop.`both` (id INT AUTO_INCREMENT PRIMARY KEY)").unwrap();
    db.create_user("monitor", "monitor", "REPLICATION CLIENT ON *.*").unwrap();
    for user in ["app", "other"] {
        db.sql(&format!("CREATE TABLE shop.{user}_only (whose VARCHAR(9))")).unwrap();
        db.sql(&format!("INSERT INTO shop.{user}_only VALUES ('{user}')")).unwrap();
        db.create_user(user, user, "CREATE TEMPORARY TABLES ON shop.*").unwrap();
        db.sql(&format!("GRANT SELECT ON shop.{user}_only TO {user}")).unwrap();
        db.sql(&format!("GRANT SELECT, INSERT ON shop.`both` TO {user}")).unwrap();
    }
    let text = failure::toml(&[db.addr()], MONITOR, "auth = \"local\"");
    let process = failure::start(&format!("{text}\n{OTHER}"), 1).unwrap();
    Some((db, process))
}

async fn become_user(conn: &mut Conn, user: &str) {
    let options = ChangeUserOpts::default()
        .with_user(Some(user.to_owned()))
        .with_pass(Some(user.to_owned()))
        .with_db_name(Some("shop".to_owned()));
    conn.change_user(options).await.unwrap();
}

/// The session is that user's, and reads what that user may and nothing else.
async fn is_user(conn: &mut Conn, user: &str) {
    let who: Option<(String, String)> =
        conn.query_first("SELECT CURRENT_USER(), DATABASE()").await.unwrap();
    assert_eq!(who, Some((format!("{user}@%"), "shop".to_owned())));
    for table in ["app", "other"] {
        let text = format!("SELECT whose FROM {table}_only");
        let read = conn.query_first::<String, _>(text.as_str()).await;
        if table == user {
            assert_eq!(read.unwrap().as_deref(), Some(user));
        } else {
            let error = read.unwrap_err();
            assert_eq!(code(&error), Some(1142), "{user}: {error}");
        }
    }
}

/// What a session leaves behind that is not to be seen any more.
const LEFT: &[(&str, &[&str])] = &[
    ("nothing", &[]),
    ("variables", &["SET @a = 'app', @b := 7", "SET sql_mode = 'ANSI', time_zone = '+05:00'"]),
    ("a charset", &["SET NAMES latin1", "SET SESSION group_concat_max_len = 77"]),
    ("a transaction", &["BEGIN", "INSERT INTO `both` VALUES ()"]),
    ("a silent transaction", &["SET autocommit = 0", "INSERT INTO `both` VALUES ()"]),
    ("the next one's form", &["SET TRANSACTION READ ONLY"]),
    ("a temporary table", &["CREATE TEMPORARY TABLE held SELECT 1 AS n"]),
    ("one that hides another", &["CREATE TEMPORARY TABLE `both` SELECT 9 AS id"]),
    ("a lock", &["DO GET_LOCK('of-app', 0)"]),
    ("a statement", &["PREPARE p FROM 'SELECT whose FROM app_only'", "SET @x = 1"]),
];

async fn nothing_is_left(conn: &mut Conn, name: &str) {
    let session: Option<(Option<String>, Option<i64>, u64, u64)> =
        conn.query_first("SELECT @a, @b, LAST_INSERT_ID(), @@autocommit").await.unwrap();
    assert_eq!(session, Some((None, None, 0, 1)), "{name}");
    let settings: Option<(bool, bool, bool, String)> = conn
        .query_first(
            "SELECT @@sql_mode = @@global.sql_mode, @@time_zone = @@global.time_zone, \
             @@group_concat_max_len = @@global.group_concat_max_len, @@character_set_client",
        )
        .await
        .unwrap();
    let (mode, zone, length, charset) = settings.unwrap();
    assert!(mode && zone && length && charset.starts_with("utf8mb4"), "{name}: {charset}");
    let statement = conn.query_drop("EXECUTE p").await.unwrap_err();
    assert_eq!(code(&statement), Some(1243), "{name}: {statement}");
    let table = conn.query_drop("SELECT n FROM held").await.unwrap_err();
    assert!(matches!(code(&table), Some(1142 | 1146)), "{name}: {table}");
    // Empty, and the real one; and it takes writes.
    let rows: Option<u64> = conn.query_first("SELECT COUNT(*) FROM `both`").await.unwrap();
    assert_eq!(rows, Some(0), "{name}");
    conn.query_drop("BEGIN").await.unwrap();
    conn.query_drop("INSERT INTO `both` VALUES (3)").await.unwrap();
    conn.query_drop("ROLLBACK").await.unwrap();
}

/// Locks and transactions of the former account end on the server too.
fn nothing_is_held(db: &MariaDb, name: &str) {
    wait::eventually(Deadline::seconds(10), "the server to be free of it", || {
        let open = db.value(
            "SELECT CONCAT(IS_FREE_LOCK('of-app'), ' ', (SELECT COUNT(*) FROM information_schema.innodb_trx))",
        )?;
        anyhow::ensure!(open == "1 0", "{name}: {open}");
        Ok(())
    })
    .unwrap();
}

/// A session with everything in it that another's change of user could spoil.
async fn bystander(address: SocketAddr) -> Conn {
    let mut conn = connect(address).await.unwrap();
    for text in [
        "SET @a = 'bystander'",
        "SET time_zone = '+03:00'",
        "CREATE TEMPORARY TABLE own SELECT 5 AS n",
        "PREPARE own FROM 'SELECT n + 1 FROM own'",
    ] {
        conn.query_drop(text).await.unwrap();
    }
    conn
}

async fn is_untouched(conn: &mut Conn) {
    is_user(conn, "app").await;
    let kept: Option<(String, String, u64)> =
        conn.query_first("SELECT @a, @@time_zone, n FROM own").await.unwrap();
    assert_eq!(kept, Some(("bystander".to_owned(), "+03:00".to_owned(), 5)));
    assert_eq!(conn.query_first::<u64, _>("EXECUTE own").await.unwrap(), Some(6));
}

#[test]
fn nothing_of_an_account_is_left_after_a_change_to_another_and_back() {
    let Some((db, process)) = start() else { return };
    let address = process.listener("shop").unwrap();
    run(async {
        // One per worker at least.
        let mut others = [bystander(address).await, bystander(address).await];
        let mut conn = connect(address).await.unwrap();
        for (name, statements) in LEFT {
            eprintln!("{name}");
            for statement in *statements {
                conn.query_drop(*statement).await.unwrap();
            }
            let prepared = conn.prep("SELECT whose FROM app_only").await.unwrap();
            become_user(&mut conn, "other").await;
            let is_free: Option<u8> =
                conn.query_first("SELECT IS_FREE_LOCK('of-app')").await.unwrap();
            assert_eq!(is_free, Some(1), "{name}");
            let error = conn.exec_drop(&prepared, ()).await.unwrap_err();
            assert_eq!(code(&error), Some(1243), "{name}: {error}");
            is_user(&mut conn, "other").await;
            nothing_is_left(&mut conn, name).await;
            nothing_is_held(&db, name);
            // The other way nothing comes back either.
            conn.query_drop("SET @a = 'other'").await.unwrap();
            become_user(&mut conn, "app").await;
            is_user(&mut conn, "app").await;
            nothing_is_left(&mut conn, name).await;
            for other in &mut others {
                is_untouched(other).await;
            }
        }
    });
    assert_eq!(db.value("SELECT COUNT(*) FROM shop.`both`").unwrap(), "0");
}

#[test]
fn sessions_that_change_their_user_in_turns_over_shared_connections_are_whose_they_say() {
    let Some((_db, process)) = start() else { return };
    let address = process.listener("shop").unwrap();
    run(async {
        let mut sessions = Vec::new();
        for user in ["app", "other", "app", "other", "app", "other"] {
            sessions.push((failure::connect_as(address, user).await.unwrap(), user));
        }
        for round in 0..60_usize {
            let count = sessions.len();
            let (conn, user) = &mut sessions[round * 5 % count];
            if round % 3 == 0 {
                conn.query_drop("BEGIN").await.unwrap();
                conn.query_drop("INSERT INTO `both` VALUES ()").await.unwrap();
            }
            let tag = format!("{user} {round}");
            conn.query_drop(format!("SET @tag = '{tag}'")).await.unwrap();
            if round % 4 != 1 {
                *user = if *user == "app" { "other" } else { "app" };
                become_user(conn, user).await;
                let left: Option<Option<String>> = conn.query_first("SELECT @tag").await.unwrap();
                assert_eq!(left, Some(None), "round {round}");
            } else {
                let kept: Option<String> = conn.query_first("SELECT @tag").await.unwrap();
                assert_eq!(kept, Some(tag));
                conn.query_drop("ROLLBACK").await.unwrap();
            }
            for (conn, user) in &mut sessions {
                is_user(conn, user).await;
            }
        }
        let (conn, _) = &mut sessions[0];
        let rows: Option<u64> = conn.query_first("SELECT COUNT(*) FROM `both`").await.unwrap();
        assert_eq!(rows, Some(0), "a change of user commits nothing");
    });
}
