//! The packets of a login: the client's answer to the greeting, COM_CHANGE_USER, and the dialogue
//! of authentication plugins.

use crate::auth::{NATIVE, Secret};
use crate::bytes::le_uint;
use crate::capability::Capabilities;
use crate::packet::{Malformed, Reader, put_lenenc_bytes, put_lenenc_int, put_nul_terminated};

mod change_user;

pub use change_user::ChangeUser;

/// Bytes of the fixed part, which is all that an SSLRequest has.
const FIXED_LEN: usize = 32;

/// Attributes that are kept, and passed on, of a client: drivers send a dozen. Each takes up to a hundred bytes more
/// here than there, before anybody has shown a password.
const MAX_PAIRS: usize = 128;
/// The longest attributes that are accepted: what servers accept, too.
const MAX_ATTRIBUTES: usize = 64 * 1024;

/// The longest user name: 128 characters of MariaDB's.
const MAX_USER: usize = 384;

/// A client's answer to the greeting (HandshakeResponse41).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoginRequest {
    /// What the client can and wants.
    pub capabilities: Capabilities,
    /// The longest packet that the client takes; of no use to anyone.
    pub max_packet: u32,
    /// Low byte of the collation's id.
    pub collation: u8,
    /// The user.
    pub user: String,
    /// The answer to the challenge.
    pub answer: Secret,
    /// The schema, where one is named.
    pub schema: Option<String>,
    /// The plugin that made the answer.
    pub plugin: String,
    /// Connection attributes.
    pub attributes: Vec<(String, String)>,
    /// zstd level, where zstd is asked for.
    pub zstd_level: Option<u8>,
}

/// What the first packet of a client is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FirstPacket {
    /// A login.
    Login(Box<LoginRequest>),
    /// A request to start TLS; the login follows inside.
    StartTls(Capabilities),
}

impl LoginRequest {
    /// Parses the first packet of a client.
    ///
    /// # Errors
    /// [`Malformed`] where it is neither; a client of MySQL 4.0 or older is refused so, too.
    pub fn parse_first(payload: &[u8]) -> Result<FirstPacket, Malformed> {
        let mut reader = Reader::new(payload);
        let standard = reader.u32()?;
        if !Capabilities::from_halves(standard, 0).contains(Capabilities::PROTOCOL_41) {
            return Err(Malformed::new("a client that speaks the 4.1 protocol"));
        }
        let max_packet = reader.u32()?;
        let collation = reader.u8()?;
        reader.skip(19)?;
        let extended = reader.u32()?;
        let is_extended = standard & 1 == 0;
        let capabilities =
            Capabilities::from_halves(standard, if is_extended { extended } else { 0 });
        if capabilities.contains(Capabilities::SSL) && payload.len() == FIXED_LEN {
            return Ok(FirstPacket::StartTls(capabilities));
        }
        let mut login = Self {
            capabilities,
            max_packet,
            collation,
            user: user_name(reader.nul_terminated()?)?,
            answer: Secret::new(parse_answer(&mut reader, capabilities)?),
            schema: None,
            plugin: NATIVE.to_owned(),
            attributes: Vec::new(),
            zstd_level: None,
        };
        login.parse_optional(reader)?;
        Ok(FirstPacket::Login(Box::new(login)))
    }

    fn parse_optional(&mut self, mut reader: Reader<'_>) -> Result<(), Malformed> {
        if self.capabilities.contains(Capabilities::CONNECT_WITH_DB) && !reader.is_empty() {
            let schema = text(reader.until_nul_or_end());
            self.schema = (!schema.is_empty()).then_some(schema);
        }
        if self.capabilities.contains(Capabilities::PLUGIN_AUTH) && !reader.is_empty() {
            self.plugin = text(reader.until_nul_or_end());
        }
        if self.capabilities.contains(Capabilities::CONNECT_ATTRS) && !reader.is_empty() {
            self.attributes = parse_attributes(reader.lenenc_bytes()?)?;
        }
        if self.capabilities.contains(Capabilities::ZSTD_COMPRESSION) {
            self.zstd_level = reader.u8().ok();
        }
        Ok(())
    }

    /// Appends the payload to `out`; which optional parts are there follows the capabilities.
    pub fn encode(&self, out: &mut Vec<u8>) {
        self.encode_fixed(out, self.capabilities);
        put_nul_terminated(out, self.user.as_bytes());
        let answer = self.answer.expose();
        if self.capabilities.contains(Capabilities::PLUGIN_AUTH_LENENC) {
            put_lenenc_bytes(out, answer);
        } else if self.capabilities.contains(Capabilities::SECURE_CONNECTION) {
            let len = u8::try_from(answer.len()).unwrap_or(u8::MAX);
            out.push(len);
            out.extend_from_slice(answer.get(..usize::from(len)).unwrap_or(answer));
        } else {
            put_nul_terminated(out, answer);
        }
        if self.capabilities.contains(Capabilities::CONNECT_WITH_DB) {
            put_nul_terminated(out, self.schema.as_deref().unwrap_or("").as_bytes());
        }
        if self.capabilities.contains(Capabilities::PLUGIN_AUTH) {
            put_nul_terminated(out, self.plugin.as_bytes());
        }
        if self.capabilities.contains(Capabilities::CONNECT_ATTRS) {
            encode_attributes(out, &self.attributes);
        }
        if self.capabilities.contains(Capabilities::ZSTD_COMPRESSION) {
            out.push(self.zstd_level.unwrap_or(3));
        }
    }

    /// Appends the payload of the SSLRequest that goes before this login to `out`.
    pub fn encode_ssl_request(&self, out: &mut Vec<u8>) {
        self.encode_fixed(out, self.capabilities | Capabilities::SSL);
    }

    fn encode_fixed(&self, out: &mut Vec<u8>, capabilities: Capabilities) {
        out.extend_from_slice(&capabilities.standard().to_le_bytes());
        out.extend_from_slice(&self.max_packet.to_le_bytes());
        out.push(self.collation);
        out.extend_from_slice(&[0; 19]);
        let is_extended = capabilities.standard() & 1 == 0;
        let extended = if is_extended { capabilities.extended() } else { 0 };
        out.extend_from_slice(&extended.to_le_bytes());
    }
}

fn parse_answer<'a>(
    reader: &mut Reader<'a>,
    capabilities: Capabilities,
) -> Result<&'a [u8], Malformed> {
    if capabilities.contains(Capabilities::PLUGIN_AUTH_LENENC) {
        reader.lenenc_bytes()
    } else if capabilities.contains(Capabilities::SECURE_CONNECTION) {
        let len = reader.u8()?;
        reader.bytes(usize::from(len))
    } else {
        Ok(reader.until_nul_or_end())
    }
}

pub(crate) fn parse_attributes(bytes: &[u8]) -> Result<Vec<(String, String)>, Malformed> {
    if bytes.len() > MAX_ATTRIBUTES {
        return Err(Malformed::new("connection attributes of at most 64 KiB"));
    }
    let mut reader = Reader::new(bytes);
    let mut attributes = Vec::new();
    while !reader.is_empty() && attributes.len() < MAX_PAIRS {
        let name = text(reader.lenenc_bytes()?);
        attributes.push((name, text(reader.lenenc_bytes()?)));
    }
    Ok(attributes)
}

pub(crate) fn encode_attributes(out: &mut Vec<u8>, attributes: &[(String, String)]) {
    let mut body = Vec::new();
    for (name, value) in attributes {
        put_lenenc_bytes(&mut body, name.as_bytes());
        put_lenenc_bytes(&mut body, value.as_bytes());
    }
    put_lenenc_int(out, le_uint(body.len()));
    out.extend_from_slice(&body);
}

/// The name of an account: it is shown to operators before anything of it is verified.
fn user_name(bytes: &[u8]) -> Result<String, Malformed> {
    // As it is kept: what is no UTF-8 becomes longer.
    let name = text(bytes);
    if name.len() > MAX_USER {
        return Err(Malformed::new("a user name of at most 384 bytes"));
    }
    Ok(name)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The server asks for the answer of another plugin (AuthSwitchRequest).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AuthSwitch<'a> {
    /// The plugin.
    pub plugin: &'a str,
    /// Its challenge, without the NUL at its end.
    pub challenge: &'a [u8],
}

impl<'a> AuthSwitch<'a> {
    /// Parses a payload that starts with 0xfe. Alone, that byte asks for the password of MySQL 4.0.
    ///
    /// # Errors
    /// [`Malformed`] where it isn't one.
    pub fn parse(payload: &'a [u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(payload);
        if reader.u8()? != 0xfe || reader.is_empty() {
            return Err(Malformed::new("an auth switch to a plugin"));
        }
        let plugin = std::str::from_utf8(reader.nul_terminated()?)
            .map_err(|_| Malformed::new("a plugin name in UTF-8"))?;
        let challenge = reader.rest();
        let challenge = match challenge.len() {
            21 => challenge.strip_suffix(&[0]).unwrap_or(challenge),
            _ => challenge,
        };
        Ok(Self { plugin, challenge })
    }

    /// Appends the payload to `out`. A challenge of 20 bytes gets the NUL that servers append.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.push(0xfe);
        put_nul_terminated(out, self.plugin.as_bytes());
        out.extend_from_slice(self.challenge);
        if self.challenge.len() == 20 {
            out.push(0);
        }
    }
}

/// The data of an AuthMoreData packet, which starts with 0x01.
#[must_use]
pub fn parse_auth_more(payload: &[u8]) -> Option<&[u8]> {
    payload.strip_prefix(&[1])
}

/// Appends the payload of an AuthMoreData packet to `out`.
pub fn encode_auth_more(out: &mut Vec<u8>, data: &[u8]) {
    out.push(1);
    out.extend_from_slice(data);
}

#[cfg(test)]
mod tests;
