//! Two drivers of Rust, case by case: `ok NAME VALUE` or `fail NAME REASON`.

use std::{env, fmt::Debug};

type Outcome = Result<String, Box<dyn std::error::Error>>;

fn case(name: &str, outcome: Outcome) {
    let line = |text: String| text.split_whitespace().collect::<Vec<_>>().join(" ");
    match outcome {
        Ok(value) => println!("ok {name} {}", line(value)),
        Err(error) => println!("fail {name} {}", line(error.to_string())),
    }
}

fn shown(value: impl Debug) -> Outcome {
    Ok(format!("{value:?}"))
}

fn var(name: &str) -> String {
    env::var(name).unwrap_or_default()
}

fn main() {
    match env::args().nth(1).as_deref() {
        Some("mysql") => plain::run(),
        Some("sqlx") => pooled::run(),
        _ => println!("fail usage: mysql or sqlx"),
    }
}

/// The crate `mysql`.
mod plain {
    use mysql::{
        AccessMode, Conn, IsolationLevel, LocalInfileHandler, OptsBuilder, Params, Pool, PoolConstraints, PoolOpts, Row, TxOpts,
        Value, params, prelude::*,
    };

    use super::{Outcome, case, shown, var};

    fn options() -> OptsBuilder {
        OptsBuilder::new()
            .ip_or_hostname(Some(var("DB_HOST")))
            .tcp_port(var("DB_PORT").parse().unwrap())
            .user(Some(var("DB_USER")))
            .pass(Some(var("DB_PASSWORD")))
            .db_name(Some(var("DB_DATABASE")))
            .prefer_socket(false)
    }

    fn connect() -> mysql::Result<Conn> {
        Conn::new(options())
    }

    pub(crate) fn run() {
        let cases: [(&str, fn() -> Outcome); 16] = [
            ("types", types),
            ("prepared", prepared),
            ("named", named),
            ("batch", batch),
            ("several_results", several_results),
            ("procedure", procedure),
            ("transactions", transactions),
            ("infos", infos),
            ("errors", errors),
            ("local_infile", local_infile),
            ("reset", reset),
            ("change_user", change_user),
            ("statement_cache", statement_cache),
            ("pool", pool),
            ("big", big),
            ("stopped_in_the_middle", stopped),
        ];
        for (name, work) in cases {
            case(name, work());
        }
    }

    fn types() -> Outcome {
        let mut conn = connect()?;
        let text = "SELECT 1, -1, 18446744073709551615, 1.5e0, 1.25, 'é', NULL, DATE '2024-02-29', TIME '-12:30:01.5', \
                    TIMESTAMP '2024-02-29 12:00:00.5', x'00ff', CAST('{\"a\":1}' AS CHAR), b'101'";
        let by_text: Vec<Row> = conn.query(text)?;
        let by_statement: Vec<Row> = conn.exec(text, ())?;
        let columns: Vec<_> = by_text[0].columns_ref().iter().map(|c| (c.column_type(), c.flags(), c.column_length())).collect();
        shown((by_text, by_statement, columns))
    }

    fn prepared() -> Outcome {
        let mut conn = connect()?;
        let statement = conn.prep("SELECT ?, ? + 1, ?, ?")?;
        let mut seen = Vec::new();
        for n in 0..5_u64 {
            let values = (n, n, Value::NULL, format!("text {n}"));
            seen.push(conn.exec_first::<Row, _, _>(&statement, values)?);
        }
        conn.close(statement)?;
        shown(seen)
    }

    fn named() -> Outcome {
        let found: Option<(i64, String)> =
            connect()?.exec_first("SELECT CAST(:a + :a AS SIGNED), :b", params! { "a" => 21, "b" => "x" })?;
        shown(found)
    }

    fn batch() -> Outcome {
        let mut conn = connect()?;
        conn.query_drop("CREATE TEMPORARY TABLE t_batch(id INT PRIMARY KEY AUTO_INCREMENT, a TEXT)")?;
        conn.exec_batch("INSERT INTO t_batch(a) VALUES (?)", (0..50).map(|n| (format!("row {n}"),)))?;
        let last = conn.last_insert_id();
        let count: Option<(i64, String)> = conn.query_first("SELECT COUNT(*), MAX(a) FROM t_batch")?;
        shown((last, count))
    }

    fn several_results() -> Outcome {
        let mut conn = connect()?;
        let mut result = conn.query_iter("SELECT 1; SELECT 2, 3; DO 0; SELECT 'x'")?;
        let mut seen = Vec::new();
        while let Some(set) = result.iter() {
            seen.push(set.collect::<Result<Vec<Row>, _>>()?);
        }
        shown(seen)
    }

    fn procedure() -> Outcome {
        let mut conn = connect()?;
        conn.query_drop("DROP PROCEDURE IF EXISTS p_rust")?;
        conn.query_drop("CREATE PROCEDURE p_rust(IN n INT) BEGIN SELECT n; SELECT n + 1, 'b'; END")?;
        let mut result = conn.exec_iter("CALL p_rust(?)", (41,))?;
        let mut seen = Vec::new();
        while let Some(set) = result.iter() {
            seen.push(set.collect::<Result<Vec<Row>, _>>()?);
        }
        shown(seen)
    }

    fn transactions() -> Outcome {
        let mut conn = connect()?;
        conn.query_drop("CREATE TABLE IF NOT EXISTS t_tx(a INT)")?;
        conn.query_drop("DELETE FROM t_tx")?;
        let mut tx = conn.start_transaction(TxOpts::default().set_isolation_level(Some(IsolationLevel::RepeatableRead)))?;
        tx.query_drop("INSERT INTO t_tx VALUES (1)")?;
        tx.rollback()?;
        let mut tx = conn.start_transaction(TxOpts::default())?;
        tx.exec_drop("INSERT INTO t_tx VALUES (?)", (2,))?;
        tx.commit()?;
        let options = TxOpts::default().set_access_mode(Some(AccessMode::ReadWrite)).set_with_consistent_snapshot(true);
        let mut tx = conn.start_transaction(options)?;
        let seen: Vec<i64> = tx.query("SELECT a FROM t_tx")?;
        tx.commit()?;
        shown(seen)
    }

    fn infos() -> Outcome {
        let mut conn = connect()?;
        conn.query_drop("CREATE TABLE IF NOT EXISTS t_info(id INT PRIMARY KEY AUTO_INCREMENT, a INT)")?;
        conn.query_drop("TRUNCATE t_info")?;
        conn.query_drop("INSERT INTO t_info(a) VALUES (1), (2), (3)")?;
        let inserted = (conn.affected_rows(), conn.last_insert_id(), conn.info_str().into_owned());
        conn.query_drop("UPDATE t_info SET a = a + 1 WHERE id < 3")?;
        let updated = (conn.affected_rows(), conn.info_str().into_owned());
        conn.query_drop("SET sql_mode = ''")?;
        conn.query_drop("SELECT CAST('x' AS SIGNED)")?;
        shown((inserted, updated, conn.warnings()))
    }

    fn errors() -> Outcome {
        let mut conn = connect()?;
        let mut seen = Vec::new();
        for text in ["SELEKT 1", "SELECT * FROM nosuch", "SELECT 1"] {
            seen.push(conn.query_drop(text).map_err(|error| error.to_string()));
        }
        seen.push(conn.prep("SELECT FROM").map(drop).map_err(|error| error.to_string()));
        shown(seen)
    }

    fn local_infile() -> Outcome {
        let mut conn = connect()?;
        conn.set_local_infile_handler(Some(LocalInfileHandler::new(|name, stream| {
            use std::io::Write as _;
            assert_eq!(name, b"rows");
            (0..2000).try_for_each(|n| writeln!(stream, "{n}\tline {n}"))
        })));
        conn.query_drop("CREATE TEMPORARY TABLE t_rows(a INT, b TEXT)")?;
        conn.query_drop("LOAD DATA LOCAL INFILE 'rows' INTO TABLE t_rows")?;
        let count: Option<(i64, i64)> = conn.query_first("SELECT COUNT(*), CAST(SUM(a) AS SIGNED) FROM t_rows")?;
        shown(count)
    }

    fn reset() -> Outcome {
        let mut conn = connect()?;
        conn.query_drop("SET @a = 1, sql_mode = 'ANSI'")?;
        conn.reset()?;
        let seen: Option<Row> = conn.query_first("SELECT @a, @@sql_mode = @@global.sql_mode, DATABASE()")?;
        shown(seen)
    }

    fn change_user() -> Outcome {
        let mut conn = connect()?;
        conn.query_drop("SET @a = 1")?;
        conn.change_user(mysql::ChangeUserOpts::default())?;
        let seen: Option<Row> = conn.query_first("SELECT @a, SUBSTRING_INDEX(USER(), '@', 1)")?;
        shown(seen)
    }

    fn statement_cache() -> Outcome {
        let mut conn = Conn::new(options().stmt_cache_size(3))?;
        let mut seen = Vec::new();
        for n in 0..40 {
            let text = format!("SELECT {} + ?", n % 7);
            seen.push(conn.exec_first::<i64, _, _>(text, (n,))?);
        }
        shown(seen)
    }

    fn pool() -> Outcome {
        let limits = PoolOpts::default().with_constraints(PoolConstraints::new(1, 4).unwrap());
        let pool = Pool::new(options().pool_opts(limits))?;
        let work = |n: i64| -> mysql::Result<Option<i64>> {
            let mut conn = pool.get_conn()?;
            conn.query_drop(format!("SET @n = {n}"))?;
            conn.query_drop("DO SLEEP(0.01)")?;
            conn.exec_first("SELECT CAST(@n AS SIGNED) * ?", (2,))
        };
        let seen: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..12).map(|n| scope.spawn(move || work(n))).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect::<mysql::Result<_>>()
        })?;
        shown(seen)
    }

    fn big() -> Outcome {
        let mut conn = Conn::new(options().max_allowed_packet(Some(64 << 20)))?;
        let text = "x".repeat(17 << 20);
        let back: Option<(String, u64)> = conn.exec_first("SELECT ?, LENGTH(?)", Params::Positional(vec![text.clone().into(), text.clone().into()]))?;
        let (back, length) = back.unwrap_or_default();
        shown((back == text, length))
    }

    fn stopped() -> Outcome {
        let mut conn = connect()?;
        let text = "SELECT a.n FROM (SELECT 1 n UNION SELECT 2 UNION SELECT 3) a, (SELECT 1 UNION SELECT 2) b ORDER BY 1";
        let first = conn.query_iter(text)?.next().transpose()?;
        let after: Option<i64> = conn.query_first("SELECT 9")?;
        shown((first, after))
    }
}

/// The crate `sqlx`.
mod pooled {
    use sqlx::{
        Column as _, Connection as _, Executor as _, MySqlConnection, Row as _, TypeInfo as _,
        mysql::{MySqlConnectOptions, MySqlPoolOptions, MySqlSslMode},
    };

    use super::{Outcome, case, shown, var};

    fn options() -> MySqlConnectOptions {
        MySqlConnectOptions::new()
            .host(&var("DB_HOST"))
            .port(var("DB_PORT").parse().unwrap())
            .username(&var("DB_USER"))
            .password(&var("DB_PASSWORD"))
            .database(&var("DB_DATABASE"))
            .ssl_mode(MySqlSslMode::Disabled)
    }

    pub(crate) fn run() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            case("types", types().await);
            case("prepared", prepared().await);
            case("transactions", transactions().await);
            case("errors", errors().await);
            case("describe", describe().await);
            case("several_results", several_results().await);
            case("pool", pool().await);
            case("dropped_stream", dropped_stream().await);
        });
    }

    async fn connect() -> sqlx::Result<MySqlConnection> {
        MySqlConnection::connect_with(&options()).await
    }

    async fn types() -> Outcome {
        let mut conn = connect().await?;
        let row = sqlx::query("SELECT CAST(-1 AS SIGNED), CAST(1 AS UNSIGNED), 1.5e0, 'é', NULL, x'00ff', TRUE").fetch_one(&mut conn).await?;
        let names: Vec<_> = row.columns().iter().map(|c| c.type_info().name().to_owned()).collect();
        shown((names, row.try_get::<i64, _>(0)?, row.try_get::<u64, _>(1)?, row.try_get::<f64, _>(2)?, row.try_get::<String, _>(3)?))
    }

    async fn prepared() -> Outcome {
        let mut conn = connect().await?;
        let mut seen = Vec::new();
        for n in 0..150_i64 {
            let text = format!("SELECT CAST(? AS SIGNED) + {n}");
            seen.push(sqlx::query_scalar::<_, i64>(sqlx::AssertSqlSafe(text)).bind(n).fetch_one(&mut conn).await?);
        }
        let settings = "SELECT @@sql_mode, @@time_zone, @@collation_connection";
        let row = sqlx::query(settings).fetch_one(&mut conn).await?;
        shown((seen.iter().sum::<i64>(), row.try_get::<String, _>(0)?, row.try_get::<String, _>(1)?, row.try_get::<String, _>(2)?))
    }

    async fn transactions() -> Outcome {
        let mut conn = connect().await?;
        conn.execute("CREATE TABLE IF NOT EXISTS t_sqlx(id INT PRIMARY KEY AUTO_INCREMENT, a INT)").await?;
        conn.execute("TRUNCATE t_sqlx").await?;
        {
            let mut tx = conn.begin().await?;
            sqlx::query("INSERT INTO t_sqlx(a) VALUES (?)").bind(1).execute(&mut *tx).await?;
            let mut inner = tx.begin().await?;
            sqlx::query("INSERT INTO t_sqlx(a) VALUES (?)").bind(2).execute(&mut *inner).await?;
            inner.rollback().await?;
            tx.commit().await?;
        }
        drop(conn.begin().await?);
        let done = sqlx::query("INSERT INTO t_sqlx(a) VALUES (3)").execute(&mut conn).await?;
        let seen: Vec<i32> = sqlx::query_scalar("SELECT a FROM t_sqlx ORDER BY id").fetch_all(&mut conn).await?;
        shown((done.last_insert_id(), done.rows_affected(), seen))
    }

    async fn errors() -> Outcome {
        let mut conn = connect().await?;
        let mut seen = Vec::new();
        for text in ["SELEKT 1", "SELECT * FROM nosuch", "SELECT 1"] {
            seen.push(sqlx::query(text).execute(&mut conn).await.map(|done| done.rows_affected()).map_err(|error| error.to_string()));
        }
        shown(seen)
    }

    async fn describe() -> Outcome {
        let mut conn = connect().await?;
        conn.execute("CREATE TABLE IF NOT EXISTS t_described(id INT PRIMARY KEY, a VARCHAR(20) NOT NULL, b JSON)").await?;
        let row = conn.prepare(sqlx::SqlStr::from_static("SELECT id, a, b FROM t_described WHERE id = ?")).await?;
        use sqlx::Statement as _;
        let columns: Vec<_> = row.columns().iter().map(|c| (c.name().to_owned(), c.type_info().name().to_owned())).collect();
        shown((columns, row.parameters().is_some()))
    }

    async fn several_results() -> Outcome {
        let mut conn = connect().await?;
        let rows = sqlx::raw_sql("SELECT 1; SELECT 2; DO 0; SELECT 3").fetch_all(&mut conn).await?;
        let seen: Vec<i64> = rows.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>()?;
        shown(seen)
    }

    async fn pool() -> Outcome {
        let pool = MySqlPoolOptions::new().max_connections(4).connect_with(options()).await?;
        let mut seen = Vec::new();
        for n in 0..20_i64 {
            let mut conn = pool.acquire().await?;
            sqlx::query("SET @n = ?").bind(n).execute(&mut *conn).await?;
            seen.push(sqlx::query_scalar::<_, i64>("SELECT CAST(@n AS SIGNED)").fetch_one(&mut *conn).await?);
        }
        pool.close().await;
        shown(seen)
    }

    async fn dropped_stream() -> Outcome {
        let mut conn = connect().await?;
        let text = "SELECT 1 UNION ALL SELECT 2 UNION ALL SELECT 3";
        let first: i64 = sqlx::query_scalar(text).fetch_one(&mut conn).await?;
        let after: i64 = sqlx::query_scalar("SELECT 9").fetch_one(&mut conn).await?;
        shown((first, after))
    }
}
