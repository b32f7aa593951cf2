//! TLS settings for both sides, from PEM files.

mod pem;
mod words;

use std::{io, path::Path, sync::Arc};

use rustls::{
    ClientConfig, InconsistentKeys, RootCertStore, ServerConfig,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{
        CryptoProvider, WebPkiSupportedAlgorithms, aws_lc_rs, verify_tls12_signature,
        verify_tls13_signature, verify_tls13_signature_with_raw_key,
    },
    pki_types::{CertificateDer, ServerName, SubjectPublicKeyInfoDer, UnixTime},
    server::WebPkiClientVerifier,
};

use crate::certificate::{algorithm_and_key, key_of_version_1};

pub use self::pem::{Unusable, content};
use self::{
    pem::{certificates, key},
    words::Whose,
};

/// Why TLS can't be set up. Says which file and what to do.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file could not be read or holds no PEM of the expected kind.
    #[error("{what} `{path}`: {cause}")]
    File {
        /// What was expected in it.
        what: TlsFile,
        /// Its path.
        path: String,
        /// What went wrong.
        cause: Unusable,
    },
    /// The library refuses the combination.
    #[error("certificate `{cert}` and key `{key}` don't work together: {cause}")]
    Pair {
        /// The certificate's file.
        cert: Box<str>,
        /// The key's file.
        key: Box<str>,
        /// What is wrong with them.
        cause: String,
    },
    /// The library refuses to be set up at all.
    #[error("TLS can't be set up: {0}")]
    Library(#[from] rustls::Error),
    /// The trusted authorities are unusable.
    #[error("trusted authorities `{path}`: {cause}")]
    Verifier {
        /// Their file.
        path: String,
        /// What is wrong with them.
        cause: String,
    },
}

impl TlsError {
    /// Whether a file could not be read at all: it may be meant for another machine or account.
    #[must_use]
    pub fn is_about_reading(&self) -> bool {
        matches!(self, Self::File { cause: Unusable::Unreadable(_), .. })
    }
}

/// What a file of TLS holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TlsFile {
    /// The authorities that are trusted.
    Authorities,
    /// Our certificate.
    Certificate,
    /// Its key.
    Key,
}

impl std::fmt::Display for TlsFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Authorities => "trusted authorities",
            Self::Certificate => "certificate",
            Self::Key => "private key",
        })
    }
}

fn pair_error(cert: &Path, key: &Path) -> impl FnOnce(rustls::Error) -> TlsError {
    let (cert, key) = (cert.display().to_string(), key.display().to_string());
    move |cause| {
        if let Some(why) = words::fault(&cause, Whose::Ours) {
            let (what, cause) = (TlsFile::Certificate, Unusable::Content(why));
            return TlsError::File { what, path: cert, cause };
        }
        let cause = match cause {
            rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
                "the key is another certificate's (behind its own, a certificate's file holds those \
                 that signed it, in that order)"
                    .to_owned()
            }
            cause => cause.to_string(),
        };
        TlsError::Pair { cert: cert.into(), key: key.into(), cause }
    }
}

fn verifier_error(
    path: Option<&Path>,
) -> impl FnOnce(rustls::server::VerifierBuilderError) -> TlsError {
    let path = path.map_or_else(String::new, |path| path.display().to_string());
    move |cause| TlsError::Verifier { path, cause: cause.to_string() }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

fn roots(path: &Path) -> Result<RootCertStore, TlsError> {
    let mut store = RootCertStore::empty();
    for certificate in certificates(TlsFile::Authorities, path)? {
        let unusable = |error: rustls::Error| TlsError::File {
            what: TlsFile::Authorities,
            path: path.display().to_string(),
            cause: Unusable::Content(error.to_string()),
        };
        store.add(certificate).map_err(unusable)?;
    }
    Ok(store)
}

/// Settings towards clients. With `ca`, clients must show a certificate of one of its authorities.
///
/// # Errors
/// [`TlsError`] names the file and what is wrong with it.
pub fn towards_clients(
    cert: &Path,
    key_file: &Path,
    ca: Option<&Path>,
) -> Result<Arc<ServerConfig>, TlsError> {
    let builder =
        ServerConfig::builder_with_provider(provider()).with_safe_default_protocol_versions()?;
    let builder = match ca {
        Some(path) => {
            let roots = Arc::new(roots(path)?);
            let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider())
                .build()
                .map_err(verifier_error(Some(path)))?;
            builder.with_client_cert_verifier(verifier)
        }
        None => builder.with_no_client_auth(),
    };
    let mut config = builder
        .with_single_cert(certificates(TlsFile::Certificate, cert)?, key(key_file)?)
        .map_err(pair_error(cert, key_file))?;
    // A session may be handed to a new process by its keys.
    config.enable_secret_extraction = true;
    // Databases speak first or wait: early data has no use here and can be replayed.
    config.max_early_data_size = 0;
    Ok(Arc::new(config))
}

/// When the first of a chain's certificates expires, in seconds of Unix time, where that can be read.
///
/// # Errors
/// [`TlsError`] names the file and what is wrong with it.
pub fn expires(cert: &Path) -> Result<Option<u64>, TlsError> {
    let chain = certificates(TlsFile::Certificate, cert)?;
    Ok(chain.iter().filter_map(|one| crate::certificate::expires(one)).min())
}

/// How much of a server's certificate is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verify {
    /// A trusted authority signed it.
    Ca,
    /// A trusted authority signed it for this server's name.
    Identity,
    /// Nothing.
    Nothing,
}

/// Settings towards servers.
///
/// # Errors
/// [`TlsError`] names the file and what is wrong with it.
pub fn towards_servers(
    verify: Verify,
    ca: Option<&Path>,
    own: Option<(&Path, &Path)>,
) -> Result<Arc<ClientConfig>, TlsError> {
    let builder =
        ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions()?;
    let store = Arc::new(ca.map(roots).transpose()?.unwrap_or_else(RootCertStore::empty));
    let builder = match verify {
        Verify::Identity => builder.with_root_certificates(store),
        Verify::Ca | Verify::Nothing => builder.dangerous().with_custom_certificate_verifier(
            Arc::new(Lenient::new(verify, store).map_err(verifier_error(ca))?),
        ),
    };
    let config = match own {
        Some((cert, key_file)) => builder
            .with_client_auth_cert(certificates(TlsFile::Certificate, cert)?, key(key_file)?)
            .map_err(pair_error(cert, key_file))?,
        None => builder.with_no_client_auth(),
    };
    Ok(Arc::new(config))
}

/// Verifies less than the whole, as the modes `required` and `verify-ca` ask for.
#[derive(Debug)]
struct Lenient {
    chain: Option<Arc<rustls::client::WebPkiServerVerifier>>,
    provider: Arc<CryptoProvider>,
}

impl Lenient {
    fn new(
        verify: Verify,
        store: Arc<RootCertStore>,
    ) -> Result<Self, rustls::server::VerifierBuilderError> {
        let chain = match verify {
            Verify::Ca => Some(
                rustls::client::WebPkiServerVerifier::builder_with_provider(store, provider())
                    .build()?,
            ),
            Verify::Identity | Verify::Nothing => None,
        };
        Ok(Self { chain, provider: provider() })
    }
}

impl ServerCertVerifier for Lenient {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        use rustls::{CertificateError as Wrong, Error::InvalidCertificate};
        let Some(chain) = &self.chain else {
            return Ok(ServerCertVerified::assertion());
        };
        match chain.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now) {
            // The name is looked at last, so the chain was right.
            Err(InvalidCertificate(
                Wrong::NotValidForName | Wrong::NotValidForNameContext { .. },
            )) => Ok(ServerCertVerified::assertion()),
            other => other,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &rustls::DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        match key_of_version_1(cert) {
            Some(info) => verify_by_key(message, info, dss, algorithms),
            None => verify_tls12_signature(message, cert, dss, algorithms),
        }
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &rustls::DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        match key_of_version_1(cert) {
            Some(info) => {
                let info = SubjectPublicKeyInfoDer::from(info);
                verify_tls13_signature_with_raw_key(message, &info, dss, algorithms)
            }
            None => verify_tls13_signature(message, cert, dss, algorithms),
        }
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// Verifies by a bare key what the library verifies by a certificate.
fn verify_by_key(
    message: &[u8],
    info: &[u8],
    dss: &rustls::DigitallySignedStruct,
    supported: &WebPkiSupportedAlgorithms,
) -> Result<HandshakeSignatureValid, rustls::Error> {
    let wrong = |wrong: rustls::CertificateError| rustls::Error::InvalidCertificate(wrong);
    let (algorithm, key) =
        algorithm_and_key(info).ok_or(wrong(rustls::CertificateError::BadEncoding))?;
    let of_scheme = supported.mapping.iter().find(|(scheme, _)| *scheme == dss.scheme);
    let verifies = of_scheme.is_some_and(|(_, candidates)| {
        candidates.iter().any(|candidate| {
            candidate.public_key_alg_id().as_ref() == algorithm
                && candidate.verify_signature(key, message, dss.signature()).is_ok()
        })
    });
    match verifies {
        true => Ok(HandshakeSignatureValid::assertion()),
        false => Err(wrong(rustls::CertificateError::BadSignature)),
    }
}

/// Speaks TLS as the server on an accepted socket. `behind` was read from it already, behind the
/// client's request for TLS: the start of its handshake, and nothing that could pass for more.
///
/// # Errors
/// As TLS says.
///
/// Cancel safe: no; the handshake may be half done. The caller closes the connection.
pub async fn accept(
    config: Arc<ServerConfig>,
    stream: tokio::net::TcpStream,
    mut behind: &[u8],
) -> io::Result<tokio_rustls::server::TlsStream<tokio::net::TcpStream>> {
    let acceptor = tokio_rustls::TlsAcceptor::from(config);
    let accepting = acceptor.accept_with(stream, |session| {
        while !behind.is_empty() {
            // What is wrong with it is said again by the handshake.
            let taken = session.read_tls(&mut behind);
            if !matches!(taken, Ok(1..)) || session.process_new_packets().is_err() {
                break;
            }
        }
    });
    accepting.await.map_err(words::of_handshake(Whose::Clients))
}

/// Speaks TLS as the client of a server named `host` (a name or a numeric address).
///
/// # Errors
/// As TLS says; a certificate that does not verify is `InvalidData`.
///
/// Cancel safe: no; the handshake may be half done. The caller closes the connection.
pub async fn connect(
    config: Arc<ClientConfig>,
    host: &str,
    stream: tokio::net::TcpStream,
) -> io::Result<tokio_rustls::client::TlsStream<tokio::net::TcpStream>> {
    let name = ServerName::try_from(host.to_owned())
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "not a server name"))?;
    let connecting = tokio_rustls::TlsConnector::from(config).connect(name, stream);
    connecting.await.map_err(words::of_handshake(Whose::Servers))
}
