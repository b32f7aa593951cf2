//! What is read off a certificate: when it expires, and the names in it.
//!
//! Reads just so much of the DER as leads there (RFC 5280 §4.1), trusts nothing of it, and never
//! judges a certificate: that is the TLS library's.

/// The `notAfter` of a certificate in DER, in seconds of Unix time; `None` where it can't be read.
#[must_use]
pub fn expires(der: &[u8]) -> Option<u64> {
    let (_, certificate, _) = element(der)?;
    let (_, mut fields, _) = element(certificate)?;
    // The version has a tag of its own, and may be left out.
    if fields.first() == Some(&VERSION) {
        fields = element(fields)?.2;
    }
    // Serial number, algorithm, issuer.
    for _ in 0..3 {
        fields = element(fields)?.2;
    }
    let (_, validity, _) = element(fields)?;
    let (_, _, not_after) = element(validity)?;
    let (tag, text, _) = element(not_after)?;
    time(tag, text)
}

/// The public key of a certificate of version 1 (its SubjectPublicKeyInfo in DER), which the TLS library
/// does not read; `None` for the others.
pub(crate) fn key_of_version_1(der: &[u8]) -> Option<&[u8]> {
    let (_, certificate, _) = element(der)?;
    let (_, mut fields, _) = element(certificate)?;
    if fields.first() == Some(&VERSION) {
        return None;
    }
    // Serial number, algorithm, issuer, validity, subject.
    for _ in 0..5 {
        fields = element(fields)?.2;
    }
    let (_, _, behind) = element(fields)?;
    fields.get(..fields.len() - behind.len())
}

/// Algorithm and key of a SubjectPublicKeyInfo.
pub(crate) fn algorithm_and_key(info: &[u8]) -> Option<(&[u8], &[u8])> {
    let (_, info, _) = element(info)?;
    let (_, algorithm, key) = element(info)?;
    let (_, key, _) = element(key)?;
    // Bits come in whole bytes.
    let (0, key) = key.split_first()? else { return None };
    Some((algorithm, key))
}

/// Facts of one certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateFacts {
    /// Who signed it, as `/C=…/CN=…`.
    pub issuer: String,
    /// Whose it is, as `/C=…/CN=…`.
    pub subject: String,
    /// Until when it holds, in seconds of Unix time.
    pub not_after: u64,
}

/// Reads a certificate (X.509, DER).
#[must_use]
pub fn facts(der: &[u8]) -> Option<CertificateFacts> {
    let (_, certificate, _) = element(der)?;
    let (_, mut rest, _) = element(certificate)?;
    let mut next = || {
        let (tag, body, behind) = element(rest)?;
        rest = behind;
        Some((tag, body))
    };
    let (tag, _) = next()?;
    if tag == VERSION {
        next()?;
    }
    next()?;
    let (_, issuer) = next()?;
    let (_, validity) = next()?;
    let (_, subject) = next()?;
    let (_, _, not_after) = element(validity)?;
    let (tag, not_after, _) = element(not_after)?;
    Some(CertificateFacts {
        issuer: one_line(issuer)?,
        subject: one_line(subject)?,
        not_after: time(tag, not_after)?,
    })
}

const VERSION: u8 = 0xa0;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const BMP_STRING: u8 = 0x1e;

/// Tag and content of the first element, and what follows it.
fn element(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&[tag, first], rest) = der.split_first_chunk::<2>()?;
    let (length, rest) = if first < 0x80 {
        (usize::from(first), rest)
    } else {
        let count = usize::from(first & 0x7f);
        let digits = rest.get(..count).filter(|digits| (1..=4).contains(&digits.len()))?;
        let length = digits.iter().fold(0_usize, |sum, digit| (sum << 8) | usize::from(*digit));
        (length, rest.get(count..)?)
    };
    Some((tag, rest.get(..length)?, rest.get(length..)?))
}

/// `YYMMDDhhmmssZ` or `YYYYMMDDhhmmssZ`.
fn time(tag: u8, text: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(text).ok()?.strip_suffix('Z')?;
    let (year, rest) = match tag {
        UTC_TIME => {
            let (year, rest) = text.split_at_checked(2)?;
            let year: u64 = year.parse().ok()?;
            (if year < 50 { 2000 + year } else { 1900 + year }, rest)
        }
        GENERALIZED_TIME => {
            let (year, rest) = text.split_at_checked(4)?;
            (year.parse().ok()?, rest)
        }
        _ => return None,
    };
    let pair = |at: usize| rest.get(at..at + 2)?.parse::<u64>().ok();
    let (month, day) = (pair(0)?, pair(2)?);
    let seconds = pair(4)? * 3600 + pair(6)? * 60 + pair(8)?;
    if rest.len() != 10 || !(1..=12).contains(&month) || !(1..=31).contains(&day) || year < 1970 {
        return None;
    }
    Some(days(year, month, day) * 86_400 + seconds)
}

/// Days from 1970-01-01 to that day of the Gregorian calendar.
const fn days(year: u64, month: u64, day: u64) -> u64 {
    // A year that begins in March has its leap day at the end.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let leaps = year / 4 - year / 100 + year / 400;
    let before = (153 * month + 2) / 5;
    year * 365 + leaps + before + day - 1 - 719_468
}

/// A name as servers write it in REQUIRE ISSUER and REQUIRE SUBJECT.
fn one_line(mut name: &[u8]) -> Option<String> {
    let mut line = String::new();
    while !name.is_empty() {
        let (_, mut set, behind) = element(name)?;
        name = behind;
        while !set.is_empty() {
            let (_, pair, behind) = element(set)?;
            set = behind;
            let (_, oid, value) = element(pair)?;
            let (tag, value, _) = element(value)?;
            line.push('/');
            line.push_str(&attribute(oid));
            line.push('=');
            line.push_str(&text(tag, value));
        }
    }
    Some(line)
}

fn attribute(oid: &[u8]) -> String {
    let short = match oid {
        [0x55, 0x04, 0x03] => "CN",
        [0x55, 0x04, 0x04] => "SN",
        [0x55, 0x04, 0x05] => "serialNumber",
        [0x55, 0x04, 0x06] => "C",
        [0x55, 0x04, 0x07] => "L",
        [0x55, 0x04, 0x08] => "ST",
        [0x55, 0x04, 0x09] => "street",
        [0x55, 0x04, 0x0a] => "O",
        [0x55, 0x04, 0x0b] => "OU",
        [0x55, 0x04, 0x0c] => "title",
        [0x55, 0x04, 0x2a] => "GN",
        [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x01] => "emailAddress",
        [0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 0x01, 0x01] => "UID",
        [0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 0x01, 0x19] => "DC",
        _ => return dotted(oid),
    };
    short.to_owned()
}

/// An attribute without a short name, by its number.
fn dotted(oid: &[u8]) -> String {
    let mut parts: Vec<u64> = Vec::new();
    let mut number = 0_u64;
    for byte in oid {
        number = number << 7 | u64::from(byte & 0x7f);
        if byte & 0x80 != 0 {
            continue;
        }
        if parts.is_empty() {
            let top = (number / 40).min(2);
            parts.extend([top, number - top * 40]);
        } else {
            parts.push(number);
        }
        number = 0;
    }
    parts.iter().map(u64::to_string).collect::<Vec<_>>().join(".")
}

/// Bytes that can't be printed are written as `\x0A`.
fn text(tag: u8, value: &[u8]) -> String {
    let mut out = String::new();
    let wide = tag == BMP_STRING;
    for (at, byte) in value.iter().enumerate() {
        if wide && at % 2 == 0 && *byte == 0 {
            continue;
        }
        match byte {
            b' '..=b'~' => out.push(char::from(*byte)),
            other => out.push_str(&format!("\\x{other:02X}")),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_counted_through_leap_years() {
        assert_eq!(days(1970, 1, 1), 0);
        assert_eq!(days(2000, 2, 29), 11_016);
        assert_eq!(days(2000, 3, 1), 11_017);
        assert_eq!(days(2100, 3, 1), 47_541);
    }

    #[test]
    fn both_forms_of_time_are_read_and_nothing_else() {
        assert_eq!(time(UTC_TIME, b"700101000010Z"), Some(10));
        assert_eq!(time(GENERALIZED_TIME, b"20380119031408Z"), Some(1 << 31));
        assert_eq!(time(UTC_TIME, b"491231235959Z"), time(GENERALIZED_TIME, b"20491231235959Z"));
        for wrong in ["", "Z", "701301000000Z", "7001010000Z", "70010100000\u{e9}Z", "700101000010"]
        {
            assert_eq!(time(UTC_TIME, wrong.as_bytes()), None, "{wrong}");
        }
    }

    #[test]
    fn a_certificate_cut_anywhere_has_no_expiry_or_the_right_one() {
        // What stands before the validity, and it, of a certificate of version 3.
        let name = [0x30, 0x00];
        let mut fields = vec![VERSION, 3, 2, 1, 2, 2, 1, 9, 0x30, 0];
        fields.extend(name);
        let dates = [&[UTC_TIME, 13][..], b"260101000000Z", &[UTC_TIME, 13], b"270101000000Z"];
        let validity = dates.concat();
        fields.extend([0x30, u8::try_from(validity.len()).unwrap()]);
        fields.extend(validity);
        let wrap = |body: &[u8]| {
            let length = u8::try_from(body.len()).unwrap();
            [&[0x30, 0x81, length][..], body].concat()
        };
        let whole = wrap(&wrap(&fields));
        let right = Some(days(2027, 1, 1) * 86_400);
        assert_eq!(expires(&whole), right);
        for end in 0..whole.len() {
            assert_eq!(expires(&whole[..end]), None);
        }
        for at in 0..whole.len() {
            for bit in 0..8 {
                let mut bent = whole.clone();
                bent[at] ^= 1 << bit;
                let _ = expires(&bent);
            }
        }
    }

    #[test]
    fn a_name_is_written_as_servers_compare_it() {
        let name = [
            &[0x31, 0x0b, 0x30, 0x09, 0x06, 0x03, 0x55, 0x04, 0x06, 0x13, 0x02][..],
            b"DE",
            &[0x31, 0x0c, 0x30, 0x0a, 0x06, 0x03, 0x55, 0x04, 0x03, 0x0c, 0x03],
            b"a\nb",
        ]
        .concat();
        assert_eq!(one_line(&name).as_deref(), Some("/C=DE/CN=a\\x0Ab"));
        assert_eq!(dotted(&[0x2b, 0x06, 0x01, 0x04, 0x01, 0x82, 0x37]), "1.3.6.1.4.1.311");
    }

    #[test]
    fn what_is_no_certificate_has_no_facts() {
        for bytes in
            [&b""[..], b"\x30", b"\x30\x84\xff\xff\xff\xff", b"\x30\x02\x30\x00", &[0x30; 64]]
        {
            assert_eq!(facts(bytes), None);
        }
    }
}
