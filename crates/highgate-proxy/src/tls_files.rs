//! TLS settings built from the configured files, kept until they are built anew.

use std::sync::Arc;

use highgate_config::{BackendName, Tls, TlsMode};
use highgate_io::tls::{self, TlsError, TlsFile, Verify};

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

/// The setting that names what is wrong; `is_admin` for those of the ports for operators.
pub(crate) fn setting(wrong: &TlsError, is_admin: bool) -> &'static str {
    let what = match wrong {
        TlsError::File { what, .. } => *what,
        TlsError::Refused(_) => TlsFile::Certificate,
        TlsError::Verifier(_) => TlsFile::Authorities,
    };
    match (what, is_admin) {
        (TlsFile::Authorities, false) => "tls.ca",
        (TlsFile::Authorities, true) => "admin.tls.ca",
        (TlsFile::Certificate, false) => "tls.cert",
        (TlsFile::Certificate, true) => "admin.tls.cert",
        (TlsFile::Key, false) => "tls.key",
        (TlsFile::Key, true) => "admin.tls.key",
    }
}

/// TLS towards a backend's servers, with the settings that it was built by: those in force for
/// commands may be others already.
#[derive(Debug, Clone)]
pub struct TowardsServers {
    settings: Tls,
    config: Arc<rustls::ClientConfig>,
}

impl TowardsServers {
    /// Reads the files; `None` where TLS is disabled.
    ///
    /// # Errors
    /// [`TlsError`] names the file and what is wrong with it.
    pub fn build(settings: &Tls) -> Result<Option<Self>, TlsError> {
        let config = for_servers(settings)?;
        Ok(config.map(|config| Self { settings: settings.clone(), config }))
    }

    /// What was built, for whoever wants just that: what verifies less is not to be used instead.
    fn by(&self, wanted: &Tls) -> Option<Arc<rustls::ClientConfig>> {
        (self.settings == *wanted).then(|| self.config.clone())
    }
}

/// What was built by just these settings for a backend's servers; `None` as long as that is not in
/// force, in which case modes that verify have no TLS, and so no connection.
pub(crate) fn towards(
    shared: &Shared,
    backend: &BackendName,
    wanted: &Tls,
) -> Option<Arc<rustls::ClientConfig>> {
    shared.server_tls.lock().get(backend).and_then(|built| built.by(wanted))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(mode: TlsMode) -> Tls {
        Tls { mode, cert: None, key: None, ca: None }
    }

    #[test]
    fn what_verifies_nothing_does_not_serve_for_settings_that_verify() {
        let required = mode(TlsMode::Required);
        let built = TowardsServers::build(&required).unwrap().unwrap();
        assert!(built.by(&required).is_some());
        let ca = Some("/nowhere/ca.pem".into());
        let identity = Tls { ca, ..mode(TlsMode::VerifyIdentity) };
        assert!(TowardsServers::build(&identity).is_err(), "its authorities can't be read");
        for other in [identity, mode(TlsMode::VerifyCa), mode(TlsMode::Preferred)] {
            assert!(built.by(&other).is_none(), "{other:?}");
        }
        assert!(TowardsServers::build(&mode(TlsMode::Disabled)).unwrap().is_none());
    }
}
