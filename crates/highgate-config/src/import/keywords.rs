//! The words of a dialect, each with the answer to it: for the reader and for the manual.

use crate::{
    nearest::nearest,
    settings::{Mistake, short},
};

/// A word within a section of a file.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Keyword {
    /// Where it may stand.
    pub(crate) section: &'static str,
    pub(crate) name: &'static str,
    pub(crate) answer: Answer,
}

/// What becomes of a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    /// It is done; what it becomes.
    Honoured(&'static str),
    /// It is left out, and nobody misses it: why.
    Noted(&'static str),
    /// It can't be left out: why.
    Refused(&'static str),
    /// It is left out, and somebody may miss it: why.
    Warned(&'static str),
}

/// The word of this name in this section.
pub(crate) fn find(
    table: &'static [Keyword],
    section: &str,
    name: &str,
) -> Option<&'static Keyword> {
    table.iter().find(|word| word.section == section && word.name == name)
}

/// What is said of a word that the section does not have.
pub(crate) fn unknown(table: &'static [Keyword], section: &str, name: &str) -> Mistake {
    let here = table.iter().filter(|word| word.section == section).map(|word| word.name);
    let near = nearest(name, here).map(str::to_owned);
    let elsewhere = table.iter().find(|word| word.name == name);
    let hint = match (&near, elsewhere) {
        (Some(_), _) => None,
        (None, Some(word)) => Some(format!("it belongs in {}", described(word.section))),
        (None, None) => near_elsewhere(table, name),
    };
    let what = format!("unknown keyword `{}` in {}", short(name), described(section));
    Mistake { what, expected: String::new(), nearest: near, hint }
}

fn near_elsewhere(table: &'static [Keyword], name: &str) -> Option<String> {
    let near = nearest(name, table.iter().map(|word| word.name))?;
    let word = table.iter().find(|word| word.name == near)?;
    Some(format!("did you mean `{near}`, which belongs in {}?", described(word.section)))
}

fn described(section: &str) -> String {
    if section == TOP {
        "the file, outside of any block".to_owned()
    } else {
        format!("`{section}`")
    }
}

/// Outside of any section.
pub(crate) const TOP: &str = "";

/// A page of the manual: all words of a dialect with their answers.
pub(crate) fn page(title: &str, introduction: &str, table: &'static [Keyword]) -> String {
    use std::fmt::Write as _;
    let mut page = format!("# {title}\n\n{introduction}\n");
    let mut sections: Vec<&str> = Vec::new();
    for word in table {
        if !sections.contains(&word.section) {
            sections.push(word.section);
        }
    }
    for section in sections {
        let heading = if section == TOP { "Outside of any block" } else { section };
        let heading = if section == super::haproxy::keywords::PROXY {
            "defaults, frontend, listen, backend"
        } else {
            heading
        };
        let _ = write!(page, "\n## {heading}\n\n| keyword | answer | |\n|---|---|---|\n");
        for word in table.iter().filter(|word| word.section == section) {
            let (answer, text) = match word.answer {
                Answer::Honoured(text) => ("honoured", text),
                Answer::Noted(text) => ("left out, with a note", text),
                Answer::Refused(text) => ("**refused**", text),
                Answer::Warned(text) => ("left out, with a warning", text),
            };
            let _ = writeln!(page, "| `{}` | {answer} | {text} |", word.name.replace('|', "\\|"));
        }
    }
    page
}
