//! What a statement is, by its leading words.

use super::words::Kw;
use super::{Effects, KillScope, StatementKind};

const KEPT: usize = 8;

/// The first words of a statement; names and marks count as [`Kw::Other`].
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Head {
    words: [Kw; KEPT],
    length: usize,
    started: bool,
}

impl Head {
    pub(super) fn lead(&mut self, kw: Kw) {
        self.push(kw);
    }

    #[inline]
    pub(super) fn push(&mut self, kw: Kw) {
        self.started = true;
        if let Some(slot) = self.words.get_mut(self.length) {
            *slot = kw;
            self.length += 1;
        }
    }

    /// A literal or variable among the first words.
    pub(super) fn push_mark(&mut self) {
        if self.started {
            self.push(Kw::Other);
        }
    }

    #[inline]
    pub(super) fn is_some(&self) -> bool {
        self.started
    }

    /// `CREATE [OR REPLACE] [TEMPORARY] TABLE`.
    pub(super) fn makes_table(&self) -> bool {
        let words = self.kept();
        let table = words.iter().position(|kw| *kw == Kw::Table);
        self.first() == Kw::Create
            && table.is_some_and(|at| {
                let between = words.get(1..at).unwrap_or_default();
                between.iter().all(|kw| matches!(kw, Kw::Plain | Kw::Replace | Kw::Temporary))
            })
    }

    /// May define a routine, trigger or event, whose body may have semicolons: no more words than are kept
    /// lead to what is defined.
    pub(super) fn may_have_body(&self) -> bool {
        const BODIED: [Kw; 5] = [Kw::Event, Kw::Function, Kw::Package, Kw::Procedure, Kw::Trigger];
        matches!(self.first(), Kw::Create | Kw::Alter)
            && self.kept().iter().any(|kw| BODIED.contains(kw))
    }

    /// No further word is looked at.
    pub(super) fn is_full(&self) -> bool {
        self.length == KEPT && self.first() != Kw::Use
    }

    fn first(&self) -> Kw {
        self.nth(0)
    }

    fn nth(&self, i: usize) -> Kw {
        self.words.get(i).copied().unwrap_or_default()
    }

    fn kept(&self) -> &[Kw] {
        self.words.get(..self.length).unwrap_or_default()
    }

    pub(super) fn is(&self, words: &[Kw]) -> bool {
        self.kept() == words
    }

    pub(super) fn is_lead(&self, kw: Kw) -> bool {
        self.length > 0 && self.first() == kw
    }

    pub(super) fn has(&self, kw: Kw) -> bool {
        self.kept().contains(&kw)
    }

    pub(super) fn is_read(&self) -> bool {
        matches!(self.first(), Kw::Select | Kw::Values | Kw::Table | Kw::Describe)
    }

    pub(super) fn is_definition(&self) -> bool {
        matches!(self.first(), Kw::Create | Kw::Alter | Kw::Analyze | Kw::Grant | Kw::Revoke)
    }

    pub(super) fn takes_name_after(&self, kw: Kw) -> bool {
        match kw {
            Kw::To => self.is_lead(Kw::Rollback),
            Kw::Savepoint => matches!(self.first(), Kw::Release | Kw::Rollback),
            _ => matches!(self.first(), Kw::Deallocate | Kw::Drop) && self.length == 2,
        }
    }

    /// The kind, and the effects that come with it.
    pub(super) fn kind(&self) -> (StatementKind, Effects) {
        use StatementKind as K;
        let writes = Effects::WRITES;
        match self.first() {
            Kw::Select => (K::Select, Effects::empty()),
            Kw::Insert => (K::Insert, writes),
            Kw::Update => (K::Update, writes),
            Kw::Delete => (K::Delete, writes),
            Kw::Replace => (K::Replace, writes),
            Kw::Values => (K::Values, Effects::empty()),
            Kw::Table => (K::Table, Effects::empty()),
            Kw::Load => self.load(),
            Kw::Call => (K::Call, writes | Effects::CAN_CHANGE_SESSION),
            Kw::Do => (K::Do, Effects::empty()),
            Kw::Set => self.set(),
            Kw::Use => (K::Use, Effects::SESSION_STATE),
            Kw::Begin | Kw::Start | Kw::Commit | Kw::Rollback | Kw::Savepoint | Kw::Release => {
                self.transaction()
            }
            Kw::Xa => {
                let (kind, effects) = self.transaction();
                (kind, effects | Effects::XA)
            }
            Kw::Show => self.show(),
            Kw::Describe => self.describe(),
            Kw::Help => (K::Describe, Effects::empty()),
            Kw::Prepare => (K::Prepare, Effects::NAMED_PREPARED | Effects::SESSION_STATE),
            Kw::Execute => {
                (K::Execute, writes | Effects::NAMED_PREPARED | Effects::CAN_CHANGE_SESSION)
            }
            Kw::Deallocate => (K::Deallocate, Effects::NAMED_PREPARED | Effects::SESSION_STATE),
            Kw::Get => (K::Diagnostics, Effects::READS_DIAGNOSTICS),
            Kw::Signal => (K::Signal, Effects::READS_DIAGNOSTICS),
            Kw::Handler => (K::Handler, Effects::HANDLER),
            Kw::Kill => (self.kill(), Effects::ADMINISTRATION | Effects::KILLS),
            first => self.administration(first),
        }
    }

    fn load(&self) -> (StatementKind, Effects) {
        let mut effects = Effects::WRITES;
        if self.has(Kw::Local) && self.has(Kw::Infile) {
            effects |= Effects::LOCAL_INFILE;
        }
        if self.nth(1) == Kw::Index {
            effects |= Effects::IMPLICIT_COMMIT;
        }
        (StatementKind::Load, effects)
    }

    fn set(&self) -> (StatementKind, Effects) {
        let mut effects = Effects::SESSION_STATE;
        if self.has(Kw::Global) || self.has(Kw::Persist) {
            effects |= Effects::ADMINISTRATION;
        }
        if self.has(Kw::Autocommit) {
            effects |= Effects::IMPLICIT_COMMIT;
        }
        if self.nth(1) == Kw::Password || (self.nth(1) == Kw::Default && self.nth(2) == Kw::Role) {
            effects |= Effects::WRITES | Effects::IMPLICIT_COMMIT;
        }
        (StatementKind::Set, effects)
    }

    fn transaction(&self) -> (StatementKind, Effects) {
        use StatementKind as K;
        let begins = Effects::BEGINS_TRANSACTION | Effects::IMPLICIT_COMMIT;
        let chain = self.kept().windows(2).any(|pair| matches!(pair, [Kw::And, Kw::Chain]));
        let release = self.has(Kw::Release)
            && !self.kept().windows(2).any(|pair| pair == [Kw::No, Kw::Release]);
        let again = if chain { Effects::BEGINS_TRANSACTION } else { Effects::empty() };
        match (self.first(), self.nth(1)) {
            (Kw::Begin, Kw::Work) if self.length == 2 => (K::Begin, begins),
            (Kw::Begin, _) if self.length == 1 => (K::Begin, begins),
            (Kw::Begin, _) => (K::Unknown, begins | Effects::WRITES | Effects::DOUBTFUL),
            (Kw::Start, Kw::Transaction) => {
                (K::StartTransaction { read_only: self.has(Kw::Only) }, begins)
            }
            (Kw::Start, Kw::Slave | Kw::Other | Kw::Plain) => {
                (K::Replication, Effects::ADMINISTRATION)
            }
            (Kw::Start, _) => (K::Unknown, Effects::ADMINISTRATION),
            (Kw::Commit, _) => (K::Commit { chain, release }, Effects::ENDS_TRANSACTION | again),
            (Kw::Rollback, _) => {
                let to_savepoint = self.has(Kw::To);
                let ends =
                    if to_savepoint { Effects::empty() } else { Effects::ENDS_TRANSACTION | again };
                (K::Rollback { to_savepoint, chain, release }, ends)
            }
            (Kw::Savepoint, _) => (K::Savepoint, Effects::empty()),
            (Kw::Release, _) => (K::ReleaseSavepoint, Effects::empty()),
            (_, Kw::Start | Kw::Begin) => (K::Xa, begins),
            (_, Kw::Commit | Kw::Rollback) => (K::Xa, Effects::ENDS_TRANSACTION),
            _ => (K::Xa, Effects::empty()),
        }
    }

    /// Of what every server answers alike, a replica may answer; all else is the primary's.
    fn show(&self) -> (StatementKind, Effects) {
        let counted = self.nth(1) == Kw::Count;
        let effects = match self.nth(1) {
            Kw::Warnings => Effects::READS_DIAGNOSTICS,
            _ if counted => Effects::READS_DIAGNOSTICS,
            Kw::Listing | Kw::Tables | Kw::Create | Kw::Charset | Kw::Index => Effects::empty(),
            Kw::Full if matches!(self.nth(2), Kw::Listing | Kw::Tables) => Effects::empty(),
            Kw::Table | Kw::Procedure | Kw::Function if self.nth(2) == Kw::Status => {
                Effects::empty()
            }
            _ => Effects::SERVER_SPECIFIC,
        };
        (StatementKind::Show, effects)
    }

    fn describe(&self) -> (StatementKind, Effects) {
        let connection = self.has(Kw::Connection);
        let effects = if connection { Effects::SERVER_SPECIFIC } else { Effects::empty() };
        (StatementKind::Describe, effects)
    }

    fn kill(&self) -> StatementKind {
        let words = self.kept();
        let scope = match (
            words.contains(&Kw::Query),
            words.contains(&Kw::User),
            words.contains(&Kw::Id),
        ) {
            (_, true, _) => KillScope::User,
            (true, _, true) => KillScope::QueryId,
            (true, ..) => KillScope::Query,
            _ => KillScope::Connection,
        };
        StatementKind::Kill { scope }
    }

    fn administration(&self, first: Kw) -> (StatementKind, Effects) {
        use StatementKind as K;
        let admin = Effects::ADMINISTRATION | Effects::WRITES;
        let commits = Effects::WRITES | Effects::IMPLICIT_COMMIT;
        match (first, self.nth(1)) {
            (Kw::Create | Kw::Alter | Kw::Drop | Kw::Rename | Kw::Truncate, _) => self.definition(),
            (Kw::Grant | Kw::Revoke, _) => (K::Grant, commits),
            (Kw::Lock, _) => (K::LockTables, Effects::LOCK_TABLES | Effects::IMPLICIT_COMMIT),
            (Kw::Unlock, _) => {
                (K::UnlockTables, Effects::UNLOCKS_TABLES | Effects::IMPLICIT_COMMIT)
            }
            (Kw::Backup, Kw::Lock) => (K::LockTables, Effects::LOCK_TABLES),
            (Kw::Backup, Kw::Unlock) => (K::UnlockTables, Effects::UNLOCKS_TABLES),
            (Kw::Backup, _) => (K::Admin, admin | Effects::LOCK_TABLES),
            (Kw::Flush, _) => {
                let locks = self.has(Kw::Lock) || self.has(Kw::For) || self.length == KEPT;
                let locks = if locks { Effects::LOCK_TABLES } else { Effects::empty() };
                (K::Flush, admin | Effects::IMPLICIT_COMMIT | locks)
            }
            (Kw::Reset | Kw::Purge, _) => (K::Flush, admin | Effects::IMPLICIT_COMMIT),
            (Kw::Analyze | Kw::Optimize | Kw::Check | Kw::Checksum | Kw::Repair | Kw::Cache, _) => {
                (K::TableMaintenance, commits)
            }
            (Kw::Change | Kw::Stop, _) => (K::Replication, admin | Effects::IMPLICIT_COMMIT),
            (
                Kw::Install
                | Kw::Uninstall
                | Kw::Shutdown
                | Kw::Restart
                | Kw::Binlog
                | Kw::Clone
                | Kw::Import,
                _,
            ) => (K::Admin, admin),
            (Kw::If | Kw::Limit | Kw::OddRows | Kw::Plain | Kw::Loop | Kw::Repeat | Kw::For, _) => {
                (K::Unknown, commits | Effects::DOUBTFUL)
            }
            _ => (K::Unknown, Effects::WRITES | Effects::CAN_CHANGE_SESSION),
        }
    }

    fn definition(&self) -> (StatementKind, Effects) {
        use StatementKind as K;
        let temporary = self.has(Kw::Temporary);
        let effects = Effects::WRITES | Effects::IMPLICIT_COMMIT;
        match (self.first(), self.nth(1)) {
            (Kw::Create, _) if temporary => {
                (K::CreateTemporary, Effects::WRITES | Effects::TEMP_TABLE)
            }
            (Kw::Drop, _) if temporary => {
                (K::DropTemporary, Effects::WRITES | Effects::DROPS_TEMP_TABLE)
            }
            (Kw::Drop, Kw::Prepare) => {
                (K::Deallocate, Effects::NAMED_PREPARED | Effects::SESSION_STATE)
            }
            (_, Kw::User | Kw::Role) => (K::Grant, effects),
            (Kw::Alter, Kw::System | Kw::Instance) => (K::Admin, effects | Effects::ADMINISTRATION),
            _ => (K::Ddl, effects),
        }
    }
}

/// Verbs after which names stand before parentheses.
pub(super) fn starts_with_names(kw: Kw) -> bool {
    matches!(
        kw,
        Kw::Insert
            | Kw::Replace
            | Kw::Create
            | Kw::Alter
            | Kw::Grant
            | Kw::Revoke
            | Kw::Load
            | Kw::Call
    )
}

/// Reserved words that never stand in a read, outside the few phrases that have them.
pub(super) fn is_write_verb(kw: Kw) -> bool {
    matches!(
        kw,
        Kw::Alter
            | Kw::Call
            | Kw::Create
            | Kw::Delete
            | Kw::Drop
            | Kw::Grant
            | Kw::Insert
            | Kw::Kill
            | Kw::Load
            | Kw::Optimize
            | Kw::Procedure
            | Kw::Purge
            | Kw::Release
            | Kw::Rename
            | Kw::Replace
            | Kw::Revoke
            | Kw::Set
            | Kw::Unlock
            | Kw::Update
    )
}

/// Functions that are built in only if no blank stands before their parenthesis.
pub(super) fn needs_no_space(name: &[u8]) -> bool {
    const NAMES: [&str; 28] = [
        "adddate",
        "bit_and",
        "bit_or",
        "bit_xor",
        "cast",
        "count",
        "curdate",
        "curtime",
        "date_add",
        "date_sub",
        "extract",
        "group_concat",
        "max",
        "mid",
        "min",
        "now",
        "position",
        "session_user",
        "std",
        "stddev",
        "subdate",
        "substr",
        "substring",
        "sum",
        "sysdate",
        "system_user",
        "trim",
        "variance",
    ];
    NAMES.iter().any(|known| known.as_bytes().eq_ignore_ascii_case(name))
}

/// What reading a system variable does beside.
pub(super) fn variable_effects(name: &[u8]) -> Effects {
    let name = name.strip_prefix(b"`").and_then(|name| name.strip_suffix(b"`")).unwrap_or(name);
    let is = |known: &str| known.as_bytes().eq_ignore_ascii_case(name);
    let starts = |prefix: &str| {
        name.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix.as_bytes()))
    };
    let of_server =
        ["hostname", "port", "read_only", "super_read_only", "in_transaction", "last_gtid"];
    let families = ["server_", "gtid_", "wsrep_", "innodb_read_only"];
    if is("last_insert_id") || is("identity") {
        Effects::READS_LAST_INSERT_ID
    } else if is("warning_count") || is("error_count") {
        Effects::READS_DIAGNOSTICS
    } else if is("pseudo_thread_id") {
        Effects::CONNECTION_ID
    } else if of_server.into_iter().any(is) || families.into_iter().any(starts) {
        Effects::SERVER_SPECIFIC | Effects::NON_REPEATABLE
    } else {
        Effects::empty()
    }
}

/// What Oracle's dialect has behind the name of a sequence.
pub(super) fn is_sequence_word(word: &[u8]) -> bool {
    word.len() == 7
        && (word.eq_ignore_ascii_case(b"nextval") || word.eq_ignore_ascii_case(b"currval"))
}
