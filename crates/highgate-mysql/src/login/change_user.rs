//! COM_CHANGE_USER.

use crate::auth::{NATIVE, Secret};
use crate::capability::Capabilities;
use crate::command::COM_CHANGE_USER;
use crate::login::{encode_attributes, parse_attributes, text, user_name};
use crate::packet::{Malformed, Reader, put_nul_terminated};

/// A login as another user on the same connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangeUser {
    /// The user.
    pub user: String,
    /// The answer to the greeting's challenge.
    pub answer: Secret,
    /// The schema, where one is named.
    pub schema: Option<String>,
    /// The collation's id; `None` from clients that end before it.
    pub collation: Option<u16>,
    /// The plugin that made the answer.
    pub plugin: String,
    /// Connection attributes.
    pub attributes: Vec<(String, String)>,
}

impl ChangeUser {
    /// Parses what follows the command byte.
    ///
    /// # Errors
    /// [`Malformed`] where user, answer or schema are cut.
    pub fn parse(body: &[u8], capabilities: Capabilities) -> Result<Self, Malformed> {
        let mut reader = Reader::new(body);
        let user = user_name(reader.nul_terminated()?)?;
        let len = reader.u8()?;
        let answer = Secret::new(reader.bytes(usize::from(len))?);
        let schema = text(reader.until_nul_or_end());
        let collation = reader.u16().ok();
        let mut plugin = NATIVE.to_owned();
        if capabilities.contains(Capabilities::PLUGIN_AUTH) && !reader.is_empty() {
            plugin = text(reader.until_nul_or_end());
        }
        let mut attributes = Vec::new();
        if capabilities.contains(Capabilities::CONNECT_ATTRS) && !reader.is_empty() {
            attributes = parse_attributes(reader.lenenc_bytes()?)?;
        }
        let schema = (!schema.is_empty()).then_some(schema);
        Ok(Self { user, answer, schema, collation, plugin, attributes })
    }

    /// Appends the payload, command byte included, to `out`.
    pub fn encode(&self, out: &mut Vec<u8>, capabilities: Capabilities) {
        out.push(COM_CHANGE_USER);
        put_nul_terminated(out, self.user.as_bytes());
        let answer = self.answer.expose();
        let len = u8::try_from(answer.len()).unwrap_or(u8::MAX);
        out.push(len);
        out.extend_from_slice(answer.get(..usize::from(len)).unwrap_or(answer));
        put_nul_terminated(out, self.schema.as_deref().unwrap_or("").as_bytes());
        out.extend_from_slice(&self.collation.unwrap_or(45).to_le_bytes());
        if capabilities.contains(Capabilities::PLUGIN_AUTH) {
            put_nul_terminated(out, self.plugin.as_bytes());
        }
        if capabilities.contains(Capabilities::CONNECT_ATTRS) {
            encode_attributes(out, &self.attributes);
        }
    }
}
