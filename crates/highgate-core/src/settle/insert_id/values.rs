//! Values of a prepared execution, as far as it must be known which integer a server may read them as.

use highgate_mysql::packet::{Malformed, Reader};

/// Whether one of the values may be read as the integer `id`.
///
/// `bound` is the packet from its NULL bitmap on, with types; what can't be read here may be anything.
pub(super) fn may_hold(bound: &[u8], count: usize, id: u64) -> bool {
    search(bound, count, id).unwrap_or(true)
}

fn search(bound: &[u8], count: usize, id: u64) -> Result<bool, Malformed> {
    let mut reader = Reader::new(bound);
    let nulls = reader.bytes(count.div_ceil(8))?;
    if reader.u8()? != 1 {
        return Ok(true);
    }
    let types = reader.bytes(count * 2)?;
    let mut values = reader;
    for (at, kind) in types.chunks_exact(2).enumerate() {
        let null = nulls.get(at / 8).is_some_and(|byte| byte & (1 << (at % 8)) != 0);
        let (&[kind, flags], false) = (kind.first_chunk::<2>().unwrap_or(&[6, 0]), null) else {
            continue;
        };
        if value(&mut values, kind, flags & 0x80 != 0, id)? {
            return Ok(true);
        }
    }
    // Bytes behind the last value: the types were not what they seemed.
    Ok(!values.is_empty())
}

/// Reads one value, and says whether it may be `id`.
fn value(values: &mut Reader<'_>, kind: u8, unsigned: bool, id: u64) -> Result<bool, Malformed> {
    Ok(match kind {
        0x06 => false,
        0x01 => integer(i64::from(i8::from_le_bytes(values.array()?)), 8, unsigned) == Some(id),
        0x02 | 0x0d => {
            integer(i64::from(i16::from_le_bytes(values.array()?)), 16, unsigned) == Some(id)
        }
        0x03 | 0x09 => {
            integer(i64::from(i32::from_le_bytes(values.array()?)), 32, unsigned) == Some(id)
        }
        0x08 => integer(i64::from_le_bytes(values.array()?), 64, unsigned) == Some(id),
        0x04 => rounds_to(f64::from(f32::from_le_bytes(values.array()?)), id),
        0x05 => rounds_to(f64::from_le_bytes(values.array()?), id),
        0x07 | 0x0a | 0x0b | 0x0c => {
            let len = values.u8()?;
            values.skip(usize::from(len))?;
            // A date or time as a number has at least five digits, unless it is zero.
            len == 0 || id >= 10_000
        }
        0x0f | 0x10 | 0xf6 | 0xf9..=0xfe => super::reads_as(values.lenenc_bytes()?, id),
        _ => true,
    })
}

/// The value as an id; `None` where it is negative.
fn integer(value: i64, bits: u32, unsigned: bool) -> Option<u64> {
    if unsigned && bits < 64 {
        return u64::try_from(value.rem_euclid(1 << bits)).ok();
    }
    if unsigned {
        return Some(u64::from_le_bytes(value.to_le_bytes()));
    }
    u64::try_from(value).ok()
}

#[expect(clippy::cast_precision_loss, reason = "within one of each other is all that is asked")]
fn rounds_to(value: f64, id: u64) -> bool {
    let id = id as f64;
    // Beyond 2^53 neighbouring integers are one float.
    !value.is_finite() || (value - id).abs() <= 1.0_f64.max(id * 1e-15)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bound(nulls: u8, types: &[u8], values: &[u8]) -> Vec<u8> {
        [&[nulls, 1], types, values].concat()
    }

    #[test]
    fn an_integer_is_only_itself() {
        let packet = bound(0, &[8, 0], &7_i64.to_le_bytes());
        assert!(may_hold(&packet, 1, 7));
        assert!(!may_hold(&packet, 1, 8));
        let packet = bound(0, &[1, 0x80], &[200]);
        assert!(may_hold(&packet, 1, 200));
        let packet = bound(0, &[1, 0], &[200]);
        assert!(!may_hold(&packet, 1, 200), "it is negative");
    }

    #[test]
    fn a_null_is_no_id_and_takes_no_place() {
        let packet = bound(1, &[8, 0, 0xfd, 0], b"\x0212");
        assert!(may_hold(&packet, 2, 12));
        assert!(!may_hold(&packet, 2, 1));
    }

    #[test]
    fn texts_and_floats_are_read_as_a_server_would() {
        let packet = bound(0, &[0xfd, 0], b"\x03 7x");
        assert!(may_hold(&packet, 1, 7));
        let packet = bound(0, &[5, 0], &6.6_f64.to_le_bytes());
        assert!(may_hold(&packet, 1, 7));
        assert!(!may_hold(&packet, 1, 9));
    }

    #[test]
    fn what_cannot_be_read_may_be_anything() {
        assert!(may_hold(&[], 1, 7));
        assert!(may_hold(&bound(0, &[8, 0], &[1, 2]), 1, 7));
        assert!(may_hold(&bound(0, &[99, 0], &[]), 1, 7));
        assert!(may_hold(&bound(0, &[1, 0], &[1, 2]), 1, 7));
        assert!(may_hold(&[0, 0, 5], 1, 7), "types of another execution");
    }
}
