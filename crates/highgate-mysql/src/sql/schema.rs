//! Whether a text changes a schema itself, rather than what lies in it.

use super::LexMode;
use super::token::{Lexer, Token};
use super::words::Kw;

/// Whether `text` has an `ALTER`, a `DROP` or a `CREATE OR REPLACE` of a `DATABASE` or `SCHEMA`, as a statement of its own or
/// among others: what is dropped may be made anew, with other settings.
#[must_use]
pub fn alters_schema(text: &[u8], mode: LexMode) -> bool {
    let mut lexer = Lexer::new(text, mode);
    let mut is_behind_verb = false;
    loop {
        let token = lexer.next();
        match token {
            Token::End => return false,
            Token::Word(_, Kw::Database, _) if is_behind_verb => return true,
            _ => {
                is_behind_verb =
                    matches!(token, Token::Word(_, Kw::Alter | Kw::Drop | Kw::Replace, _))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alters(text: &str) -> bool {
        alters_schema(text.as_bytes(), LexMode::default())
    }

    #[test]
    fn a_schema_is_altered_alone_or_among_other_statements() {
        for text in [
            "ALTER DATABASE shop CHARACTER SET latin2",
            "alter schema COLLATE latin2_bin",
            "ALTER /* a word */ DATABASE shop CHARSET latin2",
            "SELECT 1; ALTER\nSCHEMA shop CHARSET latin2; SELECT 2",
            "BEGIN NOT ATOMIC ALTER DATABASE shop CHARSET latin2; END",
            "CREATE OR REPLACE DATABASE shop CHARSET latin2",
            "DROP SCHEMA IF EXISTS shop; CREATE SCHEMA shop CHARSET latin2",
        ] {
            assert!(alters(text), "{text}");
        }
    }

    #[test]
    fn names_and_texts_that_speak_of_schemas_alter_none() {
        for text in [
            "ALTER TABLE schema_migrations ADD version INT",
            "ALTER TABLE t COMMENT 'the schema of a database'",
            "ALTER TABLE `database` ADD COLUMN `schema` INT",
            "CREATE TABLE t (alter_database INT)",
            "CREATE DATABASE shop; ALTER TABLE t ADD i INT",
            "DROP TABLE `schema`",
            "INSERT INTO t VALUES (REPLACE(DATABASE(), 'a', 'b'))",
            "SELECT 'ALTER DATABASE shop'; DO 1",
            "/* ALTER DATABASE shop */ ALTER TABLE t ADD i INT",
            "",
        ] {
            assert!(!alters(text), "{text}");
        }
    }
}
