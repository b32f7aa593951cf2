//! Why a session is bound to its server connection, as one table.
//!
//! A pin cause has three columns: may the session release its lease, may it move to another server,
//! may it be handed to another process (with its server connection). What operators read about a
//! bound session comes from here. The invariant: a set that is not empty never allows more than
//! its strictest member.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What one cause forbids, and the words for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PinFacts {
    /// The name in tables and metrics.
    pub name: &'static str,
    /// Whether the lease may be released while the cause holds.
    pub may_release: bool,
    /// Whether the session may continue on another server, its state replayed there.
    pub may_change_server: bool,
    /// Whether session and server connection may be handed to another process at a safe point.
    pub may_change_process: bool,
    /// What an operator reads: why, and what ends it.
    pub sentence: &'static str,
}

macro_rules! pins {
    ($($(#[$doc:meta])* $cause:ident = $name:literal, $release:literal, $server:literal, $process:literal, $sentence:literal;)*) => {
        /// Why a session is bound to its server connection.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[repr(u8)]
        pub enum PinCause { $($(#[$doc])* $cause),* }

        impl PinCause {
            /// Every cause.
            pub const ALL: &'static [Self] = &[$(Self::$cause),*];

            /// Its row of the table.
            #[must_use]
            pub const fn facts(self) -> PinFacts {
                match self {
                    $(Self::$cause => PinFacts {
                        name: $name,
                        may_release: $release,
                        may_change_server: $server,
                        may_change_process: $process,
                        sentence: $sentence,
                    },)*
                }
            }
        }
    };
}

pins! {
    /// FOUND_ROWS() or ROW_COUNT() is asked for where only the connection can answer.
    AsksCounts = "asks_counts", false, false, true,
        "the session asks for FOUND_ROWS() or ROW_COUNT() in prepared statements or within expressions, which only its connection can answer; ends when its connection is reset";
    /// Autocommit is off and a statement ran since the last commit.
    AutocommitOff = "autocommit_off", false, false, true,
        "autocommit is off and a statement ran; ends with COMMIT or ROLLBACK";
    /// LOCK INSTANCE, BACKUP LOCK, BACKUP STAGE.
    BackupLock = "backup_lock", false, false, true,
        "the session took a backup lock; ends when its connection is reset";
    /// The connection streams a binary log.
    BinlogDump = "binlog_dump", false, false, false,
        "the client reads the binary log over this connection; ends with the session";
    /// FOUND_ROWS() of the last statement can be asked for.
    FoundRows = "found_rows", false, false, true,
        "the last statement counted rows for FOUND_ROWS(); ends with the next statement";
    /// FLUSH TABLES WITH READ LOCK.
    GlobalReadLock = "global_read_lock", false, false, true,
        "the session holds a read lock of FLUSH TABLES; ends with UNLOCK TABLES";
    /// A HANDLER is open.
    Handler = "handler", false, false, true,
        "the session used HANDLER; ends when its connection is reset";
    /// LAST_INSERT_ID() can't be told from the answer.
    LastInsertIdUnknown = "last_insert_id_unknown", false, false, true,
        "LAST_INSERT_ID() cannot be told from the server's answer; ends when it is read, when nothing else keeps the connection (Highgate asks for it then), or the next statement sets it";
    /// A file is on its way from the client.
    LocalInfile = "local_infile", false, false, false,
        "the client sends a file for LOAD DATA LOCAL; ends with the statement";
    /// LOCK TABLES.
    LockedTables = "locked_tables", false, false, true,
        "the session holds LOCK TABLES; ends with UNLOCK TABLES";
    /// COM_STMT_SEND_LONG_DATA came, its execution did not.
    LongData = "long_data", false, false, true,
        "parameters of a prepared statement were sent ahead; ends with its execution or reset";
    /// A rule or the configuration forbids sharing.
    MultiplexOff = "multiplex_off", false, true, true,
        "sharing is turned off by the backend, or by a rule until another rule turns it on";
    /// GET_LOCK.
    NamedLock = "named_lock", false, false, true,
        "the session may hold a lock of GET_LOCK(); ends with RELEASE_LOCK() of each by its plain name, with RELEASE_ALL_LOCKS(), or when its connection is reset";
    /// SET TRANSACTION for the next transaction.
    NextTransaction = "next_transaction", false, true, true,
        "SET TRANSACTION waits for the next transaction; ends with it";
    /// A cursor is open.
    OpenCursor = "open_cursor", false, false, true,
        "a cursor of a prepared statement is open; ends when it was read or closed";
    /// The client logged in at the server itself.
    Passthrough = "passthrough", false, false, true,
        "the client authenticated at the server itself, so its connection cannot be shared";
    /// SET ROLE or SET RESOURCE GROUP.
    Role = "role", false, false, true,
        "the session chose a role or a resource group, which not even a reset of its connection takes back; ends with the session";
    /// A routine may have changed the session.
    RoutineChangedState = "routine_changed_state", false, false, true,
        "a routine may have changed the session in ways that cannot be seen; ends when its connection is reset";
    /// A savepoint of an implicit transaction.
    Savepoint = "savepoint", false, false, true,
        "the transaction has a savepoint; ends with the transaction";
    /// Sequences.
    Sequence = "sequence", false, false, true,
        "the session used a sequence, whose last value only its connection knows; ends when that is reset";
    /// What the session is can't be told.
    SessionUnknown = "session_unknown", false, false, true,
        "the session's state cannot be told from what was seen; ends when its connection is reset";
    /// CREATE TEMPORARY TABLE.
    TemporaryTable = "temporary_table", false, false, true,
        "the session has temporary tables; ends when its connection is reset";
    /// SQL PREPARE.
    TextPrepared = "text_prepared", false, false, true,
        "the session has had statements of SQL PREPARE; ends when its connection is reset (DEALLOCATE PREPARE is not followed)";
    /// A transaction is open.
    Transaction = "transaction", false, false, true,
        "a transaction is open; ends with COMMIT or ROLLBACK";
    /// A SET that can't be replayed.
    UnreplayableSet = "unreplayable_set", false, false, true,
        "the session ran a SET that cannot be repeated elsewhere; ends when its connection is reset";
    /// User variables that can't be replayed.
    UserVariables = "user_variables", false, false, true,
        "the session has user variables whose values are not known; ends when its connection is reset";
    /// The last command left warnings.
    Warnings = "warnings", false, false, true,
        "the last statement left warnings that can be asked for; ends with the next statement, or after a second without one";
    /// An XA transaction.
    Xa = "xa", false, false, true,
        "an XA transaction was begun; ends when its connection is reset";
}

impl PinCause {
    /// Whether losing the connection changes what later statements mean without any error to say so.
    ///
    /// A lost transaction is told by one error, as a deadlock is. A lost user variable or lock is not:
    /// such a session must end with its connection, as it would without a proxy.
    #[must_use]
    pub const fn is_lost_silently(self) -> bool {
        match self {
            Self::AsksCounts
            | Self::AutocommitOff
            | Self::FoundRows
            | Self::LocalInfile
            | Self::MultiplexOff
            | Self::NextTransaction
            | Self::OpenCursor
            | Self::Savepoint
            | Self::Transaction
            | Self::Warnings => false,
            Self::BackupLock
            | Self::BinlogDump
            | Self::GlobalReadLock
            | Self::Handler
            | Self::LastInsertIdUnknown
            | Self::LockedTables
            | Self::LongData
            | Self::NamedLock
            | Self::Passthrough
            | Self::Role
            | Self::RoutineChangedState
            | Self::Sequence
            | Self::SessionUnknown
            | Self::TemporaryTable
            | Self::TextPrepared
            | Self::UnreplayableSet
            | Self::UserVariables
            | Self::Xa => true,
        }
    }

    /// Whether it is only what the last command left, for the next one to ask for.
    #[must_use]
    pub const fn is_leftover(self) -> bool {
        matches!(self, Self::AsksCounts | Self::FoundRows | Self::Warnings)
    }

    /// Whether it is work under way, which its client is about to end: a stop waits for that, as
    /// for a transaction. All else goes with the session, whenever that ends.
    #[must_use]
    pub const fn is_under_way(self) -> bool {
        match self {
            Self::AutocommitOff
            | Self::BackupLock
            | Self::BinlogDump
            | Self::GlobalReadLock
            | Self::LocalInfile
            | Self::LockedTables
            | Self::LongData
            | Self::OpenCursor
            | Self::Savepoint
            | Self::Transaction
            | Self::Xa => true,
            Self::AsksCounts
            | Self::FoundRows
            | Self::Handler
            | Self::LastInsertIdUnknown
            | Self::MultiplexOff
            | Self::NamedLock
            | Self::NextTransaction
            | Self::Passthrough
            | Self::Role
            | Self::RoutineChangedState
            | Self::Sequence
            | Self::SessionUnknown
            | Self::TemporaryTable
            | Self::TextPrepared
            | Self::UnreplayableSet
            | Self::UserVariables
            | Self::Warnings => false,
        }
    }

    /// Whether others may have to wait for it, or a session that was its own: a lock, or what may be one.
    #[must_use]
    pub const fn may_keep_others_out(self) -> bool {
        match self {
            Self::AutocommitOff
            | Self::BackupLock
            | Self::GlobalReadLock
            | Self::Handler
            | Self::LocalInfile
            | Self::LockedTables
            | Self::NamedLock
            | Self::OpenCursor
            | Self::RoutineChangedState
            | Self::Savepoint
            | Self::SessionUnknown
            | Self::Transaction
            | Self::Xa => true,
            Self::AsksCounts
            | Self::BinlogDump
            | Self::FoundRows
            | Self::LastInsertIdUnknown
            | Self::LongData
            | Self::MultiplexOff
            | Self::NextTransaction
            | Self::Passthrough
            | Self::Role
            | Self::Sequence
            | Self::TemporaryTable
            | Self::TextPrepared
            | Self::UnreplayableSet
            | Self::UserVariables
            | Self::Warnings => false,
        }
    }

    const fn bit(self) -> u32 {
        1 << self as u32
    }
}

impl fmt::Display for PinCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.facts().name)
    }
}

/// The causes that bind a session at the moment.
#[derive(Clone, Copy, PartialEq, Eq, Default, Hash, Serialize, Deserialize)]
#[serde(from = "Vec<PinCause>", into = "Vec<PinCause>")]
pub struct PinSet(u32);

impl PinSet {
    /// No cause.
    pub const EMPTY: Self = Self(0);

    /// Whether nothing binds.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether that cause is there.
    #[must_use]
    pub const fn contains(self, cause: PinCause) -> bool {
        self.0 & cause.bit() != 0
    }

    /// Adds a cause.
    pub const fn insert(&mut self, cause: PinCause) {
        self.0 |= cause.bit();
    }

    /// Takes a cause away.
    pub const fn remove(&mut self, cause: PinCause) {
        self.0 &= !cause.bit();
    }

    /// Adds or takes away.
    pub const fn set(&mut self, cause: PinCause, on: bool) {
        if on { self.insert(cause) } else { self.remove(cause) }
    }

    /// Both together.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// This set without the other's causes.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// The causes, in the order of the table.
    pub fn iter(self) -> impl Iterator<Item = PinCause> {
        PinCause::ALL.iter().copied().filter(move |cause| self.contains(*cause))
    }

    /// Whether the lease may be released.
    #[must_use]
    pub fn may_release(self) -> bool {
        self.iter().all(|cause| cause.facts().may_release)
    }

    /// Whether the session may move to another server.
    #[must_use]
    pub fn may_change_server(self) -> bool {
        self.iter().all(|cause| cause.facts().may_change_server)
    }

    /// Whether the session may be handed to another process.
    #[must_use]
    pub fn may_change_process(self) -> bool {
        self.iter().all(|cause| cause.facts().may_change_process)
    }

    /// Whether losing the connection changes what later statements mean without any error.
    #[must_use]
    pub fn is_lost_silently(self) -> bool {
        self.iter().any(PinCause::is_lost_silently)
    }
}

impl FromIterator<PinCause> for PinSet {
    fn from_iter<I: IntoIterator<Item = PinCause>>(causes: I) -> Self {
        let mut set = Self::EMPTY;
        causes.into_iter().for_each(|cause| set.insert(cause));
        set
    }
}

impl From<PinCause> for PinSet {
    fn from(cause: PinCause) -> Self {
        Self(cause.bit())
    }
}

impl From<Vec<PinCause>> for PinSet {
    fn from(causes: Vec<PinCause>) -> Self {
        causes.into_iter().collect()
    }
}

impl From<PinSet> for Vec<PinCause> {
    fn from(set: PinSet) -> Self {
        set.iter().collect()
    }
}

impl fmt::Display for PinSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, cause) in self.iter().enumerate() {
            write!(f, "{}{cause}", if at == 0 { "" } else { "," })?;
        }
        Ok(())
    }
}

impl fmt::Debug for PinSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{{{self}}}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_every_cause_explains_itself() {
        let mut names: Vec<_> = PinCause::ALL.iter().map(|cause| cause.facts().name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), PinCause::ALL.len());
        for cause in PinCause::ALL {
            assert!(cause.facts().sentence.len() > 20, "{cause}");
        }
        assert!(PinCause::ALL.len() <= 32, "the set has 32 bits");
    }

    #[test]
    fn a_cause_that_lets_the_server_change_is_not_lost_silently() {
        for cause in PinCause::ALL {
            assert!(!(cause.facts().may_change_server && cause.is_lost_silently()), "{cause}");
        }
    }

    #[test]
    fn a_set_is_as_strict_as_its_strictest_member() {
        for &a in PinCause::ALL {
            for &b in PinCause::ALL {
                let set: PinSet = [a, b].into_iter().collect();
                assert!(!set.may_change_server() || a.facts().may_change_server);
                assert!(!set.may_change_process() || b.facts().may_change_process);
                assert!(!set.may_release());
            }
        }
        assert!(PinSet::EMPTY.may_release() && PinSet::EMPTY.may_change_server());
    }

    #[test]
    fn removing_what_was_added_leaves_nothing() {
        let mut set = PinSet::EMPTY;
        set.insert(PinCause::Warnings);
        set.insert(PinCause::Xa);
        set.remove(PinCause::Warnings);
        assert_eq!(set.to_string(), "xa");
        assert_eq!(set.without(set), PinSet::EMPTY);
    }
}
