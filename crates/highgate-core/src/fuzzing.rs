//! The bodies of the fuzz targets, and a short run of each on every `cargo test`.
//!
//! A target takes any bytes and must not panic.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use highgate_mysql::capability::ServerFlavor;

use crate::accounts::{
    AccountList, CertificateNames, HostPattern, Origin, Surroundings, from_global_priv,
    from_user_table,
};

/// Columns of `mysql.user` that are read.
const COLUMNS: [&str; 15] = [
    "User",
    "Host",
    "plugin",
    "authentication_string",
    "Password",
    "User_attributes",
    "is_role",
    "account_locked",
    "password_expired",
    "changed_at",
    "password_lifetime",
    "ssl_type",
    "ssl_cipher",
    "x509_issuer",
    "x509_subject",
];

/// Rows of grant tables, in both forms: texts that a NUL ends. What they make is a list that is asked
/// for every user of it, and for others.
pub fn accounts(data: &[u8]) {
    let texts: Vec<String> = data
        .split(|byte| *byte == 0)
        .map(|text| String::from_utf8_lossy(text).into_owned())
        .collect();
    let text = |at: usize| texts.get(at).map(String::as_str);
    let surroundings = Surroundings { password_lifetime: data.len() as u64 };
    let (user, host) = (text(0).unwrap_or_default(), text(1).unwrap_or_default());
    let from_document = text(2)
        .and_then(|document| from_global_priv(user, host, document, surroundings).ok().flatten());
    let column = |name: &str| {
        let at = COLUMNS.iter().position(|column| *column == name)?;
        text(at)
    };
    let from_row = from_user_table(column, surroundings);
    let found: Vec<_> = from_document.into_iter().chain(from_row).collect();
    let known = found.len();
    for (resolves_names, flavor) in
        [(false, ServerFlavor::MariaDb), (true, ServerFlavor::MariaDb), (true, ServerFlavor::MySql)]
    {
        let list = AccountList::new(found.clone(), resolves_names, flavor);
        assert!(list.len() <= known);
        for account in &found {
            assert!(list.knows(&account.user) || list.is_empty());
        }
        for from in origins() {
            for user in [user, "", "somebody"] {
                if let Some(account) = list.find(user, from) {
                    assert!(account.host.matches(from, resolves_names));
                    assert!(account.user == user || account.user.is_empty());
                    let _ =
                        (account.is_expired(u64::MAX), account.name(), account.wants_password());
                    let _ = account.tls.is_met_by(Some(&CertificateNames::default()));
                }
            }
            let _ = HostPattern::new(host).matches(from, resolves_names);
        }
        assert!(list.unusable().count() <= known);
        let _ = list.decoys().account("nobody", &[9; 32], &[7; 32]);
    }
}

fn origins() -> [Origin; 4] {
    [
        Origin::Local,
        Origin::Address(IpAddr::V4(Ipv4Addr::new(10, 0, 0, 15))),
        Origin::Address(IpAddr::V6(Ipv6Addr::LOCALHOST)),
        Origin::Address(IpAddr::V4(Ipv4Addr::LOCALHOST)),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEEDS: [&[u8]; 4] = [
        b"app\x0010.0.0.%\0{\"plugin\":\"mysql_native_password\",\"authentication_string\":\
          \"*14E65567ABDB5135D0CFD9A70B3032C179A49EE7\",\"password_lifetime\":-1,\"ssl_type\":3}",
        b"\0%\0{\"auth_or\":[{\"plugin\":\"ed25519\"},{}],\"account_locked\":true,\"is_role\":false}",
        b"app\x0010.0.0.0/255.255.255.0\0caching_sha2_password\0$A$005$xxxxxxxxxxxxxxxxxxxx\0\0\
          {\"additional_password\":\"x\"}\0N\0N\0Y\x001700000000.5\x0030\0SPECIFIED\0\0/CN=a\0/CN=b",
        b"app\0::1\0\0\0*1\0\0y\0n\0\0nan\0-5\0X509",
    ];

    #[test]
    fn rows_of_any_bytes_make_a_list_that_can_be_asked() {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut next = |end: usize| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            usize::try_from(state % end.max(1) as u64).unwrap()
        };
        for seed in SEEDS {
            for end in 0..=seed.len() {
                accounts(&seed[..end]);
            }
        }
        for _ in 0..5_000 {
            let mut bytes = SEEDS[next(SEEDS.len())].to_vec();
            for _ in 0..next(6) {
                let at = next(bytes.len());
                match next(4) {
                    0 => bytes.truncate(at),
                    1 => bytes.insert(at, b"\0\"{}[]:,%_./*$"[next(14)]),
                    2 if !bytes.is_empty() => bytes[at] = u8::try_from(next(256)).unwrap(),
                    _ => bytes.extend_from_slice(b"\0%"),
                }
            }
            accounts(&bytes);
        }
    }
}
