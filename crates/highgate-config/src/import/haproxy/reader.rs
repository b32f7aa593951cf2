//! Sections to a part of the desired state: `global`, `defaults`, and the order of it all.

use std::{collections::BTreeMap, time::Duration};

use super::{
    keywords::{GLOBAL, TABLE},
    lexer::{Line, Word},
    proxy::Proxy,
    sections::{Kind as Section, Section as Lines},
};
use crate::{
    Node, NodeName, Place, Severity,
    import::{
        keywords::{self, Answer, Keyword},
        thing::Thing,
    },
    piece::{At, Piece, Span},
    settings::{Kind, Mistake, NODE, Value, may_be_shown, short},
};

pub(super) struct Reader<'a> {
    pub(super) piece: &'a mut Piece,
    pub(super) node: NodeName,
    /// What `defaults` says for the proxies after it.
    defaults: Proxy,
    named: BTreeMap<String, Proxy>,
    pub(super) proxies: Vec<Proxy>,
    /// The word of the section at hand.
    within: &'static str,
}

impl<'a> Reader<'a> {
    pub(super) fn new(piece: &'a mut Piece, node: NodeName) -> Self {
        let defaults = Proxy::new(Section::Defaults);
        Self { piece, node, defaults, named: BTreeMap::new(), proxies: Vec::new(), within: "" }
    }

    pub(super) fn read(&mut self, sections: &[Lines]) {
        let place = Place::Node(self.node.clone());
        let mut node: Thing<Node> = Thing::new(&NODE, place);
        for section in sections {
            self.within = section.kind.word();
            match section.kind {
                Section::Global => {
                    self.no_more(&section.heading, 0, "global");
                    for line in &section.lines {
                        self.global(&mut node, line);
                    }
                }
                Section::Defaults => self.defaults(section),
                _ => self.proxy(section),
            }
        }
        self.piece.node = node.draft;
        self.build();
    }

    fn global(&mut self, node: &mut Thing<Node>, line: &Line) {
        let Some(answered) = self.answer(GLOBAL, line) else { return };
        let Some(value) = self.one(line, answered) else { return };
        let (field, read) = match answered.name {
            "hard-stop-after" => ("drain_timeout", time(&value.text)),
            "nbthread" => ("workers", number("nbthread", 1, 1_024, &value.text)),
            _ => ("max_connections", number("maxconn", 0, 10_000_000, &value.text)),
        };
        node.set(self.piece, &NODE, field, read, &value.at.clone().into());
    }

    fn defaults(&mut self, section: &Lines) {
        let (name, from) = self.heading(section);
        let mut proxy = Proxy::new(Section::Defaults);
        if let Some(from) = from {
            proxy = self.inherited(&from);
        }
        for line in &section.lines {
            self.line(&mut proxy, line);
        }
        if let Some(name) = name {
            self.named.insert(name.text, proxy.clone());
        }
        self.defaults = proxy;
    }

    fn proxy(&mut self, section: &Lines) {
        let (name, from) = self.heading(section);
        let Some(name) = name else {
            let what = format!("`{}` has no name", section.kind.word());
            return self.error(section.at.clone(), what);
        };
        let base = match from {
            Some(from) => self.inherited(&from),
            None => self.defaults.clone(),
        };
        let mut proxy = Proxy { kind: section.kind, name: name.text, at: name.at, ..base };
        for line in &section.lines {
            self.line(&mut proxy, line);
        }
        self.proxies.push(proxy);
    }

    fn inherited(&mut self, from: &Word) -> Proxy {
        if let Some(found) = self.named.get(&from.text) {
            return found.clone();
        }
        let known: Vec<&str> = self.named.keys().map(String::as_str).collect();
        let nearest = crate::nearest::nearest(&from.text, known).map(str::to_owned);
        let what = format!("there is no `defaults {}` before this", short(&from.text));
        self.piece.error(from.at.clone(), Mistake { what, nearest, ..Mistake::default() });
        Proxy::new(Section::Defaults)
    }

    /// `NAME from OTHER`, both of which may be missing.
    fn heading(&mut self, section: &Lines) -> (Option<Word>, Option<Word>) {
        let word = section.kind.word();
        match section.heading.as_slice() {
            [] => (None, None),
            [from, other] if from.text == "from" => (None, Some(other.clone())),
            [name] => (self.named_well(name), None),
            [name, from, other] if from.text == "from" => {
                (self.named_well(name), Some(other.clone()))
            }
            [name, extra, ..] => {
                let is_address = extra.text.contains(':') && may_be_shown(&extra.text);
                let hint = is_address.then(|| {
                    format!(
                        "an address is written in a line of its own: bind {}",
                        short(&extra.text)
                    )
                });
                let what = format!("`{word}` has one name");
                let at = extra.at.clone();
                self.piece.error(at, Mistake { what, hint, ..Mistake::default() });
                (self.named_well(name), None)
            }
        }
    }

    fn named_well(&mut self, name: &Word) -> Option<Word> {
        let is_odd = |c: char| !c.is_ascii_alphanumeric() && !"_-.:".contains(c);
        if let Some(odd) = name.text.chars().find(|c| is_odd(*c)) {
            let what = format!("`{odd}` can't be in a name");
            let expected = "letters, digits, _ - . and :".to_owned();
            let at = name.at.clone();
            self.piece.error(at, Mistake { what, expected, ..Mistake::default() });
        }
        match Kind::Name.read(&name.text) {
            Ok(_) => Some(name.clone()),
            Err(mistake) => {
                self.piece.error(name.at.clone(), mistake);
                None
            }
        }
    }

    /// The word of the table that a line begins with, where it is honoured; all else is said.
    pub(super) fn answer(
        &mut self,
        section: &'static str,
        line: &Line,
    ) -> Option<&'static Keyword> {
        let first = line.first()?;
        let found = find(section, line);
        let Some(known) = found else {
            self.unknown(section, line);
            return None;
        };
        self.say(known, first.at.clone()).then_some(known)
    }

    /// Says what is to be said of a word; whether it is to be done.
    pub(super) fn say(&mut self, known: &Keyword, at: Span) -> bool {
        let (severity, reason) = match known.answer {
            Answer::Honoured(_) => return true,
            Answer::Noted(reason) => (Severity::Note, reason),
            Answer::Refused(reason) => (Severity::Error, reason),
            Answer::Warned(reason) => (Severity::Warning, reason),
        };
        let what = match severity {
            Severity::Error => format!("`{}` is known, but not honoured", known.name),
            _ => format!("`{}` is left out", known.name),
        };
        let mistake = Mistake { what, hint: Some(reason.to_owned()), ..Mistake::default() };
        self.piece.tell(severity, at, mistake);
        false
    }

    fn unknown(&mut self, section: &'static str, line: &Line) {
        let Some((first, rest)) = line.split_first() else { return };
        let is_pair = ["no", "option", "stats", "timeout"].contains(&first.text.as_str());
        let (name, at) = match rest.first() {
            Some(second) if is_pair => {
                (format!("{} {}", first.text, second.text), second.at.clone())
            }
            None if is_pair => {
                let what = format!("`{}` has no value", first.text);
                return self.error(first.at.clone(), what);
            }
            _ => (first.text.clone(), first.at.clone()),
        };
        let mut mistake = keywords::unknown(TABLE, section, &name);
        mistake.what = format!("unknown keyword `{}` in `{}`", short(&name), self.within);
        let near = mistake.nearest.as_deref().unwrap_or_default();
        let secrets = ["auth", "cookie", "pass", "secret", "stats", "user"];
        if secrets.iter().any(|it| name.contains(it) || near.contains(it)) {
            self.hide(rest.get(usize::from(is_pair)..).unwrap_or_default());
        }
        if first.text == "timeout" {
            mistake.expected = "client, server, connect, check, queue, tunnel".to_owned();
        }
        mistake.hint = mistake.hint.or_else(|| gone(&first.text).map(str::to_owned));
        self.piece.error(at, mistake);
    }

    pub(super) fn hide(&mut self, words: &[Word]) {
        for word in words {
            if let Some((_, source)) = self.piece.sources.first_mut() {
                source.hide(word.at.clone());
            }
        }
    }

    pub(super) fn error(&mut self, at: impl Into<At>, what: impl Into<String>) {
        self.piece.error(at, Mistake { what: what.into(), ..Mistake::default() });
    }

    /// The only value of a line that begins with a word of the table.
    pub(super) fn one(&mut self, line: &Line, known: &Keyword) -> Option<Word> {
        let words = known.name.split(' ').count();
        let values = line.get(words..).unwrap_or_default();
        let Some(value) = values.first() else {
            let at = line.last().map_or(0..0, |word| word.at.clone());
            self.error(at, format!("`{}` has no value", known.name));
            return None;
        };
        self.no_more(values, 1, known.name).then(|| value.clone())
    }

    /// Whether nothing follows the first of these words.
    pub(super) fn no_more(&mut self, words: &[Word], count: usize, name: &str) -> bool {
        let Some(extra) = words.get(count) else { return true };
        let before = count.checked_sub(1).and_then(|at| words.get(at));
        let is_time = name.starts_with("timeout") || name == "hard-stop-after";
        let unit = before.filter(|before| {
            is_time && before.text.bytes().all(|b| b.is_ascii_digit()) && is_unit(&extra.text)
        });
        let hint = unit.map(|before| format!("write {}{}", before.text, extra.text));
        let what = format!("`{}` is too much after `{name}`", short(&extra.text));
        self.piece.error(extra.at.clone(), Mistake { what, hint, ..Mistake::default() });
        false
    }
}

/// The entry for the beginning of a line: one word, two, or a family such as `tune.*`.
fn find(section: &str, line: &Line) -> Option<&'static Keyword> {
    let first = line.first()?.text.as_str();
    let pair = line.get(1).map(|second| format!("{first} {}", second.text));
    let families = || {
        TABLE.iter().find(|word| {
            let family = word.name.strip_suffix('*');
            word.section == section && family.is_some_and(|family| first.starts_with(family))
        })
    };
    pair.and_then(|pair| keywords::find(TABLE, section, &pair))
        .or_else(|| keywords::find(TABLE, section, first))
        .or_else(families)
}

/// What became of words that HAProxy itself no longer knows.
fn gone(word: &str) -> Option<&'static str> {
    Some(match word {
        "block" => "write `http-request deny`",
        "clitimeout" => "write `timeout client`",
        "contimeout" => "write `timeout connect`",
        "reqadd" | "reqdel" | "reqirep" | "reqrep" | "rspadd" | "rspdel" | "rsprep" => {
            "write `http-request` or `http-response`"
        }
        "srvtimeout" => "write `timeout server`",
        _ => return None,
    })
}

const UNITS: &[(&str, u64)] = &[
    ("us", 1),
    ("ms", 1_000),
    ("s", 1_000_000),
    ("m", 60_000_000),
    ("h", 3_600_000_000),
    ("d", 86_400_000_000),
];

fn is_unit(text: &str) -> bool {
    UNITS.iter().any(|(unit, _)| *unit == text)
}

/// Reads `10s`, `500ms`, or a number of milliseconds.
pub(super) fn time(text: &str) -> Result<Value, Mistake> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let unit = if unit.is_empty() { "ms" } else { unit };
    let factor = UNITS.iter().find(|(name, _)| *name == unit).map(|(_, factor)| *factor);
    let micros = number.parse::<u64>().ok().zip(factor);
    if let Some(micros) = micros.and_then(|(number, factor)| number.checked_mul(factor)) {
        return Ok(Value::Duration(Duration::from_micros(micros)));
    }
    let first = unit.get(..1).filter(|first| is_unit(first) && !number.is_empty());
    Err(Mistake {
        what: format!("`{}` is not a time", short(text)),
        expected: "a whole number with us, ms, s, m, h or d; ms where there is no unit".to_owned(),
        nearest: first.map(|first| format!("{number}{first}")),
        hint: None,
    })
}

/// Reads a whole number within a range.
pub(super) fn number(name: &str, min: u64, max: u64, text: &str) -> Result<Value, Mistake> {
    let kind = Kind::Count { min, max };
    kind.read(text).map_err(|mistake| {
        let is_number = text.trim_start_matches('-').bytes().all(|b| b.is_ascii_digit());
        if is_number && !text.is_empty() {
            let what = format!("{} is out of range", short(text));
            return Mistake { what, ..mistake };
        }
        let hint = Some(format!("HAProxy would take `{name}` for 0"));
        Mistake { hint, ..mistake }
    })
}
