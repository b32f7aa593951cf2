//! What is wrong with a certificate, where the library says it in its own terms.

use std::io;

use rustls::CertificateError as Wrong;

/// Whose certificate it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Whose {
    /// A file of ours has it.
    Ours,
    /// The server showed it.
    Servers,
    /// The client showed it.
    Clients,
}

const VERSION: &str = "is an X.509 version 1 certificate; TLS here needs version 3: make it anew with \
    extensions (`openssl x509 -req` with `-extfile`, or `-copy_extensions copy`)";
const ALGORITHM: &str = "is signed by an algorithm that TLS here does not take, such as SHA-1: make it \
    anew with SHA-256";

/// The fault in words that lead to what to do; `None` where the library's own are as good.
pub(super) fn fault(error: &rustls::Error, whose: Whose) -> Option<String> {
    let rustls::Error::InvalidCertificate(wrong) = error else { return None };
    let subject = match whose {
        Whose::Ours => "it",
        Whose::Servers => "the server's certificate, or one that it sent with it,",
        Whose::Clients => "the client's certificate, or one that it sent with it,",
    };
    match wrong {
        // Its type is that of a library below, whose words these are.
        Wrong::Other(other) => match (other.to_string().as_str(), whose) {
            ("UnsupportedCertVersion", _) => Some(format!("{subject} {VERSION}")),
            ("CaUsedAsEndEntity", Whose::Servers) => Some(
                "the server's certificate is itself an authority (CA:TRUE): make one that is signed by \
                 it, or use `tls.mode = \"required\"`"
                    .to_owned(),
            ),
            ("CaUsedAsEndEntity", Whose::Clients) => Some(
                "the client's certificate is itself an authority (CA:TRUE): make one that is signed by \
                 it"
                .to_owned(),
            ),
            _ => None,
        },
        Wrong::UnsupportedSignatureAlgorithmContext { .. }
        | Wrong::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => {
            Some(format!("{subject} {ALGORITHM}"))
        }
        _ => None,
    }
}

/// A handshake's error with the peer's fault in words.
pub(super) fn of_handshake(whose: Whose) -> impl FnOnce(io::Error) -> io::Error {
    move |error| {
        let cause = error.get_ref().and_then(|cause| cause.downcast_ref::<rustls::Error>());
        match cause.and_then(|cause| fault(cause, whose)) {
            Some(text) => io::Error::new(error.kind(), text),
            None => error,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{path::PathBuf, sync::Arc};

    use rustls::{ClientConfig, ServerConfig, sign::CertifiedKey, sign::SingleCertAndKey};
    use tokio::net::{TcpListener, TcpStream};

    use super::{
        super::{
            TlsFile, Verify, accept, certificates, connect, key, provider, towards_clients,
            towards_servers,
        },
        *,
    };

    /// Certificates as `openssl` makes them by short recipes, with their keys.
    fn odd(name: &str) -> PathBuf {
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src/tls/odd").join(name)
    }

    /// As another program serves it, which does not look at its own.
    fn shows(name: &str) -> Arc<ServerConfig> {
        signs(name, name, rustls::ALL_VERSIONS)
    }

    /// Shows one's certificate, and signs by the other's key.
    fn signs(
        name: &str,
        by: &str,
        versions: &[&'static rustls::SupportedProtocolVersion],
    ) -> Arc<ServerConfig> {
        let chain = certificates(TlsFile::Certificate, &odd(name)).unwrap();
        let key = provider().key_provider.load_private_key(key(&odd(by)).unwrap()).unwrap();
        let resolver = SingleCertAndKey::from(CertifiedKey::new(chain, key));
        let builder = ServerConfig::builder_with_provider(provider());
        let builder = builder.with_protocol_versions(versions).unwrap().with_no_client_auth();
        Arc::new(builder.with_cert_resolver(Arc::new(resolver)))
    }

    /// What the client and the server say of a handshake.
    fn handshake(
        server: Arc<ServerConfig>,
        client: Arc<ClientConfig>,
    ) -> [Result<(), io::Error>; 2] {
        crate::tasks::local_runtime().unwrap().block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            let here = async {
                let stream = TcpStream::connect(address).await.unwrap();
                connect(client, "127.0.0.1", stream).await.map(drop)
            };
            let there = async {
                let (stream, _) = listener.accept().await.unwrap();
                accept(server, stream, &[]).await.map(drop)
            };
            let (here, there) = tokio::join!(here, there);
            [here, there]
        })
    }

    fn refusal(name: &str, verify: Verify, ca: &str) -> String {
        let client = towards_servers(verify, Some(&odd(ca)), None).unwrap();
        let [client, _] = handshake(shows(name), client);
        let error = client.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        error.to_string()
    }

    #[test]
    fn what_is_odd_about_a_servers_certificate_is_said_in_words_and_it_stays_refused() {
        for verify in [Verify::Ca, Verify::Identity] {
            let own = refusal("own-authority.pem", verify, "own-authority.pem");
            assert!(own.starts_with("the server's certificate is itself an authority"), "{own}");
            let first = refusal("version-1.pem", verify, "authority.pem");
            assert!(first.contains("is an X.509 version 1 certificate"), "{first}");
            let weak = refusal("sha-1.pem", verify, "authority.pem");
            assert!(weak.contains("such as SHA-1"), "{weak}");
        }
        for name in ["own-authority.pem", "version-1.pem", "sha-1.pem"] {
            let client = towards_servers(Verify::Nothing, None, None).unwrap();
            let [client, _] = handshake(shows(name), client);
            assert!(client.is_ok(), "{name}, where nothing is verified: {client:?}");
        }
    }

    /// Its handshake failed, though there was nothing to be verified but that it has the key.
    #[test]
    fn a_server_of_version_1_is_taken_where_nothing_is_verified_if_it_has_its_key() {
        for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
            let shake = |by| {
                let client = towards_servers(Verify::Nothing, None, None).unwrap();
                let [client, _] = handshake(signs("version-1.pem", by, &[version]), client);
                client
            };
            assert!(shake("version-1.pem").is_ok(), "{version:?}");
            let told = shake("sha-1.pem").unwrap_err().to_string();
            assert!(told.contains("BadSignature"), "{version:?}: {told}");
        }
    }

    #[test]
    fn a_client_that_shows_an_authoritys_certificate_is_refused_in_words() {
        let own = odd("own-authority.pem");
        let server = towards_clients(&own, &own, Some(&own)).unwrap();
        let client = towards_servers(Verify::Nothing, None, Some((&own, &own))).unwrap();
        let [_, server] = handshake(server, client);
        let told = server.unwrap_err().to_string();
        assert!(told.starts_with("the client's certificate is itself an authority"), "{told}");
    }

    /// The key was said to be wrong.
    #[test]
    fn a_certificate_of_version_1_to_be_shown_is_refused_for_its_version_and_by_its_file() {
        let first = odd("version-1.pem");
        let told = [
            towards_clients(&first, &first, None).map(drop).unwrap_err().to_string(),
            towards_servers(Verify::Nothing, None, Some((&first, &first)))
                .map(drop)
                .unwrap_err()
                .to_string(),
        ];
        for told in told {
            let begins = format!("certificate `{}`: it is an X.509 version 1", first.display());
            assert!(told.starts_with(&begins), "{told}");
        }
    }
}
