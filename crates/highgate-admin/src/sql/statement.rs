//! Which statement a text is; everything that reads tables is left to SQLite.
//!
//! Pure. Knows words and quotes only: a `SELECT` is passed on as it was written.

mod token;

use highgate_mysql::charset::is_unsafe_for_lexing;

use self::token::{Token, tokens};
use super::answer::SqlError;

/// A statement, recognized.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Statement<'a> {
    /// `CALL table.action(arguments)`.
    Call { table: &'a str, action: &'a str, arguments: Vec<String> },
    /// `DESCRIBE table`, `SHOW COLUMNS FROM table`; with `FULL`, the documentation too.
    Columns { table: &'a str },
    /// `SHOW CREATE TABLE`.
    CreateTable { table: &'a str },
    /// `SHOW DATABASES`.
    Databases,
    /// A SHOW that has nothing to show here: `WARNINGS`, `STATUS`, `COLLATION` …
    Empty { columns: &'static [&'static str] },
    /// `HELP`, `SHOW HELP`.
    Help,
    /// `SHOW PROCESSLIST`.
    Processlist,
    /// Something that clients send and that means nothing here: `SET`, `USE`, `BEGIN`, `COMMIT`.
    Quiet,
    /// Anything that SQLite answers.
    Select,
    /// `SHOW TABLES`; full has a second column.
    Tables { like: Option<String>, is_full: bool },
    /// `SHOW VARIABLES`.
    Variables { like: Option<String> },
}

/// Recognizes one statement.
///
/// # Errors
/// A syntax error for what is neither, and for more than one statement in a text.
pub(super) fn recognize(text: &str) -> Result<Statement<'_>, SqlError> {
    let tokens = tokens(text);
    let end = tokens.iter().position(|t| *t == Token::Sign(';')).unwrap_or(tokens.len());
    let (tokens, after) = tokens.split_at(end);
    if after.iter().any(|token| *token != Token::Sign(';')) {
        return Err(SqlError::syntax("send one statement at a time"));
    }
    let Some((Token::Word(first), rest)) = tokens.split_first() else {
        return match tokens.first() {
            // Clients send empty statements and comments alone.
            None => Ok(Statement::Quiet),
            Some(_) => Err(unknown(text)),
        };
    };
    match first.to_ascii_uppercase().as_str() {
        "CALL" => call(rest),
        "DESC" | "DESCRIBE" => columns_of(rest),
        "EXPLAIN" if matches!(rest, [Token::Word(_)]) => columns_of(rest),
        "HELP" => Ok(Statement::Help),
        "SET" => set(rest),
        "SHOW" => show(rest),
        "USE" => Ok(Statement::Quiet),
        "BEGIN" | "COMMIT" | "ROLLBACK" | "START" if is_transactional(first, rest) => {
            Ok(Statement::Quiet)
        }
        "BEGIN" | "COMMIT" | "ROLLBACK" | "START" | "LOCK" | "UNLOCK" | "KILL" => {
            Err(unknown(text))
        }
        _ => Ok(Statement::Select),
    }
}

/// Whether this begins or ends a transaction. Drivers do so unasked; here is nothing that one could hold
/// together: each SELECT sees its moment, and what is called is in force at once, whatever ROLLBACK says.
fn is_transactional(first: &str, rest: &[Token<'_>]) -> bool {
    match first.to_ascii_uppercase().as_str() {
        "BEGIN" => rest.iter().all(|token| token.is("WORK")),
        "START" => rest.first().is_some_and(|token| token.is("TRANSACTION")),
        // There are no savepoints to go back to.
        _ => !rest.iter().any(|token| token.is("TO")),
    }
}

/// A SET means nothing here, but must not make the client write its texts otherwise than they are read.
fn set<'a>(tokens: &[Token<'a>]) -> Result<Statement<'a>, SqlError> {
    // Those that are about quotes, and those that contain them.
    const MODES: [&str; 8] = [
        "ANSI",
        "ANSI_QUOTES",
        "DB2",
        "MAXDB",
        "MSSQL",
        "NO_BACKSLASH_ESCAPES",
        "ORACLE",
        "POSTGRESQL",
    ];
    for token in tokens {
        let value = match token {
            Token::Sign(_) => continue,
            Token::Text(text) => text.as_str(),
            Token::Word(word) => word,
        };
        if is_unsafe_for_lexing(value) {
            return Err(SqlError::unknown_charset(value));
        }
        let mut modes = value.split(',').map(str::trim);
        if let Some(mode) = modes.find(|it| MODES.iter().any(|mode| mode.eq_ignore_ascii_case(it)))
        {
            return Err(SqlError::wrong_mode(mode));
        }
    }
    Ok(Statement::Quiet)
}

fn show<'a>(tokens: &[Token<'a>]) -> Result<Statement<'a>, SqlError> {
    const SKIPPED: [&str; 4] = ["FULL", "GLOBAL", "SESSION", "EXTENDED"];
    let is_full = tokens.iter().take(2).any(|token| token.is("FULL"));
    let skipped = tokens.iter().take_while(|t| SKIPPED.iter().any(|s| t.is(s))).count();
    let Some((Token::Word(what), rest)) = tokens.get(skipped..).and_then(<[_]>::split_first) else {
        return Err(SqlError::syntax("SHOW what? Try SHOW TABLES or SHOW HELP"));
    };
    let empty = |columns| Ok(Statement::Empty { columns });
    match what.to_ascii_uppercase().as_str() {
        "COLUMNS" | "FIELDS" => columns_of(rest.get(1..).unwrap_or_default()),
        "CREATE" => match rest {
            [table, name @ ..] if table.is("TABLE") => {
                table_name(name).map(|table| Statement::CreateTable { table })
            }
            _ => Err(SqlError::syntax("SHOW CREATE what? Try SHOW CREATE TABLE name")),
        },
        // Under this name as well, since the command lines keep a bare HELP for themselves.
        "HELP" => Ok(Statement::Help),
        "DATABASES" | "SCHEMAS" => Ok(Statement::Databases),
        "PROCESSLIST" => Ok(Statement::Processlist),
        "TABLES" => Ok(Statement::Tables { like: like(rest), is_full }),
        "VARIABLES" => Ok(Statement::Variables { like: like(rest) }),
        "WARNINGS" | "ERRORS" => empty(&["Level", "Code", "Message"]),
        "STATUS" => empty(&["Variable_name", "Value"]),
        "COLLATION" => empty(&["Collation", "Charset", "Id", "Default", "Compiled", "Sortlen"]),
        "CHARSET" | "CHARACTER" => {
            empty(&["Charset", "Description", "Default collation", "Maxlen"])
        }
        "ENGINES" => empty(&["Engine", "Support", "Comment"]),
        "INDEX" | "INDEXES" | "KEYS" => empty(&["Table", "Non_unique", "Key_name"]),
        "TRIGGERS" | "EVENTS" | "PLUGINS" => empty(&["Name"]),
        _ => Err(SqlError::syntax(format!(
            "SHOW {what} is not known here; try SHOW TABLES or SHOW HELP"
        ))),
    }
}

/// `CALL table.action('a', 2)` or without parentheses.
fn call<'a>(tokens: &[Token<'a>]) -> Result<Statement<'a>, SqlError> {
    const USAGE: &str =
        "an action is called as CALL table.action('argument', …); SHOW HELP lists them";
    let usage = || SqlError::syntax(USAGE);
    let [Token::Word(table), Token::Sign('.'), Token::Word(action), rest @ ..] = tokens else {
        return Err(usage());
    };
    let inner = match rest {
        [] => rest,
        [Token::Sign('('), inner @ .., Token::Sign(')')] => inner,
        _ => return Err(usage()),
    };
    let mut arguments = Vec::new();
    for (position, token) in inner.iter().enumerate() {
        match (position % 2, token) {
            (0, Token::Text(text)) => arguments.push(text.clone()),
            (0, Token::Word(word)) => arguments.push((*word).to_owned()),
            (1, Token::Sign(',')) => {}
            _ => return Err(usage()),
        }
    }
    if !inner.is_empty() && inner.len() % 2 == 0 {
        return Err(usage());
    }
    Ok(Statement::Call { table, action, arguments })
}

fn columns_of<'a>(tokens: &[Token<'a>]) -> Result<Statement<'a>, SqlError> {
    table_name(tokens).map(|table| Statement::Columns { table })
}

/// The table of `name` or `schema.name`.
fn table_name<'a>(tokens: &[Token<'a>]) -> Result<&'a str, SqlError> {
    match tokens {
        [Token::Word(_), Token::Sign('.'), Token::Word(name), ..] | [Token::Word(name), ..] => {
            Ok(name)
        }
        _ => Err(SqlError::syntax("the name of a table is missing; SHOW TABLES lists them")),
    }
}

/// The pattern of a `LIKE`, or of `WHERE Variable_name = '…'`.
fn like(tokens: &[Token<'_>]) -> Option<String> {
    let mut tokens =
        tokens.iter().skip_while(|token| !token.is("LIKE") && **token != Token::Sign('='));
    tokens.next()?;
    match tokens.next() {
        Some(Token::Text(pattern)) => Some(pattern.clone()),
        _ => None,
    }
}

fn unknown(text: &str) -> SqlError {
    let near: String = text.trim().chars().take(40).collect();
    SqlError::syntax(format!("'{near}' is not known here; try SELECT, SHOW TABLES or SHOW HELP"))
}

#[cfg(test)]
mod tests;
