//! The admin account where none is configured: a password is made, shown once, and stored.

use std::{collections::BTreeMap, io::Write, os::unix::fs::OpenOptionsExt, path::Path};

use anyhow::Context;
use highgate_config::{Secret, UserName};

use crate::output;

/// The accounts of the configuration, or the one that was made.
pub(crate) fn accounts(
    configured: &BTreeMap<UserName, Secret>,
    data_dir: &Path,
) -> anyhow::Result<BTreeMap<UserName, Secret>> {
    if !configured.is_empty() {
        return Ok(configured.clone());
    }
    let file = data_dir.join("admin-password");
    let password = match std::fs::read_to_string(&file) {
        Ok(password) => password.trim().to_owned(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => make(&file)?,
        Err(error) => return Err(error).context(format!("cannot read {}", file.display())),
    };
    Ok(BTreeMap::from([(UserName::from("admin"), Secret::new(password))]))
}

fn make(file: &Path) -> anyhow::Result<String> {
    // Without characters that look alike.
    const LETTERS: &[u8] = b"abcdefghijkmnpqrstuvwxyz23456789";
    let mut random = [0; 16];
    highgate_io::entropy::fill(&mut random)?;
    let letter = |byte: &u8| char::from(*LETTERS.get(usize::from(byte % 32)).unwrap_or(&b'x'));
    let password: String = random.iter().map(letter).collect();
    let mut stored = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(file)
        .with_context(|| format!("cannot create {}", file.display()))?;
    stored.write_all(password.as_bytes())?;
    stored.sync_all()?;
    output::complain(&format!(
        "no [[admin.user]] is configured: account `admin` has the password `{password}` \
         (shown once; kept in {})",
        file.display()
    ));
    Ok(password)
}
