//! What a statement may cost, and how SQLite is held to it.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use rusqlite::{Connection, limits::Limit};

use super::authorizer::Refusal;

/// What one statement may cost.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Rows of an answer.
    pub rows: usize,
    /// Bytes of an answer, about.
    pub bytes: usize,
    /// Steps of SQLite's machine; ten million take about half a second.
    pub steps: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { rows: 100_000, bytes: 32 << 20, steps: 30_000_000 }
    }
}

/// Sets the connection's limits, and the authorizer last of all.
pub(super) fn bound(
    connection: &mut Connection,
    refusal: &Refusal,
    steps: &Arc<AtomicU64>,
    most: u64,
) -> rusqlite::Result<()> {
    /// How many steps pass between two looks at the limit.
    const STRIDE: i32 = 1000;
    for (limit, value) in [
        (Limit::SQLITE_LIMIT_LENGTH, 1 << 20),
        (Limit::SQLITE_LIMIT_SQL_LENGTH, 1 << 20),
        (Limit::SQLITE_LIMIT_COLUMN, 500),
        (Limit::SQLITE_LIMIT_EXPR_DEPTH, 100),
        (Limit::SQLITE_LIMIT_COMPOUND_SELECT, 50),
        (Limit::SQLITE_LIMIT_VDBE_OP, 100_000),
        (Limit::SQLITE_LIMIT_ATTACHED, 0),
        (Limit::SQLITE_LIMIT_LIKE_PATTERN_LENGTH, 200),
        (Limit::SQLITE_LIMIT_WORKER_THREADS, 0),
    ] {
        connection.set_limit(limit, value)?;
    }
    let steps = Arc::clone(steps);
    connection.progress_handler(
        STRIDE,
        Some(move || {
            let stride = u64::from(STRIDE.unsigned_abs());
            steps.fetch_add(stride, Ordering::Relaxed) + stride > most
        }),
    )?;
    let refusal = refusal.clone();
    connection
        .authorizer(Some(move |context: rusqlite::hooks::AuthContext<'_>| refusal.decide(&context)))
}
