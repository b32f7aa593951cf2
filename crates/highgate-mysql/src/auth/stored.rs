//! The forms in which a password is stored, and what each can verify.

use subtle::ConstantTimeEq;

use crate::auth::{
    CACHING_SHA2, CLEAR, ED25519, NATIVE, Proof, Secret, base64, ed25519, native, sha2,
};

/// A stored password.
#[derive(Clone, PartialEq, Eq)]
pub enum StoredPassword {
    /// The password itself.
    Clear(Secret),
    /// The public key of client_ed25519.
    Ed25519([u8; ed25519::KEY_LEN]),
    /// SHA1(SHA1(password)) of mysql_native_password.
    Native([u8; native::LEN]),
    /// The `$A$` form of caching_sha2_password.
    Sha2 {
        /// Rounds of hashing.
        rounds: u32,
        /// The salt.
        salt: [u8; sha2::SALT_LEN],
        /// The hash, encoded.
        hash: [u8; sha2::HASH_LEN],
    },
}

/// A text that looks like a stored form and isn't one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ParsePasswordError {
    /// `ed25519:` with something else behind it.
    #[error("`ed25519:` is followed by 43 characters of base 64")]
    Ed25519,
    /// `*` with as many hexadecimal digits as nobody has in a password, and not 40 of them.
    #[error("a mysql_native_password form is `*` and 40 hexadecimal digits")]
    Native,
    /// `$A$` with something else behind it.
    #[error(
        "a caching_sha2_password form is `$A$`, three hex digits, `$`, 20 bytes of salt, 43 of hash"
    )]
    Sha2,
}

impl StoredPassword {
    /// Parses `*` and 40 hex digits, `$A$…` (also as `0x` and hex, as SHOW CREATE USER can print
    /// it), `ed25519:` and a key or a bare key of 43 characters; all else is a clear password.
    ///
    /// # Errors
    /// [`ParsePasswordError`] where a prefix promises a form that does not follow.
    pub fn parse(text: &str) -> Result<Self, ParsePasswordError> {
        if let Some(hash) = text.strip_prefix('*').and_then(hex::<{ native::LEN }>) {
            return Ok(Self::Native(hash));
        }
        if is_broken_native(text) {
            return Err(ParsePasswordError::Native);
        }
        if let Some(key) = text.strip_prefix("ed25519:") {
            return base64::decode_key(key).map(Self::Ed25519).ok_or(ParsePasswordError::Ed25519);
        }
        if text.starts_with("$A$") {
            return Self::parse_sha2(text.as_bytes());
        }
        if let Some(bytes) = text.strip_prefix("0x244124").and_then(hex::<67>) {
            let mut whole = b"$A$".to_vec();
            whole.extend_from_slice(&bytes);
            return Self::parse_sha2(&whole);
        }
        if let Some(key) = base64::decode_key(text) {
            return Ok(Self::Ed25519(key));
        }
        Ok(Self::clear(text))
    }

    /// Parses the `$A$` form, whose salt need not be text.
    ///
    /// # Errors
    /// [`ParsePasswordError::Sha2`] where it isn't that.
    pub fn parse_sha2(bytes: &[u8]) -> Result<Self, ParsePasswordError> {
        Self::sha2_parts(bytes).ok_or(ParsePasswordError::Sha2)
    }

    fn sha2_parts(bytes: &[u8]) -> Option<Self> {
        let rest = bytes.strip_prefix(b"$A$")?;
        let (digits, rest) = rest.split_first_chunk::<3>()?;
        // Quirk: in hexadecimal; MySQL 9 writes `00A` for its default of 10,000 rounds.
        let is_hex = digits.iter().all(u8::is_ascii_hexdigit);
        let digits = std::str::from_utf8(digits).ok().filter(|_| is_hex)?;
        let thousands = u32::from_str_radix(digits, 16).ok()?;
        let rest = rest.strip_prefix(b"$")?;
        let (salt, rest) = rest.split_first_chunk::<{ sha2::SALT_LEN }>()?;
        let hash = rest.try_into().ok()?;
        // The servers' own range, whose end three digits are; checks run beside the workers.
        let is_sane = thousands >= 5;
        is_sane.then_some(Self::Sha2 { rounds: thousands.saturating_mul(1000), salt: *salt, hash })
    }

    /// A clear password.
    #[must_use]
    pub fn clear(password: &str) -> Self {
        Self::Clear(Secret::new(password))
    }

    /// The plugin whose answers this form verifies best.
    #[must_use]
    pub const fn plugin(&self) -> Option<&'static str> {
        match self {
            Self::Clear(_) => None,
            Self::Ed25519(_) => Some(ED25519),
            Self::Native(_) => Some(NATIVE),
            Self::Sha2 { .. } => Some(CACHING_SHA2),
        }
    }

    /// Whether this form can verify answers of `plugin`; clear text verifies with every form.
    #[must_use]
    pub fn fits(&self, plugin: &str) -> bool {
        match self {
            Self::Clear(_) => matches!(plugin, NATIVE | CACHING_SHA2 | ED25519 | CLEAR),
            _ => plugin == CLEAR || self.plugin() == Some(plugin),
        }
    }

    /// Whether this is the empty password.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        matches!(self, Self::Clear(secret) if secret.expose().is_empty())
    }

    /// Verifies an answer to a challenge without asking for the password itself; `None` where it
    /// is wrong, or this form can't tell.
    #[must_use]
    pub fn verify_answer(&self, plugin: &str, answer: &[u8], nonce: &[u8]) -> Option<Proof> {
        match (self, plugin) {
            (Self::Clear(password), _) => verify_by_clear(password, plugin, answer, nonce)
                .then(|| Proof::Clear(password.clone())),
            (Self::Native(hash), NATIVE) => native::verify(answer, nonce, hash)
                .map(|stage1| Proof::Sha1(Secret::new(stage1.to_vec()))),
            (Self::Ed25519(key), ED25519) => {
                ed25519::verify(answer, nonce, key).then_some(Proof::None)
            }
            _ => None,
        }
    }

    /// Verifies a password. Takes milliseconds for the `$A$` form.
    #[must_use]
    pub fn verify_password(&self, password: &[u8]) -> bool {
        match self {
            Self::Clear(stored) => stored.expose().ct_eq(password).into(),
            Self::Ed25519(key) => ed25519::public_key(password).ct_eq(key).into(),
            Self::Native(hash) => native::double_hash(password).ct_eq(hash).into(),
            Self::Sha2 { rounds, salt, hash } => {
                // The work grows with the square of the length, and anybody may ask for it: what no
                // server takes is as wrong, and as much work, as the longest that one does.
                let is_possible = password.len() <= sha2::LONGEST_PASSWORD;
                let password = password.get(..sha2::LONGEST_PASSWORD).unwrap_or(password);
                let is_right: bool = sha2::crypt(password, salt, *rounds).ct_eq(hash).into();
                is_right && is_possible
            }
        }
    }

    /// The stored form as text, for forms that hold no clear password.
    #[must_use]
    pub fn to_hash_text(&self) -> Option<String> {
        match self {
            Self::Clear(_) | Self::Sha2 { .. } => None,
            Self::Ed25519(key) => Some(format!("ed25519:{}", base64::encode_key(key))),
            Self::Native(hash) => {
                Some(hash.iter().fold(String::from("*"), |text, byte| format!("{text}{byte:02X}")))
            }
        }
    }
}

/// A stored form that lost or gained a digit on its way: as a password in clear nobody could log in by
/// the one that it stands for.
fn is_broken_native(text: &str) -> bool {
    /// More than anybody types, fewer than a form has.
    const MANY: usize = 32;
    text.strip_prefix('*').is_some_and(|digits| {
        digits.len() >= MANY && digits.bytes().all(|byte| byte.is_ascii_hexdigit())
    })
}

fn verify_by_clear(password: &Secret, plugin: &str, answer: &[u8], nonce: &[u8]) -> bool {
    let password = password.expose();
    match plugin {
        NATIVE => native::answer(password, nonce).ct_eq(answer).into(),
        CACHING_SHA2 => sha2::answer(password, nonce).ct_eq(answer).into(),
        ED25519 => ed25519::verify(answer, nonce, &ed25519::public_key(password)),
        _ => false,
    }
}

fn hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    if text.len() != N.checked_mul(2)? {
        return None;
    }
    let mut out = [0; N];
    for (place, pair) in out.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        let pair = std::str::from_utf8(pair).ok()?;
        if !pair.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return None;
        }
        *place = u8::from_str_radix(pair, 16).ok()?;
    }
    Some(out)
}

impl std::fmt::Debug for StoredPassword {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Clear(_) => "StoredPassword::Clear(..)",
            Self::Ed25519(_) => "StoredPassword::Ed25519(..)",
            Self::Native(_) => "StoredPassword::Native(..)",
            Self::Sha2 { .. } => "StoredPassword::Sha2(..)",
        })
    }
}
