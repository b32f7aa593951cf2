//! The greeting: a server's first packet (HandshakeV10).

use crate::capability::{Capabilities, ServerFlavor, StatusFlags};
use crate::packet::{Malformed, Reader, put_nul_terminated};

/// Bytes of a server's challenge.
pub const NONCE_LEN: usize = 20;

/// A greeting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Greeting {
    /// The version as the server writes it.
    pub version: String,
    /// The server's session id.
    pub connection_id: u32,
    /// The challenge.
    pub nonce: [u8; NONCE_LEN],
    /// What the server can.
    pub capabilities: Capabilities,
    /// The server's default collation, low byte of its id.
    pub collation: u8,
    /// Status flags.
    pub status: StatusFlags,
    /// The server's default authentication plugin.
    pub plugin: String,
}

impl Greeting {
    /// Parses the payload of a greeting.
    ///
    /// # Errors
    /// [`Malformed`] where it isn't one of protocol 10 with a challenge of 20 bytes. An ERR packet
    /// in its place is for the caller to look for.
    pub fn parse(payload: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(payload);
        if reader.u8()? != 10 {
            return Err(Malformed::new("a greeting of protocol 10"));
        }
        let version = String::from_utf8_lossy(reader.nul_terminated()?).into_owned();
        let connection_id = reader.u32()?;
        let first = reader.array::<8>()?;
        reader.skip(1)?;
        let low = reader.u16()?;
        let collation = reader.u8()?;
        let status = StatusFlags::from_bits_retain(reader.u16()?);
        let high = reader.u16()?;
        let nonce_len = reader.u8()?;
        reader.skip(6)?;
        let extended = reader.u32()?;
        let standard = u32::from(low) | (u32::from(high) << 16);
        // The four bytes mean something only where MariaDB leaves the bit clear that all others set.
        let is_extended = standard & 1 == 0;
        let capabilities =
            Capabilities::from_halves(standard, if is_extended { extended } else { 0 });
        let second_len = usize::from(nonce_len).saturating_sub(8).max(13).min(reader.remaining());
        let second = reader.bytes(second_len)?;
        let second = second.first_chunk::<12>().ok_or(Malformed::new("a challenge of 20 bytes"))?;
        let mut nonce = [0; NONCE_LEN];
        for (to, from) in nonce.iter_mut().zip(first.iter().chain(second)) {
            *to = *from;
        }
        let plugin = if capabilities.contains(Capabilities::PLUGIN_AUTH) {
            String::from_utf8_lossy(reader.until_nul_or_end()).into_owned()
        } else {
            crate::auth::NATIVE.to_owned()
        };
        Ok(Self { version, connection_id, nonce, capabilities, collation, status, plugin })
    }

    /// Appends the payload to `out`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let standard = self.capabilities.standard();
        let [a, b, c, d] = standard.to_le_bytes();
        let (first, second) = self.nonce.split_at(8);
        out.push(10);
        put_nul_terminated(out, self.version.as_bytes());
        out.extend_from_slice(&self.connection_id.to_le_bytes());
        out.extend_from_slice(first);
        out.push(0);
        out.extend_from_slice(&[a, b, self.collation]);
        out.extend_from_slice(&self.status.bits().to_le_bytes());
        out.extend_from_slice(&[c, d, 21, 0, 0, 0, 0, 0, 0]);
        let is_extended = standard & 1 == 0;
        let extended = if is_extended { self.capabilities.extended() } else { 0 };
        out.extend_from_slice(&extended.to_le_bytes());
        out.extend_from_slice(second);
        out.push(0);
        if self.capabilities.contains(Capabilities::PLUGIN_AUTH) {
            put_nul_terminated(out, self.plugin.as_bytes());
        }
    }

    /// Which program the server is.
    #[must_use]
    pub fn flavor(&self) -> ServerFlavor {
        ServerFlavor::guess(&self.version)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn greeting(capabilities: Capabilities) -> Greeting {
        Greeting {
            version: "5.5.5-10.11.6-MariaDB".into(),
            connection_id: 0x0102_0304,
            nonce: *b"abcdefghijklmnopqrst",
            capabilities,
            collation: 45,
            status: StatusFlags::AUTOCOMMIT,
            plugin: "mysql_native_password".into(),
        }
    }

    #[test]
    fn a_greeting_comes_back() {
        let mut out = Vec::new();
        let before = greeting(Capabilities::from_halves(0x81ff_f7fe, 0x1d));
        before.encode(&mut out);
        assert_eq!(Greeting::parse(&out).unwrap(), before);
        // Past the challenge only the plugin's name is left, which may end anywhere.
        for end in 0..out.len() - 23 {
            assert!(Greeting::parse(&out[..end]).is_err(), "{end}");
        }
    }

    #[test]
    fn extended_bits_are_read_only_where_mariadb_announces_them() {
        let mut out = Vec::new();
        greeting(Capabilities::from_halves(0x81ff_f7ff, 0x1d)).encode(&mut out);
        assert_eq!(Greeting::parse(&out).unwrap().capabilities.extended(), 0);
    }
}
