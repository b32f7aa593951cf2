//! What an instance moves: addresses, the interface that carries them, routes and rules of routing.

use super::{
    blocks::Statement,
    keywords::{ADDRESS, ROUTE, RULE, TABLE},
    lexer::Word,
    reader::{Reader, across},
};
use crate::{
    Severity, Vip,
    import::{
        keywords::{self, Answer},
        thing::Thing,
    },
    settings::{Kind, Mistake, RULE_PRIORITY, VIP, Value, short},
};

impl Reader<'_> {
    /// `use_vmac [NAME] [MAC ADDRESS]`; an address of five bytes goes on with the router's number.
    pub(super) fn vmac(&mut self, thing: &mut Thing<Vip>, line: &Statement, router: Option<&Word>) {
        self.no_block(line);
        thing.set(self.piece, &VIP, "vmac.enabled", Ok(Value::Flag(true)), &line.at());
        let mut words = line.arguments().iter().peekable();
        if let Some(name) = words.next_if(|word| !word.text.contains(':')) {
            thing.set(self.piece, &VIP, "vmac.name", Kind::Interface.read(&name.text), &name.at);
        }
        if let Some(mac) = words.next() {
            let mut text = mac.text.clone();
            if text.matches(':').count() == 4
                && let Some(router) = router.and_then(|word| word.text.parse::<u8>().ok())
            {
                text = format!("{text}:{router:02x}");
            }
            thing.set(self.piece, &VIP, "vmac.address", Kind::Mac.read(&text), &mac.at);
        }
        if let Some(more) = words.next() {
            let what = format!("`{}` is one word too many", short(&more.text));
            self.expected(more.at.clone(), what, "use_vmac [NAME] [MAC ADDRESS]");
        }
    }

    /// `virtual_routes` and `virtual_rules`.
    pub(super) fn routing(&mut self, thing: &mut Thing<Vip>, statement: &Statement) {
        let is_rules = statement.name() == "virtual_rules";
        let (field, kind, section) = if is_rules {
            ("rules", Kind::RoutingRules, RULE)
        } else {
            ("routes", Kind::Routes, ROUTE)
        };
        let mut read = kind.empty_list();
        for line in self.block(statement) {
            self.no_block(line);
            let before = self.piece.found.len();
            let words = self.known_words(section, &line.words);
            let is_refused =
                self.piece.found.iter().skip(before).any(|it| it.severity == Severity::Error);
            if is_refused {
                self.piece.failed.insert((thing.place.clone(), field));
                continue;
            }
            match (&mut read, self.whole(kind, &words)) {
                (Value::Routes(all), Some(Value::Routes(one))) => all.extend(one),
                (Value::RoutingRules(all), Some(Value::RoutingRules(one))) => {
                    self.without_priority(line);
                    all.extend(one);
                }
                _ => drop(self.piece.failed.insert((thing.place.clone(), field))),
            }
        }
        thing.set(self.piece, &VIP, field, Ok(read), &statement.at());
    }

    fn without_priority(&mut self, line: &Statement) {
        let names = ["order", "pref", "preference", "prio", "priority"];
        if line.words.iter().any(|word| names.contains(&word.text.as_str())) {
            return;
        }
        let what = format!("the rule names no priority: it gets {RULE_PRIORITY}");
        let hint = Some(
            "as with Keepalived; write `priority N`, so that it is known which rule comes first"
                .to_owned(),
        );
        let mistake = Mistake { what, hint, ..Mistake::default() };
        self.piece.tell(Severity::Warning, across(&line.words), mistake);
    }

    pub(super) fn addresses(&mut self, thing: &mut Thing<Vip>, statement: &Statement) {
        let field = match statement.name() {
            "virtual_ipaddress" => "addresses",
            _ => "excluded_addresses",
        };
        let mut read = Vec::new();
        for line in self.block(statement) {
            self.no_block(line);
            let words = self.known_words(ADDRESS, &line.words);
            if let Some(Value::VipAddresses(one)) = self.entry(Kind::VipAddresses, &words) {
                read.extend(one);
            }
        }
        if read.is_empty() {
            self.piece.failed.insert((thing.place.clone(), field));
            if statement.lines().is_empty() {
                let what = format!("`{}` lists no address", statement.name());
                self.error(statement.at(), what);
            }
        }
        thing.set(self.piece, &VIP, field, Ok(Value::VipAddresses(read)), &statement.at());
    }

    /// Takes out what is said of an address, route or rule beyond what we keep.
    fn known_words(&mut self, section: &'static str, words: &[Word]) -> Vec<Word> {
        let mut kept = Vec::new();
        let mut rest = words.iter();
        kept.extend(rest.next().cloned());
        while let Some(word) = rest.next() {
            let known = keywords::find(TABLE, section, &word.text);
            let (severity, reason) = match known.map(|known| known.answer) {
                None | Some(Answer::Honoured(_)) => {
                    kept.push(word.clone());
                    kept.extend(known.and_then(|_| rest.next()).cloned());
                    continue;
                }
                Some(Answer::Noted(reason)) => (Severity::Note, reason),
                Some(Answer::Warned(reason)) => (Severity::Warning, reason),
                Some(Answer::Refused(reason)) => (Severity::Error, reason),
            };
            let what = match severity {
                Severity::Error => format!("`{}` is known, but not honoured", word.text),
                _ => format!("`{}` is left out", word.text),
            };
            let hint = Some(reason.to_owned());
            self.piece.tell(
                severity,
                word.at.clone(),
                Mistake { what, hint, ..Mistake::default() },
            );
            if WITH_VALUE.contains(&word.text.as_str()) {
                rest.next();
            }
        }
        kept
    }

    /// Words that mean something together only; the one that is named is blamed.
    fn whole(&mut self, kind: Kind, words: &[Word]) -> Option<Value> {
        let texts: Vec<&str> = words.iter().map(|word| word.text.as_str()).collect();
        let text = texts.join(" ");
        match kind.read(&text) {
            Ok(value) => Some(value),
            Err(mistake) => {
                self.hide_what_is_no(kind, words);
                let at = words.iter().find(|it| mistake.what.contains(&format!("`{}`", it.text)));
                let at = at.map_or_else(|| across(words), |word| word.at.clone());
                self.piece.error(at, mistake);
                None
            }
        }
    }

    /// An entry of several words, blamed where it is wrong.
    pub(super) fn entry(&mut self, kind: Kind, words: &[Word]) -> Option<Value> {
        let (first, rest) = words.split_first()?;
        let texts: Vec<&str> = words.iter().map(|word| word.text.as_str()).collect();
        let text = texts.join(" ");
        if !kind.may_be_shown(&text) {
            return self.whole(kind, words);
        }
        match (kind.read(&first.text), kind.read(&text)) {
            (Err(mistake), _) => {
                self.piece.error(first.at.clone(), mistake);
                None
            }
            (_, Err(mistake)) => {
                let at = rest.iter().find(|it| mistake.what.contains(&format!("`{}`", it.text)));
                let at = at.map_or_else(|| across(rest), |word| word.at.clone());
                self.piece.error(at, mistake);
                None
            }
            (_, Ok(value)) => Some(value),
        }
    }
}

/// Words that are left out together with the one behind them.
const WITH_VALUE: &[&str] = &["home", "peer", "preferred_lft", "proto", "protocol", "track_group"];
