//! Entry points for fuzz/: they hold the laws of the native form and of the importers against any text.

use crate::{
    NodeName,
    import::{Surroundings, haproxy, keepalived},
    native, piece,
    problem::Problem,
};

/// Files within files, variables within variables: the text itself, again and again.
struct Mirror<'a>(&'a str);

impl Surroundings for Mirror<'_> {
    fn include(&self, _from: &str, pattern: &str) -> Result<Vec<(String, String)>, String> {
        match pattern.len() % 3 {
            0 => Ok(Vec::new()),
            1 => Ok(vec![(pattern.to_owned(), self.0.to_owned())]),
            _ => Err("there is none".to_owned()),
        }
    }

    fn variable(&self, name: &str) -> Option<String> {
        (!name.is_empty() && name.len().is_multiple_of(2)).then(|| self.0.to_owned())
    }
}

/// Reads any bytes as a haproxy.cfg.
pub fn haproxy(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let node = NodeName::from("n");
    law(haproxy::read("haproxy.cfg", &text, &node, &Mirror("a b")), &text, &node);
}

/// Reads any bytes as a keepalived.conf, which includes itself.
pub fn keepalived(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let node = NodeName::from("n");
    // Of a large text, copies of copies only take time.
    let again = if text.len() < 300 { &*text } else { "" };
    law(keepalived::read("keepalived.conf", &text, &node, &Mirror(again)), &text, &node);
}

/// Reads any bytes as a file in the native form.
pub fn native(data: &[u8]) {
    let text = format!("workers = 1\n{}", String::from_utf8_lossy(data));
    let parsed = native::parse("highgate.toml", &text, &NodeName::from("n"));
    placed(parsed.map_or_else(|problems| problems.0, |parsed| parsed.warnings), &text);
}

/// Nothing panics, and each mistake lies within its file.
fn law(piece: piece::Piece, text: &str, node: &NodeName) {
    let parsed = piece::finish(vec![piece], node, &crate::import::Nothing);
    placed(parsed.map_or_else(|problems| problems.0, |parsed| parsed.warnings), text);
}

fn placed(problems: Vec<Problem>, text: &str) {
    for problem in problems {
        let line = text.split('\n').nth(problem.line.saturating_sub(1));
        let length = line.map_or(0, |line| line.chars().count());
        assert!(line.is_some(), "{problem}");
        assert!(problem.column <= length + 1, "{problem}");
    }
}
