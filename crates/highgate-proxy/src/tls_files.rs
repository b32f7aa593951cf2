//! TLS settings built from the configured files, kept until they are built anew.

use std::sync::Arc;

use highgate_config::{Tls, TlsMode};
use highgate_core::snapshot::Group;
use highgate_io::tls::{self, TlsError, Verify};

use crate::shared::Shared;

/// Settings towards clients; `None` where the listener offers no TLS.
///
/// # Errors
/// [`TlsError`] names the file and what is wrong with it.
pub fn for_clients(settings: &Tls) -> Result<Option<Arc<rustls::ServerConfig>>, TlsError> {
    match (settings.mode, &settings.cert, &settings.key) {
        (TlsMode::Disabled, ..) | (_, None, _) | (_, _, None) => Ok(None),
        (mode, Some(cert), Some(key)) => {
            let ca = settings.ca.as_deref().filter(|_| mode >= TlsMode::VerifyCa);
            tls::towards_clients(cert, key, ca).map(Some)
        }
    }
}

/// When the certificate towards clients expires, in seconds of Unix time, where that can be read.
#[must_use]
pub fn expires(settings: &Tls) -> Option<u64> {
    settings.cert.as_deref().and_then(|cert| tls::expires(cert).ok()).flatten()
}

/// Settings towards servers; `None` where TLS is disabled.
///
/// # Errors
/// [`TlsError`] names the file and what is wrong with it.
pub fn for_servers(settings: &Tls) -> Result<Option<Arc<rustls::ClientConfig>>, TlsError> {
    let verify = match settings.mode {
        TlsMode::Disabled => return Ok(None),
        TlsMode::Preferred | TlsMode::Required => Verify::Nothing,
        TlsMode::VerifyCa => Verify::Ca,
        TlsMode::VerifyIdentity => Verify::Identity,
    };
    let own = settings.cert.as_deref().zip(settings.key.as_deref());
    tls::towards_servers(verify, settings.ca.as_deref(), own).map(Some)
}

/// What was built for that group's servers.
pub(crate) fn towards(shared: &Shared, group: &Group) -> Option<Arc<rustls::ClientConfig>> {
    shared.server_tls.lock().get(&group.name).cloned()
}
