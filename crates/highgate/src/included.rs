//! What configuration files ask for beyond their own text: files that they include, and variables.

use std::{
    net::IpAddr,
    path::{Path, PathBuf},
};

use highgate_config::import::Surroundings;

use crate::{cli, files};

/// Files that one pattern may stand for.
const MOST_FILES: usize = 1_000;

/// This machine: relative paths begin beside the file that names them.
pub(crate) struct Machine;

impl Surroundings for Machine {
    fn include(&self, from: &str, pattern: &str) -> Result<Vec<(String, String)>, String> {
        let folder = Path::new(from).parent().unwrap_or(Path::new(""));
        let whole = folder.join(pattern);
        let mut found = vec![PathBuf::new()];
        for part in whole.components() {
            let part = part.as_os_str().to_string_lossy().into_owned();
            found = found.iter().flat_map(|folder| matching(folder, &part)).collect();
            if found.len() > MOST_FILES {
                return Err(format!("`{pattern}` stands for more than {MOST_FILES} files"));
            }
        }
        found.sort();
        let files = found.into_iter().filter(|path| path.is_file());
        files.map(|path| text(&path)).collect()
    }

    fn variable(&self, name: &str) -> Option<String> {
        cli::variable(name)
    }

    fn interfaces(&self) -> Vec<String> {
        highgate_vrrp::linux::interfaces().unwrap_or_default()
    }

    fn networks(&self, interface: &str) -> Vec<(IpAddr, u8)> {
        // Without a word of the kernel there is nothing to compare with.
        highgate_vrrp::linux::networks(interface).unwrap_or_default()
    }
}

fn text(path: &Path) -> Result<(String, String), String> {
    let name = path.display().to_string();
    match files::text_of_regular(path) {
        Ok(text) => Ok((name, text)),
        Err(error) => Err(format!("cannot read {name}: {error}")),
    }
}

/// What a part of a path stands for within a folder.
fn matching(folder: &Path, part: &str) -> Vec<PathBuf> {
    if !part.contains(['*', '?', '[']) {
        return vec![folder.join(part)];
    }
    let listed = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let Ok(entries) = std::fs::read_dir(listed) else {
        return Vec::new();
    };
    let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
    // As a shell does: what is hidden is meant only where it is written.
    let names = names.filter(|name| !name.starts_with('.') || part.starts_with('.'));
    names.filter(|name| is_match(name, part)).map(|name| folder.join(name)).collect()
}

/// Whether a name is what a pattern of `*`, `?` and `[abc]` stands for.
fn is_match(name: &str, pattern: &str) -> bool {
    let name: Vec<char> = name.chars().collect();
    let pattern: Vec<char> = pattern.chars().collect();
    let (mut at, mut in_pattern) = (0, 0);
    // Where the last `*` stands, and how much of the name it takes.
    let mut star: Option<(usize, usize)> = None;
    while at < name.len() {
        match pattern.get(in_pattern) {
            Some('*') => {
                star = Some((in_pattern, at));
                in_pattern += 1;
            }
            Some(_) => match one(&name, at, &pattern, in_pattern) {
                Some(next) => (at, in_pattern) = (at + 1, next),
                None => match star.as_mut() {
                    Some((from, taken)) => {
                        *taken += 1;
                        (at, in_pattern) = (*taken, *from + 1);
                    }
                    None => return false,
                },
            },
            None => match star.as_mut() {
                Some((from, taken)) => {
                    *taken += 1;
                    (at, in_pattern) = (*taken, *from + 1);
                }
                None => return false,
            },
        }
    }
    pattern.iter().skip(in_pattern).all(|c| *c == '*')
}

/// Where the pattern goes on after it took one letter of the name.
fn one(name: &[char], at: usize, pattern: &[char], from: usize) -> Option<usize> {
    let letter = name.get(at)?;
    match pattern.get(from)? {
        '?' => Some(from + 1),
        '[' => {
            let end = (from + 2..pattern.len()).find(|end| pattern.get(*end) == Some(&']'))?;
            let set = pattern.get(from + 1..end)?;
            let (is_turned, set) = match set.split_first() {
                Some(('!' | '^', rest)) => (true, rest),
                _ => (false, set),
            };
            let is_range =
                |it: &[char]| matches!(it, [first, '-', last] if (first..=last).contains(&letter));
            let is_in = set.contains(letter) || set.windows(3).any(is_range);
            (is_in != is_turned).then_some(end + 1)
        }
        c => (c == letter).then_some(from + 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_mean_what_they_mean_to_a_shell() {
        for (name, pattern, is_so) in [
            ("a.conf", "*.conf", true),
            ("a.conf.bak", "*.conf", false),
            ("vip1.conf", "vip[0-9].conf", true),
            ("vipx.conf", "vip[!0-9].conf", true),
            ("vip1.conf", "vip?.co*f", true),
            ("", "*", true),
            ("aab", "*ab", true),
            ("[x", "[x", false),
        ] {
            assert_eq!(is_match(name, pattern), is_so, "{name} {pattern}");
        }
    }

    #[test]
    fn included_files_lie_beside_the_file_that_includes_them() {
        let folder = std::env::temp_dir().join(format!("highgate-included-{}", std::process::id()));
        std::fs::create_dir_all(folder.join("conf.d")).unwrap();
        for name in ["b.conf", "a.conf", ".hidden.conf", "c.txt"] {
            std::fs::write(folder.join("conf.d").join(name), name).unwrap();
        }
        let from = folder.join("keepalived.conf").display().to_string();
        let found = Machine.include(&from, "conf.d/*.conf").unwrap();
        let texts: Vec<&str> = found.iter().map(|(_, text)| text.as_str()).collect();
        assert_eq!(texts, ["a.conf", "b.conf"]);
        assert_eq!(Machine.include(&from, "conf.d/x.conf").unwrap(), []);
        std::fs::remove_dir_all(folder).unwrap();
    }
}
