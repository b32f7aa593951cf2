//! The settings: each declared once, for parser, SQL, REST, manual, merge and messages.
//!
//! A [`Setting`] knows its text and how it is put into and got out of the draft of its thing;
//! a [`TableOf`] lists the settings of one kind of thing. A name with a dot (`tls.mode`) is a key
//! of a table within the thing (`tls = { mode = … }`).

mod accounts;
mod address;
mod admin;
mod backend;
mod command;
mod drafts;
mod kind;
mod listener;
mod monitor;
mod node;
mod route_text;
mod rule;
mod script;
mod server;
#[cfg(test)]
mod tests;
mod tls;
mod user;
mod value;
mod vip;
mod vip_group;
mod vip_text;

pub use command::split as split_command;
pub use drafts::ListenerDraft;
pub use kind::{Kind, Mistake};
pub use route_text::mac_bytes;
pub use value::Value;

pub(crate) use address::{clash, may_be_shown};
pub(crate) use kind::{HIDDEN, short};
pub(crate) use route_text::RULE_PRIORITY;
pub(crate) use tls::problem as tls_problem;
pub(crate) use vip_text::weight_of;

use crate::{Backend, Node, Process, Rule, Script, Server, User, Vip, VipGroup};

/// What a setting is while nobody sets it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhenLeftOut {
    /// This text.
    Is(&'static str),
    /// Not set.
    Nothing,
    /// It must be set.
    Required,
}

/// From when on a changed setting is felt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TakesEffect {
    /// At once.
    AtOnce,
    /// With the next lease of a server connection.
    NextAcquire,
    /// With the next check of a server.
    NextCheck,
    /// With the next command of each session.
    NextCommand,
    /// With the next client connection.
    NextConnection,
    /// With the next start of the process.
    NextStart,
    /// With the next connection opened to a server.
    NextServerConnection,
}

impl TakesEffect {
    /// In words, to follow "takes effect".
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::AtOnce => "at once",
            Self::NextAcquire => "with the next command that needs a server connection",
            Self::NextCheck => "with the next check",
            Self::NextCommand => "with the next command",
            Self::NextConnection => "for client connections opened from then on",
            Self::NextServerConnection => "for server connections opened from then on",
            Self::NextStart => "with the next start of the process",
        }
    }
}

/// One setting of a thing of type `T`.
#[derive(Debug, Clone, Copy)]
pub struct Setting<T: 'static> {
    /// Its name everywhere; a dot leads into a table of its own.
    pub name: &'static str,
    /// What may be written, and its range.
    pub kind: Kind,
    /// What a number counts; empty where the kind says it.
    pub unit: &'static str,
    /// What it is while nobody sets it.
    pub default: WhenLeftOut,
    /// From when on a change is felt.
    pub takes_effect: TakesEffect,
    /// One sentence: what it does.
    pub summary: &'static str,
    /// More for the manual: why, when to change it, what the older tools do.
    pub detail: &'static str,
    /// A line of TOML.
    pub example: &'static str,
    /// (program, its name for it).
    pub also_known_as: &'static [(&'static str, &'static str)],
    /// Puts a value of its kind in.
    pub put: fn(&mut T, Value),
    /// Gets the value out.
    pub get: fn(&T) -> Value,
}

impl<T> Setting<T> {
    /// The value while nobody sets it.
    #[must_use]
    pub fn default_value(&self) -> Value {
        match self.default {
            WhenLeftOut::Is(text) => self.kind.read(text).unwrap_or(Value::Absent),
            WhenLeftOut::Nothing if self.kind.is_list() || self.kind == Kind::Secret => {
                self.kind.empty_list()
            }
            WhenLeftOut::Nothing | WhenLeftOut::Required => Value::Absent,
        }
    }
}

/// What names a thing among its like.
#[derive(Debug, Clone, Copy)]
pub struct KeyOf {
    /// The key's name.
    pub name: &'static str,
    /// What may be written.
    pub kind: Kind,
    /// One sentence.
    pub summary: &'static str,
}

/// All settings of one kind of thing.
#[derive(Debug)]
pub struct TableOf<T: 'static> {
    /// The word for such a thing.
    pub name: &'static str,
    /// How it begins in the native form; empty for the top of the file.
    pub heading: &'static str,
    /// What names it; `None` where there is one only.
    pub key: Option<KeyOf>,
    /// One paragraph.
    pub summary: &'static str,
    /// Its settings, in groups that are declared in files of their own.
    pub groups: &'static [&'static [Setting<T>]],
    /// Keys of tables within it that hold things of their own.
    pub children: &'static [&'static str],
    /// Keys that are recognised but not honoured, with the reason.
    pub refused: &'static [(&'static str, &'static str)],
    /// A thing before its defaults are put in.
    pub blank: fn() -> T,
}

impl<T> TableOf<T> {
    /// All its settings, in the order of the manual.
    pub fn settings(&self) -> impl Iterator<Item = &'static Setting<T>> {
        self.groups.iter().flat_map(|group| group.iter())
    }

    /// The setting of this name.
    #[must_use]
    pub fn setting(&self, name: &str) -> Option<&'static Setting<T>> {
        self.settings().find(|setting| setting.name == name)
    }

    /// A thing with each setting as it is when left out.
    #[must_use]
    pub fn defaults(&self) -> T {
        let mut thing = (self.blank)();
        for setting in self.settings() {
            if matches!(setting.default, WhenLeftOut::Is(_)) {
                (setting.put)(&mut thing, setting.default_value());
            }
        }
        thing
    }

    /// The first setting whose value may not be written, as a sentence.
    pub(crate) fn out_of_range(&self, thing: &T) -> Option<String> {
        self.settings().find_map(|setting| {
            let mistake = setting.kind.check((setting.get)(thing)).err()?;
            let expected = mistake.expected;
            Some(format!("`{}`: {}; expected {expected}", setting.name, mistake.what))
        })
    }
}

/// The settings of a node: the top of the file and `[admin]`.
pub const NODE: TableOf<Node> = node::TABLE;
/// The settings of a listener.
pub const LISTENER: TableOf<ListenerDraft> = listener::TABLE;
/// The settings of a backend.
pub const BACKEND: TableOf<Backend> = backend::TABLE;
/// The settings of a server within its backend.
pub const SERVER: TableOf<Server> = server::TABLE;
/// The settings of a client account.
pub const USER: TableOf<User> = user::TABLE;
/// The settings of a query rule.
pub const RULE: TableOf<Rule> = rule::TABLE;
/// The settings of an admin account.
pub const ADMIN_USER: TableOf<crate::Secret> = admin::USER;
/// The settings of a vip.
pub const VIP: TableOf<Vip> = vip::TABLE;
/// The settings of a group of vips.
pub const VIP_GROUP: TableOf<VipGroup> = vip_group::TABLE;
/// The settings of a script that vips track.
pub const SCRIPT: TableOf<Script> = script::TABLE;
/// The settings of a process that vips track.
pub const PROCESS: TableOf<Process> = script::PROCESS;
