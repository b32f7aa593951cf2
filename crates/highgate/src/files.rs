//! Configuration files: read, parsed, complained about.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};
use highgate_config::{Config, NodeName, native};

use crate::{included::Machine, output};

/// Reads and parses configuration files as one; warnings are printed.
pub(crate) fn read(files: &[PathBuf], node: &NodeName) -> anyhow::Result<Config> {
    parsed(files, node).map(|parsed| parsed.config)
}

/// As [`read`], with where it is written.
pub(crate) fn parsed(files: &[PathBuf], node: &NodeName) -> anyhow::Result<native::Parsed> {
    twice(files)?;
    let texts: Vec<(String, String)> = files.iter().map(|it| text(it)).collect::<Result<_, _>>()?;
    let input = |(name, text)| native::Input { name, text };
    let inputs: Vec<_> = texts.iter().map(|(name, text)| input((name, text))).collect();
    match native::read_all(&inputs, node, &Machine) {
        Ok(parsed) => {
            for warning in &parsed.warnings {
                output::complain(&warning.to_string());
            }
            Ok(parsed)
        }
        Err(problems) => Err(anyhow::Error::msg(problems.to_string())),
    }
}

fn text(file: &Path) -> anyhow::Result<(String, String)> {
    let name = file.display().to_string();
    let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {name}"))?;
    Ok((name, text))
}

fn twice(files: &[PathBuf]) -> anyhow::Result<()> {
    let mut seen = BTreeSet::new();
    match files.iter().find(|file| !seen.insert(whole(file))) {
        Some(again) => bail!("{} is given twice", again.display()),
        None => Ok(()),
    }
}

/// The name under which the last applied form of files is kept: their whole paths, whatever their
/// order.
pub(crate) fn key(files: &[PathBuf]) -> String {
    whole_paths(files).into_iter().collect::<Vec<_>>().join(" + ")
}

/// The whole paths of files.
pub(crate) fn whole_paths(files: &[PathBuf]) -> BTreeSet<String> {
    files.iter().map(|file| whole(file)).collect()
}

fn whole(file: &Path) -> String {
    std::fs::canonicalize(file).unwrap_or_else(|_| file.to_owned()).display().to_string()
}

/// Where state is kept if nothing was said.
pub(crate) fn default_data_dir(file: Option<&PathBuf>) -> PathBuf {
    let beside = file.and_then(|file| file.parent()).filter(|dir| !dir.as_os_str().is_empty());
    beside.unwrap_or(Path::new(".")).join("highgate-data")
}
