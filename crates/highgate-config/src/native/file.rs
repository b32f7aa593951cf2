//! Whole files: their things, their names, and what does not fit together.

use std::collections::{BTreeMap, BTreeSet};

use toml_edit::{Document, Item, TableLike};

use super::{
    Input, Parsed, Problem, Problems,
    reader::{At, Found, Read, Reader, Span},
};
use crate::{
    BackendName, Check, Config, Dialect, ListenerName, Node, NodeName, Place, ServerName, Severity,
    TlsMode, UserName, dialect,
    faults::{Fault, faults},
    settings::{
        ADMIN_USER, BACKEND, LISTENER, ListenerDraft, Mistake, NODE, RULE, SERVER, TableOf, USER,
        Value,
    },
};

pub(super) fn parse(inputs: &[Input<'_>], node: &NodeName) -> Result<Parsed, Problems> {
    let mut files = Files {
        reader: Reader::new(""),
        read: Vec::new(),
        places: BTreeMap::new(),
        failed: BTreeSet::new(),
        config: Config::default(),
        own: NODE.defaults(),
        node: node.clone(),
    };
    for input in inputs {
        files.file(input.text);
    }
    files.finish(inputs)
}

/// The files that are read as one: the one at hand, and what the ones before said.
struct Files<'a> {
    reader: Reader<'a>,
    /// Readers of the files before.
    read: Vec<Reader<'a>>,
    /// Where each thing and each of its settings is written; the thing itself under "".
    places: BTreeMap<(Place, &'static str), At>,
    /// Settings that are missing or could not be read; nothing is said about them twice.
    failed: BTreeSet<(Place, &'static str)>,
    config: Config,
    /// This node's part.
    own: Node,
    node: NodeName,
}

impl<'a> Files<'a> {
    fn file(&mut self, text: &'a str) {
        self.reader = Reader::new(text);
        match (Dialect::of(text), Document::parse(text)) {
            (Dialect::Native, Ok(document)) => self.read(document.as_table()),
            (Dialect::Native, Err(error)) => {
                self.reader.source.hide_all_values();
                let at = error.span().unwrap_or(0..0);
                let message = error.message().lines().collect::<Vec<_>>().join(", ");
                let what = format!("this is not TOML: {message}");
                self.reader.error(at, Mistake { what, ..Mistake::default() });
            }
            (dialect, _) => {
                self.reader.source.hide_all_values();
                let at = dialect::first_line(text);
                let what = format!("this is {dialect}, which Highgate does not read yet");
                let hint = Some("write it in the native form: `highgate manual` lists it".into());
                self.reader.error(at, Mistake { what, hint, ..Mistake::default() });
            }
        }
        self.read.push(std::mem::replace(&mut self.reader, Reader::new("")));
    }

    fn read(&mut self, top: &toml_edit::Table) {
        self.node(top);
        for (toml, at) in self.tables(top, "listener", "[[listener]]") {
            if let Some((name, draft)) = self.listener(toml, &at) {
                self.own.binds.insert(name.clone(), draft.binds);
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
                    self.own.admin.users.insert(name, read.draft);
                }
            }
        }
    }

    /// What a file says of the node itself; each setting may be in one of the files.
    fn node(&mut self, top: &toml_edit::Table) {
        let read = self.reader.thing(&NODE, top, &(0..0));
        let place = Place::Node(self.node.clone());
        self.places.entry((place.clone(), "")).or_insert(At { file: 0, span: 0..0 });
        for (field, span) in &read.fields {
            let key = (place.clone(), *field);
            if let Some(first) = self.places.get(&key).cloned() {
                let what = format!("`{field}` is set already");
                self.clash(what, span.clone(), first);
                continue;
            }
            if let Some(setting) = NODE.setting(field) {
                (setting.put)(&mut self.own, (setting.get)(&read.draft));
            }
            self.places.insert(key, self.here(span));
        }
        self.failed.extend(read.failed.iter().map(|field| (place.clone(), *field)));
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
        self.clash(format!("there is a {place} already"), at.clone(), first);
        false
    }

    fn clash(&mut self, what: String, at: Span, first: At) {
        let mistake = Mistake { what, ..Mistake::default() };
        let severity = Severity::Error;
        self.reader.found.push(Found { severity, at, mistake, other: Some(first) });
    }

    /// A place in the file at hand.
    fn here(&self, span: &Span) -> At {
        At { file: self.read.len(), span: span.clone() }
    }

    fn note<T>(&mut self, place: Place, at: &Span, read: &Read<T>) {
        self.places.insert((place.clone(), ""), self.here(at));
        for (field, span) in &read.fields {
            self.places.insert((place.clone(), field), self.here(span));
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

    fn finish(mut self, inputs: &[Input<'_>]) -> Result<Parsed, Problems> {
        self.config.node.insert(self.node.clone(), self.own.clone());
        for fault in faults(&self.config) {
            self.fault(fault);
        }
        let mut problems = Vec::new();
        for (number, reader) in self.read.iter_mut().enumerate() {
            let mut found = std::mem::take(&mut reader.found);
            found.sort_by_key(|found| found.at.start);
            problems.extend(found.into_iter().map(|found| (number, found)));
        }
        let problem = |(number, found)| problem(inputs, &self.read, number, found);
        let problems: Vec<Problem> = problems.into_iter().filter_map(problem).collect();
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
        let At { file, span: at } = self.at(&key);
        let other = fault.other.as_ref().map(|other| self.at(other));
        let mistake = Mistake { what: fault.what, hint: fault.hint, ..Mistake::default() };
        if let Some(reader) = self.read.get_mut(file) {
            reader.found.push(Found { severity: fault.severity, at, mistake, other });
        }
    }

    /// Where a setting is written, or its thing where it is left out.
    fn at(&self, (place, field): &(Place, &'static str)) -> At {
        let field_at = self.places.get(&(place.clone(), field));
        let thing_at = || self.places.get(&(place.clone(), ""));
        field_at.or_else(thing_at).cloned().unwrap_or(At { file: 0, span: 0..0 })
    }
}

fn problem(
    inputs: &[Input<'_>],
    readers: &[Reader<'_>],
    number: usize,
    found: Found,
) -> Option<Problem> {
    let name_of = |number: usize| Some(inputs.get(number)?.name.to_owned());
    let spot = readers.get(number)?.source.spot(&found.at);
    let other = found.other.and_then(|other| {
        let file = if other.file == number { None } else { name_of(other.file) };
        Some((file, readers.get(other.file)?.source.line_of(other.span.start)))
    });
    let (other_file, other_line) = other.map_or((None, None), |(file, line)| (file, Some(line)));
    Some(Problem {
        severity: found.severity,
        file: name_of(number)?,
        line: spot.line,
        column: spot.column,
        what: found.mistake.what,
        expected: found.mistake.expected,
        nearest: found.mistake.nearest,
        hint: found.mistake.hint,
        other_line,
        other_file,
        source: spot.shown,
        width: spot.width,
    })
}
