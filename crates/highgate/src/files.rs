//! Configuration files: read, parsed, complained about.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use highgate_config::{Config, NodeName, native};

use crate::output;

/// Reads and parses the configuration; warnings are printed.
pub(crate) fn read(files: &[PathBuf], node: &NodeName) -> anyhow::Result<Config> {
    let [file] = files else {
        bail!(
            "several configuration files at once are not supported yet: put them into one \
             (given: {})",
            files.iter().map(|file| file.display().to_string()).collect::<Vec<_>>().join(", ")
        );
    };
    parse(file, node)
}

/// Reads and parses one file; warnings are printed.
pub(crate) fn parse(file: &Path, node: &NodeName) -> anyhow::Result<Config> {
    let name = file.display().to_string();
    let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {name}"))?;
    match native::parse(&name, &text, node) {
        Ok(parsed) => {
            for warning in &parsed.warnings {
                output::complain(&warning.to_string());
            }
            Ok(parsed.config)
        }
        Err(problems) => Err(anyhow::Error::msg(problems.to_string())),
    }
}

/// The name under which a file's last applied form is kept: its whole path.
pub(crate) fn key(file: &Path) -> String {
    std::fs::canonicalize(file).unwrap_or_else(|_| file.to_owned()).display().to_string()
}

/// Where state is kept if nothing was said.
pub(crate) fn default_data_dir(file: Option<&PathBuf>) -> PathBuf {
    let beside = file.and_then(|file| file.parent()).filter(|dir| !dir.as_os_str().is_empty());
    beside.unwrap_or(Path::new(".")).join("highgate-data")
}
