//! TLS settings built from the configured files, kept until they are built anew.

use std::{collections::BTreeMap, hash::BuildHasher as _, sync::Arc, time::Instant};

use highgate_config::{BackendName, Tls, TlsMode};
use highgate_io::{
    clock, tasks,
    tls::{self, TlsError, TlsFile, Verify},
};

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

/// When the certificate that the other side is shown expires, in seconds of Unix time, where that can be read.
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
        TlsError::Library(_) | TlsError::Pair { .. } => TlsFile::Certificate,
        TlsError::Verifier { .. } => TlsFile::Authorities,
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
    /// What the files held that decide who is let in: the authorities and our certificate.
    files: u64,
    config: Arc<rustls::ClientConfig>,
}

impl TowardsServers {
    /// Reads the files; `None` where TLS is disabled. Blocks.
    ///
    /// # Errors
    /// [`TlsError`] names the file and what is wrong with it.
    pub fn build(settings: &Tls) -> Result<Option<Self>, TlsError> {
        let files = fingerprint(settings);
        let config = for_servers(settings)?;
        Ok(config.map(|config| Self { settings: settings.clone(), files, config }))
    }

    /// What was built, for whoever wants just that: what verifies less is not to be used instead.
    fn by(&self, wanted: &Tls) -> Option<Arc<rustls::ClientConfig>> {
        (self.settings == *wanted).then(|| self.config.clone())
    }
}

/// Tells files from others under the same names. What can't be read is told by who reads it next.
fn fingerprint(settings: &Tls) -> u64 {
    let ca = settings.ca.as_deref().filter(|_| settings.mode >= TlsMode::VerifyCa);
    let content =
        [ca, settings.cert.as_deref()].map(|path| path.and_then(|it| tls::content(it).ok()));
    foldhash::quality::FixedState::default().hash_one(content)
}

/// TLS towards the servers of every backend that has it.
#[derive(Debug, Default)]
pub(crate) struct ServerTls {
    in_force: BTreeMap<BackendName, TowardsServers>,
    /// Built for commands that are decided by other settings than those: a change reaches commands and
    /// what is built in no certain order, and what is built may fail as a whole.
    aside: Vec<(BackendName, TowardsServers)>,
}

impl ServerTls {
    /// Puts them in force. Gives the backends whose settings are the same and whose files are not.
    #[must_use]
    pub(crate) fn replace(
        &mut self,
        new: BTreeMap<BackendName, TowardsServers>,
    ) -> Vec<BackendName> {
        self.aside.clear();
        let old = std::mem::replace(&mut self.in_force, new);
        let is_renewed = |(name, new): &(&BackendName, &TowardsServers)| {
            let old = old.get(*name).filter(|old| old.settings == new.settings);
            old.is_some_and(|old| old.files != new.files)
        };
        self.in_force.iter().filter(is_renewed).map(|(name, _)| name.clone()).collect()
    }

    fn by(&self, backend: &BackendName, wanted: &Tls) -> Option<Arc<rustls::ClientConfig>> {
        let aside = self.aside.iter().filter(|(name, _)| name == backend).map(|(_, built)| built);
        self.in_force.get(backend).into_iter().chain(aside).find_map(|built| built.by(wanted))
    }

    fn set_aside(&mut self, backend: &BackendName, built: TowardsServers) {
        if self.by(backend, &built.settings).is_none() {
            self.aside.push((backend.clone(), built));
        }
    }
}

/// What was built by just these settings for a backend's servers, if it was.
pub(crate) fn at_hand(
    shared: &Shared,
    backend: &BackendName,
    wanted: &Tls,
) -> Option<Arc<rustls::ClientConfig>> {
    shared.server_tls.lock().by(backend, wanted)
}

/// TLS by just these settings for a backend's servers: built now where that was not done yet. `None`
/// where it can't be, in which case modes that verify have no TLS, and so no connection.
///
/// Cancel safe: yes.
pub(crate) async fn towards(
    shared: &Shared,
    backend: &BackendName,
    wanted: &Tls,
    deadline: Instant,
) -> Option<Arc<rustls::ClientConfig>> {
    if wanted.mode == TlsMode::Disabled {
        return None;
    }
    if let Some(built) = at_hand(shared, backend, wanted) {
        return Some(built);
    }
    let settings = wanted.clone();
    let building = tasks::blocking(move || TowardsServers::build(&settings));
    match clock::before(deadline, building).await?? {
        Ok(built) => {
            let built = built?;
            let config = built.config.clone();
            shared.server_tls.lock().set_aside(backend, built);
            Some(config)
        }
        Err(error) => {
            // Who puts the configuration in force tells operators.
            tracing::debug!(%backend, "no TLS: {error}");
            None
        }
    }
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

    fn built(settings: &Tls, files: u64) -> TowardsServers {
        TowardsServers { files, ..TowardsServers::build(settings).unwrap().unwrap() }
    }

    #[test]
    fn what_commands_want_is_at_hand_whether_or_not_it_is_in_force_yet() {
        let (shop, other) = (BackendName::from("shop"), BackendName::from("other"));
        let (before, behind) = (mode(TlsMode::Preferred), mode(TlsMode::Required));
        let mut tls = ServerTls::default();
        assert!(tls.replace([(shop.clone(), built(&before, 1))].into()).is_empty());
        assert!(tls.by(&shop, &before).is_some());
        assert!(tls.by(&shop, &behind).is_none());
        tls.set_aside(&shop, built(&behind, 1));
        assert!(tls.by(&shop, &before).is_some() && tls.by(&shop, &behind).is_some());
        assert!(tls.by(&other, &behind).is_none(), "another backend's");
        tls.set_aside(&shop, built(&behind, 1));
        assert_eq!(tls.aside.len(), 1);
        assert!(tls.replace([(shop.clone(), built(&behind, 1))].into()).is_empty());
        assert!(tls.by(&shop, &before).is_none() && tls.by(&shop, &behind).is_some());
    }

    #[test]
    fn other_files_under_the_same_names_are_told() {
        let shop = BackendName::from("shop");
        let (required, preferred) = (mode(TlsMode::Required), mode(TlsMode::Preferred));
        let mut tls = ServerTls::default();
        let mut replace =
            |settings: &Tls, files| tls.replace([(shop.clone(), built(settings, files))].into());
        assert!(replace(&required, 1).is_empty());
        assert!(replace(&required, 1).is_empty());
        assert_eq!(replace(&required, 2), vec![shop.clone()]);
        assert!(replace(&preferred, 3).is_empty(), "other settings say so themselves");
    }
}
