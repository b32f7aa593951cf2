//! What is known of a backend beyond its configuration: how its servers greet.

use std::sync::Arc;

use highgate_config::BackendName;
use highgate_mysql::{
    Capabilities,
    greeting::Greeting,
    sql::{Flavor, LexMode},
};

use crate::shared::Shared;

/// Learned from the greetings of a backend's servers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackendFacts {
    /// Version that clients are greeted with.
    pub version: String,
    /// What all servers seen so far can do.
    pub capabilities: Capabilities,
    /// The servers' default collation.
    pub collation: u8,
    /// Whose dialect they speak.
    pub flavor: Flavor,
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
        let everywhere = passed_on().difference(Capabilities::MARIADB_EXTENDED);
        Self {
            version: "8.0.36".to_owned(),
            capabilities: everywhere,
            collation: 45,
            flavor: Flavor::Unknown,
        }
    }
}

impl BackendFacts {
    /// How texts are read on these servers before any SET.
    #[must_use]
    pub fn lex_mode(&self) -> LexMode {
        let number = highgate_mysql::capability::parse_version(&self.version).map_or(0, |parts| {
            let (major, minor, patch) = parts;
            u32::from(major) * 10_000 + u32::from(minor) * 100 + u32::from(patch)
        });
        LexMode { flavor: self.flavor, server_version: number, ..LexMode::default() }
    }
}

/// Takes in how a server of that backend greeted.
pub(crate) fn learn(shared: &Shared, backend: &BackendName, greeting: &Greeting) {
    let capabilities = greeting.capabilities & passed_on();
    let mut facts = shared.facts.lock();
    let learned = match facts.get(backend) {
        // Servers of different versions: offered is what all of them can do.
        Some(known) => BackendFacts {
            capabilities: known.capabilities & capabilities,
            ..BackendFacts::clone(known)
        },
        None => BackendFacts {
            version: greeting.version.clone(),
            capabilities,
            collation: greeting.collation,
            flavor: flavor(greeting),
        },
    };
    if facts.get(backend).is_none_or(|known| **known != learned) {
        facts.insert(backend.clone(), Arc::new(learned));
    }
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

impl Shared {
    /// What is known of that backend.
    #[must_use]
    pub fn facts_of(&self, backend: &BackendName) -> Arc<BackendFacts> {
        self.facts.lock().get(backend).cloned().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_change_the_meaning_of_bytes_on_shared_connections_is_never_offered() {
        let never = Capabilities::QUERY_ATTRIBUTES
            | Capabilities::OPTIONAL_RESULTSET_METADATA
            | Capabilities::MARIADB_CACHE_METADATA
            | Capabilities::MARIADB_BULK_UNIT_RESULTS
            | Capabilities::MARIADB_COM_MULTI
            | Capabilities::MULTI_FACTOR_AUTH
            | Capabilities::CAPABILITY_EXTENSION;
        assert_eq!(passed_on() & never, Capabilities::empty());
        assert_eq!(BackendFacts::default().capabilities & never, Capabilities::empty());
    }
}
