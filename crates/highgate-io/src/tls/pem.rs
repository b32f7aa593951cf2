//! Certificates and keys out of PEM files, or what is wrong with those in words.

use std::{
    fmt,
    fs::File,
    io::{self, Read as _},
    os::unix::fs::FileTypeExt as _,
    path::Path,
};

use rustls::{
    crypto::aws_lc_rs::sign::any_supported_type,
    pki_types::{
        CertificateDer, PrivateKeyDer,
        pem::{Error, PemObject},
    },
};

use super::{TlsError, TlsFile};

/// Why a file is of no use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unusable {
    /// It is there, and what is in it can't be used.
    Content(String),
    /// It can't be read, for the reason that the system gives: it may be another machine's, or another
    /// account's.
    Unreadable(String),
}

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Content(why) | Self::Unreadable(why) => f.write_str(why),
        }
    }
}

fn wrong(what: TlsFile, path: &Path, why: impl Into<String>) -> TlsError {
    let path = path.display().to_string();
    TlsError::File { what, path, cause: Unusable::Content(why.into()) }
}

/// No certificate, key or list of authorities is that long.
const LONGEST: u64 = 4 << 20;

/// What is in a file of TLS, if it ends somewhere: a device is not even opened. Waits for who writes a pipe.
///
/// # Errors
/// Those of reading; [`io::ErrorKind::InvalidInput`] of a device, and [`io::ErrorKind::FileTooLarge`].
pub fn content(path: &Path) -> io::Result<Vec<u8>> {
    let kind = std::fs::metadata(path)?.file_type();
    if kind.is_char_device() || kind.is_block_device() {
        let why = "this is a device; write it to a file";
        return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
    }
    let mut content = Vec::new();
    let read = File::open(path)?.take(LONGEST + 1).read_to_end(&mut content)?;
    if read as u64 > LONGEST {
        let why = format!("it is longer than {} MiB", LONGEST >> 20);
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, why));
    }
    Ok(content)
}

fn content_of(what: TlsFile, path: &Path) -> Result<Vec<u8>, TlsError> {
    content(path).map_err(|error| match error.kind() {
        io::ErrorKind::IsADirectory => wrong(what, path, "this is a folder"),
        io::ErrorKind::FileTooLarge | io::ErrorKind::InvalidInput => {
            wrong(what, path, error.to_string())
        }
        _ => {
            let cause = Unusable::Unreadable(error.to_string());
            TlsError::File { what, path: path.display().to_string(), cause }
        }
    })
}

pub(super) fn certificates(
    what: TlsFile,
    path: &Path,
) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let content = content_of(what, path)?;
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&content).collect();
    match read {
        Ok(list) if list.is_empty() => Err(wrong(what, path, instead(what, &content))),
        Ok(list) => Ok(list),
        Err(error) => Err(wrong(what, path, in_words(&error))),
    }
}

/// A key that TLS may be spoken with.
pub(super) fn key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    let what = TlsFile::Key;
    let content = content_of(what, path)?;
    let has = |text: &str| content.windows(text.len()).any(|part| part == text.as_bytes());
    if has("-----BEGIN ENCRYPTED PRIVATE KEY") || has("Proc-Type: 4,ENCRYPTED") {
        return Err(wrong(what, path, ENCRYPTED));
    }
    let key = PrivateKeyDer::from_pem_slice(&content).map_err(|error| match error {
        Error::NoItemsFound => wrong(what, path, instead(what, &content)),
        error => wrong(what, path, in_words(&error)),
    })?;
    match any_supported_type(&key) {
        Ok(_) => Ok(key),
        Err(_) => Err(wrong(what, path, UNSUITABLE)),
    }
}

const ENCRYPTED: &str = "it is encrypted, and nobody is asked for its passphrase; \
    `openssl pkey -in ENCRYPTED -out PLAIN` writes it in clear";
const UNSUITABLE: &str = "this key can't be used; it may be RSA of 2,048 bits or more, \
    ECDSA (P-256, P-384, P-521) or Ed25519";

/// What is in a file that has nothing of what was looked for.
fn instead(what: TlsFile, content: &[u8]) -> String {
    let has = |text: &str| content.windows(text.len()).any(|part| part == text.as_bytes());
    let expected = match what {
        TlsFile::Authorities | TlsFile::Certificate => "certificate",
        TlsFile::Key => "private key",
    };
    if content.iter().all(u8::is_ascii_whitespace) {
        return "the file is empty".to_owned();
    }
    if !has("-----BEGIN ") {
        // A sequence whose length takes more than a byte.
        let is_der = matches!(content, [0x30, 0x80..=0x84, ..]);
        return match (is_der, what) {
            (true, TlsFile::Key) => "this is DER (or PKCS #12), and not PEM; `openssl pkey -inform der -in DER -out PEM` converts it",
            (true, _) => "this is DER (or PKCS #12), and not PEM; `openssl x509 -inform der -in DER -out PEM` converts it",
            (false, _) => "this is not PEM: no line in it begins with `-----BEGIN`",
        }
        .to_owned();
    }
    let other = match what {
        TlsFile::Key if has("-----BEGIN CERTIFICATE-----") => "a certificate",
        TlsFile::Certificate if has("PRIVATE KEY-----") => "a private key",
        _ => return format!("there is no {expected} in it"),
    };
    format!("there is no {expected} in it, but {other}: are `cert` and `key` swapped?")
}

/// The library shows bytes as numbers, and those of a key must not be shown at all.
fn in_words(error: &Error) -> String {
    match error {
        Error::MissingSectionEnd { end_marker } => {
            let marker = String::from_utf8_lossy(end_marker);
            format!("it is cut off: `-----END {}-----` is missing", marker.trim())
        }
        Error::IllegalSectionStart { .. } => {
            "a line that begins with `-----BEGIN` does not end with `-----`".to_owned()
        }
        Error::Base64Decode(_) => {
            "what is between `-----BEGIN` and `-----END` is not base64".to_owned()
        }
        error => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_never_ends_is_read_no_further_than_a_certificate_may_be_long() {
        let told = content(Path::new("/dev/zero")).unwrap_err();
        assert_eq!(told.kind(), io::ErrorKind::InvalidInput, "{told}");
        let path = std::env::temp_dir().join(format!("highgate-{}.pem", std::process::id()));
        let file = File::create(&path).unwrap();
        let read = |length| {
            file.set_len(length).unwrap();
            content(&path).map(|it| it.len() as u64).map_err(|error| error.to_string())
        };
        let (longest, longer) = (read(LONGEST), read(LONGEST + 1));
        std::fs::remove_file(&path).unwrap();
        assert_eq!(longest, Ok(LONGEST));
        assert_eq!(longer, Err("it is longer than 4 MiB".to_owned()));
    }

    #[test]
    fn a_file_that_holds_something_else_is_told_in_words() {
        use TlsFile::{Authorities, Certificate, Key};
        let pem = |label: &str| format!("-----BEGIN {label}-----\nAAAA\n-----END {label}-----\n");
        for (what, content, expected) in [
            (Certificate, pem("PRIVATE KEY"), "but a private key: are `cert` and `key` swapped?"),
            (Key, pem("CERTIFICATE"), "but a certificate: are `cert` and `key` swapped?"),
            (Authorities, pem("PRIVATE KEY"), "there is no certificate in it"),
            (Key, pem("PUBLIC KEY"), "there is no private key in it"),
            (Key, String::from("0\u{1}"), "no line in it begins with"),
            (Certificate, String::from(" \n"), "the file is empty"),
        ] {
            let told = instead(what, content.as_bytes());
            assert!(told.contains(expected), "{told}");
        }
        assert!(instead(Certificate, &[0x30, 0x82, 1, 2]).contains("x509 -inform der"));
        assert!(instead(Key, &[0x30, 0x82, 1, 2]).contains("pkey -inform der"));
    }

    #[test]
    fn what_is_wrong_with_pem_is_told_without_bytes() {
        let read = |text: &str| {
            let list: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text.as_bytes()).collect();
            in_words(&list.unwrap_err())
        };
        let cut = read("-----BEGIN CERTIFICATE-----\nAAAA\n");
        assert_eq!(cut, "it is cut off: `-----END CERTIFICATE-----` is missing");
        let garbled = read("-----BEGIN CERTIFICATE-----\n,,,,\n-----END CERTIFICATE-----\n");
        assert!(garbled.contains("is not base64"), "{garbled}");
        assert!(read("-----BEGIN CERTI\nhunter2\n").contains("does not end with"));
    }
}
