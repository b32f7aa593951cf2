//! Names of configured things, as newtypes, so that a backend's name can't be used as a server's.

use std::{borrow::Borrow, fmt, sync::Arc};

use serde::{Deserialize, Serialize};

macro_rules! name_type {
    ($(#[$doc:meta] $name:ident),* $(,)?) => {$(
        #[$doc]
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub struct $name(Arc<str>);

        impl $name {
            /// The name as it was written.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                Self(Arc::from(text))
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&*self.0, f)
            }
        }
    )*};
}

name_type! {
    /// Name of a backend (a group of servers).
    BackendName,
    /// Name of a listener.
    ListenerName,
    /// Name of a node (one Highgate process).
    NodeName,
    /// Name of a server within its backend.
    ServerName,
    /// Account name that a client logs in with.
    UserName,
    /// Name of a watched process.
    ProcessName,
    /// Name of a script.
    ScriptName,
    /// Name of a group of vips.
    VipGroupName,
    /// Name of a vip.
    VipName,
}
