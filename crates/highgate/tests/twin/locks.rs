//! Locks that were not to be had: whose they are.
//!
//! Nobody waits for locks in these tests, and InnoDB's purge holds tables for a moment: a statement
//! that meets it is said again. One that meets a lock of a session's own is not: where more connections
//! of the account hold locks behind Highgate than on the twin's server, Highgate holds one too many.

use highgate_testkit::{MariaDb, wait};

use crate::raw::Part;

/// "Lock wait timeout exceeded".
const NOT_HAD: u16 = 1205;
/// Beyond this something else holds it than purge.
const TRIES: usize = 200;

/// Arguments of a server whose locks can be looked at.
pub(crate) const ARGS: [&str; 2] =
    ["--plugin-maturity=unknown", "--plugin-load-add=metadata_lock_info"];

/// Whether a lock was not to be had.
pub(crate) fn not_had(parts: &[Part]) -> bool {
    parts.iter().any(|part| part.error() == Some(NOT_HAD))
}

/// Runs a command until no lock is in its way.
pub(crate) fn insist(mut run: impl FnMut() -> Vec<Part>, judge: impl Fn()) -> Vec<Part> {
    for _ in 0..TRIES {
        let parts = run();
        if !not_had(&parts) {
            return parts;
        }
        judge();
        // A packet of several may have done half its work: what it says now is its answer.
        if parts.len() > 1 {
            return parts;
        }
    }
    run()
}

/// Fails where the accounts hold locks on more connections to `shared` than to `alone`.
pub(crate) fn none_too_many(shared: &[MariaDb], alone: &MariaDb) {
    wait::eventually(wait::Deadline::seconds(10), "locks of Highgate's own", || {
        let mut held = Vec::new();
        for server in shared {
            held.append(&mut holders(server)?);
        }
        let may = holders(alone)?;
        anyhow::ensure!(held.len() <= may.len(), "{held:?} instead of {may:?}");
        Ok(())
    })
    .unwrap();
}

/// The accounts' connections that hold locks, and which.
fn holders(server: &MariaDb) -> anyhow::Result<Vec<Vec<String>>> {
    server.sql(
        "SELECT p.id, COALESCE(GROUP_CONCAT(l.lock_mode, ' ', l.table_name), 'a transaction') \
         FROM information_schema.processlist p \
         LEFT JOIN information_schema.metadata_lock_info l ON l.thread_id = p.id \
         LEFT JOIN information_schema.innodb_trx x ON x.trx_mysql_thread_id = p.id \
         WHERE p.user LIKE 'app%' AND (l.thread_id IS NOT NULL OR x.trx_id IS NOT NULL) GROUP BY p.id",
    )
}
