//! What sqlx's tests of MySQL take from a crate of their workspace, written anew.

use sqlx::{Connection, Database};

pub use paste;

/// Nothing has to be set up here.
pub fn setup_if_needed() {}

/// A connection to the database that the environment names.
pub async fn new<D: Database>() -> anyhow::Result<D::Connection> {
    Ok(D::Connection::connect(&std::env::var("DATABASE_URL")?).await?)
}

/// Values come back as they are: as literals of a text, and as parameters.
#[macro_export]
macro_rules! test_type {
    ($name:ident<$ty:ty>($($rest:tt)+)) => {
        $crate::test_prepared_type!($name<$ty>($($rest)+));
        $crate::test_unprepared_type!($name<$ty>($($rest)+));
    };
    ($name:ident($($rest:tt)+)) => {
        $crate::test_type!($name<$name>($($rest)+));
    };
}

/// As the results of texts.
#[macro_export]
macro_rules! test_unprepared_type {
    ($name:ident<$ty:ty>($db:ident, $sql:literal, $($rest:tt)+)) => {
        $crate::test_unprepared_type!($name<$ty>($db, $($rest)+));
    };
    ($name:ident<$ty:ty>($db:ident, $($text:literal == $value:expr),+ $(,)?)) => {
        $crate::paste::paste! {
            #[sqlx::test]
            async fn [<unprepared_ $name>]() -> anyhow::Result<()> {
                use sqlx::Row as _;
                let mut conn = $crate::new::<$db>().await?;
                $({
                    let text = sqlx::AssertSqlSafe(format!("SELECT {} AS it", $text));
                    let row = sqlx::raw_sql(text).fetch_one(&mut conn).await?;
                    let found = row.try_get::<$ty, _>("it")?;
                    assert!($value == found, "{}", $text);
                })+
                Ok(())
            }
        }
    };
}

/// As parameters and results of executions.
#[macro_export]
macro_rules! test_prepared_type {
    ($name:ident<$ty:ty>($db:ident, $sql:literal, $($text:literal == $value:expr),+ $(,)?)) => {
        $crate::paste::paste! {
            #[sqlx::test]
            async fn [<prepared_ $name>]() -> anyhow::Result<()> {
                use sqlx::Row as _;
                let mut conn = $crate::new::<$db>().await?;
                $({
                    let text = format!($sql, $text);
                    let query = sqlx::query(sqlx::AssertSqlSafe(text)).bind($value).bind($value);
                    let row = query.fetch_one(&mut conn).await?;
                    assert!(row.try_get::<bool, _>(0)?, "{} is another value there", $text);
                    assert!($value == row.try_get::<$ty, _>(1)?, "{}", $text);
                    assert!($value == row.try_get::<$ty, _>(2)?, "{} as a parameter", $text);
                })+
                Ok(())
            }
        }
    };
    ($name:ident<$ty:ty>($db:ident, $($rest:tt)+)) => {
        $crate::test_prepared_type!($name<$ty>($db, "SELECT {0} <=> ?, {0}, ?", $($rest)+));
    };
}
