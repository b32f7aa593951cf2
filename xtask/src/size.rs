//! How long files are.

use std::path::Path;

use anyhow::Result;

use crate::{Findings, source};

const LIMIT: usize = 800;
/// From here on a file probably has a second noun.
const LOOK: usize = 400;

pub fn check(root: &Path) -> Result<Findings> {
    let table = source::table(root, "size.toml")?;
    let tables = source::list(table.as_table(), "tables");
    let sources = source::all(root)?;
    let mut found = Findings::default();
    let mut long = Vec::new();
    for file in &sources {
        let lines = file.text.lines().count();
        let is_table = tables.contains(&file.path);
        if lines > LIMIT && !is_table {
            found.errors.push(format!("{} has {lines} lines, more than {LIMIT}", file.path));
        } else if lines > LOOK && !is_table {
            long.push((lines, &file.path));
        } else if lines <= LIMIT && is_table {
            found.errors.push(format!("{} needs no line in xtask/size.toml", file.path));
        }
    }
    for table in &tables {
        if !sources.iter().any(|file| &file.path == table) {
            found.errors.push(format!("xtask/size.toml names {table}, which is gone"));
        }
    }
    if let Some((lines, longest)) = long.iter().max() {
        let many = long.len();
        found.notes.push(format!(
            "{many} files past {LOOK} lines, {longest} the longest with {lines}: look for the second noun"
        ));
    }
    found.seen = format!("{} files", sources.len());
    Ok(found)
}
