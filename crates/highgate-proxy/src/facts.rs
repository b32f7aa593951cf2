//! What is known of backends beyond their configuration: how their servers greet.
//!
//! Each server's own greeting is kept, since servers are upgraded one by one. What they are together is
//! put together anew when one answers otherwise, is no member any more, or another becomes the primary.

#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use crossbeam_utils::CachePadded;
use highgate_config::BackendName;
use highgate_core::{
    server::{ServerId, ServerState},
    snapshot::Placement,
};
use highgate_mysql::{
    Capabilities, StatusFlags,
    greeting::Greeting,
    sql::{Flavor, LexMode},
};
use parking_lot::Mutex;

/// Learned from the greetings of a backend's servers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackendFacts {
    /// Version that clients are greeted with: the primary's, or the lowest where there is none.
    pub version: String,
    /// What all of them can do.
    pub capabilities: Capabilities,
    /// The default collation of whose version it is.
    pub collation: u8,
    /// Whose dialect that one speaks.
    pub flavor: Flavor,
    lex: LexMode,
}

/// What Highgate passes on or does itself, if the servers can. Not among them are what would change
/// the bytes of statements of Highgate's own (query attributes), and metadata that is left out: who
/// has seen it is not known where connections are shared.
fn passed_on() -> Capabilities {
    Capabilities::LONG_PASSWORD
        | Capabilities::FOUND_ROWS
        | Capabilities::LONG_FLAG
        | Capabilities::CONNECT_WITH_DB
        | Capabilities::NO_SCHEMA
        | Capabilities::ODBC
        | Capabilities::LOCAL_FILES
        | Capabilities::IGNORE_SPACE
        | Capabilities::PROTOCOL_41
        | Capabilities::INTERACTIVE
        | Capabilities::IGNORE_SIGPIPE
        | Capabilities::TRANSACTIONS
        | Capabilities::RESERVED
        | Capabilities::SECURE_CONNECTION
        | Capabilities::MULTI_STATEMENTS
        | Capabilities::MULTI_RESULTS
        | Capabilities::PS_MULTI_RESULTS
        | Capabilities::PLUGIN_AUTH
        | Capabilities::CONNECT_ATTRS
        | Capabilities::PLUGIN_AUTH_LENENC
        | Capabilities::SESSION_TRACK
        | Capabilities::DEPRECATE_EOF
        | Capabilities::REMEMBER_OPTIONS
        | Capabilities::MARIADB_PROGRESS
        | Capabilities::MARIADB_STMT_BULK_OPERATIONS
        | Capabilities::MARIADB_EXTENDED_METADATA
}

impl Default for BackendFacts {
    /// For a backend none of whose servers was ever seen: what every server of the last ten years
    /// can do.
    fn default() -> Self {
        Self {
            version: "8.0.36".to_owned(),
            capabilities: passed_on().difference(Capabilities::MARIADB_EXTENDED),
            collation: 45,
            flavor: Flavor::Unknown,
            lex: LexMode::default(),
        }
    }
}

impl BackendFacts {
    /// How texts are read on these servers before any SET.
    #[must_use]
    pub const fn lex_mode(&self) -> LexMode {
        self.lex
    }

    /// The flags by which clients know how to write strings, as a server's session has them before any SET: they
    /// escape by those of their login.
    #[must_use]
    pub fn quoting(&self) -> StatusFlags {
        quoting_flags(self.lex)
    }

    /// Of servers that greet so; `primary` is the primary's greeting.
    fn of<'g>(
        servers: impl Iterator<Item = &'g Greeted> + Clone,
        primary: Option<&Greeted>,
    ) -> Self {
        let number = |greeted: &&Greeted| greeted.number();
        let Some(lowest) = servers.clone().min_by_key(number) else { return Self::default() };
        let newest = servers.clone().map(Greeted::number).max().unwrap_or_default();
        let speaks = primary.unwrap_or(lowest);
        let is_one_dialect = servers.clone().all(|greeted| greeted.flavor == lowest.flavor);
        Self {
            version: speaks.version.clone(),
            capabilities: servers.fold(passed_on(), |all, greeted| all & greeted.capabilities),
            collation: speaks.collation,
            flavor: speaks.flavor,
            lex: LexMode {
                flavor: if is_one_dialect { lowest.flavor } else { Flavor::Unknown },
                server_version: lowest.number(),
                newest_version: newest,
                ansi_quotes: speaks.status.contains(StatusFlags::ANSI_QUOTES),
                no_backslash_escapes: speaks.status.contains(StatusFlags::NO_BACKSLASH_ESCAPES),
                ..LexMode::default()
            },
        }
    }
}

/// The flags of sessions whose texts are read so.
pub(crate) fn quoting_flags(mode: LexMode) -> StatusFlags {
    let mut flags = StatusFlags::empty();
    flags.set(StatusFlags::NO_BACKSLASH_ESCAPES, mode.no_backslash_escapes);
    // MySQL has no such flag.
    flags.set(StatusFlags::ANSI_QUOTES, mode.ansi_quotes && mode.flavor == Flavor::MariaDb);
    flags
}

/// How one server greeted.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Greeted {
    version: String,
    capabilities: Capabilities,
    collation: u8,
    flavor: Flavor,
    /// What of its `sql_mode` it says.
    status: StatusFlags,
}

impl Greeted {
    fn of(greeting: &Greeting) -> Self {
        let flavor = flavor(greeting);
        let mut told = StatusFlags::NO_BACKSLASH_ESCAPES;
        told.set(StatusFlags::ANSI_QUOTES, flavor == Flavor::MariaDb);
        Self {
            version: greeting.version.clone(),
            capabilities: greeting.capabilities & passed_on(),
            collation: greeting.collation,
            flavor,
            status: greeting.status & told,
        }
    }

    /// The version as version comments write it; 0 if it can't be told.
    fn number(&self) -> u32 {
        number(&self.version)
    }
}

/// The servers of one backend.
#[derive(Debug, Default)]
struct Servers {
    greeted: BTreeMap<ServerId, Greeted>,
    primary: Option<ServerId>,
    together: Arc<BackendFacts>,
}

impl Servers {
    /// Takes in how one greeted; whether they are something else together than before.
    fn learn(&mut self, id: ServerId, greeted: Greeted) -> bool {
        if self.greeted.get(&id) == Some(&greeted) {
            return false;
        }
        self.greeted.insert(id, greeted);
        self.put_together()
    }

    /// Forgets who is no member any more, and follows who is the primary; whether they are something
    /// else together than before.
    fn follow(&mut self, primary: Option<ServerId>, members: &BTreeSet<ServerId>) -> bool {
        if self.primary == primary && self.greeted.keys().all(|id| members.contains(id)) {
            return false;
        }
        self.primary = primary;
        self.greeted.retain(|id, _| members.contains(id));
        self.put_together()
    }

    /// Puts together anew what they are; whether that is something else.
    fn put_together(&mut self) -> bool {
        let primary = self.primary.and_then(|id| self.greeted.get(&id));
        let together = BackendFacts::of(self.greeted.values(), primary);
        let is_new = *self.together != together;
        if is_new {
            self.together = Arc::new(together);
        }
        is_new
    }
}

/// What is known of all backends.
#[derive(Debug, Default)]
pub(crate) struct Facts {
    backends: Mutex<BTreeMap<BackendName, Servers>>,
    /// Read by all workers with each command, written hardly ever.
    changes: CachePadded<AtomicU64>,
}

impl Facts {
    /// How often anything has changed: who finds the same number again has nothing to look up.
    pub(crate) fn changes(&self) -> u64 {
        self.changes.load(Ordering::Acquire)
    }

    /// Takes in how a server greeted.
    pub(crate) fn learn(&self, server: &ServerState, greeting: &Greeting) {
        let mut backends = self.backends.lock();
        let servers = backends.entry(server.backend.clone()).or_default();
        self.count(servers.learn(server.id, Greeted::of(greeting)));
    }

    /// Forgets who is no member any more, and follows who is the primary.
    pub(crate) fn follow(&self, placement: &Placement) {
        let mut backends = self.backends.lock();
        backends.retain(|name, _| placement.groups.contains_key(name));
        for (name, servers) in &mut *backends {
            let Some(group) = placement.groups.get(name) else { continue };
            let id_at = |at: usize| group.members.get(at).map(|member| member.state.id);
            let primary = group.primary.and_then(id_at);
            let members: BTreeSet<_> = group.members.iter().map(|it| it.state.id).collect();
            self.count(servers.follow(primary, &members));
        }
    }

    /// Whether that server has greeted: it speaks the protocol.
    pub(crate) fn has_greeted(&self, server: &ServerState) -> bool {
        let backends = self.backends.lock();
        backends
            .get(&server.backend)
            .is_some_and(|servers| servers.greeted.contains_key(&server.id))
    }

    /// What is known of that backend.
    pub(crate) fn of(&self, backend: &BackendName) -> Arc<BackendFacts> {
        let backends = self.backends.lock();
        backends.get(backend).map(|servers| servers.together.clone()).unwrap_or_default()
    }

    fn count(&self, is_new: bool) {
        if is_new {
            self.changes.fetch_add(1, Ordering::Release);
        }
    }
}

/// A version as version comments write it; 0 if it can't be told.
pub(crate) fn number(version: &str) -> u32 {
    highgate_mysql::capability::parse_version(version).map_or(0, |parts| {
        let (major, minor, patch) = parts;
        u32::from(major) * 10_000 + u32::from(minor) * 100 + u32::from(patch)
    })
}

/// The dialect of the server that greeted so.
pub(crate) fn flavor(greeting: &Greeting) -> Flavor {
    use highgate_mysql::ServerFlavor;
    match greeting.flavor() {
        ServerFlavor::MariaDb => Flavor::MariaDb,
        ServerFlavor::MatrixOne => Flavor::MatrixOne,
        ServerFlavor::MySql => Flavor::MySql,
        ServerFlavor::StarRocks => Flavor::StarRocks,
        ServerFlavor::Unknown => Flavor::Unknown,
    }
}
