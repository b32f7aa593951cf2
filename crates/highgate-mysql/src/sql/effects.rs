//! What a text does beside returning rows, as far as its words tell.

use bitflags::bitflags;

bitflags! {
    /// What a text does, or may do, to the server and to its session.
    ///
    /// The bits of every statement of a multi-statement text are joined, except
    /// [`Effects::READ_ONLY_PROVED`], which holds only if it holds for the text as a whole.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
    pub struct Effects: u64 {
        /// Every statement is proved to read only: a replica may answer it.
        const READ_ONLY_PROVED = 1;
        /// Changes data, definitions or accounts.
        const WRITES = 1 << 1;
        /// `FOR UPDATE`, `FOR SHARE` or `LOCK IN SHARE MODE`.
        const LOCKING_READ = 1 << 2;
        /// `SELECT … INTO OUTFILE`, `DUMPFILE` or a variable.
        const SELECT_INTO = 1 << 3;
        /// Reads a user variable (`@v`).
        const USER_VARIABLE_READ = 1 << 4;
        /// Sets a user variable (`@v := …`, `SET @v`, `INTO @v`).
        const USER_VARIABLE_WRITE = 1 << 5;
        /// Makes a temporary table: the session is bound to its connection until that is dropped.
        const TEMP_TABLE = 1 << 6;
        /// Takes a named lock (`GET_LOCK`).
        const NAMED_LOCK = 1 << 7;
        /// Releases named locks (`RELEASE_LOCK`, `RELEASE_ALL_LOCKS`).
        const RELEASES_NAMED_LOCK = 1 << 8;
        /// `LOCK TABLES`, `FLUSH TABLES … WITH READ LOCK`, `LOCK INSTANCE`, `BACKUP LOCK`.
        const LOCK_TABLES = 1 << 9;
        /// `UNLOCK TABLES`, `UNLOCK INSTANCE`, `BACKUP UNLOCK`.
        const UNLOCKS_TABLES = 1 << 10;
        /// `LAST_INSERT_ID()`, `@@last_insert_id`, `@@identity`.
        const READS_LAST_INSERT_ID = 1 << 11;
        /// `LAST_INSERT_ID(expr)`: sets what the next `LAST_INSERT_ID()` says.
        const WRITES_LAST_INSERT_ID = 1 << 12;
        /// `FOUND_ROWS()`, of a statement before this text.
        const READS_FOUND_ROWS = 1 << 13;
        /// `SQL_CALC_FOUND_ROWS`.
        const CALC_FOUND_ROWS = 1 << 14;
        /// `ROW_COUNT()`, of the statement before this text.
        const READS_ROW_COUNT = 1 << 15;
        /// `SHOW WARNINGS`, `SHOW ERRORS`, `@@warning_count`, `GET DIAGNOSTICS`, `SHOW PROFILE`.
        const READS_DIAGNOSTICS = 1 << 16;
        /// Calls a function that acts on its server or session, or one that is not built in.
        const SIDE_EFFECT_FUNCTION = 1 << 17;
        /// Reads or advances a sequence.
        const SEQUENCE = 1 << 18;
        /// `CONNECTION_ID()`, `@@pseudo_thread_id`: the answer names the server's connection.
        const CONNECTION_ID = 1 << 19;
        /// Reads a session's system variable (`@@x`, `@@session.x`).
        const SYSTEM_VARIABLE_READ = 1 << 20;
        /// Reads a global system variable (`@@global.x`): differs from server to server.
        const GLOBAL_VARIABLE_READ = 1 << 21;
        /// Ends an open transaction by committing it.
        const IMPLICIT_COMMIT = 1 << 22;
        /// The answer differs from run to run or server to server (`NOW()`, `RAND()`, `@@hostname`).
        const NON_REPEATABLE = 1 << 23;
        /// More than one statement.
        const MULTI = 1 << 24;
        /// Changes the session's state (`SET`, `USE`).
        const SESSION_STATE = 1 << 25;
        /// May change the session in ways the text does not show (`CALL`, `EXECUTE`).
        const CAN_CHANGE_SESSION = 1 << 26;
        /// `LOAD DATA LOCAL`, `LOAD XML LOCAL`: the client will be asked for a file.
        const LOCAL_INFILE = 1 << 27;
        /// Has a `?` placeholder.
        const HAS_PLACEHOLDER = 1 << 28;
        /// Opens a transaction.
        const BEGINS_TRANSACTION = 1 << 29;
        /// Ends a transaction (`COMMIT`, `ROLLBACK`, and their kin; not implicit commits).
        const ENDS_TRANSACTION = 1 << 30;
        /// The lexer cannot be sure: open literal or comment, unsafe charset, NUL byte, compound text.
        const DOUBTFUL = 1 << 31;
        /// Prepares, executes or drops a prepared statement by name.
        const NAMED_PREPARED = 1 << 32;
        /// Opens, reads or closes a `HANDLER`.
        const HANDLER = 1 << 33;
        /// Speaks of the server it runs on (`SHOW PROCESSLIST`, `SHOW MASTER STATUS`): to the primary.
        const SERVER_SPECIFIC = 1 << 34;
        /// `SET GLOBAL`, `SET PERSIST`, `FLUSH`, replication and other administration of a server.
        const ADMINISTRATION = 1 << 35;
        /// Has a hint that limits or steers the server (`/*+ … */`).
        const OPTIMIZER_HINT = 1 << 36;
        /// A version comment was met, whichever way it was read.
        const VERSION_COMMENT = 1 << 37;
        /// Drops a temporary table by name (`DROP TEMPORARY TABLE`).
        const DROPS_TEMP_TABLE = 1 << 38;
        /// MariaDB's `SET STATEMENT … FOR …`: variables have other values for that statement alone.
        const FOR_STATEMENT = 1 << 39;
        /// `FOUND_ROWS()` after it may not be the number of its rows: it has an offset, joins several
        /// SELECTs, or examines only some rows.
        const COUNTS_OTHERWISE = 1 << 40;
        /// `KILL`, also as one of several statements.
        const KILLS = 1 << 41;
        /// `XA`, also as one of several statements.
        const XA = 1 << 42;
    }
}
