//! A whole file: its things, their names, and what does not fit together.

use std::collections::{BTreeMap, BTreeSet};

use toml_edit::{Document, Item, TableLike};

use super::{
    Parsed, Problem, Problems,
    reader::{Found, Read, Reader, Span},
    source::Source,
};
use crate::{
    BackendName, Check, Config, ListenerName, NodeName, Place, ServerName, Severity, TlsMode,
    UserName,
    faults::{Fault, faults},
    settings::{
        ADMIN_USER, BACKEND, LISTENER, ListenerDraft, Mistake, NODE, RULE, SERVER, TableOf, USER,
        Value,
    },
};

pub(super) fn parse(file_name: &str, text: &str, node: &NodeName) -> Result<Parsed, Problems> {
    let mut file = File {
        reader: Reader { source: Source::new(text), found: Vec::new() },
        places: BTreeMap::new(),
        failed: BTreeSet::new(),
        config: Config::default(),
        node: node.clone(),
    };
    match Document::parse(text) {
        Ok(document) => file.read(document.as_table()),
        Err(error) => {
            file.reader.source.hide_all_values();
            let at = error.span().unwrap_or(0..0);
            let message = error.message().lines().collect::<Vec<_>>().join(", ");
            let what = format!("this is not TOML: {message}");
            file.reader.error(at, Mistake { what, ..Mistake::default() });
        }
    }
    file.finish(file_name)
}

struct File<'a> {
    reader: Reader<'a>,
    /// Where each thing and each of its settings is written; the thing itself under "".
    places: BTreeMap<(Place, &'static str), Span>,
    /// Settings that are missing or could not be read; nothing is said about them twice.
    failed: BTreeSet<(Place, &'static str)>,
    config: Config,
    node: NodeName,
}

impl File<'_> {
    fn read(&mut self, top: &toml_edit::Table) {
        let read = self.reader.thing(&NODE, top, &(0..0));
        let node = Place::Node(self.node.clone());
        let mut own = read.draft.clone();
        self.note(node, &(0..0), &read);
        for (toml, at) in self.tables(top, "listener", "[[listener]]") {
            if let Some((name, draft)) = self.listener(toml, &at) {
                own.binds.insert(name.clone(), draft.binds);
                self.config.shared.listeners.insert(name, draft.listener);
            }
        }
        for (toml, at) in self.tables(top, "backend", "[[backend]]") {
            self.backend(toml, &at);
        }
        for (toml, at) in self.tables(top, "user", "[[user]]") {
            let read = self.named(&USER, toml, &at, |name| Place::User(UserName::from(name)));
            if let Some((Place::User(name), read)) = read {
                self.config.shared.users.insert(name, read.draft);
            }
        }
        for (toml, at) in self.tables(top, "rule", "[[rule]]") {
            self.rule(toml, &at);
        }
        if let Some(admin) = top.get("admin").and_then(Item::as_table_like) {
            for (toml, at) in self.tables(admin, "user", "[[admin.user]]") {
                let node = self.node.clone();
                let place = |name: &str| Place::AdminUser(node, UserName::from(name));
                let read = self.named(&ADMIN_USER, toml, &at, place);
                if let Some((Place::AdminUser(_, name), read)) = read {
                    own.admin.users.insert(name, read.draft);
                }
            }
        }
        self.config.node.insert(self.node.clone(), own);
    }

    fn listener(
        &mut self,
        toml: &dyn TableLike,
        at: &Span,
    ) -> Option<(ListenerName, ListenerDraft)> {
        let place = |name: &str| Place::Listener(ListenerName::from(name));
        let (place, mut read) = self.named(&LISTENER, toml, at, place)?;
        let tls = &mut read.draft.listener.tls;
        if !read.fields.iter().any(|(field, _)| *field == "tls.mode") && tls.cert.is_some() {
            tls.mode = TlsMode::Preferred;
        }
        match place {
            Place::Listener(name) => Some((name, read.draft)),
            _ => None,
        }
    }

    fn backend(&mut self, toml: &dyn TableLike, at: &Span) {
        let place = |name: &str| Place::Backend(BackendName::from(name));
        let read = self.named(&BACKEND, toml, at, place);
        // The servers of a backend that can't be named are read as well, for their mistakes.
        let name = match &read {
            Some((Place::Backend(name), _)) => name.clone(),
            _ => BackendName::from(""),
        };
        let mut servers = BTreeMap::new();
        for (toml, at) in self.tables(toml, "server", "[[backend.server]]") {
            let place = |server: &str| Place::Server(name.clone(), ServerName::from(server));
            let server = self.named(&SERVER, toml, &at, place);
            if let Some((Place::Server(_, name), read)) = server {
                servers.insert(name, read.draft);
            }
        }
        let Some((_, mut read)) = read else { return };
        read.draft.servers = servers;
        let monitor = &mut read.draft.monitor;
        if !read.fields.iter().any(|(field, _)| *field == "monitor.check")
            && monitor.user.is_empty()
        {
            monitor.check = Check::Connect;
        }
        self.config.shared.backends.insert(name, read.draft);
    }

    fn rule(&mut self, toml: &dyn TableLike, at: &Span) {
        let read = self.reader.thing(&RULE, toml, at);
        let Some((Value::Count(id), key_at)) = read.key.clone() else {
            return;
        };
        let Ok(id) = u32::try_from(id) else { return };
        if self.is_new(&Place::Rule(id), &key_at) {
            self.note(Place::Rule(id), &key_at, &read);
            self.config.shared.rules.insert(id, read.draft);
        }
    }

    /// Reads a thing with a name; `None` where it has none, or another thing has it.
    fn named<T>(
        &mut self,
        table: &TableOf<T>,
        toml: &dyn TableLike,
        at: &Span,
        place: impl FnOnce(&str) -> Place,
    ) -> Option<(Place, Read<T>)> {
        let read = self.reader.thing(table, toml, at);
        let (Value::Text(name), key_at) = read.key.clone()? else {
            return None;
        };
        let place = place(&name);
        if !self.is_new(&place, &key_at) {
            return None;
        }
        self.note(place.clone(), &key_at, &read);
        Some((place, read))
    }

    fn is_new(&mut self, place: &Place, at: &Span) -> bool {
        let Some(first) = self.places.get(&(place.clone(), "")).cloned() else {
            return true;
        };
        let what = format!("there is a {place} already");
        let mistake = Mistake { what, ..Mistake::default() };
        let (severity, at) = (Severity::Error, at.clone());
        self.reader.found.push(Found { severity, at, mistake, other: Some(first) });
        false
    }

    fn note<T>(&mut self, place: Place, at: &Span, read: &Read<T>) {
        self.places.insert((place.clone(), ""), at.clone());
        for (field, span) in &read.fields {
            self.places.insert((place.clone(), field), span.clone());
        }
        self.failed.extend(read.failed.iter().map(|field| (place.clone(), *field)));
    }

    /// The tables of a list of tables, with the places of their headings.
    fn tables<'t>(
        &mut self,
        parent: &'t dyn TableLike,
        name: &str,
        heading: &str,
    ) -> Vec<(&'t dyn TableLike, Span)> {
        let Some((key, item)) = parent.get_key_value(name) else {
            return Vec::new();
        };
        let key_at = key.span().or_else(|| item.span()).unwrap_or(0..0);
        let wrong = |at: Span, reader: &mut Reader<'_>| {
            let what = format!("`{name}` is not a list of tables");
            let expected = heading.to_owned();
            reader.source.hide_line_at(at.start);
            reader.error(at, Mistake { what, expected, ..Mistake::default() });
        };
        if let Some(list) = item.as_array_of_tables() {
            let at = |table: &toml_edit::Table| table.span().unwrap_or_else(|| key_at.clone());
            return list.iter().map(|table| (table as &dyn TableLike, at(table))).collect();
        }
        let Some(list) = item.as_array() else {
            wrong(item.span().unwrap_or(key_at), &mut self.reader);
            return Vec::new();
        };
        let mut tables: Vec<(&'t dyn TableLike, Span)> = Vec::new();
        for element in list {
            let at = element.span().unwrap_or_else(|| key_at.clone());
            match element.as_inline_table() {
                Some(table) => tables.push((table, at)),
                None => wrong(at, &mut self.reader),
            }
        }
        tables
    }

    fn finish(mut self, file_name: &str) -> Result<Parsed, Problems> {
        for fault in faults(&self.config) {
            self.fault(fault);
        }
        self.reader.found.sort_by_key(|found| found.at.start);
        let source = &self.reader.source;
        let problems: Vec<Problem> =
            self.reader.found.into_iter().map(|found| problem(file_name, source, found)).collect();
        if problems.iter().any(|problem| problem.severity == Severity::Error) {
            return Err(Problems(problems));
        }
        Ok(Parsed { config: self.config, warnings: problems })
    }

    fn fault(&mut self, fault: Fault) {
        let key = (fault.place, fault.field);
        let is_failed = |key: &(Place, &'static str)| self.failed.contains(key);
        if is_failed(&key) || fault.other.as_ref().is_some_and(is_failed) {
            return;
        }
        let at = self.at(&key);
        let other = fault.other.as_ref().map(|other| self.at(other));
        let mistake = Mistake { what: fault.what, hint: fault.hint, ..Mistake::default() };
        self.reader.found.push(Found { severity: fault.severity, at, mistake, other });
    }

    /// Where a setting is written, or its thing where it is left out.
    fn at(&self, (place, field): &(Place, &'static str)) -> Span {
        let field_at = self.places.get(&(place.clone(), field));
        field_at.or_else(|| self.places.get(&(place.clone(), ""))).cloned().unwrap_or(0..0)
    }
}

fn problem(file_name: &str, source: &Source<'_>, found: Found) -> Problem {
    let spot = source.spot(&found.at);
    Problem {
        severity: found.severity,
        file: file_name.to_owned(),
        line: spot.line,
        column: spot.column,
        what: found.mistake.what,
        expected: found.mistake.expected,
        nearest: found.mistake.nearest,
        hint: found.mistake.hint,
        other_line: found.other.map(|other| source.line_of(other.start)),
        source: spot.shown,
        width: spot.width,
    }
}
