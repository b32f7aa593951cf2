//! RSA for full caching_sha2_password exchanges without TLS: OAEP with SHA-1, as clients do it.

use aws_lc_rs::{
    encoding::{AsDer, PublicKeyX509Der},
    rsa::{
        KeySize, OAEP_SHA1_MGF1SHA1, OaepPrivateDecryptingKey, OaepPublicEncryptingKey,
        PrivateDecryptingKey, PublicEncryptingKey,
    },
};
use rustls::pki_types::{SubjectPublicKeyInfoDer, pem::PemObject};

/// The key failed to be made or used; the library does not say why.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("RSA failed")]
pub struct RsaFailed;

/// A key pair of this process.
pub struct KeyPair {
    private: OaepPrivateDecryptingKey,
    public_pem: Vec<u8>,
}

impl std::fmt::Debug for KeyPair {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("KeyPair(…)")
    }
}

impl KeyPair {
    /// Makes a pair of 2,048 bits. Takes some tens of milliseconds: not on a worker.
    ///
    /// # Errors
    /// [`RsaFailed`].
    pub fn generate() -> Result<Self, RsaFailed> {
        let key = PrivateDecryptingKey::generate(KeySize::Rsa2048).map_err(|_| RsaFailed)?;
        let der: PublicKeyX509Der<'_> = key.public_key().as_der().map_err(|_| RsaFailed)?;
        let public_pem = pem(der.as_ref());
        let private = OaepPrivateDecryptingKey::new(key).map_err(|_| RsaFailed)?;
        Ok(Self { private, public_pem })
    }

    /// The public half in PEM, as it is sent to clients.
    #[must_use]
    pub fn public_pem(&self) -> &[u8] {
        &self.public_pem
    }

    /// What a client encrypted. About a millisecond: not on a worker.
    ///
    /// # Errors
    /// [`RsaFailed`] for anything that this key did not encrypt.
    pub fn decrypt(&self, bytes: &[u8]) -> Result<Vec<u8>, RsaFailed> {
        let mut plain = vec![0; self.private.min_output_size()];
        let length = self
            .private
            .decrypt(&OAEP_SHA1_MGF1SHA1, bytes, &mut plain, None)
            .map_err(|_| RsaFailed)?
            .len();
        plain.truncate(length);
        Ok(plain)
    }
}

/// Encrypts for the server whose public key `public_pem` is.
///
/// # Errors
/// [`RsaFailed`] for what is no RSA key.
pub fn encrypt(public_pem: &[u8], bytes: &[u8]) -> Result<Vec<u8>, RsaFailed> {
    let der = SubjectPublicKeyInfoDer::from_pem_slice(public_pem).map_err(|_| RsaFailed)?;
    let key = PublicEncryptingKey::from_der(der.as_ref()).map_err(|_| RsaFailed)?;
    let key = OaepPublicEncryptingKey::new(key).map_err(|_| RsaFailed)?;
    let mut sealed = vec![0; key.ciphertext_size()];
    let length =
        key.encrypt(&OAEP_SHA1_MGF1SHA1, bytes, &mut sealed, None).map_err(|_| RsaFailed)?.len();
    sealed.truncate(length);
    Ok(sealed)
}

fn pem(der: &[u8]) -> Vec<u8> {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let digit = |bits: u32| ALPHABET.get((bits & 63) as usize).copied().unwrap_or(b'=');
    let mut text = b"-----BEGIN PUBLIC KEY-----\n".to_vec();
    // 48 bytes make a line of 64 digits.
    for line in der.chunks(48) {
        for group in line.chunks(3) {
            let byte = |at: usize| u32::from(group.get(at).copied().unwrap_or(0));
            let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
            text.extend([digit(bits >> 18), digit(bits >> 12)]);
            text.push(if group.len() > 1 { digit(bits >> 6) } else { b'=' });
            text.push(if group.len() > 2 { digit(bits) } else { b'=' });
        }
        text.push(b'\n');
    }
    text.extend(b"-----END PUBLIC KEY-----\n");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_encrypted_for_us_is_decrypted() {
        let pair = KeyPair::generate().unwrap();
        let sealed = encrypt(pair.public_pem(), b"secret\0").unwrap();
        assert_eq!(sealed.len(), 256);
        assert_eq!(pair.decrypt(&sealed).unwrap(), b"secret\0");
        assert_eq!(pair.decrypt(&sealed[1..]), Err(RsaFailed));
        assert_eq!(encrypt(b"no key", b"x"), Err(RsaFailed));
    }
}
