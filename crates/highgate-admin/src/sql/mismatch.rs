//! Numbers that a statement compares with a text: SQLite finds each of them smaller than any text, and says
//! nothing. A text that is a number is compared as that number, as MySQL does.
//!
//! Seen are columns that are compared with what is written, alone: an expression may have any type. Of
//! several behind `IN`, and of any behind `NOT IN`, SQLite shows none: there such a text still equals no number.

use highgate_config::table::{Column, Kind, Table};
use rusqlite::{
    types::ValueRef,
    vtab::{IndexConstraintOp as Op, IndexInfo},
};

/// Of a text that is no number, so much is said.
const SHOWN: usize = 60;

/// The first column of numbers that is compared with a text that is none, in words.
pub(super) fn find(info: &IndexInfo, table: &dyn Table) -> Option<String> {
    info.constraints().enumerate().find_map(|(at, constraint)| {
        let is_comparison = matches!(
            constraint.operator(),
            Op::SQLITE_INDEX_CONSTRAINT_EQ
                | Op::SQLITE_INDEX_CONSTRAINT_GE
                | Op::SQLITE_INDEX_CONSTRAINT_GT
                | Op::SQLITE_INDEX_CONSTRAINT_IS
                | Op::SQLITE_INDEX_CONSTRAINT_ISNOT
                | Op::SQLITE_INDEX_CONSTRAINT_LE
                | Op::SQLITE_INDEX_CONSTRAINT_LT
                | Op::SQLITE_INDEX_CONSTRAINT_NE
        );
        let column = table.columns().get(usize::try_from(constraint.column()).ok()?)?;
        if !is_comparison {
            return None;
        }
        let Ok(Some(ValueRef::Text(text))) = info.rhs_value(at) else { return None };
        in_words(column, table.name(), &String::from_utf8_lossy(text))
    })
}

fn in_words(column: &Column, table: &str, text: &str) -> Option<String> {
    let kind = match column.kind {
        Kind::Integer => "integer",
        Kind::Real => "number",
        Kind::Text => return None,
    };
    if is_number(text) {
        return None;
    }
    let given: String = text.chars().take(SHOWN).collect();
    Some(format!(
        "Incorrect {kind} value: '{given}' for column '{}' of '{table}', which says: {}",
        column.name, column.doc
    ))
}

fn is_number(text: &str) -> bool {
    let text = text.trim();
    // Rust reads words for what is no number, too.
    !text.contains(|c: char| c.is_ascii_alphabetic() && !c.eq_ignore_ascii_case(&'e'))
        && text.parse::<f64>().is_ok()
}
