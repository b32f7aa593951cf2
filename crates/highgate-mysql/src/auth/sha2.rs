//! caching_sha2_password: the fast answer, the full exchange, and the stored `$A$` form.
//!
//! Fast: SHA256(password) XOR SHA256(SHA256(SHA256(password)) + nonce), verified against
//! SHA256(SHA256(password)), which nobody has before one full exchange. Full: the password itself,
//! under TLS, or masked by the nonce and encrypted with the server's RSA key.

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::auth::{
    Secret,
    work::{Work, count},
};

/// Bytes of a hash and of a fast answer.
pub const LEN: usize = 32;
/// Sent by the server: the fast answer was right.
pub const FAST_OK: u8 = 0x03;
/// Sent by the server: the password itself is needed.
pub const FULL_NEEDED: u8 = 0x04;
/// Sent by the client: asks for the RSA key.
pub const ASK_KEY: u8 = 0x02;
/// Bytes of the salt in the stored form.
pub const SALT_LEN: usize = 20;
/// Characters of the hash in the stored form.
pub const HASH_LEN: usize = 43;
/// Bytes of the longest password that MySQL takes for the stored form.
pub const LONGEST_PASSWORD: usize = 256;

/// SHA256(password).
#[must_use]
pub fn stage1(password: &[u8]) -> Zeroizing<[u8; LEN]> {
    count(Work::Sha256);
    Zeroizing::new(Sha256::digest(password).into())
}

/// SHA256(SHA256(password)), against which fast answers are verified.
#[must_use]
pub fn double_hash(password: &[u8]) -> [u8; LEN] {
    count(Work::Sha256);
    Sha256::digest(*stage1(password)).into()
}

/// The fast answer to a challenge; empty for an empty password.
#[must_use]
pub fn answer(password: &[u8], nonce: &[u8]) -> Vec<u8> {
    if password.is_empty() {
        return Vec::new();
    }
    answer_stage1(&stage1(password), nonce).to_vec()
}

/// The fast answer by one who knows SHA256(password) only.
#[must_use]
pub fn answer_stage1(stage1: &[u8; LEN], nonce: &[u8]) -> [u8; LEN] {
    count(Work::Sha256);
    xor(stage1, &mask(&Sha256::digest(stage1).into(), nonce))
}

/// Verifies a fast answer against SHA256(SHA256(password)); gives SHA256(password).
#[must_use]
pub fn verify(
    answer: &[u8],
    nonce: &[u8],
    double_hash: &[u8; LEN],
) -> Option<Zeroizing<[u8; LEN]>> {
    let answer: &[u8; LEN] = answer.try_into().ok()?;
    let stage1 = Zeroizing::new(xor(answer, &mask(double_hash, nonce)));
    count(Work::Sha256);
    let again: [u8; LEN] = Sha256::digest(*stage1).into();
    bool::from(again.ct_eq(double_hash)).then_some(stage1)
}

fn mask(double_hash: &[u8; LEN], nonce: &[u8]) -> [u8; LEN] {
    count(Work::Sha256);
    Sha256::new().chain_update(double_hash).chain_update(nonce).finalize().into()
}

fn xor(a: &[u8; LEN], b: &[u8; LEN]) -> [u8; LEN] {
    let mut out = *a;
    for (to, from) in out.iter_mut().zip(b) {
        *to ^= *from;
    }
    out
}

/// Masks a NUL-terminated password by the nonce before RSA, or takes the mask off after it.
#[must_use]
pub fn xor_nonce(bytes: &[u8], nonce: &[u8]) -> Secret {
    Secret::new(
        bytes.iter().zip(nonce.iter().cycle()).map(|(byte, mask)| byte ^ mask).collect::<Vec<_>>(),
    )
}

/// The hash in the stored form: SHA-crypt with SHA-256. Takes milliseconds: not for a worker.
#[must_use]
pub fn crypt(password: &[u8], salt: &[u8], rounds: u32) -> [u8; HASH_LEN] {
    count(Work::ShaCrypt(rounds));
    let alternate =
        Sha256::new().chain_update(password).chain_update(salt).chain_update(password).finalize();
    let mut first = Sha256::new().chain_update(password).chain_update(salt);
    fill(&mut first, &alternate, password.len());
    let mut bits = password.len();
    while bits > 0 {
        if bits & 1 == 1 {
            first.update(alternate);
        } else {
            first.update(password);
        }
        bits >>= 1;
    }
    let first: [u8; LEN] = first.finalize().into();
    let p = sequence(password, password.len(), password.len());
    let s = sequence(salt, 16_usize.saturating_add(usize::from(first_byte(&first))), salt.len());
    encode(&stretch(first, &p, &s, rounds))
}

fn first_byte(hash: &[u8; LEN]) -> u8 {
    let [first, ..] = hash;
    *first
}

/// Adds the hash, repeated, until `len` bytes are added.
fn fill(to: &mut Sha256, hash: &[u8], len: usize) {
    let mut left = len;
    while left > 0 {
        let take = left.min(hash.len());
        to.update(hash.get(..take).unwrap_or_default());
        left = left.saturating_sub(take);
    }
}

/// `len` bytes of the hash of `times` repetitions of `text`.
fn sequence(text: &[u8], times: usize, len: usize) -> Zeroizing<Vec<u8>> {
    let mut hasher = Sha256::new();
    for _ in 0..times {
        hasher.update(text);
    }
    let hash = hasher.finalize();
    Zeroizing::new(hash.iter().copied().cycle().take(len).collect())
}

fn stretch(first: [u8; LEN], p: &[u8], s: &[u8], rounds: u32) -> [u8; LEN] {
    let mut hash = first;
    for round in 0..rounds {
        let mut hasher = Sha256::new();
        let is_odd = round & 1 == 1;
        hasher.update(if is_odd { p } else { &hash });
        if !round.is_multiple_of(3) {
            hasher.update(s);
        }
        if !round.is_multiple_of(7) {
            hasher.update(p);
        }
        hasher.update(if is_odd { &hash } else { p });
        hash = hasher.finalize().into();
    }
    hash
}

/// SHA-crypt's own base 64, in its own order of bytes.
fn encode(hash: &[u8; LEN]) -> [u8; HASH_LEN] {
    const ORDER: [[u8; 3]; 10] = [
        [0, 10, 20],
        [21, 1, 11],
        [12, 22, 2],
        [3, 13, 23],
        [24, 4, 14],
        [15, 25, 5],
        [6, 16, 26],
        [27, 7, 17],
        [18, 28, 8],
        [9, 19, 29],
    ];
    let byte = |at: u8| u32::from(hash.get(usize::from(at)).copied().unwrap_or(0));
    let mut out = [b'.'; HASH_LEN];
    let mut places = out.iter_mut();
    for [a, b, c] in ORDER {
        put(&mut places, (byte(a) << 16) | (byte(b) << 8) | byte(c), 4);
    }
    put(&mut places, (byte(31) << 8) | byte(30), 3);
    out
}

fn put<'a>(places: &mut impl Iterator<Item = &'a mut u8>, mut bits: u32, count: usize) {
    const ALPHABET: &[u8; 64] = b"./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    for place in places.take(count) {
        *place = ALPHABET.get((bits & 63) as usize).copied().unwrap_or(b'.');
        bits >>= 6;
    }
}
