//! Rows of the grant tables: `mysql.global_priv` (MariaDB from 10.4 on) and `mysql.user`.

use highgate_mysql::auth::StoredPassword;
use serde::Deserialize;

use super::{ClusterAccount, HostPattern, TlsDemand};

/// Seconds of a day.
const DAY: u64 = 86_400;

/// What of a server's settings the meaning of a row depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Surroundings {
    /// `default_password_lifetime`, in days; 0 = for ever.
    pub password_lifetime: u64,
}

/// The privileges of `mysql.global_priv`, as far as a login is concerned.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Priv {
    plugin: Option<String>,
    authentication_string: Option<String>,
    auth_or: Vec<Method>,
    account_locked: bool,
    is_role: bool,
    password_last_changed: Option<u64>,
    password_lifetime: Option<i64>,
    ssl_type: u8,
    ssl_cipher: String,
    x509_issuer: String,
    x509_subject: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Method {
    plugin: Option<String>,
    authentication_string: Option<String>,
}

/// A row of `mysql.global_priv`; `None` for a role.
///
/// # Errors
/// What is wrong with the document.
pub fn from_global_priv(
    user: &str,
    host: &str,
    document: &str,
    surroundings: Surroundings,
) -> Result<Option<ClusterAccount>, String> {
    let row: Priv = serde_json::from_str(document).map_err(|error| error.to_string())?;
    if row.is_role {
        return Ok(None);
    }
    let mut account = blank(user, host);
    let top = Method { plugin: row.plugin, authentication_string: row.authentication_string };
    if row.auth_or.is_empty() {
        take(&mut account, &top, &Method::default());
    }
    for method in &row.auth_or {
        take(&mut account, method, &top);
    }
    account.is_locked = row.account_locked;
    let lifetime = match row.password_lifetime {
        Some(days) => u64::try_from(days).unwrap_or(surroundings.password_lifetime),
        None => surroundings.password_lifetime,
    };
    account.expires_at = expiry(row.password_last_changed, lifetime);
    account.tls = match row.ssl_type {
        0 => TlsDemand::Nothing,
        1 => TlsDemand::Encrypted,
        2 => TlsDemand::Certificate,
        _ => TlsDemand::Named {
            issuer: row.x509_issuer,
            subject: row.x509_subject,
            cipher: row.ssl_cipher,
        },
    };
    Ok(Some(account))
}

/// A row of `mysql.user`, by column; `None` where that is no account. `password_last_changed` is
/// to be given in seconds of Unix time as `changed_at`.
pub fn from_user_table<'a>(
    get: impl Fn(&str) -> Option<&'a str>,
    surroundings: Surroundings,
) -> Option<ClusterAccount> {
    let is = |column: &str| get(column).is_some_and(|flag| flag.eq_ignore_ascii_case("y"));
    if is("is_role") {
        return None;
    }
    let mut account = blank(get("User")?, get("Host")?);
    let string = get("authentication_string").filter(|text| !text.is_empty());
    let method = Method {
        plugin: get("plugin").map(str::to_owned),
        authentication_string: string.or_else(|| get("Password")).map(str::to_owned),
    };
    take(&mut account, &method, &Method::default());
    // While a password is rotated (RETAIN CURRENT PASSWORD), the old one is kept in here.
    let attributes: Option<serde_json::Value> =
        get("User_attributes").and_then(|text| serde_json::from_str(text).ok());
    let old = attributes.as_ref().and_then(|found| found.get("additional_password"));
    if let Some(old) = old.and_then(serde_json::Value::as_str).filter(|old| !old.is_empty()) {
        let second = Method { authentication_string: Some(old.to_owned()), ..Method::default() };
        take(&mut account, &second, &method);
    }
    further_factors(&mut account, attributes.as_ref());
    account.is_locked = is("account_locked");
    let changed_at = get("changed_at").and_then(|seconds| seconds.parse::<f64>().ok());
    let changed_at = if is("password_expired") { Some(0) } else { changed_at.map(whole) };
    let own = get("password_lifetime").and_then(|days| days.parse().ok());
    account.expires_at = expiry(changed_at, own.unwrap_or(surroundings.password_lifetime));
    let text = |column: &str| get(column).unwrap_or_default().to_owned();
    account.tls = match get("ssl_type").unwrap_or_default() {
        "" => TlsDemand::Nothing,
        "ANY" => TlsDemand::Encrypted,
        "X509" => TlsDemand::Certificate,
        _ => TlsDemand::Named {
            issuer: text("x509_issuer"),
            subject: text("x509_subject"),
            cipher: text("ssl_cipher"),
        },
    };
    Some(account)
}

/// An account of several factors is let in by none of them alone, and servers ask for them all.
fn further_factors(account: &mut ClusterAccount, attributes: Option<&serde_json::Value>) {
    let Some(factors) = attributes.and_then(|found| found.get("multi_factor_authentication"))
    else {
        return;
    };
    let plugin = |factor: &serde_json::Value| factor.get("plugin")?.as_str().map(str::to_owned);
    let factors = factors.as_array().map_or(&[][..], Vec::as_slice);
    let names: Vec<_> = factors.iter().filter_map(plugin).collect();
    account.passwords.clear();
    account.foreign = vec![format!("{} as a further factor", names.join(", "))];
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a time after 1970")]
fn whole(seconds: f64) -> u64 {
    seconds.max(0.0) as u64
}

fn blank(user: &str, host: &str) -> ClusterAccount {
    ClusterAccount {
        user: user.to_owned(),
        host: HostPattern::new(host),
        passwords: Vec::new(),
        foreign: Vec::new(),
        is_locked: false,
        expires_at: None,
        tls: TlsDemand::Nothing,
    }
}

/// A password changed at zero was expired by hand.
fn expiry(changed_at: Option<u64>, days: u64) -> Option<u64> {
    match changed_at {
        Some(0) => Some(0),
        Some(at) if days > 0 => Some(at.saturating_add(days.saturating_mul(DAY))),
        _ => None,
    }
}

/// Adds a method to the account; what it leaves out is as in `top`.
fn take(account: &mut ClusterAccount, method: &Method, top: &Method) {
    let plugin = method.plugin.as_ref().or(top.plugin.as_ref()).map_or("", String::as_str);
    let string = method.authentication_string.as_ref().or(top.authentication_string.as_ref());
    match stored(plugin, string.map_or("", String::as_str)) {
        Some(stored) => account.passwords.push(stored),
        None => account.foreign.push(plugin.to_owned()),
    }
}

/// The stored form of a server's plugin; nothing where it can't be verified here, or by nobody
/// (`invalid`). Unlike in a configuration, a text that is no form is never a clear password.
fn stored(plugin: &str, string: &str) -> Option<StoredPassword> {
    match plugin {
        "" | "mysql_native_password" if string.is_empty() => Some(StoredPassword::clear("")),
        "" | "mysql_native_password" => match StoredPassword::parse(string) {
            Ok(native @ StoredPassword::Native(_)) => Some(native),
            _ => None,
        },
        "caching_sha2_password" if string.is_empty() => Some(StoredPassword::clear("")),
        "caching_sha2_password" => StoredPassword::parse_sha2(string.as_bytes()).ok(),
        "ed25519" => StoredPassword::parse(&format!("ed25519:{string}")).ok(),
        _ => None,
    }
}
