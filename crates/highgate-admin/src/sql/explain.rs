//! SQLite's errors as MySQL's, with what to do about them.

use std::sync::atomic::Ordering;

use highgate_config::nearest;

use super::{answer::SqlError, authorizer::READ_ONLY, engine::Owner, rows::FetchError};

impl Owner {
    /// SQLite's error as MySQL's, with what to do about it.
    pub(super) fn explain(&self, error: FetchError, text: &str) -> SqlError {
        if let Some(refusal) = self.refusal.take() {
            return SqlError::refused(refusal);
        }
        if let Some(mismatch) = self.sources.iter().find_map(|source| source.mismatch()) {
            return SqlError::wrong_value(mismatch);
        }
        if self.steps.load(Ordering::Relaxed) > self.limits.steps {
            return SqlError::too_expensive(
                "the statement takes too many steps and was ended; join fewer rows, or put the \
                 larger table into WITH name AS MATERIALIZED (…)",
            );
        }
        let error = match error {
            FetchError::TooLarge => {
                return SqlError::too_expensive(format!(
                    "the answer has more than {} rows or {} MiB; add WHERE or LIMIT",
                    self.limits.rows,
                    self.limits.bytes >> 20
                ));
            }
            FetchError::Sqlite(error) => error,
        };
        match error {
            rusqlite::Error::SqlInputError { msg, offset, .. } => {
                self.input_error(&msg, offset, text)
            }
            rusqlite::Error::SqliteFailure(_, Some(message)) => self.input_error(&message, 0, text),
            other => SqlError::failed(other.to_string()),
        }
    }

    /// The column of the tables that a text names which is closest to one that does not exist.
    fn nearest_column(&self, name: &str, text: &str) -> Option<&'static str> {
        let words: Vec<_> = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').collect();
        let named = self
            .tables
            .iter()
            .filter(|table| words.iter().any(|word| word.eq_ignore_ascii_case(table.name())));
        let columns = named.flat_map(|table| table.columns()).map(|column| column.name);
        nearest(name.rsplit('.').next().unwrap_or(name), columns)
    }

    /// SQLite has one code for all of these; its text is the only place that says which it is.
    fn input_error(&self, message: &str, offset: i32, text: &str) -> SqlError {
        if let Some(name) = message.strip_prefix("no such table: ") {
            return SqlError::no_such_table(self.tables.no_such_table(name));
        }
        if let Some(name) = message.strip_prefix("no such column: ") {
            let hint = match self.nearest_column(name, text) {
                Some(near) => format!("did you mean '{near}'?"),
                None => "DESCRIBE shows a table's columns".to_owned(),
            };
            return SqlError::no_such_column(format!(
                "Unknown column '{name}' in 'field list'; {hint}"
            ));
        }
        if message.ends_with(" may not be modified") {
            return SqlError::refused(READ_ONLY);
        }
        let place = usize::try_from(offset).unwrap_or_default();
        let near: String = text.get(place..).unwrap_or_default().chars().take(60).collect();
        SqlError::syntax(format!("{message}; near '{near}'"))
    }
}
