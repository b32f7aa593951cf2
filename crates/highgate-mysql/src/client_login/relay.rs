//! The login of a client at a server behind us: its challenges and answers are passed on.
//!
//! Knows the sequence ids of the client's side and nothing of what is said: which steps there are,
//! [`crate::server_login::ServerLogin`] knows.

use crate::error_code::{Answer, ER_NET_PACKETS_OUT_OF_ORDER};
use crate::login::AuthSwitch;
use crate::packet::PacketWriter;

/// Passes a server's challenges on to the client, and its answers back.
#[derive(Debug)]
pub struct Relay {
    seq: u8,
    has_asked: bool,
}

/// The client's packet is out of order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("got packets out of order")]
pub struct NotPassed;

impl NotPassed {
    /// What the client is told.
    #[must_use]
    pub fn answer(self) -> Answer {
        ER_NET_PACKETS_OUT_OF_ORDER.answer("Got packets out of order")
    }
}

impl Relay {
    pub(super) const fn new(seq: u8) -> Self {
        Self { seq, has_asked: false }
    }

    /// The packet by which the client is asked to answer this challenge with `plugin`.
    pub fn switch(&mut self, plugin: &str, challenge: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        let mut writer = PacketWriter::new(&mut out, self.seq);
        writer.packet(|body| AuthSwitch { plugin, challenge }.encode(body));
        self.seq = writer.next_seq();
        self.has_asked = true;
        out
    }

    /// The packet by which a step of the plugin is passed on.
    pub fn step(&mut self, payload: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        let mut writer = PacketWriter::new(&mut out, self.seq);
        writer.payload(payload);
        self.seq = writer.next_seq();
        self.has_asked = true;
        out
    }

    /// Takes note of the client's packet, which goes to the server as it is.
    ///
    /// # Errors
    /// [`NotPassed`] where another was due.
    pub fn answered(&mut self, seq: u8) -> Result<(), NotPassed> {
        if seq != self.seq {
            return Err(NotPassed);
        }
        self.seq = seq.wrapping_add(1);
        Ok(())
    }

    /// The sequence id of our next packet.
    #[must_use]
    pub const fn seq(&self) -> u8 {
        self.seq
    }

    /// Whether the client has seen anything of a server: before that, another can be tried.
    #[must_use]
    pub const fn has_asked(&self) -> bool {
        self.has_asked
    }
}
