//! One table of a file to the draft of one thing, by the declarations of its settings.

use std::collections::BTreeSet;

use toml_edit::{Item, TableLike, Value as Toml};

use crate::{
    nearest::nearest,
    piece::{Piece, Span},
    settings::{Kind, Mistake, Setting, TableOf, Value, WhenLeftOut, short},
};

/// A thing as far as it could be read.
pub(super) struct Read<T> {
    pub(super) draft: T,
    /// Its name or number, and where it is written.
    pub(super) key: Option<(Value, Span)>,
    /// Where each setting is written.
    pub(super) fields: Vec<(&'static str, Span)>,
    /// Settings that are missing or could not be read.
    pub(super) failed: BTreeSet<&'static str>,
}

pub(super) struct Reader {
    pub(super) piece: Piece,
}

impl Reader {
    /// The only text of the piece.
    pub(super) fn hide(&mut self, span: Span) {
        if let Some((_, source)) = self.piece.sources.first_mut() {
            source.hide(span);
        }
    }

    pub(super) fn hide_line_at(&mut self, offset: usize) {
        if let Some((_, source)) = self.piece.sources.first_mut() {
            source.hide_line_at(offset);
        }
    }

    pub(super) fn hide_all_values(&mut self) {
        if let Some((_, source)) = self.piece.sources.first_mut() {
            source.hide_all_values();
        }
    }

    /// Reads a table; `at` is its heading.
    pub(super) fn thing<T>(
        &mut self,
        table: &TableOf<T>,
        toml: &dyn TableLike,
        at: &Span,
    ) -> Read<T> {
        let mut read = Read {
            draft: table.defaults(),
            key: None,
            fields: Vec::new(),
            failed: BTreeSet::new(),
        };
        self.keys(table, toml, "", &mut read);
        if let Some(key) = table.key
            && read.key.is_none()
            && !toml.contains_key(key.name)
        {
            self.missing(table.heading, key.name, at);
        }
        for setting in table.settings().filter(|it| it.default == WhenLeftOut::Required) {
            let is_there = read.fields.iter().any(|(name, _)| *name == setting.name);
            if !is_there && read.failed.insert(setting.name) {
                self.missing(table.heading, setting.name, at);
            }
        }
        read
    }

    fn keys<T>(
        &mut self,
        table: &TableOf<T>,
        toml: &dyn TableLike,
        prefix: &str,
        read: &mut Read<T>,
    ) {
        let entries: Vec<(&str, &Item)> = toml.iter().collect();
        for (name, item) in entries {
            let key_span = toml.get_key_value(name).and_then(|(key, _)| key.span());
            let at = key_span.or_else(|| item.span()).unwrap_or(0..0);
            let full = format!("{prefix}{name}");
            let inside = format!("{full}.");
            if table.children.contains(&full.as_str()) {
            } else if let Some(key) = table.key.filter(|key| key.name == full) {
                if let Some(value) = self.value(&key.kind, item, &at) {
                    read.key = Some((value, item.span().unwrap_or(at)));
                }
            } else if let Some(setting) = table.setting(&full) {
                self.setting(setting, item, &at, read);
            } else if table.settings().any(|setting| setting.name.starts_with(&inside)) {
                match item.as_table_like() {
                    Some(toml) => self.keys(table, toml, &inside, read),
                    None => self.not_a_table(name, item, at),
                }
            } else {
                self.unknown(table, prefix, name, item, at);
            }
        }
    }

    fn setting<T>(&mut self, setting: &Setting<T>, item: &Item, at: &Span, read: &mut Read<T>) {
        if matches!(setting.kind, Kind::Secret | Kind::Secrets)
            && let Some(span) = item.span()
        {
            self.hide(span);
        }
        read.fields.push((setting.name, item.span().unwrap_or_else(|| at.clone())));
        match self.value(&setting.kind, item, at) {
            Some(value) => (setting.put)(&mut read.draft, value),
            None => {
                read.failed.insert(setting.name);
            }
        }
    }

    /// The value of an item; what is wrong with it is noted.
    fn value(&mut self, kind: &Kind, item: &Item, at: &Span) -> Option<Value> {
        let Some(toml) = item.as_value() else {
            self.hide_line_at(at.start);
            self.error(at.clone(), kind.mistake("this is a table".to_owned()));
            return None;
        };
        let Some(array) = toml.as_array().filter(|_| kind.is_list()) else {
            return self.scalar(kind, toml, at);
        };
        let read: Vec<Option<Value>> =
            array.iter().map(|element| self.scalar(kind, element, at)).collect();
        let values: Option<Vec<Value>> = read.into_iter().collect();
        Some(values?.into_iter().fold(kind.empty_list(), joined))
    }

    fn scalar(&mut self, kind: &Kind, toml: &Toml, at: &Span) -> Option<Value> {
        match scalar(kind, toml) {
            Ok(value) => Some(value),
            Err(mistake) => {
                if toml.is_inline_table() || toml.is_array() {
                    self.hide_line_at(at.start);
                }
                if !toml.as_str().is_none_or(|text| kind.may_be_shown(text)) {
                    self.hide(toml.span().unwrap_or_else(|| at.clone()));
                }
                self.error(toml.span().unwrap_or_else(|| at.clone()), mistake);
                None
            }
        }
    }

    fn unknown<T>(&mut self, table: &TableOf<T>, prefix: &str, name: &str, item: &Item, at: Span) {
        // What an unknown key holds may be a secret whose key is mistyped.
        match item.as_value().and_then(Toml::span) {
            Some(span) => self.hide(span),
            None => self.hide_line_at(at.start),
        }
        let full = format!("{prefix}{name}");
        if let Some((_, reason)) = table.refused.iter().find(|(known, _)| *known == full) {
            let what = format!("`{full}` is known, but not honoured");
            let hint = Some((*reason).to_owned());
            return self.error(at, Mistake { what, hint, ..Mistake::default() });
        }
        let known = table
            .settings()
            .map(|setting| setting.name)
            .chain(table.children.iter().copied())
            .chain(table.key.map(|key| key.name))
            .filter_map(|known| known.strip_prefix(prefix))
            .map(|known| known.split('.').next().unwrap_or(known));
        let elsewhere = table.settings().find(|setting| is_known_as(setting.also_known_as, name));
        let near = match elsewhere {
            Some(setting) => Some(setting.name),
            None => nearest(name, known),
        };
        let place = if table.heading.is_empty() { "at the top of the file" } else { table.heading };
        let kind = if item.is_value() { "setting" } else { "table" };
        let what = match prefix.strip_suffix('.') {
            Some(group) => format!("unknown {kind} `{}` in `{group}`", short(name)),
            None if table.heading.is_empty() => format!("unknown {kind} `{}` {place}", short(name)),
            None => format!("unknown {kind} `{}` in {place}", short(name)),
        };
        self.error(at, Mistake { what, nearest: near.map(str::to_owned), ..Mistake::default() });
    }

    fn not_a_table(&mut self, name: &str, item: &Item, at: Span) {
        self.hide_line_at(at.start);
        let at = item.span().unwrap_or(at);
        let expected = format!("a table such as {name} = {{ … }}");
        let what = format!("`{}` is not a table", short(name));
        self.error(at, Mistake { what, expected, ..Mistake::default() });
    }

    fn missing(&mut self, heading: &str, name: &str, at: &Span) {
        let what = format!("{heading} has no `{name}`");
        self.error(at.clone(), Mistake { what, ..Mistake::default() });
    }

    pub(super) fn error(&mut self, at: Span, mistake: Mistake) {
        self.piece.error(at, mistake);
    }
}

/// Whether another program calls it by this name: `maxconn` for "server maxconn".
fn is_known_as(names: &[(&str, &str)], name: &str) -> bool {
    names.iter().any(|(_, theirs)| theirs.rsplit([' ', '.']).next() == Some(name))
}

fn joined(list: Value, one: Value) -> Value {
    match (list, one) {
        (Value::Addresses(mut list), Value::Addresses(one)) => {
            list.extend(one);
            Value::Addresses(list)
        }
        (Value::Names(mut list), Value::Names(one)) => {
            list.extend(one);
            Value::Names(list)
        }
        (Value::Peers(mut list), Value::Peers(one)) => {
            list.extend(one);
            Value::Peers(list)
        }
        (Value::Tracks(mut list), Value::Tracks(one)) => {
            list.extend(one);
            Value::Tracks(list)
        }
        (Value::VipAddresses(mut list), Value::VipAddresses(one)) => {
            list.extend(one);
            Value::VipAddresses(list)
        }
        (Value::Networks(mut list), Value::Networks(one)) => {
            list.extend(one);
            Value::Networks(list)
        }
        (Value::Routes(mut list), Value::Routes(one)) => {
            list.extend(one);
            Value::Routes(list)
        }
        (Value::RoutingRules(mut list), Value::RoutingRules(one)) => {
            list.extend(one);
            Value::RoutingRules(list)
        }
        (Value::VipFifos(mut list), Value::VipFifos(one)) => {
            list.extend(one);
            Value::VipFifos(list)
        }
        (Value::Secrets(mut list), Value::Secrets(one)) => {
            list.extend(one);
            Value::Secrets(list)
        }
        (list, _) => list,
    }
}

fn scalar(kind: &Kind, toml: &Toml) -> Result<Value, Mistake> {
    match (kind, toml) {
        (Kind::Flag, Toml::Boolean(flag)) => Ok(Value::Flag(*flag.value())),
        (Kind::Count { .. }, Toml::Integer(number)) => match u64::try_from(*number.value()) {
            Ok(number) => kind.in_range(Value::Count(number)),
            Err(_) => Err(kind.mistake(format!("{} is out of range", number.value()))),
        },
        (Kind::Duration { .. } | Kind::Bytes { .. }, Toml::Integer(number)) => {
            Err(kind.bad_unit(&number.value().to_string()))
        }
        (Kind::Flag | Kind::Count { .. }, Toml::String(text)) => {
            let mistake = kind.mistake("this is a text".to_owned());
            let is_right = kind.read(text.value()).is_ok();
            let hint = is_right.then(|| format!("write {} without quotes", text.value()));
            Err(Mistake { hint, ..mistake })
        }
        (_, Toml::String(text)) => kind.read(text.value()),
        (_, other) => {
            let is_a = match other {
                Toml::Array(_) => "a list",
                Toml::Boolean(_) => "true or false",
                Toml::Datetime(_) => "a date",
                Toml::Float(_) => "a number with a fraction",
                Toml::InlineTable(_) => "a table",
                Toml::Integer(_) => "a number",
                Toml::String(_) => "a text",
            };
            Err(kind.mistake(format!("this is {is_a}")))
        }
    }
}
