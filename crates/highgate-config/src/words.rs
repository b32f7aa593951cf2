//! The words of each choice, the same in configuration, SQL, REST and the manual.

use crate::{
    AdminState, AuthSource, Balance, Mode, ReadsOnPrimary, RuleRole, SendProxy, TlsMode, Topology,
};

macro_rules! words {
    ($($name:ident { $($variant:ident = $word:literal),* $(,)? })*) => {$(
        impl $name {
            /// All words that may be written.
            pub const WORDS: &[&str] = &[$($word),*];

            /// The word for this choice.
            #[must_use]
            pub const fn word(self) -> &'static str {
                match self { $(Self::$variant => $word),* }
            }

            /// The choice that a word stands for.
            #[must_use]
            pub fn from_word(word: &str) -> Option<Self> {
                match word { $($word => Some(Self::$variant),)* _ => None }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.word())
            }
        }
    )*};
}

words! {
    AdminState { Drain = "drain", Enabled = "enabled", Maintenance = "maintenance" }
    AuthSource { Cluster = "cluster", Local = "local", Passthrough = "passthrough" }
    Balance {
        Fastest = "fastest",
        First = "first",
        LeastConnections = "least-connections",
        RandomTwo = "random-two",
        RoundRobin = "round-robin",
        Source = "source",
    }
    Mode { Http = "http", Mysql = "mysql", Tcp = "tcp" }
    ReadsOnPrimary { Always = "always", Fallback = "fallback", Never = "never" }
    RuleRole { Any = "any", Primary = "primary", Replica = "replica" }
    SendProxy { Off = "off", V1 = "v1", V2 = "v2" }
    TlsMode {
        Disabled = "disabled",
        Preferred = "preferred",
        Required = "required",
        VerifyCa = "verify-ca",
        VerifyIdentity = "verify-identity",
    }
    Topology {
        Galera = "galera",
        MariadbReplication = "mariadb-replication",
        Static = "static",
    }
}
