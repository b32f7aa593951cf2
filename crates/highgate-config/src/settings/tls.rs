//! TLS towards one side, as the table `tls` of a listener, a backend or `[admin]`.

use crate::{Tls, TlsMode};

macro_rules! tls_settings {
    ($draft:ty, $($field:ident).+, $effect:expr, $known:expr, $mode:literal, $peer:literal, $prefix:literal) => {
        &[
            Setting::<$draft> {
                name: concat!($prefix, "tls.mode"),
                kind: Kind::Word(TlsMode::WORDS),
                unit: "",
                default: Is("disabled"),
                takes_effect: $effect,
                summary: concat!("How much TLS is asked for towards ", $peer, "."),
                detail: $mode,
                example: concat!($prefix, "tls = { mode = \"disabled\" }"),
                also_known_as: $known,
                put: |draft, value| {
                    if let Some(mode) = TlsMode::from_word(&value.text()) {
                        draft.$($field).+.mode = mode;
                    }
                },
                get: |draft| Value::of_word(draft.$($field).+.mode.word()),
            },
            Setting::<$draft> {
                name: concat!($prefix, "tls.cert"),
                kind: Kind::Path,
                unit: "",
                default: Nothing,
                takes_effect: $effect,
                summary: "Highgate's own certificate chain, a PEM file.",
                detail: "Read again on SIGHUP and `apply`; connections that are open keep theirs.",
                example: concat!($prefix, "tls = { cert = \"/etc/highgate/cert.pem\", key = \"/etc/highgate/key.pem\" }"),
                also_known_as: &[],
                put: |draft, value| draft.$($field).+.cert = value.path(),
                get: |draft| Value::of_path(draft.$($field).+.cert.as_ref()),
            },
            Setting::<$draft> {
                name: concat!($prefix, "tls.key"),
                kind: Kind::Path,
                unit: "",
                default: Nothing,
                takes_effect: $effect,
                summary: "The key of that certificate, a PEM file.",
                detail: "It is needed wherever `tls.cert` is given.",
                example: concat!($prefix, "tls = { cert = \"/etc/highgate/cert.pem\", key = \"/etc/highgate/key.pem\" }"),
                also_known_as: &[],
                put: |draft, value| draft.$($field).+.key = value.path(),
                get: |draft| Value::of_path(draft.$($field).+.key.as_ref()),
            },
            Setting::<$draft> {
                name: concat!($prefix, "tls.ca"),
                kind: Kind::Path,
                unit: "",
                default: Nothing,
                takes_effect: $effect,
                summary: concat!("The authorities trusted for the certificates of ", $peer, ", a PEM file."),
                detail: "The modes `verify-ca` and `verify-identity` need it.",
                example: concat!($prefix, "tls = { ca = \"/etc/highgate/ca.pem\" }"),
                also_known_as: &[],
                put: |draft, value| draft.$($field).+.ca = value.path(),
                get: |draft| Value::of_path(draft.$($field).+.ca.as_ref()),
            },
        ]
    };
}
pub(super) use tls_settings;

/// What does not fit together, for the side that Highgate answers (`is_accepting`) or calls.
pub(crate) fn problem(tls: &Tls, is_accepting: bool) -> Option<&'static str> {
    let verifies = matches!(tls.mode, TlsMode::VerifyCa | TlsMode::VerifyIdentity);
    if tls.cert.is_some() != tls.key.is_some() {
        return Some("`tls.cert` and `tls.key` need each other");
    }
    if is_accepting && tls.mode != TlsMode::Disabled && tls.cert.is_none() {
        return Some("TLS towards clients needs `tls.cert` and `tls.key`");
    }
    (verifies && tls.ca.is_none()).then_some("verification needs `tls.ca`")
}
