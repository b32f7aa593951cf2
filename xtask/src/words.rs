//! One word for one thing: identifiers without the words that say two.

use std::path::Path;

use anyhow::Result;
use toml_edit::{Item, TableLike};

use crate::{Findings, source};

pub fn check(root: &Path) -> Result<Findings> {
    let table = source::table(root, "words.toml")?;
    let denied = source::list(table.as_table(), "denied");
    let allowed = table.get("allowed").and_then(Item::as_table_like);
    let is_allowed = |path: &str, identifier: &str| {
        let below = |allowed: &dyn TableLike| source::list(allowed, identifier);
        let below = allowed.map(below).unwrap_or_default();
        below.iter().any(|start| path.starts_with(start.as_str()))
    };
    let sources = source::all(root)?;
    let mut found = Findings::default();
    for file in &sources {
        let path = &file.path;
        for (line, code) in source::code(&file.text).lines().enumerate() {
            let mut bad = bad(code, &denied).collect::<Vec<_>>();
            bad.retain(|(identifier, _)| !is_allowed(path, identifier));
            let at = line + 1;
            let told = |(identifier, word)| format!("{path}:{at}: `{identifier}` says `{word}`");
            found.errors.extend(bad.into_iter().map(told));
        }
    }
    found.seen = format!("{} files", sources.len());
    Ok(found)
}

fn bad<'a>(code: &'a str, denied: &'a [String]) -> impl Iterator<Item = (&'a str, &'a str)> {
    let identifiers = code.split(|c: char| !c.is_alphanumeric() && c != '_');
    identifiers.filter_map(move |identifier| {
        let lower = identifier.to_lowercase();
        let word = denied.iter().find(|word| lower.contains(word.as_str()))?;
        Some((identifier, word.as_str()))
    })
}

#[cfg(test)]
mod tests {
    use super::bad;

    #[test]
    fn a_denied_word_is_found_within_an_identifier() {
        let denied = ["master".to_owned()];
        let found: Vec<_> = bad("let OldMaster = remastered(primary);", &denied).collect();
        assert_eq!(found, [("OldMaster", "master"), ("remastered", "master")]);
    }
}
