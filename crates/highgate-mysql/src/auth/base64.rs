//! Base 64 without padding, as MariaDB stores ed25519 keys.

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Decodes 43 characters into 32 bytes; `None` where they aren't exactly that.
pub(super) fn decode_key(text: &str) -> Option<[u8; 32]> {
    if text.len() != 43 {
        return None;
    }
    let mut out = [0; 32];
    let mut places = out.iter_mut();
    let (mut bits, mut have) = (0_u32, 0_u32);
    for byte in text.bytes() {
        let value = ALPHABET.iter().position(|letter| *letter == byte)?;
        bits = ((bits << 6) | u32::try_from(value).ok()?) & 0xffff;
        have = have.saturating_add(6);
        if have >= 8 {
            have = have.saturating_sub(8);
            let [low, ..] = (bits >> have).to_le_bytes();
            *places.next()? = low;
        }
    }
    // The two bits left over are zero in what an encoder writes.
    (bits & 0b11 == 0).then_some(out)
}

/// Encodes 32 bytes as 43 characters.
pub(super) fn encode_key(key: &[u8; 32]) -> String {
    let mut out = String::with_capacity(43);
    let (mut bits, mut have) = (0_u32, 0_u32);
    for byte in key {
        bits = ((bits << 8) | u32::from(*byte)) & 0xffff;
        have = have.saturating_add(8);
        while have >= 6 {
            have = have.saturating_sub(6);
            out.push(letter(bits >> have));
        }
    }
    out.push(letter(bits << 2));
    out
}

fn letter(bits: u32) -> char {
    char::from(ALPHABET.get((bits & 63) as usize).copied().unwrap_or(b'A'))
}
