//! mysql_native_password: SHA1(password) XOR SHA1(nonce + SHA1(SHA1(password))).

use sha1::{Digest, Sha1};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::work::{Work, count};

/// Bytes of a hash and of an answer.
pub const LEN: usize = 20;

/// SHA1(password), which opens every server that has the account.
#[must_use]
pub fn stage1(password: &[u8]) -> Zeroizing<[u8; LEN]> {
    count(Work::Sha1);
    Zeroizing::new(Sha1::digest(password).into())
}

/// SHA1(SHA1(password)), the stored form.
#[must_use]
pub fn double_hash(password: &[u8]) -> [u8; LEN] {
    count(Work::Sha1);
    Sha1::digest(*stage1(password)).into()
}

/// The answer to a challenge; empty for an empty password.
#[must_use]
pub fn answer(password: &[u8], nonce: &[u8]) -> Vec<u8> {
    if password.is_empty() {
        return Vec::new();
    }
    answer_stage1(&stage1(password), nonce).to_vec()
}

/// The answer to a challenge by one who knows SHA1(password) only.
#[must_use]
pub fn answer_stage1(stage1: &[u8; LEN], nonce: &[u8]) -> [u8; LEN] {
    count(Work::Sha1);
    xor(stage1, &mask(&Sha1::digest(stage1).into(), nonce))
}

/// Verifies an answer against SHA1(SHA1(password)); gives SHA1(password) where it is right.
#[must_use]
pub fn verify(
    answer: &[u8],
    nonce: &[u8],
    double_hash: &[u8; LEN],
) -> Option<Zeroizing<[u8; LEN]>> {
    let answer: &[u8; LEN] = answer.try_into().ok()?;
    let stage1 = Zeroizing::new(xor(answer, &mask(double_hash, nonce)));
    count(Work::Sha1);
    let again: [u8; LEN] = Sha1::digest(*stage1).into();
    bool::from(again.ct_eq(double_hash)).then_some(stage1)
}

fn mask(double_hash: &[u8; LEN], nonce: &[u8]) -> [u8; LEN] {
    count(Work::Sha1);
    Sha1::new().chain_update(nonce).chain_update(double_hash).finalize().into()
}

fn xor(a: &[u8; LEN], b: &[u8; LEN]) -> [u8; LEN] {
    let mut out = *a;
    for (to, from) in out.iter_mut().zip(b) {
        *to ^= *from;
    }
    out
}
