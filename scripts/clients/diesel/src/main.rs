//! Diesel, an ORM, over MariaDB's client library in C: `ok NAME VALUE` or `fail NAME REASON`.

use std::{env, fmt::Debug};

use diesel::{
    insert_into,
    mysql::data_types::MysqlTime,
    prelude::*,
    r2d2::{ConnectionManager, Pool},
    replace_into,
    result::{DatabaseErrorKind, Error},
    sql_query,
    sql_types::{BigInt, Binary, Datetime, Double, Nullable, Text, Unsigned},
};

type Outcome = Result<String, Box<dyn std::error::Error>>;

diesel::table! {
    d_authors (id) {
        id -> Integer,
        name -> Varchar,
        note -> Nullable<Text>,
        seen -> Nullable<Datetime>,
        face -> Nullable<Blob>,
    }
}

diesel::table! {
    d_books (id) {
        id -> Integer,
        author_id -> Integer,
        title -> Varchar,
        price -> Nullable<Double>,
    }
}

diesel::joinable!(d_books -> d_authors (author_id));
diesel::allow_tables_to_appear_in_same_query!(d_authors, d_books);

#[derive(Debug, Identifiable, Queryable, Selectable)]
#[diesel(table_name = d_authors)]
#[allow(dead_code, reason = "read by Debug")]
struct Author {
    id: i32,
    name: String,
    note: Option<String>,
    seen: Option<MysqlTime>,
}

#[derive(Associations, Debug, Identifiable, Queryable, Selectable)]
#[diesel(table_name = d_books, belongs_to(Author))]
#[allow(dead_code, reason = "read by Debug")]
struct Book {
    id: i32,
    author_id: i32,
    title: String,
    price: Option<f64>,
}

#[derive(Debug, QueryableByName)]
#[allow(dead_code, reason = "read by Debug")]
struct Types {
    #[diesel(sql_type = BigInt)]
    signed: i64,
    #[diesel(sql_type = Unsigned<BigInt>)]
    whole: u64,
    #[diesel(sql_type = Double)]
    real: f64,
    #[diesel(sql_type = Text)]
    text: String,
    #[diesel(sql_type = Nullable<Text>)]
    none: Option<String>,
    #[diesel(sql_type = Binary)]
    bytes: Vec<u8>,
    #[diesel(sql_type = Datetime)]
    time: MysqlTime,
}

fn url() -> String {
    let var = |name: &str| env::var(name).unwrap_or_default();
    format!("mysql://{}:{}@{}:{}/{}", var("DB_USER"), var("DB_PASSWORD"), var("DB_HOST"), var("DB_PORT"), var("DB_DATABASE"))
}

fn connect() -> ConnectionResult<MysqlConnection> {
    MysqlConnection::establish(&url())
}

fn shown(value: impl Debug) -> Outcome {
    Ok(format!("{value:?}"))
}

fn main() {
    let cases: [(&str, fn(&mut MysqlConnection) -> Outcome); 15] = [
        ("tables", tables),
        ("settings", settings),
        ("types", types),
        ("inserted_ids", inserted_ids),
        ("batch", batch),
        ("associations", associations),
        ("joined_and_grouped", joined_and_grouped),
        ("upserts", upserts),
        ("updates", updates),
        ("nested_transactions", nested_transactions),
        ("test_transaction", test_transaction),
        ("errors", errors),
        ("row_by_row", row_by_row),
        ("statement_cache", statement_cache),
        ("pool", pool),
    ];
    // One session for nearly all: another one may read what this one wrote before its replica has it.
    let mut conn = connect().expect("a connection");
    for (name, work) in cases {
        let line = |text: String| text.split_whitespace().collect::<Vec<_>>().join(" ");
        match work(&mut conn) {
            Ok(value) => println!("ok {name} {}", line(value)),
            Err(error) => println!("fail {name} {}", line(error.to_string())),
        }
    }
}

fn tables(conn: &mut MysqlConnection) -> Outcome {
    for text in [
        "DROP TABLE IF EXISTS d_books",
        "DROP TABLE IF EXISTS d_authors",
        "CREATE TABLE d_authors(id INT PRIMARY KEY AUTO_INCREMENT, name VARCHAR(60) NOT NULL UNIQUE, note MEDIUMTEXT, seen DATETIME(6), face LONGBLOB)",
        "CREATE TABLE d_books(id INT PRIMARY KEY AUTO_INCREMENT, author_id INT NOT NULL, title VARCHAR(60) NOT NULL, price DOUBLE, \
         FOREIGN KEY (author_id) REFERENCES d_authors(id))",
    ] {
        sql_query(text).execute(conn)?;
    }
    Ok(String::new())
}

/// What a new connection has set by itself.
fn settings(_: &mut MysqlConnection) -> Outcome {
    let text = "CONCAT_WS(' ', @@time_zone, @@character_set_client, @@character_set_connection, @@character_set_results, @@sql_mode)";
    shown(diesel::select(diesel::dsl::sql::<Text>(text)).get_result::<String>(&mut connect()?)?)
}

fn types(conn: &mut MysqlConnection) -> Outcome {
    let text = "SELECT CAST(-? AS SIGNED) `signed`, CAST(18446744073709551615 AS UNSIGNED) whole, 1.5e0 `real`, 'é€😀' text, NULL none, \
                x'00ff' bytes, TIMESTAMP '2024-02-29 12:00:00.5' time";
    shown(sql_query(text).bind::<BigInt, _>(7).load::<Types>(conn)?)
}

diesel::define_sql_function! { fn last_insert_id() -> Unsigned<BigInt>; }

fn inserted_ids(conn: &mut MysqlConnection) -> Outcome {
    let mut seen = Vec::new();
    for name in ["Ada", "Bob", "Cy"] {
        let count = insert_into(d_authors::table).values((d_authors::name.eq(name), d_authors::face.eq(vec![0_u8, 255]))).execute(conn)?;
        seen.push((count, diesel::select(last_insert_id()).get_result::<u64>(conn)?));
    }
    shown(seen)
}

fn batch(conn: &mut MysqlConnection) -> Outcome {
    let rows: Vec<_> = (0..500).map(|n| (d_books::author_id.eq(n % 3 + 1), d_books::title.eq(format!("title {n}")), d_books::price.eq(f64::from(n) / 4.0))).collect();
    let count = insert_into(d_books::table).values(&rows).execute(conn)?;
    shown((count, d_books::table.count().get_result::<i64>(conn)?))
}

fn associations(conn: &mut MysqlConnection) -> Outcome {
    let authors: Vec<Author> = d_authors::table.order(d_authors::id).select(Author::as_select()).load(conn)?;
    let books: Vec<Book> = Book::belonging_to(&authors).filter(d_books::price.gt(120.0)).select(Book::as_select()).order(d_books::id).load(conn)?;
    let by_author: Vec<_> = books.grouped_by(&authors).into_iter().map(|books| books.len()).collect();
    shown((authors, by_author))
}

fn joined_and_grouped(conn: &mut MysqlConnection) -> Outcome {
    use diesel::dsl::{count_star, max};
    let joined: Vec<(String, Option<f64>)> = d_authors::table
        .inner_join(d_books::table)
        .filter(d_books::title.like("title 1_").and(d_authors::name.ne_all(["Bob"])))
        .order(d_books::id)
        .limit(5)
        .offset(2)
        .select((d_authors::name, d_books::price))
        .load(conn)?;
    let grouped: Vec<(i32, i64, Option<f64>)> = d_books::table
        .group_by(d_books::author_id)
        .order(d_books::author_id)
        .select((d_books::author_id, count_star(), max(d_books::price)))
        .load(conn)?;
    let known = diesel::select(diesel::dsl::exists(d_authors::table.filter(d_authors::name.eq("Cy")))).get_result::<bool>(conn)?;
    shown((joined, grouped, known))
}

fn upserts(conn: &mut MysqlConnection) -> Outcome {
    let insert = insert_into(d_authors::table).values((d_authors::name.eq("Ada"), d_authors::note.eq("first")));
    let updated = insert.on_conflict(diesel::dsl::DuplicatedKeys).do_update().set(d_authors::note.eq("second")).execute(conn)?;
    let ignored = diesel::insert_or_ignore_into(d_authors::table).values(d_authors::name.eq("Ada")).execute(conn)?;
    let replaced = replace_into(d_authors::table).values((d_authors::id.eq(77), d_authors::name.eq("Zoe"))).execute(conn)?;
    let note: Option<String> = d_authors::table.filter(d_authors::name.eq("Ada")).select(d_authors::note).first(conn)?;
    shown((updated, ignored, replaced, note))
}

fn updates(conn: &mut MysqlConnection) -> Outcome {
    let text = "long ".repeat(20_000);
    let all = diesel::update(d_books::table.filter(d_books::author_id.eq(2))).set(d_books::price.eq(d_books::price + 1.0)).execute(conn)?;
    diesel::update(d_authors::table.find(1)).set(d_authors::note.eq(&text)).execute(conn)?;
    // Longer than what a column's buffer is bound with: it is fetched again.
    let back: Option<String> = d_authors::table.find(1).select(d_authors::note).first(conn)?;
    let gone = diesel::delete(d_authors::table.find(77)).execute(conn)?;
    let none = d_authors::table.find(77).select(Author::as_select()).first(conn).optional()?;
    shown((all, back.is_some_and(|back| text == back), gone, none))
}

fn nested_transactions(conn: &mut MysqlConnection) -> Outcome {
    let count = |conn: &mut MysqlConnection| d_books::table.filter(d_books::title.like("tx%")).count().get_result::<i64>(conn);
    let add = |conn: &mut MysqlConnection, title: &str| {
        insert_into(d_books::table).values((d_books::author_id.eq(1), d_books::title.eq(title.to_owned()))).execute(conn)
    };
    let mut seen = Vec::new();
    conn.transaction::<_, Error, _>(|conn| {
        add(conn, "tx 1")?;
        let inner = conn.transaction::<(), Error, _>(|conn| {
            add(conn, "tx 2")?;
            seen.push(count(conn)?);
            Err(Error::RollbackTransaction)
        });
        seen.push(i64::from(inner.is_err()));
        seen.push(count(conn)?);
        conn.transaction::<_, Error, _>(|conn| add(conn, "tx 3"))
    })?;
    let refused = conn.transaction::<(), Error, _>(|conn| {
        add(conn, "tx 4")?;
        Err(Error::RollbackTransaction)
    });
    seen.push(count(conn)?);
    shown((seen, refused.map_err(|error| error.to_string())))
}

fn test_transaction(conn: &mut MysqlConnection) -> Outcome {
    let before = d_books::table.count().get_result::<i64>(conn)?;
    let mut other = connect()?;
    other.begin_test_transaction()?;
    diesel::delete(d_books::table).execute(&mut other)?;
    let within = d_books::table.count().get_result::<i64>(&mut other)?;
    drop(other);
    shown((before == d_books::table.count().get_result::<i64>(conn)?, within))
}

fn errors(conn: &mut MysqlConnection) -> Outcome {
    let told = |outcome: QueryResult<usize>| match outcome {
        Err(Error::DatabaseError(DatabaseErrorKind::UniqueViolation, told)) => format!("unique: {}", told.message()),
        Err(Error::DatabaseError(DatabaseErrorKind::ForeignKeyViolation, told)) => format!("foreign key: {}", told.message()),
        other => format!("{other:?}"),
    };
    let mut seen = vec![
        told(insert_into(d_authors::table).values(d_authors::name.eq("Ada")).execute(conn)),
        told(insert_into(d_books::table).values((d_books::author_id.eq(999), d_books::title.eq("x"))).execute(conn)),
        told(sql_query("SELEKT 1").execute(conn)),
        told(diesel::delete(d_authors::table).execute(conn)),
    ];
    seen.push(told(sql_query("INSERT INTO nosuch VALUES (1)").execute(conn)));
    shown((seen, d_authors::table.count().get_result::<i64>(conn)?))
}

fn row_by_row(conn: &mut MysqlConnection) -> Outcome {
    let mut sum = 0.0;
    for book in d_books::table.select(Book::as_select()).load_iter::<Book, diesel::connection::DefaultLoadingMode>(conn)?.take(100) {
        sum += book?.price.unwrap_or_default();
    }
    shown((sum, d_books::table.count().get_result::<i64>(conn)?))
}

/// One statement is prepared again and again with another text, and others are kept.
fn statement_cache(conn: &mut MysqlConnection) -> Outcome {
    let mut seen = 0;
    for n in 0..120 {
        seen += d_books::table.filter(d_books::id.eq(n)).count().get_result::<i64>(conn)?;
        seen += diesel::select(diesel::dsl::sql::<BigInt>(&format!("CAST({n} AS SIGNED)"))).get_result::<i64>(conn)?;
    }
    shown(seen)
}

fn pool(_: &mut MysqlConnection) -> Outcome {
    let pool = Pool::builder().max_size(4).test_on_check_out(true).build(ConnectionManager::<MysqlConnection>::new(url()))?;
    let work = |n: i64| -> Outcome {
        let mut conn = pool.get()?;
        sql_query(format!("SET @n = {n}")).execute(&mut conn)?;
        sql_query("DO SLEEP(0.01)").execute(&mut conn)?;
        shown(diesel::select(diesel::dsl::sql::<BigInt>("CAST(@n * 2 AS SIGNED)")).get_result::<i64>(&mut conn)?)
    };
    let seen: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..12).map(|n| scope.spawn(move || work(n).map_err(|error| error.to_string()))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap_or_else(|_| Err("panic".into()))).collect()
    });
    shown(seen)
}
