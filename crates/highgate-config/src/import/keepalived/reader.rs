//! Statements to vips: what is common to all blocks, and the order in which they are read.

use std::{collections::BTreeMap, time::Duration};

use super::{blocks::Statement, keywords::TABLE, lexer::Word, track::Weights};
use crate::{
    NodeName, Severity,
    import::keywords::{self, Answer, TOP},
    piece::{At, Piece, Span},
    settings::{Kind, Mistake, Value, short},
};

pub(super) struct Reader<'a> {
    pub(super) piece: &'a mut Piece,
    pub(super) node: NodeName,
    /// What `global_defs` sets for vips that do not.
    pub(super) defaults: BTreeMap<&'static str, (Value, At)>,
    /// Groups of multicast by family: IPv4, IPv6.
    pub(super) multicast: [Option<(Value, At)>; 2],
    pub(super) script_user: Option<String>,
    pub(super) strict: Option<At>,
    /// The first notify command of an instance or group that names no account.
    pub(super) without_account: Option<At>,
    pub(super) weights: Weights,
    /// Pipes and their scripts, as far as they were read.
    pub(super) fifos: Vec<Statement>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(piece: &'a mut Piece, node: NodeName) -> Self {
        Self {
            piece,
            node,
            defaults: BTreeMap::new(),
            multicast: [None, None],
            script_user: None,
            strict: None,
            without_account: None,
            weights: Weights::default(),
            fifos: Vec::new(),
        }
    }

    /// What others refer to is read first, wherever it stands.
    pub(super) fn read(&mut self, statements: &[Statement]) {
        let named = |names: &'static [&'static str]| {
            statements.iter().filter(move |it| names.contains(&it.name()))
        };
        for statement in named(&["global_defs"]) {
            self.global(statement);
        }
        self.fifos();
        for statement in named(&["vrrp_script"]) {
            self.script(statement);
        }
        for statement in named(&["track_file", "vrrp_track_file"]) {
            self.track_file(statement);
        }
        for statement in named(&["track_process", "vrrp_track_process"]) {
            self.track_process(statement);
        }
        for statement in named(&["vrrp_instance"]) {
            self.instance(statement);
        }
        for statement in named(&["vrrp_sync_group"]) {
            self.group(statement);
        }
        for statement in statements {
            self.answer(TOP, statement);
        }
    }

    /// Says what is to be said of a word; whether it is to be done.
    pub(super) fn answer(&mut self, section: &'static str, statement: &Statement) -> bool {
        let Some(word) = statement.words.first() else { return false };
        let (severity, reason) = match keywords::find(TABLE, section, &word.text) {
            None => {
                self.unknown(section, statement, word);
                return false;
            }
            Some(known) => match known.answer {
                Answer::Honoured(_) => return true,
                Answer::Noted(reason) => (Severity::Note, reason),
                Answer::Refused(reason) => (Severity::Error, reason),
                Answer::Warned(reason) => (Severity::Warning, reason),
            },
        };
        let what = match severity {
            Severity::Error => format!("`{}` is known, but not honoured", word.text),
            _ => format!("`{}` is left out", word.text),
        };
        let mistake = Mistake { what, hint: Some(reason.to_owned()), ..Mistake::default() };
        self.piece.tell(severity, word.at.clone(), mistake);
        false
    }

    fn unknown(&mut self, section: &'static str, statement: &Statement, word: &Word) {
        let mistake = keywords::unknown(TABLE, section, &word.text);
        let near = mistake.nearest.as_deref().unwrap_or_default();
        let name = word.text.to_ascii_lowercase();
        let is_secret = section == "authentication"
            || [near, &name].iter().any(|it| it.contains("pass") || it.contains("auth"));
        if is_secret {
            self.hide(statement.arguments());
            for line in statement.lines() {
                self.hide(&line.words);
            }
        }
        self.piece.error(word.at.clone(), mistake);
    }

    /// Nothing of these words will be shown if they are not made as what belongs there.
    pub(super) fn hide_what_is_no(&mut self, kind: Kind, words: &[Word]) {
        let texts: Vec<&str> = words.iter().map(|word| word.text.as_str()).collect();
        if !kind.may_be_shown(&texts.join(" ")) {
            self.hide(words);
        }
    }

    /// Nothing of these words will be shown.
    pub(super) fn hide(&mut self, words: &[Word]) {
        for word in words {
            if let Some((_, source)) = self.piece.sources.get_mut(word.at.source) {
                source.hide(word.at.span.clone());
            }
        }
    }

    pub(super) fn error(&mut self, at: At, what: impl Into<String>) {
        self.piece.error(at, Mistake { what: what.into(), ..Mistake::default() });
    }

    pub(super) fn expected(&mut self, at: At, what: impl Into<String>, expected: &str) {
        let (what, expected) = (what.into(), expected.to_owned());
        self.piece.error(at, Mistake { what, expected, ..Mistake::default() });
    }

    /// The only argument of a statement.
    pub(super) fn one<'s>(&mut self, statement: &'s Statement) -> Option<&'s Word> {
        self.no_block(statement);
        match statement.arguments() {
            [word] => Some(word),
            [] => {
                self.error(statement.at(), format!("`{}` has no value", statement.name()));
                None
            }
            [_, second, ..] => {
                let what = format!("`{}` takes one value", statement.name());
                self.error(second.at.clone(), what);
                None
            }
        }
    }

    /// Nothing follows, or a boolean.
    pub(super) fn flag(&mut self, statement: &Statement) -> Option<bool> {
        self.no_block(statement);
        match statement.arguments() {
            [] => Some(true),
            [word] => match word.text.as_str() {
                "on" | "true" | "yes" => Some(true),
                "off" | "false" | "no" => Some(false),
                text => {
                    let what = format!("`{}` is neither true nor false", short(text));
                    self.expected(word.at.clone(), what, "on, off, true, false, yes or no");
                    None
                }
            },
            [_, second, ..] => {
                let what = format!("`{}` takes one value", statement.name());
                self.error(second.at.clone(), what);
                None
            }
        }
    }

    pub(super) fn no_block(&mut self, statement: &Statement) {
        if statement.block.is_some() {
            let what = format!("`{}` is not a block", statement.name());
            self.error(statement.at(), what);
        }
    }

    /// The lines of a block; what is said where there is none.
    pub(super) fn block<'s>(&mut self, statement: &'s Statement) -> &'s [Statement] {
        if statement.block.is_none() {
            let name = short(statement.name());
            let what = format!("`{name}` is a block, and there is no `{{`");
            self.expected(statement.at(), what, &format!("{name} {{ … }}"));
        }
        statement.lines()
    }

    /// The name of a block such as `vrrp_instance VI_1 {`.
    pub(super) fn name(&mut self, statement: &Statement) -> Option<Word> {
        let word = match statement.arguments() {
            [word] => word,
            [] => {
                self.error(statement.at(), format!("`{}` has no name", statement.name()));
                return None;
            }
            [_, second, ..] => {
                let what = format!("`{}` has one name", statement.name());
                self.error(second.at.clone(), what);
                return None;
            }
        };
        match Kind::Name.read(&word.text) {
            Ok(_) => Some(word.clone()),
            Err(mistake) => {
                self.piece.error(word.at.clone(), mistake);
                None
            }
        }
    }
}

/// From the first of these words to the last, where they are in one text.
pub(super) fn across(words: &[Word]) -> At {
    match (words.first(), words.last()) {
        (Some(first), Some(last)) if first.at.source == last.at.source => {
            let span: Span = first.at.span.start..last.at.span.end.max(first.at.span.end);
            At { source: first.at.source, span }
        }
        (Some(first), _) => first.at.clone(),
        _ => At::from(0..0),
    }
}

/// Reads a number of seconds within the range of a setting; what is expected is told in seconds.
pub(super) fn seconds_of(kind: Kind, text: &str) -> Result<Value, Mistake> {
    kind.in_range(seconds(text)?).map_err(|mistake| {
        let expected = match kind {
            Kind::Duration { min, max } => {
                format!("seconds, from {} to {}", min.as_secs_f64(), max.as_secs_f64())
            }
            _ => mistake.expected,
        };
        Mistake { what: format!("{} is out of range", short(text)), expected, ..mistake }
    })
}

/// Reads a number of seconds, which may have a fraction.
pub(super) fn seconds(text: &str) -> Result<Value, Mistake> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let is_number = !whole.is_empty()
        && whole.len() <= 9
        && fraction.len() <= 6
        && (whole.bytes().chain(fraction.bytes())).all(|b| b.is_ascii_digit());
    let micros = format!("{fraction:0<6}").parse::<u64>().ok();
    match (whole.parse::<u64>(), micros) {
        (Ok(whole), Some(micros)) if is_number => {
            let time = Duration::from_secs(whole) + Duration::from_micros(micros);
            Ok(Value::Duration(time))
        }
        _ => {
            let unit = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
            let is_right = unit.len() < text.len() && seconds(unit).is_ok();
            let hint = is_right.then(|| "Keepalived counts in seconds, without a unit".to_owned());
            Err(Mistake {
                what: format!("`{}` is not a number of seconds", short(text)),
                expected: "seconds, such as 1 or 0.5".to_owned(),
                hint,
                ..Mistake::default()
            })
        }
    }
}
