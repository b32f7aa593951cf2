//! MariaDB's client_ed25519: the challenge is signed with a key expanded from the password.
//!
//! It differs from RFC 8032 in one point: the expanded key is SHA512(password), not the hash of a
//! seed of 32 bytes.

use curve25519_dalek::edwards::{CompressedEdwardsY, EdwardsPoint};
use curve25519_dalek::scalar::{Scalar, clamp_integer};
use sha2::{Digest, Sha512};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::work::{Work, count};

/// Bytes of a challenge.
pub const NONCE_LEN: usize = 32;
/// Bytes of a public key, the stored form.
pub const KEY_LEN: usize = 32;
/// Bytes of an answer.
pub const ANSWER_LEN: usize = 64;

/// The public key of a password.
#[must_use]
pub fn public_key(password: &[u8]) -> [u8; KEY_LEN] {
    count(Work::Curve);
    let (secret, _) = expand(password);
    EdwardsPoint::mul_base(&secret).compress().to_bytes()
}

/// Signs a challenge.
#[must_use]
pub fn answer(password: &[u8], nonce: &[u8]) -> [u8; ANSWER_LEN] {
    let (secret, prefix) = expand(password);
    let key = EdwardsPoint::mul_base(&secret).compress().to_bytes();
    let r = scalar(&[prefix.as_slice(), nonce]);
    let point = EdwardsPoint::mul_base(&r).compress().to_bytes();
    let k = scalar(&[&point, &key, nonce]);
    let s = (r + k * *secret).to_bytes();
    let mut out = [0; ANSWER_LEN];
    for (to, from) in out.iter_mut().zip(point.iter().chain(&s)) {
        *to = *from;
    }
    out
}

/// Verifies an answer against the stored public key.
#[must_use]
pub fn verify(answer: &[u8], nonce: &[u8], key: &[u8; KEY_LEN]) -> bool {
    let Some((point, s)) = answer.split_first_chunk::<32>() else {
        return false;
    };
    let Ok(s) = <[u8; 32]>::try_from(s) else {
        return false;
    };
    let Some(s) = Option::<Scalar>::from(Scalar::from_canonical_bytes(s)) else {
        return false;
    };
    let Some(public) = CompressedEdwardsY(*key).decompress() else {
        return false;
    };
    count(Work::Curve);
    let k = scalar(&[point, key, nonce]);
    let expected = EdwardsPoint::vartime_double_scalar_mul_basepoint(&k, &-public, &s).compress();
    expected.as_bytes().ct_eq(point).into()
}

/// The secret scalar and the prefix of the nonce.
fn expand(password: &[u8]) -> (Zeroizing<Scalar>, Zeroizing<[u8; 32]>) {
    let hash: Zeroizing<[u8; 64]> = Zeroizing::new(Sha512::digest(password).into());
    let mut secret = Zeroizing::new([0; 32]);
    let mut prefix = Zeroizing::new([0; 32]);
    for (to, from) in secret.iter_mut().chain(prefix.iter_mut()).zip(hash.iter()) {
        *to = *from;
    }
    (Zeroizing::new(Scalar::from_bytes_mod_order(clamp_integer(*secret))), prefix)
}

fn scalar(parts: &[&[u8]]) -> Scalar {
    let mut hasher = Sha512::new();
    for part in parts {
        hasher.update(part);
    }
    Scalar::from_bytes_mod_order_wide(&hasher.finalize().into())
}
