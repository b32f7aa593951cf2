//! The bytes of the raw client: as they are, or in the compressed protocol, whose packets must come
//! in order as C clients demand.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use highgate_mysql::Capabilities;
use highgate_mysql::compress::{Algorithm, CompressedHeader, compress, decompress};

/// Time after which a missing answer is a fault.
const PATIENCE: Duration = Duration::from_secs(20);

#[derive(Debug)]
pub struct Wire {
    stream: TcpStream,
    algorithm: Option<Algorithm>,
    seq: u8,
    plain: Vec<u8>,
    /// Bytes that came and went, as the network carried them.
    pub read: u64,
    pub written: u64,
}

impl Wire {
    pub fn connect(addr: SocketAddr) -> io::Result<Self> {
        Self::over(TcpStream::connect(addr)?)
    }

    pub fn over(stream: TcpStream) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Self { stream, algorithm: None, seq: 0, plain: Vec::new(), read: 0, written: 0 })
    }

    /// From here on all is compressed, if the login agreed on it.
    pub fn agreed(&mut self, capabilities: Capabilities, zstd_level: Option<u8>) {
        if capabilities.contains(Capabilities::COMPRESS) {
            self.algorithm = Some(Algorithm::Zlib(6));
        } else if capabilities.contains(Capabilities::ZSTD_COMPRESSION) {
            self.algorithm = Some(Algorithm::Zstd(zstd_level.unwrap_or(3)));
        }
    }

    /// What is sent next is a new command.
    pub fn begin(&mut self) {
        self.seq = 0;
    }

    /// What is read next answers a command that was sent in one packet.
    pub fn begin_answer(&mut self) {
        self.seq = 1;
    }

    /// The number of the compressed packet that was read last.
    pub fn number(&self) -> u8 {
        self.seq.wrapping_sub(1)
    }

    pub fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        let Some(algorithm) = self.algorithm else {
            self.written += bytes.len() as u64;
            return self.stream.write_all(bytes);
        };
        let mut wire = Vec::new();
        compress(algorithm, &mut self.seq, bytes, &mut wire);
        self.written += wire.len() as u64;
        self.stream.write_all(&wire)
    }

    /// Bytes that are not compressed once more.
    pub fn write_bare(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// Whether the peer has closed, as a client sees it that only looks and waits for nothing.
    pub fn is_closed(&self) -> io::Result<bool> {
        self.stream.set_nonblocking(true)?;
        let looked = self.stream.peek(&mut [0; 1]);
        self.stream.set_nonblocking(false)?;
        match looked {
            Ok(count) => Ok(count == 0),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
            Err(_) => Ok(true),
        }
    }

    pub fn read_exact(&mut self, to: &mut [u8]) -> io::Result<()> {
        let Some(algorithm) = self.algorithm else {
            self.read += to.len() as u64;
            return self.stream.read_exact(to);
        };
        while self.plain.len() < to.len() {
            let mut wire = vec![0; 7];
            self.stream.read_exact(&mut wire)?;
            let header = CompressedHeader::peek(&wire).ok_or(io::ErrorKind::InvalidData)?;
            wire.resize(header.wire_len(), 0);
            self.stream.read_exact(&mut wire[7..])?;
            self.read += wire.len() as u64;
            decompress(algorithm, &mut self.seq, &wire, &mut self.plain)
                .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error.to_string()))?;
        }
        to.copy_from_slice(&self.plain[..to.len()]);
        self.plain.drain(..to.len());
        Ok(())
    }
}
