//! A plain client that waits for its answers; for what isn't measured in microseconds.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme, StreamOwned};

use crate::wire;

const PATIENCE: Duration = Duration::from_secs(10);

trait Stream: Read + Write + Send {}
impl<T: Read + Write + Send> Stream for T {}

/// One logged-in connection.
pub(crate) struct Client {
    stream: Box<dyn Stream>,
    new_eof: bool,
}

impl Client {
    /// Connects and logs in as `app`.
    pub(crate) fn login(addr: SocketAddr) -> anyhow::Result<Self> {
        let mut stream = connect(addr)?;
        let (_, greeting) = receive(&mut stream)?;
        let login = wire::login(&greeting, "app", "app", wire::DEPRECATE_EOF);
        stream.write_all(&login)?;
        Self::accepted(Box::new(stream), &greeting)
    }

    /// The same over TLS, without a look at the certificate.
    pub(crate) fn login_tls(addr: SocketAddr, tls: &Arc<ClientConfig>) -> anyhow::Result<Self> {
        let mut stream = connect(addr)?;
        let (_, greeting) = receive(&mut stream)?;
        stream.write_all(&wire::ssl_request(&greeting))?;
        let login = wire::login_in_tls(&greeting, "app", "app");
        let name = ServerName::from(addr.ip());
        let connection = ClientConnection::new(Arc::clone(tls), name)?;
        let mut stream = StreamOwned::new(connection, stream);
        stream.write_all(&login)?;
        stream.flush()?;
        Self::accepted(Box::new(stream), &greeting)
    }

    fn accepted(stream: Box<dyn Stream>, greeting: &[u8]) -> anyhow::Result<Self> {
        let new_eof = wire::offered(greeting) & wire::DEPRECATE_EOF != 0;
        let mut client = Self { stream, new_eof };
        loop {
            let (sequence, payload) = receive(&mut client.stream)?;
            match payload.first() {
                Some(0x00) => return Ok(client),
                Some(0xfe) => {
                    let answer = wire::switch(&payload, sequence + 1, "app");
                    client.stream.write_all(&answer)?;
                    client.stream.flush()?;
                }
                _ => anyhow::bail!("login refused: {}", String::from_utf8_lossy(&payload)),
            }
        }
    }

    /// Sends a command without waiting for its answer.
    pub(crate) fn send(&mut self, sql: &str) -> anyhow::Result<()> {
        let mut out = Vec::new();
        let mut payload = vec![0x03];
        payload.extend_from_slice(sql.as_bytes());
        wire::packet(&mut out, 0, &payload);
        self.stream.write_all(&out)?;
        self.stream.flush()?;
        Ok(())
    }

    /// Reads that many bytes, whatever they mean.
    pub(crate) fn read_bytes(&mut self, count: usize) -> anyhow::Result<()> {
        let mut left = count;
        let mut buffer = vec![0; 16_384];
        while left > 0 {
            let part = left.min(buffer.len());
            self.stream.read_exact(buffer.get_mut(..part).context("part")?)?;
            left -= part;
        }
        Ok(())
    }

    /// Runs one statement to the end of its result; an ERR is an error.
    pub(crate) fn query(&mut self, sql: &str) -> anyhow::Result<()> {
        self.send(sql)?;
        let (_, first) = receive(&mut self.stream)?;
        match first.first() {
            Some(0x00) => return Ok(()),
            Some(0xff) => anyhow::bail!("{}", String::from_utf8_lossy(&first)),
            _ => {}
        }
        let columns = usize::from(*first.first().context("an empty packet")?);
        for _ in 0..columns + usize::from(!self.new_eof) {
            receive(&mut self.stream)?;
        }
        loop {
            let (_, packet) = receive(&mut self.stream)?;
            match packet.first() {
                Some(0xff) => anyhow::bail!("{}", String::from_utf8_lossy(&packet)),
                Some(0xfe) if packet.len() < 9 => return Ok(()),
                _ => {}
            }
        }
    }
}

fn connect(addr: SocketAddr) -> anyhow::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&addr, PATIENCE)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    Ok(stream)
}

fn receive(stream: &mut impl Read) -> anyhow::Result<(u8, Vec<u8>)> {
    let mut head = [0; 4];
    stream.read_exact(&mut head)?;
    let [a, b, c, sequence] = head;
    let mut payload = vec![0; u32::from_le_bytes([a, b, c, 0]) as usize];
    stream.read_exact(&mut payload)?;
    Ok((sequence, payload))
}

/// A TLS configuration that trusts whatever answers: the bench made the certificate itself.
pub(crate) fn tls() -> anyhow::Result<Arc<ClientConfig>> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Trusting(provider)))
        .with_no_client_auth();
    Ok(Arc::new(config))
}

#[derive(Debug)]
struct Trusting(Arc<CryptoProvider>);

impl ServerCertVerifier for Trusting {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
