//! What a statement does, in an operator's words.

use highgate_mysql::sql::Effects;

/// Each effect with what it means, those first that decide where a statement goes.
const WORDS: &[(Effects, &str)] = &[
    (Effects::READ_ONLY_PROVED, "only reads"),
    (Effects::WRITES, "writes"),
    (Effects::DOUBTFUL, "can't be read with certainty"),
    (Effects::LOCKING_READ, "locks the rows that it reads"),
    (Effects::SELECT_INTO, "puts its result into a file or variable"),
    (Effects::SEQUENCE, "reads or advances a sequence"),
    (Effects::SERVER_SPECIFIC, "asks about the server that it runs on"),
    (Effects::SIDE_EFFECT_FUNCTION, "calls a function that may have effects"),
    (Effects::NAMED_LOCK, "takes a named lock"),
    (Effects::ADMINISTRATION, "administers a server"),
    (Effects::BEGINS_TRANSACTION, "begins a transaction"),
    (Effects::ENDS_TRANSACTION, "ends a transaction"),
    (Effects::IMPLICIT_COMMIT, "commits an open transaction"),
    (Effects::MULTI, "has several statements"),
    (Effects::SESSION_STATE, "changes the session"),
    (Effects::CAN_CHANGE_SESSION, "may change the session"),
    (Effects::FOR_STATEMENT, "sets variables for itself alone"),
    (Effects::TEMP_TABLE, "makes a temporary table"),
    (Effects::DROPS_TEMP_TABLE, "drops a temporary table"),
    (Effects::LOCK_TABLES, "locks tables"),
    (Effects::UNLOCKS_TABLES, "unlocks tables"),
    (Effects::RELEASES_NAMED_LOCK, "releases a named lock"),
    (Effects::KILLS, "ends a session or its statement"),
    (Effects::XA, "is part of an XA transaction"),
    (Effects::NAMED_PREPARED, "uses a statement prepared by name"),
    (Effects::HANDLER, "uses a HANDLER"),
    (Effects::LOCAL_INFILE, "asks the client for a file"),
    (Effects::USER_VARIABLE_READ, "reads a user variable"),
    (Effects::USER_VARIABLE_WRITE, "sets a user variable"),
    (Effects::SYSTEM_VARIABLE_READ, "reads a system variable"),
    (Effects::GLOBAL_VARIABLE_READ, "reads a global variable"),
    (Effects::READS_LAST_INSERT_ID, "reads the last insert id"),
    (Effects::WRITES_LAST_INSERT_ID, "sets the last insert id"),
    (Effects::READS_FOUND_ROWS, "reads the count of rows found before"),
    (Effects::CALC_FOUND_ROWS, "counts the rows found"),
    (Effects::COUNTS_OTHERWISE, "may count other rows than it returns"),
    (Effects::READS_ROW_COUNT, "reads the count of rows changed before"),
    (Effects::READS_DIAGNOSTICS, "reads the warnings of the statement before"),
    (Effects::CONNECTION_ID, "asks for the connection's id"),
    (Effects::NON_REPEATABLE, "may answer differently each time"),
    (Effects::HAS_PLACEHOLDER, "has placeholders"),
    (Effects::OPTIMIZER_HINT, "has a hint for the optimizer"),
    (Effects::VERSION_COMMENT, "has a version comment"),
];

/// What a statement with these effects does.
pub(super) fn effects(effects: Effects) -> String {
    let told: Vec<&str> = (WORDS.iter())
        .filter(|(effect, _)| effects.contains(*effect))
        .map(|(_, words)| *words)
        .collect();
    if told.is_empty() { "nothing is known of what it does".to_owned() } else { told.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_words_for_each_effect() {
        let told = WORDS.iter().fold(Effects::empty(), |all, (effect, _)| all.union(*effect));
        assert_eq!(told, Effects::all());
    }
}
