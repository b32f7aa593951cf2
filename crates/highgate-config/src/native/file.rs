//! A whole file: its things, their names, and what does not fit together.

use std::collections::BTreeMap;

use toml_edit::{Document, Item, TableLike};

use super::reader::{Read, Reader};
use crate::{
    AuthSource, BackendName, Check, ListenerName, Mode, Node, NodeName, Place, ProcessName, Rule,
    ScriptName, ServerName, TlsMode, UserName, VipGroupName, VipName, compile_pattern,
    faults::tcp,
    piece::{Piece, Span},
    settings::{
        ADMIN_USER, BACKEND, LISTENER, ListenerDraft, Mistake, NODE, PROCESS, RULE, SCRIPT, SERVER,
        TableOf, USER, VIP, VIP_GROUP, Value,
    },
    source::Source,
    surely_compiles,
};

pub(super) fn read(file_name: &str, text: &str, node: &NodeName) -> Piece {
    let sources = vec![(file_name.to_owned(), Source::new(text))];
    let piece = Piece { sources, ..Piece::default() };
    let mut file = File { reader: Reader { piece }, node: node.clone() };
    match Document::parse(text) {
        Ok(document) => file.read(document.as_table()),
        Err(error) => {
            file.reader.hide_all_values();
            let at = error.span().unwrap_or(0..0);
            let message = error.message().lines().collect::<Vec<_>>().join(", ");
            let what = format!("this is not TOML: {message}");
            file.reader.error(at, Mistake { what, ..Mistake::default() });
        }
    }
    file.reader.piece
}

struct File {
    reader: Reader,
    node: NodeName,
}

impl File {
    fn read(&mut self, top: &toml_edit::Table) {
        let mut read = self.reader.thing(&NODE, top, &(0..0));
        let node = Place::Node(self.node.clone());
        let at = |name: &str| read.fields.iter().find(|(field, _)| *field == name).cloned();
        if let (None, Some((_, cert))) = (at("admin.tls.mode"), at("admin.tls.cert")) {
            // As if it were written there: of a node, files are joined by what they say.
            read.fields.push(("admin.tls.mode", cert));
            read.draft.admin.tls.mode = TlsMode::Preferred;
        }
        let mut own = read.draft.clone();
        self.note(node, &(0..0), &read);
        for (toml, at) in self.tables(top, "listener", "[[listener]]") {
            if let Some((name, draft)) = self.listener(toml, &at) {
                own.binds.insert(name.clone(), draft.binds);
                self.reader.piece.shared.listeners.insert(name, draft.listener);
            }
        }
        for (toml, at) in self.tables(top, "backend", "[[backend]]") {
            self.backend(toml, &at);
        }
        for (toml, at) in self.tables(top, "user", "[[user]]") {
            let read = self.named(&USER, toml, &at, |name| Place::User(UserName::from(name)));
            if let Some((Place::User(name), read)) = read {
                self.reader.piece.shared.users.insert(name, read.draft);
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
        self.vips(top, &mut own);
        self.reader.piece.node = own;
    }

    /// The vips, and what they track.
    fn vips(&mut self, top: &toml_edit::Table, own: &mut Node) {
        let node = self.node.clone();
        for (toml, at) in self.tables(top, "vip", "[[vip]]") {
            let place = |name: &str| Place::Vip(node.clone(), VipName::from(name));
            let read = self.named(&VIP, toml, &at, place);
            let Some((Place::Vip(_, name), mut read)) = read else { continue };
            let is_ipv6 = read.draft.addresses.first().is_some_and(|it| it.address.is_ipv6());
            if is_ipv6 && !read.fields.iter().any(|(field, _)| *field == "version") {
                read.draft.version = 3;
            }
            own.vips.insert(name, read.draft);
        }
        for (toml, at) in self.tables(top, "vip_group", "[[vip_group]]") {
            let place = |name: &str| Place::VipGroup(node.clone(), VipGroupName::from(name));
            let read = self.named(&VIP_GROUP, toml, &at, place);
            if let Some((Place::VipGroup(_, name), read)) = read {
                own.vip_groups.insert(name, read.draft);
            }
        }
        for (toml, at) in self.tables(top, "script", "[[script]]") {
            let place = |name: &str| Place::Script(node.clone(), ScriptName::from(name));
            if let Some((Place::Script(_, name), read)) = self.named(&SCRIPT, toml, &at, place) {
                own.scripts.insert(name, read.draft);
            }
        }
        for (toml, at) in self.tables(top, "process", "[[process]]") {
            let place = |name: &str| Place::Process(node.clone(), ProcessName::from(name));
            if let Some((Place::Process(_, name), read)) = self.named(&PROCESS, toml, &at, place) {
                own.processes.insert(name, read.draft);
            }
        }
    }

    fn listener(
        &mut self,
        toml: &dyn TableLike,
        at: &Span,
    ) -> Option<(ListenerName, ListenerDraft)> {
        let place = |name: &str| Place::Listener(ListenerName::from(name));
        let (place, mut read) = self.named(&LISTENER, toml, at, place)?;
        let is_tcp = read.draft.listener.mode == Mode::Tcp;
        let tls = &mut read.draft.listener.tls;
        let says_mode = read.fields.iter().any(|(field, _)| *field == "tls.mode");
        if !says_mode && tls.cert.is_some() && !is_tcp {
            tls.mode = TlsMode::Preferred;
        }
        let auth = read.fields.iter().find(|(field, _)| *field == "auth");
        if let (Some((_, at)), true) =
            (auth, is_tcp && read.draft.listener.auth == AuthSource::Local)
        {
            // Written as it is when left out, but in the belief that it means something.
            let (what, hint) = (tcp::NO_LOGIN.to_owned(), Some(tcp::HINT_AUTH.to_owned()));
            self.reader.error(at.clone(), Mistake { what, hint, ..Mistake::default() });
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
        self.reader.piece.shared.backends.insert(name, read.draft);
    }

    fn rule(&mut self, toml: &dyn TableLike, at: &Span) {
        let read = self.reader.thing(&RULE, toml, at);
        let Some((Value::Count(id), key_at)) = read.key.clone() else {
            return;
        };
        let Ok(id) = u32::try_from(id) else { return };
        if self.reader.piece.is_new(&Place::Rule(id), key_at.clone()) {
            self.note(Place::Rule(id), &key_at, &read);
            self.patterns(&read);
            self.reader.piece.shared.rules.insert(id, read.draft);
        }
    }

    /// Compiles what a rule matches by as it will be: whether that is too large depends on its other settings.
    fn patterns(&mut self, read: &Read<Rule>) {
        let rule = &read.draft;
        for (field, text) in
            [("match_digest", &rule.match_digest), ("match_pattern", &rule.match_pattern)]
        {
            let Some(text) = text.as_deref().filter(|text| !surely_compiles(text)) else {
                continue;
            };
            let Err(why) = compile_pattern(text, rule.case_sensitive) else { continue };
            let at = read.fields.iter().find(|(name, _)| *name == field);
            let what = format!("the regular expression is not valid: {why}");
            let mistake = Mistake { what, ..Mistake::default() };
            self.reader.error(at.map_or(0..0, |(_, at)| at.clone()), mistake);
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
        if !self.reader.piece.is_new(&place, key_at.clone()) {
            return None;
        }
        self.note(place.clone(), &key_at, &read);
        Some((place, read))
    }

    fn note<T>(&mut self, place: Place, at: &Span, read: &Read<T>) {
        let piece = &mut self.reader.piece;
        piece.places.insert((place.clone(), ""), at.clone().into());
        for (field, span) in &read.fields {
            piece.places.insert((place.clone(), field), span.clone().into());
        }
        piece.failed.extend(read.failed.iter().map(|field| (place.clone(), *field)));
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
        let wrong = |at: Span, reader: &mut Reader| {
            let what = format!("`{name}` is not a list of tables");
            let expected = heading.to_owned();
            reader.hide_line_at(at.start);
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
}
