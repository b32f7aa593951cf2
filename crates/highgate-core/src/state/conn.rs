//! What is known of a server connection.

use std::sync::Arc;

use highgate_mysql::sql::Flavor;

use super::{Charset, Dialect, LastInsertId, Profile};
use crate::pins::{PinCause, PinSet};

/// Prepared statements kept on one server connection.
// Not a setting: servers count statements globally (`max_prepared_stmt_count`, 16,382 by default),
// and beyond some dozens a connection rarely sees the same text again.
pub const MAX_STATEMENTS: usize = 64;

/// What is known of a server connection between two commands.
#[derive(Debug, Clone)]
pub struct ConnState {
    /// Whose dialect the server speaks.
    pub flavor: Flavor,
    /// Its server's version as version comments write it; 0 if it can't be told.
    pub version: u32,
    /// Status flags of its answers mean something (StarRocks sends none).
    pub trusts_status: bool,
    /// Its OK packets report changes of session state.
    pub tracks: bool,
    /// They did until a reset: it is to be turned on again.
    pub track_again: bool,
    /// A statement left warnings or an error there, which SHOW WARNINGS would show.
    pub diagnostics: bool,
    /// The collation it was opened with.
    pub login_collation: u16,
    /// Its server is a member of a Galera cluster.
    pub is_galera: bool,
    /// It was reset, or its user was changed; see [`Self::is_spoilt`].
    pub(crate) was_cleaned: bool,
    /// `SET x = DEFAULT` gives what a fresh login would have: no `init_connect`.
    pub default_is_login: bool,
    /// Its server begins sessions with autocommit off (`autocommit = 0` in its settings or `init_connect`).
    pub begins_uncommitted: bool,
    /// It logged in with CLIENT_IGNORE_SPACE, which added to its `sql_mode`.
    pub ignores_space: bool,
    /// What was applied to it.
    pub profile: Arc<Profile>,
    /// What LAST_INSERT_ID() says there; `None` = not known.
    pub last_insert_id: Option<u64>,
    /// What FOUND_ROWS() says there; `None` = not known.
    pub found_rows: Option<u64>,
    /// A statement of Highgate's own has changed what FOUND_ROWS() says there since the session's last.
    pub(crate) found_rows_changed: bool,
    /// What ROW_COUNT() says there; `None` = not known.
    pub row_count: Option<i64>,
    /// Prepared statements.
    pub statements: Vec<ConnStatement>,
    /// State on it that binds a session; not empty for a connection that lies in a pool = must be washed.
    pub dirt: PinSet,
    /// What its server has yet to tell of it.
    pub unreported: Unreported,
    /// The current schema is not known (dropped, or changed unseen).
    pub schema_unknown: bool,
    /// A reset left its schema, and took from it the `collation_database` by which files are read.
    pub collation_lost: bool,
    /// Some of its statements are reserved.
    pub(crate) reserves: bool,
    pub(crate) uses: u64,
}

/// What a server has yet to tell of changes on a connection.
///
/// Quirk: MariaDB (10.11) and MySQL tell in OK packets alone, and keep what they could not tell with an ERR, or the
/// EOF of those who know no other end of rows, for the next OK: of MariaDB the next that has a change of its
/// own, whoever's statement that is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Unreported {
    /// Nothing.
    #[default]
    Nothing,
    /// That values are as before which held for `SET STATEMENT … FOR` alone: nothing is left of them.
    Passing,
    /// What a trigger, a view or a function may have changed before an error of the session that has the connection.
    Perhaps,
    /// As [`Self::Perhaps`], of a session that had it before.
    Foreign,
    /// As [`Self::Perhaps`], of code that ran for sure. No other session has the connection before it was asked.
    Raised,
    /// It told of a change, and nobody knows of what: nobody else has the connection before it was reset.
    Something,
}

/// A statement prepared on a server connection.
#[derive(Debug, Clone)]
pub struct ConnStatement {
    /// The server's id.
    pub id: u32,
    /// Its text.
    pub text: Arc<[u8]>,
    /// Profile it was prepared under.
    pub under: Arc<Profile>,
    /// Parameter types last sent; empty if none.
    pub types: Box<[u8]>,
    /// The session's statement that has a cursor or data for a later execution on it: no other
    /// statement of that text may use it until then.
    pub(crate) reserved: Option<u32>,
    pub(crate) hash: u64,
    pub(crate) used: u64,
}

impl ConnState {
    /// `LAST_INSERT_ID()` of a session whose own only this connection knows. Servers of another kin may not
    /// know the question.
    pub(crate) const fn knows_insert_id(&self) -> LastInsertId {
        if self.flavor.is_kin() { LastInsertId::Untold } else { LastInsertId::OnConnection }
    }

    /// Whose names of charsets its server takes.
    #[must_use]
    pub const fn dialect(&self) -> Dialect {
        Dialect { flavor: self.flavor, version: self.version }
    }

    /// A connection that just logged in with that collation and schema.
    #[must_use]
    pub fn new(flavor: Flavor, collation: u16, schema: Option<&str>) -> Self {
        Self {
            flavor,
            version: 0,
            trusts_status: !matches!(flavor, Flavor::StarRocks | Flavor::Unknown),
            tracks: false,
            track_again: false,
            diagnostics: false,
            login_collation: collation,
            is_galera: false,
            was_cleaned: false,
            default_is_login: true,
            begins_uncommitted: false,
            ignores_space: false,
            profile: Arc::new(Profile::new(collation, schema)),
            last_insert_id: Some(0),
            found_rows: None,
            found_rows_changed: false,
            row_count: None,
            statements: Vec::new(),
            dirt: PinSet::EMPTY,
            unreported: Unreported::Nothing,
            schema_unknown: false,
            collation_lost: false,
            reserves: false,
            uses: 0,
        }
    }

    /// After COM_RESET_CONNECTION: server defaults, the schema kept, nothing prepared.
    pub fn was_reset(&mut self) {
        self.was_cleaned = true;
        let schema = self.profile.schema.clone();
        self.profile = Arc::new(Profile {
            schema,
            charset: Charset::after_reset(self.login_collation, self.flavor),
            ..Profile::default()
        });
        if self.ignores_space {
            Arc::make_mut(&mut self.profile).forget_login_mode(self.flavor);
        }
        // Quirk: MariaDB (10.11) and MySQL give the variable its global value.
        self.collation_lost = self.profile.schema.is_some();
        self.last_insert_id = Some(0);
        // A reset leaves FOUND_ROWS().
        self.row_count = Some(0);
        self.statements.clear();
        self.reserves = false;
        // A reset keeps the schema: also one that was chosen unseen, as by the first of several
        // statements of which another failed.
        self.schema_unknown |= self.dirt.contains(PinCause::SessionUnknown);
        self.dirt = PinSet::EMPTY;
        self.unreported = Unreported::Nothing;
        self.diagnostics = false;
        self.track_again |= self.tracks;
        self.tracks = false;
    }

    /// Whether it never waits for its cluster again, whatever `wsrep_sync_wait` says there.
    ///
    /// Quirk: so it is on members of Galera behind COM_RESET_CONNECTION and COM_CHANGE_USER (mariadb-corporation/galera#613,
    /// MariaDB 10.11), without a word. So Highgate resets none: what it would reset, it closes, and what a
    /// session had reset serves no other session. To keep such for what waits for nothing would spare logins,
    /// but nobody can tell who waits: `wsrep_sync_wait` may be set for the whole server, out of our sight. The
    /// logins are few: a client's reset goes to a server only where its session holds a connection, all
    /// others are answered by Highgate; and a session that shares with nobody keeps the one that it
    /// had reset, so that a client that resets at each checkout causes none.
    #[must_use]
    pub const fn is_spoilt(&self) -> bool {
        self.is_galera && self.was_cleaned
    }

    /// Whether a session with a schema has to choose it there anew, be it the same one.
    #[must_use]
    pub const fn wants_schema(&self) -> bool {
        self.schema_unknown || self.collation_lost
    }

    /// After COM_CHANGE_USER with that collation and schema.
    pub fn was_changed(&mut self, collation: u16, schema: Option<&str>) {
        self.login_collation = collation;
        self.was_reset();
        self.profile = Arc::new(Profile::new(collation, schema));
        (self.schema_unknown, self.collation_lost) = (false, false);
    }

    /// What the session's statement `of` with that text is on this connection, prepared under a like
    /// profile.
    #[must_use]
    pub fn statement(&self, of: u32, text: &[u8], under: &Profile) -> Option<&ConnStatement> {
        let at = self.position(Some(of), text, under)?;
        self.statements.get(at)
    }

    /// Notes that it is about to be used.
    pub fn touch(&mut self, of: u32, text: &[u8], under: &Profile) -> Option<&mut ConnStatement> {
        let at = self.position(Some(of), text, under)?;
        self.uses += 1;
        let used = self.uses;
        let statement = self.statements.get_mut(at)?;
        statement.used = used;
        Some(statement)
    }

    /// The execution that was to bring its statement `id` parameter types was not sent: the next one brings them.
    pub fn types_unsent(&mut self, id: u32) {
        if let Some(statement) = self.statements.iter_mut().find(|it| it.id == id) {
            statement.types = Box::default();
        }
    }

    /// Records a statement the server prepared; gives the server's id of one to be closed, if any.
    ///
    /// A second statement of the same text takes the place of the first, which is to be closed.
    #[must_use]
    pub fn prepared(&mut self, id: u32, text: Arc<[u8]>, under: Arc<Profile>) -> Option<u32> {
        let gone = self.position(None, &text, &under).or_else(|| {
            let free = self.statements.iter().enumerate().filter(|(_, s)| s.reserved.is_none());
            let oldest = free.min_by_key(|(_, s)| s.used).map(|(at, _)| at);
            oldest.filter(|_| self.statements.len() >= MAX_STATEMENTS)
        });
        let gone = gone.map(|at| self.statements.swap_remove(at).id);
        self.uses += 1;
        self.statements.push(ConnStatement {
            id,
            hash: text_hash(&text),
            text,
            under,
            types: Box::default(),
            reserved: None,
            used: self.uses,
        });
        gone
    }

    /// Forgets what the session's statement `of` is here; gives the server's id, which is to be closed.
    #[must_use]
    pub(crate) fn forget(&mut self, of: u32, text: &[u8], under: &Profile) -> Option<u32> {
        let at = self.position(Some(of), text, under)?;
        Some(self.statements.swap_remove(at).id)
    }

    /// Its session has nothing unfinished on any statement.
    pub(crate) fn unreserve(&mut self) {
        if std::mem::take(&mut self.reserves) {
            self.statements.iter_mut().for_each(|statement| statement.reserved = None);
        }
    }

    /// One that is reserved for that statement, before one that is free.
    fn position(&self, of: Option<u32>, text: &[u8], under: &Profile) -> Option<usize> {
        // Nearly always it is the very text and profile of the session.
        let is_same = |statement: &ConnStatement| {
            std::ptr::eq(&raw const *statement.text, text)
                && std::ptr::eq(&raw const *statement.under, under)
                && statement.reserved.is_none()
        };
        let same = if self.reserves { None } else { self.statements.iter().position(is_same) };
        same.or_else(|| self.alike(of, text, under))
    }

    fn alike(&self, of: Option<u32>, text: &[u8], under: &Profile) -> Option<usize> {
        let hash = text_hash(text);
        let alike = |statement: &&ConnStatement| {
            statement.hash == hash
                && *statement.text == *text
                && (std::ptr::eq(&raw const *statement.under, under)
                    || statement.under.prepares_alike(under))
        };
        let find = |reserved: Option<u32>| {
            let fits = |statement| alike(&statement) && statement.reserved == reserved;
            self.statements.iter().position(fits)
        };
        let own = if self.reserves && of.is_some() { find(of) } else { None };
        own.or_else(|| find(None))
    }
}

/// A hash that only narrows the search: the full text is compared as well.
fn text_hash(text: &[u8]) -> u64 {
    use std::hash::{BuildHasher, Hasher};
    let mut hasher = foldhash::fast::FixedState::default().build_hasher();
    hasher.write(text);
    hasher.finish()
}
