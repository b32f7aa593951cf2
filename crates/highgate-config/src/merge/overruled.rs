//! What a file says and another value is in force of: the merge leaves what was changed elsewhere.

use std::collections::BTreeMap;

use super::{backend_left_out, listener_left_out};
use crate::{
    Config, Node, Place,
    change::without_servers,
    settings::{
        ADMIN_USER, BACKEND, LISTENER, ListenerDraft, NODE, PROCESS, RULE, SCRIPT, SERVER, TableOf,
        USER, VIP, VIP_GROUP, Value,
    },
};

/// A setting, or a whole thing, that a file has and that is not in force so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Overruled {
    /// The thing.
    pub place: Place,
    /// The setting that is in force with another value; `None` where the thing is not in force.
    pub field: Option<&'static str>,
    /// It has its default in the file, and may not be written there at all.
    pub is_default: bool,
    in_file: Value,
    in_force: Value,
    in_force_is_default: bool,
}

impl Overruled {
    /// The value in force, without secrets.
    #[must_use]
    pub fn in_force(&self) -> String {
        shown(&self.in_force)
    }

    /// The file's value, without secrets.
    #[must_use]
    pub fn in_file(&self) -> String {
        shown(&self.in_file)
    }

    /// Whether nothing of it is in force: the thing is gone, or the setting has its default.
    #[must_use]
    pub const fn is_gone(&self) -> bool {
        self.field.is_none() || self.in_force_is_default
    }

    /// What it is of: there is one of each among those of two configurations.
    #[must_use]
    pub const fn of(&self) -> (&Place, Option<&'static str>) {
        (&self.place, self.field)
    }

    /// Whether another file says what is in force, by what differs between the two files of the same setting.
    #[must_use]
    pub fn is_said_by(&self, other: &Self) -> bool {
        self.field.is_some() && !self.in_force_is_default && other.in_force == self.in_force
    }
}

fn shown(value: &Value) -> String {
    match value {
        Value::Secrets(_) => "another secret".to_owned(),
        value => value.to_string(),
    }
}

/// What `file` says and is not in force so. What is in force and not in the file is none of it.
#[must_use]
pub fn overruled(file: &Config, in_force: &Config) -> Vec<Overruled> {
    let mut found = Found(Vec::new());
    let (f, c) = (&file.shared, &in_force.shared);
    let server = SERVER.defaults();
    let of_backend = |name: &_| Place::Backend(Clone::clone(name));
    found.things(&f.backends, &c.backends, of_backend, |found, place, file, current| {
        let Place::Backend(name) = place else { return };
        let both = [&without_servers(file), &without_servers(current)];
        found.fields(&BACKEND, place, &backend_left_out(file), both);
        let of_server = |server: &_| Place::Server(name.clone(), Clone::clone(server));
        found.things(&file.servers, &current.servers, of_server, |found, place, file, current| {
            found.fields(&SERVER, place, &server, [file, current]);
        });
    });
    let of_listener = |name: &_| Place::Listener(Clone::clone(name));
    found.things(&f.listeners, &c.listeners, of_listener, |found, place, file, current| {
        let draft = |it: &crate::Listener| ListenerDraft { listener: it.clone(), binds: vec![] };
        let left_out = listener_left_out(file, current);
        found.fields(&LISTENER, place, &left_out, [&draft(file), &draft(current)]);
    });
    found.plain(&USER, [&f.users, &c.users], |name| Place::User(name.clone()));
    found.plain(&RULE, [&f.rules, &c.rules], |id| Place::Rule(*id));
    for (name, file) in &file.node {
        if let Some(current) = in_force.node.get(name) {
            found.node(&Place::Node(name.clone()), name, file, current);
        }
    }
    found.0
}

struct Found(Vec<Overruled>);

impl Found {
    fn node(&mut self, place: &Place, name: &crate::NodeName, file: &Node, current: &Node) {
        self.fields(&NODE, place, &NODE.defaults(), [file, current]);
        for (listener, binds) in &file.binds {
            let other = current.binds.get(listener).filter(|other| *other != binds);
            self.0.extend(other.map(|other| Overruled {
                place: Place::Listener(listener.clone()),
                field: Some("bind"),
                is_default: false,
                in_file: Value::Addresses(binds.clone()),
                in_force: Value::Addresses(other.clone()),
                in_force_is_default: false,
            }));
        }
        let of_user = |user: &_| Place::AdminUser(name.clone(), Clone::clone(user));
        self.plain(&ADMIN_USER, [&file.admin.users, &current.admin.users], of_user);
        let of_vip = |vip: &_| Place::Vip(name.clone(), Clone::clone(vip));
        self.plain(&VIP, [&file.vips, &current.vips], of_vip);
        let of_group = |group: &_| Place::VipGroup(name.clone(), Clone::clone(group));
        self.plain(&VIP_GROUP, [&file.vip_groups, &current.vip_groups], of_group);
        let of_script = |script: &_| Place::Script(name.clone(), Clone::clone(script));
        self.plain(&SCRIPT, [&file.scripts, &current.scripts], of_script);
        let of_process = |process: &_| Place::Process(name.clone(), Clone::clone(process));
        self.plain(&PROCESS, [&file.processes, &current.processes], of_process);
    }

    /// Things whose defaults do not depend on anything.
    fn plain<K: Ord, V>(
        &mut self,
        table: &TableOf<V>,
        [file, in_force]: [&BTreeMap<K, V>; 2],
        place: impl Fn(&K) -> Place,
    ) {
        let left_out = table.defaults();
        self.things(file, in_force, place, |found, place, file, current| {
            found.fields(table, place, &left_out, [file, current]);
        });
    }

    fn things<K: Ord, V>(
        &mut self,
        file: &BTreeMap<K, V>,
        in_force: &BTreeMap<K, V>,
        place: impl Fn(&K) -> Place,
        both: impl Fn(&mut Self, &Place, &V, &V),
    ) {
        for (key, file) in file {
            let place = place(key);
            match in_force.get(key) {
                Some(current) => both(self, &place, file, current),
                None => self.0.push(Overruled {
                    place,
                    field: None,
                    is_default: false,
                    in_file: Value::Absent,
                    in_force: Value::Absent,
                    in_force_is_default: false,
                }),
            }
        }
    }

    fn fields<T>(
        &mut self,
        table: &TableOf<T>,
        place: &Place,
        left_out: &T,
        [file, current]: [&T; 2],
    ) {
        for setting in table.settings() {
            let (in_file, in_force) = ((setting.get)(file), (setting.get)(current));
            if in_file == in_force {
                continue;
            }
            let default = (setting.get)(left_out);
            self.0.push(Overruled {
                place: place.clone(),
                field: Some(setting.name),
                is_default: in_file == default,
                in_force_is_default: in_force == default,
                in_file,
                in_force,
            });
        }
    }
}
