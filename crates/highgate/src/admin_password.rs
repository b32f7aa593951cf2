//! The admin account where none is configured: a password is made, shown once, and stored.

use std::{collections::BTreeMap, fs::File, io::Write, os::unix::fs::OpenOptionsExt, path::Path};

use anyhow::Context;
use highgate_config::{Secret, UserName};

use crate::output;

/// A shorter one was not made here whole, and is nobody's choice: an empty one lets anybody in.
const SHORTEST: usize = 12;

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
        Ok(password) if password.trim().len() < SHORTEST => anyhow::bail!(
            "{} holds no usable password: remove it, and another one is made",
            file.display()
        ),
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
    store(file, &password).with_context(|| format!("cannot store {}", file.display()))?;
    output::complain(&format!(
        "no [[admin.user]] is configured: account `admin` has the password `{password}` \
         (shown once; kept in {})",
        file.display()
    ));
    Ok(password)
}

/// All of it or nothing, also where the disk is full or the power fails.
fn store(file: &Path, password: &str) -> std::io::Result<()> {
    let new = file.with_extension("new");
    match std::fs::remove_file(&new) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut stored =
        std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
    stored.write_all(password.as_bytes())?;
    stored.sync_all()?;
    std::fs::rename(&new, file)?;
    file.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_that_was_cut_off_lets_nobody_in() {
        let scratch = highgate_testkit::Scratch::new("admin-password").unwrap();
        let folder = scratch.join("");
        let none = BTreeMap::new();
        let first = accounts(&none, &folder).unwrap();
        assert_eq!(accounts(&none, &folder).unwrap(), first, "it is kept");
        let file = folder.join("admin-password");
        for text in ["", "\n", "abc"] {
            std::fs::write(&file, text).unwrap();
            let error = accounts(&none, &folder).unwrap_err().to_string();
            assert!(error.contains("remove it"), "{error}");
        }
        std::fs::remove_file(&file).unwrap();
        std::fs::write(folder.join("admin-password.new"), "ab").unwrap();
        assert_ne!(accounts(&none, &folder).unwrap(), first, "another one");
    }
}
