//! The three-way merge: what changed in a file since it was last applied, onto what is in force.
//!
//! Changes made elsewhere stay. Where both changed one field, the file wins; where one side
//! deleted what the other edited, the edit wins. Each such case is a [`Conflict`], to be told as
//! an event. Fields are those of the settings' declarations.

mod fields;
mod further;
mod overruled;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;

pub use self::{
    further::{layered, three_way_over},
    overruled::{Overruled, overruled},
};

use self::fields::{Merge, Three};
use crate::{
    Admin, Backend, Change, Check, Config, Listener, Node, Place, Rule, Server, TlsMode, User,
    change::{diff, pairs, without_servers},
    settings::{
        ADMIN_USER, BACKEND, LISTENER, ListenerDraft, NODE, PROCESS, RULE, SCRIPT, SERVER, USER,
        VIP, VIP_GROUP,
    },
};

/// What a merge asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Merged {
    /// The edits of what is in force, to be proposed together.
    pub changes: Vec<Change>,
    /// Where two sides did not agree, with how it was decided.
    pub conflicts: Vec<Conflict>,
}

/// Where the file and what is in force were both changed, differently.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conflict {
    /// The thing.
    pub place: Place,
    /// The field, where one was changed by both.
    pub field: Option<&'static str>,
    /// How it was decided.
    pub decided: Decided,
}

/// How a conflict was decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Decided {
    /// Deleted elsewhere, edited in the file: it is there again.
    EditInFileWins,
    /// Deleted in the file, edited elsewhere: it stays.
    EditInForceWins,
    /// One field changed by both: the file's value.
    FileWins,
    /// Never in this file before, and in force with another value: the file's value.
    NewInFile,
}

impl fmt::Display for Conflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.place)?;
        if let Some(field) = self.field {
            write!(f, ", `{field}`")?;
        }
        f.write_str(match self.decided {
            Decided::EditInFileWins => ": deleted elsewhere but edited in the file; it is back",
            Decided::EditInForceWins => ": deleted in the file but edited elsewhere; it stays",
            Decided::FileWins => ": changed elsewhere and in the file; the file's value holds",
            Decided::NewInFile => ": new in this file, and in force already with another value; the file's value holds",
        })
    }
}

/// Merges `file`, which was `base` when it was last applied, into `current`.
///
/// Nodes that neither `base` nor `file` mentions are left alone. Of a thing in force that `base` does
/// not have, `file` says what differs from its default there; the rest stays.
#[must_use]
pub fn three_way(base: &Config, file: &Config, current: &Config) -> Merged {
    let (merged, conflicts) = merge(base, file, current);
    Merged { changes: diff(current, &merged), conflicts }
}

fn merge(base: &Config, file: &Config, current: &Config) -> (Config, Vec<Conflict>) {
    let mut merge = Merge { conflicts: Vec::new() };
    let mut merged = current.clone();
    let (b, f, c) = (&base.shared, &file.shared, &current.shared);
    merged.shared.backends = merge.map(
        Three { base: &b.backends, file: &f.backends, current: &c.backends },
        |name| Place::Backend(name.clone()),
        backend,
    );
    merged.shared.listeners = merge.map(
        Three { base: &b.listeners, file: &f.listeners, current: &c.listeners },
        |name| Place::Listener(name.clone()),
        listener,
    );
    merged.shared.users = merge.map(
        Three { base: &b.users, file: &f.users, current: &c.users },
        |name| Place::User(name.clone()),
        |merge, place, base, file, current: &User| merge.fields(&USER, place, base, file, current),
    );
    merged.shared.rules = merge.map(
        Three { base: &b.rules, file: &f.rules, current: &c.rules },
        |id| Place::Rule(*id),
        |merge, place, base, file, current: &Rule| merge.fields(&RULE, place, base, file, current),
    );
    merged.node = merge.map(
        Three { base: &base.node, file: &file.node, current: &current.node },
        |name| Place::Node(name.clone()),
        node,
    );
    keep_listeners_whole(&merge.conflicts, file, current, &mut merged);
    (merged, merge.conflicts)
}

fn backend(
    merge: &mut Merge,
    place: &Place,
    base: Option<&Backend>,
    file: &Backend,
    current: &Backend,
) -> Backend {
    let base_own = base.map(without_servers);
    let (file_own, current_own) = (without_servers(file), without_servers(current));
    let since = (base_own.as_ref(), &backend_left_out(file));
    let own = merge.fields_since(&BACKEND, place, since, [&file_own, &current_own]);
    let nothing = BTreeMap::new();
    let Place::Backend(name) = place else {
        return own;
    };
    let servers = merge.map(
        Three {
            base: base.map_or(&nothing, |base| &base.servers),
            file: &file.servers,
            current: &current.servers,
        },
        |server| Place::Server(name.clone(), server.clone()),
        |merge, place, base, file, current: &Server| {
            merge.fields(&SERVER, place, base, file, current)
        },
    );
    Backend { servers, ..own }
}

fn listener(
    merge: &mut Merge,
    place: &Place,
    base: Option<&Listener>,
    file: &Listener,
    current: &Listener,
) -> Listener {
    let draft = |it: &Listener| ListenerDraft { listener: it.clone(), binds: Vec::new() };
    let (base, left_out) = (base.map(draft), listener_left_out(file, current));
    let both = [&draft(file), &draft(current)];
    merge.fields_since(&LISTENER, place, (base.as_ref(), &left_out), both).listener
}

/// A backend's fields where its file says nothing of them: without an account, it is checked by
/// connecting.
fn backend_left_out(file: &Backend) -> Backend {
    let mut left_out = BACKEND.defaults();
    if file.monitor.user.is_empty() {
        left_out.monitor.check = Check::Connect;
    }
    left_out
}

/// A listener's fields where its file says nothing of them: with a certificate, TLS is `preferred`, unless
/// another mode of TLS is in force.
fn listener_left_out(file: &Listener, current: &Listener) -> ListenerDraft {
    let mut left_out = LISTENER.defaults();
    if file.tls.cert.is_some() && current.tls.mode != TlsMode::Disabled {
        left_out.listener.tls.mode = TlsMode::Preferred;
    }
    left_out
}

/// A listener and its binds are one thing to an operator: where an edit kept one of them, the
/// other is kept as well.
fn keep_listeners_whole(
    conflicts: &[Conflict],
    file: &Config,
    current: &Config,
    merged: &mut Config,
) {
    for conflict in conflicts {
        let Place::Listener(name) = &conflict.place else {
            continue;
        };
        let kept = match conflict.decided {
            Decided::EditInFileWins => file,
            Decided::EditInForceWins => current,
            Decided::FileWins | Decided::NewInFile => continue,
        };
        if let Some(listener) = kept.shared.listeners.get(name) {
            merged.shared.listeners.entry(name.clone()).or_insert_with(|| listener.clone());
        }
        for (node_name, node) in &kept.node {
            if let (Some(binds), Some(into)) =
                (node.binds.get(name), merged.node.get_mut(node_name))
            {
                into.binds.entry(name.clone()).or_insert_with(|| binds.clone());
            }
        }
    }
}

fn node(
    merge: &mut Merge,
    place: &Place,
    base: Option<&Node>,
    file: &Node,
    current: &Node,
) -> Node {
    let own = merge.fields(&NODE, place, base, file, current);
    let Place::Node(name) = place else { return own };
    let nothing = BTreeMap::new();
    let base_binds = base.map_or(&nothing, |base| &base.binds);
    let mut binds = BTreeMap::new();
    for (listener, in_file, in_force) in pairs(&file.binds, &current.binds) {
        let place = Place::Listener(listener.clone());
        let before = base_binds.get(listener);
        if let Some(list) = merge.whole(&place, "bind", before, in_file, in_force) {
            binds.insert(listener.clone(), list);
        }
    }
    let nobody = BTreeMap::new();
    let users = merge.map(
        Three {
            base: base.map_or(&nobody, |base| &base.admin.users),
            file: &file.admin.users,
            current: &current.admin.users,
        },
        |user| Place::AdminUser(name.clone(), user.clone()),
        |merge, place, base, file, current| merge.fields(&ADMIN_USER, place, base, file, current),
    );
    let absent = Node::default();
    let base = base.unwrap_or(&absent);
    Node {
        binds,
        admin: Admin { users, ..own.admin },
        vips: merge.map(
            Three { base: &base.vips, file: &file.vips, current: &current.vips },
            |vip| Place::Vip(name.clone(), vip.clone()),
            |merge, place, base, file, current| merge.fields(&VIP, place, base, file, current),
        ),
        vip_groups: merge.map(
            Three { base: &base.vip_groups, file: &file.vip_groups, current: &current.vip_groups },
            |group| Place::VipGroup(name.clone(), group.clone()),
            |merge, place, base, file, current| {
                merge.fields(&VIP_GROUP, place, base, file, current)
            },
        ),
        scripts: merge.map(
            Three { base: &base.scripts, file: &file.scripts, current: &current.scripts },
            |script| Place::Script(name.clone(), script.clone()),
            |merge, place, base, file, current| merge.fields(&SCRIPT, place, base, file, current),
        ),
        processes: merge.map(
            Three { base: &base.processes, file: &file.processes, current: &current.processes },
            |process| Place::Process(name.clone(), process.clone()),
            |merge, place, base, file, current| merge.fields(&PROCESS, place, base, file, current),
        ),
        ..own
    }
}
