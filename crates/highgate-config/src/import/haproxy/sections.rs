//! Lines to sections.

use super::lexer::{Line, Word};
use crate::{
    Severity,
    nearest::nearest,
    piece::{Piece, Span},
    settings::{Mistake, short},
};

/// Sections that hold a proxy, or what all proxies have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Backend,
    Defaults,
    Frontend,
    Global,
    Listen,
}

impl Kind {
    const ALL: [(&'static str, Self); 5] = [
        ("backend", Self::Backend),
        ("defaults", Self::Defaults),
        ("frontend", Self::Frontend),
        ("global", Self::Global),
        ("listen", Self::Listen),
    ];

    pub(super) fn word(self) -> &'static str {
        Self::ALL.iter().find(|(_, kind)| *kind == self).map_or("", |(word, _)| word)
    }
}

/// Sections that are known and left out, with the reason.
pub(super) const OTHERS: &[(&str, &str)] = &[
    ("cache", "answers of HTTP are not cached"),
    ("fcgi-app", "FastCGI is not available"),
    ("http-errors", "mode http is not available yet"),
    ("log-forward", "Highgate is no log server"),
    ("mailers", "no mail is sent; events and metrics tell of changes"),
    ("peers", "stick tables are not available yet"),
    ("program", "programs are started by the service manager"),
    ("resolvers", "names are resolved by the system"),
    ("ring", "logs go to standard error"),
    ("userlist", "mode http is not available yet"),
];

#[derive(Debug)]
pub(super) struct Section {
    pub(super) kind: Kind,
    pub(super) at: Span,
    /// What follows the section's word.
    pub(super) heading: Vec<Word>,
    pub(super) lines: Vec<Line>,
}

pub(super) fn sections(lines: Vec<Line>, piece: &mut Piece) -> Vec<Section> {
    let mut sections: Vec<Section> = Vec::new();
    // Lines of a section that is left out, or whose word is mistyped, are not looked at.
    let mut is_skipping = false;
    for line in lines {
        let Some((first, rest)) = line.split_first() else { continue };
        if let Some((_, kind)) = Kind::ALL.iter().find(|(word, _)| *word == first.text) {
            let (at, heading) = (first.at.clone(), rest.to_vec());
            sections.push(Section { kind: *kind, at, heading, lines: Vec::new() });
            is_skipping = false;
        } else if let Some((_, reason)) = OTHERS.iter().find(|(word, _)| *word == first.text) {
            let what = format!("section `{}` is left out", first.text);
            let hint = Some((*reason).to_owned());
            let mistake = Mistake { what, hint, ..Mistake::default() };
            piece.tell(Severity::Warning, first.at.clone(), mistake);
            is_skipping = true;
        } else if first.text.starts_with('.') {
            let what = format!("`{}` is known, but not honoured", short(&first.text));
            let hint = "write the lines out that hold on this node".to_owned();
            let hint = Some(hint);
            piece.error(first.at.clone(), Mistake { what, hint, ..Mistake::default() });
        } else if let Some(section) = sections.last_mut().filter(|_| !is_skipping) {
            let is_at_margin =
                piece.sources.first().is_some_and(|(_, source)| source.spot(&first.at).column == 1);
            let known = Kind::ALL.iter().map(|(word, _)| *word);
            let near = nearest(&first.text, known).filter(|_| is_at_margin && rest.len() < 4);
            match near {
                Some(near) if !super::keywords::is_known(&first.text) => {
                    unknown(first, Some(near), piece);
                    is_skipping = true;
                }
                _ => section.lines.push(line),
            }
        } else if !is_skipping {
            let known = Kind::ALL.iter().map(|(word, _)| *word);
            let near = nearest(&first.text, known.chain(OTHERS.iter().map(|(word, _)| *word)));
            unknown(first, near, piece);
            is_skipping = true;
        }
    }
    sections
}

fn unknown(word: &Word, near: Option<&str>, piece: &mut Piece) {
    let what = format!("unknown section `{}`; its lines are not looked at", short(&word.text));
    let expected = "global, defaults, frontend, backend or listen".to_owned();
    let nearest = near.map(str::to_owned);
    piece.error(word.at.clone(), Mistake { what, expected, nearest, hint: None });
}
