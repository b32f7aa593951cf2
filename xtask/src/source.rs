//! The repository's source files, and their code without comments and texts.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

/// A source file, by its path below the root.
pub struct Source {
    pub path: String,
    pub text: String,
}

/// All `.rs` files of the workspace, ordered by path.
pub fn all(root: &Path) -> Result<Vec<Source>> {
    let mut found = Vec::new();
    for dir in ["crates", "fuzz/fuzz_targets", "xtask"] {
        walk(&root.join(dir), &mut found)?;
    }
    found.sort();
    found.into_iter().map(|path| read(root, &path)).collect()
}

fn walk(dir: &Path, found: &mut Vec<PathBuf>) -> Result<()> {
    let entries = fs::read_dir(dir).with_context(|| dir.display().to_string())?;
    for entry in entries {
        let path = entry?.path();
        if path.is_dir() && !path.ends_with("target") {
            walk(&path, found)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    Ok(())
}

fn read(root: &Path, path: &Path) -> Result<Source> {
    let text = fs::read_to_string(path).with_context(|| path.display().to_string())?;
    let path = path.strip_prefix(root)?.display().to_string();
    Ok(Source { path, text })
}

/// Reads a table of this crate.
pub fn table(root: &Path, name: &str) -> Result<toml_edit::DocumentMut> {
    let path = root.join("xtask").join(name);
    let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    text.parse().with_context(|| path.display().to_string())
}

/// A list of texts in a table.
pub fn list(table: &dyn toml_edit::TableLike, key: &str) -> Vec<String> {
    let items = table.get(key).and_then(toml_edit::Item::as_array);
    let items = items.into_iter().flatten();
    items.filter_map(|item| item.as_str().map(str::to_owned)).collect()
}

/// The code of a Rust text with comments, strings and characters blanked; lines stay where they are.
pub fn code(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let blank = comment(rest).or_else(|| literal(rest, out.chars().next_back()));
        if let Some(length) = blank {
            let (gone, after) = rest.split_at(length);
            out.extend(gone.chars().map(|c| if c == '\n' { '\n' } else { ' ' }));
            rest = after;
        } else {
            out.push(first);
            rest = &rest[first.len_utf8()..];
        }
    }
    out
}

fn comment(rest: &str) -> Option<usize> {
    if rest.starts_with("//") {
        return Some(rest.find('\n').unwrap_or(rest.len()));
    }
    let body = rest.strip_prefix("/*")?;
    Some(body.find("*/").map_or(rest.len(), |end| end + 4))
}

fn literal(rest: &str, before: Option<char>) -> Option<usize> {
    if rest.starts_with('r') && !before.is_some_and(|c| c.is_alphanumeric() && c != 'b') {
        let hashes = rest[1..].chars().take_while(|c| *c == '#').count();
        if rest[1 + hashes..].starts_with('"') {
            let end = format!("\"{}", "#".repeat(hashes));
            let start = 2 + hashes;
            return Some(rest[start..].find(&end).map_or(rest.len(), |at| start + at + end.len()));
        }
    }
    if rest.starts_with('"') {
        return Some(quoted(rest, '"'));
    }
    // A lifetime has no closing quote after its first character.
    let mut inside = rest.strip_prefix('\'')?.chars();
    let is_char = match inside.next()? {
        '\\' => true,
        _ => inside.next() == Some('\''),
    };
    is_char.then(|| quoted(rest, '\''))
}

fn quoted(rest: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        if !escaped && c == quote {
            return at + 1;
        }
        escaped = !escaped && c == '\\';
    }
    rest.len()
}

#[cfg(test)]
mod tests {
    use super::code;

    #[test]
    fn comments_and_texts_are_blanked_and_code_stays() {
        let text =
            "let a = \"x // \\\" y\"; // why\nlet b: &'a str = r#\"\"z\"#; /* c */ d('\"', '\\'')";
        let kept: Vec<_> = code(text).split_whitespace().map(str::to_owned).collect();
        assert_eq!(kept.join(" "), "let a = ; let b: &'a str = ; d( , )");
    }

    #[test]
    fn lines_stay_where_they_are() {
        let text = "a\n/* b\nc */\n\"d\ne\"\nf";
        assert_eq!(code(text).lines().count(), text.lines().count());
    }
}
