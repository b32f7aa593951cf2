//! Packets over a socket, bounded in size and time.

use std::{io, sync::Arc, time::Instant};

use highgate_io::clock;
use highgate_mysql::packet::{HEADER_LEN, Header};
use rustls::ServerConfig;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::stream::Stream;

/// Bytes of a command: a statement of an operator, not a load.
const MOST_PAYLOAD: u32 = 1 << 20;

/// A connection that reads and writes whole packets.
pub(super) struct Wire {
    stream: Stream,
}

impl Wire {
    pub(super) fn new(stream: TcpStream) -> Self {
        Self { stream: Stream::Plain(stream) }
    }

    /// Speaks TLS from here on. Packets are read to their last byte and no further, so nothing in
    /// front of the handshake is taken for what comes behind it.
    ///
    /// Cancel safe: no; the handshake may be half done. The caller closes the connection.
    pub(super) async fn encrypted(
        self,
        config: Arc<ServerConfig>,
        deadline: Instant,
    ) -> io::Result<Self> {
        let stream = clock::before(deadline, self.stream.encrypted(config)).await;
        let stream = stream.unwrap_or_else(|| Err(io::ErrorKind::TimedOut.into()))?;
        Ok(Self { stream })
    }

    /// The next packet's sequence id and payload; `None` when the client hung up between packets.
    ///
    /// Cancel safe: no; a packet may be half read. The caller closes the connection.
    pub(super) async fn read(&mut self, deadline: Instant) -> io::Result<Option<(u8, Vec<u8>)>> {
        let packet = clock::before(deadline, self.read_packet()).await;
        packet.unwrap_or_else(|| Err(io::ErrorKind::TimedOut.into()))
    }

    /// Writes packets.
    ///
    /// Cancel safe: no; a packet may be half written. The caller closes the connection.
    pub(super) async fn write(&mut self, packets: &[u8], deadline: Instant) -> io::Result<()> {
        let write = async {
            self.stream.write_all(packets).await?;
            self.stream.flush().await
        };
        let written = clock::before(deadline, write).await;
        written.unwrap_or_else(|| Err(io::ErrorKind::TimedOut.into()))
    }

    async fn read_packet(&mut self) -> io::Result<Option<(u8, Vec<u8>)>> {
        let mut head = [0; HEADER_LEN];
        match self.stream.read_exact(&mut head).await {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            Err(error) => return Err(error),
        }
        let header = Header::parse(head);
        if header.len > MOST_PAYLOAD {
            let text = format!("a packet of {} bytes is more than the SQL port takes", header.len);
            return Err(io::Error::new(io::ErrorKind::InvalidData, text));
        }
        // Grows as bytes come, so that a header alone reserves nothing.
        let mut payload = Vec::new();
        let body = (&mut self.stream).take(u64::from(header.len));
        let mut body = std::pin::pin!(body);
        body.read_to_end(&mut payload).await?;
        if payload.len() < header.len as usize {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(Some((header.seq, payload)))
    }
}
