//! The kinds of statements.

use std::fmt;

/// What a statement is, by its leading words; `WITH`, `EXPLAIN`-free and parenthesised texts
/// are of the kind of their main statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum StatementKind {
    /// Administration of one server: `FLUSH LOGS`-like, `CHANGE MASTER`, `INSTALL PLUGIN`, `SHUTDOWN`.
    Admin,
    /// `ANALYZE`, `OPTIMIZE`, `CHECK`, `CHECKSUM`, `REPAIR TABLE`, `CACHE INDEX`.
    TableMaintenance,
    /// `BEGIN [WORK]`.
    Begin,
    /// `CALL`.
    Call,
    /// `COMMIT`.
    Commit {
        /// `AND CHAIN`: a new transaction is open afterwards.
        chain: bool,
        /// `RELEASE`: the server closes the connection afterwards.
        release: bool,
    },
    /// `CREATE TEMPORARY TABLE`.
    CreateTemporary,
    /// `CREATE`, `ALTER`, `DROP`, `RENAME`, `TRUNCATE` of lasting objects.
    Ddl,
    /// `DEALLOCATE PREPARE`, `DROP PREPARE`.
    Deallocate,
    /// `DELETE`.
    Delete,
    /// `DESCRIBE`, `EXPLAIN`, `HELP`: shown, not run. (`EXPLAIN ANALYZE` of MySQL runs a read.)
    Describe,
    /// `DO`.
    Do,
    /// `DROP TEMPORARY TABLE`.
    DropTemporary,
    /// Nothing but blanks and comments.
    #[default]
    Empty,
    /// `EXECUTE`, `EXECUTE IMMEDIATE`.
    Execute,
    /// `FLUSH`, `RESET`, `PURGE`.
    Flush,
    /// `GET DIAGNOSTICS`.
    Diagnostics,
    /// `GRANT`, `REVOKE`, account and role statements.
    Grant,
    /// `HANDLER`.
    Handler,
    /// `INSERT`.
    Insert,
    /// `KILL`.
    Kill {
        /// What is to end.
        scope: KillScope,
    },
    /// `LOAD DATA`, `LOAD XML`, `LOAD INDEX`.
    Load,
    /// `LOCK TABLES` and its kin.
    LockTables,
    /// `PREPARE`.
    Prepare,
    /// `RELEASE SAVEPOINT`.
    ReleaseSavepoint,
    /// `REPLACE`.
    Replace,
    /// `CHANGE MASTER`, `START REPLICA`, `STOP REPLICA`.
    Replication,
    /// `ROLLBACK`.
    Rollback {
        /// `TO [SAVEPOINT] name`: the transaction stays open.
        to_savepoint: bool,
        /// `AND CHAIN`.
        chain: bool,
        /// `RELEASE`.
        release: bool,
    },
    /// `SAVEPOINT`.
    Savepoint,
    /// `SELECT`.
    Select,
    /// `SET`, other than `SET STATEMENT … FOR`, which is of the kind of what follows.
    Set,
    /// `SHOW`.
    Show,
    /// `SIGNAL`, `RESIGNAL`.
    Signal,
    /// `START TRANSACTION`.
    StartTransaction {
        /// `READ ONLY`.
        read_only: bool,
    },
    /// `TABLE t` of MySQL 8.
    Table,
    /// Not known: goes to the primary.
    Unknown,
    /// `UNLOCK TABLES` and its kin.
    UnlockTables,
    /// `UPDATE`.
    Update,
    /// `USE`.
    Use,
    /// `VALUES ROW(…)`, `VALUES (…)` as a statement.
    Values,
    /// `XA`.
    Xa,
}

/// Its leading words, or what it is about where these are many.
impl fmt::Display for StatementKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Admin => "administration of a server",
            Self::TableMaintenance => "maintenance of a table",
            Self::Begin => "BEGIN",
            Self::Call => "CALL",
            Self::Commit { .. } => "COMMIT",
            Self::CreateTemporary => "CREATE TEMPORARY TABLE",
            Self::Ddl => "CREATE, ALTER, DROP, RENAME or TRUNCATE",
            Self::Deallocate => "DEALLOCATE PREPARE",
            Self::Delete => "DELETE",
            Self::Describe => "DESCRIBE or EXPLAIN",
            Self::Do => "DO",
            Self::DropTemporary => "DROP TEMPORARY TABLE",
            Self::Empty => "nothing but comments",
            Self::Execute => "EXECUTE",
            Self::Flush => "FLUSH, RESET or PURGE",
            Self::Diagnostics => "GET DIAGNOSTICS",
            Self::Grant => "a change of accounts",
            Self::Handler => "HANDLER",
            Self::Insert => "INSERT",
            Self::Kill { .. } => "KILL",
            Self::Load => "LOAD",
            Self::LockTables => "LOCK TABLES",
            Self::Prepare => "PREPARE",
            Self::ReleaseSavepoint => "RELEASE SAVEPOINT",
            Self::Replace => "REPLACE",
            Self::Replication => "steering of replication",
            Self::Rollback { .. } => "ROLLBACK",
            Self::Savepoint => "SAVEPOINT",
            Self::Select => "SELECT",
            Self::Set => "SET",
            Self::Show => "SHOW",
            Self::Signal => "SIGNAL or RESIGNAL",
            Self::StartTransaction { read_only: false } => "START TRANSACTION",
            Self::StartTransaction { read_only: true } => "START TRANSACTION READ ONLY",
            Self::Table => "TABLE",
            Self::Unknown => "not a known statement",
            Self::UnlockTables => "UNLOCK TABLES",
            Self::Update => "UPDATE",
            Self::Use => "USE",
            Self::Values => "VALUES",
            Self::Xa => "XA",
        })
    }
}

/// What a `KILL` ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum KillScope {
    /// The connection (also when nothing is said).
    Connection,
    /// The statement that runs.
    Query,
    /// MariaDB's `KILL QUERY ID`: one statement by its own id.
    QueryId,
    /// MariaDB's `KILL … USER name`.
    User,
}

/// The locking clause of a read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LockingClause {
    /// `FOR SHARE`, `LOCK IN SHARE MODE`.
    Share,
    /// `FOR UPDATE`.
    Update,
}
