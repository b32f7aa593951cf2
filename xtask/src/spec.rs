//! SPECIFICATION.md against what holds it: every id has a test or bench that exists, or says that
//! it is unproven; every id that the code mentions is in the document.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use anyhow::{Context, Result};

use crate::{Findings, source};

const UNPROVEN: &str = "(unproven)";

pub fn check(root: &Path) -> Result<Findings> {
    let path = root.join("SPECIFICATION.md");
    let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    let sources = source::all(root)?;
    let functions: BTreeSet<_> = sources.iter().flat_map(|file| functions(&file.text)).collect();
    let is_bench = |name: &str| {
        let quoted = format!("\"{name}\"");
        let mut bench =
            sources.iter().filter(|file| file.path.starts_with("crates/highgate-bench/"));
        bench.any(|file| file.text.contains(&quoted))
    };
    let mut found = Findings::default();
    let mut lines = BTreeMap::new();
    let mut unproven = 0;
    for (id, held_by) in text.lines().filter_map(entry) {
        if lines.insert(id, held_by).is_some() {
            found.errors.push(format!("{id} is there twice"));
        }
        let names: Vec<_> = held_by.split('`').skip(1).step_by(2).collect();
        if held_by.contains(UNPROVEN) {
            unproven += 1;
        } else if names.is_empty() {
            found.errors.push(format!("{id} names no test or bench, and does not say {UNPROVEN}"));
        }
        for name in names {
            let is_there = match name.strip_prefix("bench ") {
                Some(bench) => is_bench(bench),
                None => functions.contains(name),
            };
            if !is_there {
                found.errors.push(format!("{id} is held by `{name}`, which does not exist"));
            }
        }
    }
    for file in sources.iter().filter(|file| !file.path.starts_with("xtask/")) {
        for id in mentioned(&file.text).filter(|id| !lines.contains_key(id)) {
            found.errors.push(format!("{} mentions {id}, which is not in the document", file.path));
        }
    }
    found.seen = format!("{} promises, {unproven} of them unproven", lines.len());
    Ok(found)
}

/// Id and last column of a table line that starts with an id.
fn entry(line: &str) -> Option<(&str, &str)> {
    let mut columns = line.strip_prefix("| S-")?.trim_end().trim_end_matches('|').split(" | ");
    let number = columns.next()?.trim();
    let id = line.get(2..4 + number.len())?;
    Some((id, columns.last()?.trim()))
}

fn functions(text: &str) -> impl Iterator<Item = &str> {
    text.split("fn ").skip(1).filter_map(|rest| {
        let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_')?;
        rest.get(..end)
    })
}

/// The ids that a text speaks of.
fn mentioned(text: &str) -> impl Iterator<Item = &str> {
    text.match_indices("S-").filter_map(|(at, _)| {
        let is_start = !text[..at].ends_with(|c: char| c.is_alphanumeric() || c == '-');
        let digits = text[at + 2..].bytes().take_while(u8::is_ascii_digit).count();
        (is_start && digits == 2).then(|| &text[at..at + 4])
    })
}

#[cfg(test)]
mod tests {
    use super::{entry, mentioned};

    #[test]
    fn a_line_gives_its_id_and_what_holds_it() {
        let line = "| S-07 | at most 1.5 | 10,000 clients | `bench many` |";
        assert_eq!(entry(line), Some(("S-07", "`bench many`")));
        assert_eq!(entry("| id | promise |"), None);
    }

    #[test]
    fn ids_are_found_in_a_text() {
        let text = "holds S-07 and S-12, not TLS-13, S-1 or GPS-99";
        assert_eq!(mentioned(text).collect::<Vec<_>>(), ["S-07", "S-12"]);
    }
}
