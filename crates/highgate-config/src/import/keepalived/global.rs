//! `global_defs`: defaults of all vips.

use super::{
    blocks::Statement,
    reader::{Reader, seconds_of},
};
use crate::{
    Place, VipFifo,
    settings::{Kind, Mistake, VIP, Value},
};

/// Words that set a setting of each vip, and how their value is written.
const NUMBERS: &[(&str, &str)] = &[
    ("vrrp_down_timer_adverts", "down_timer_adverts"),
    ("vrrp_garp_lower_prio_repeat", "announce.lower_count"),
    ("vrrp_garp_master_refresh_repeat", "announce.refresh_count"),
    ("vrrp_garp_master_repeat", "announce.count"),
    ("vrrp_version", "version"),
];
const SECONDS: &[(&str, &str)] = &[
    ("vrrp_garp_interval", "announce.arp_interval"),
    ("vrrp_garp_lower_prio_delay", "announce.lower_delay"),
    ("vrrp_garp_master_delay", "announce.delay"),
    ("vrrp_garp_master_refresh", "announce.refresh"),
    ("vrrp_gna_interval", "announce.na_interval"),
    ("vrrp_startup_delay", "startup_delay"),
];
const FLAGS: &[(&str, &str)] = &[
    ("vrrp_check_unicast_src", "only_from_peers"),
    ("vrrp_higher_prio_send_advert", "answer_higher"),
    ("vrrp_lower_prio_no_advert", "answer_lower"),
    ("vrrp_notify_priority_changes", "notify.priorities"),
];

impl Reader<'_> {
    pub(super) fn global(&mut self, statement: &Statement) {
        if let [extra, ..] = statement.arguments() {
            self.error(extra.at.clone(), "`global_defs` has no name");
        }
        for line in self.block(statement) {
            if line.name() == "vrrp_strict" {
                self.strict = Some(line.at());
            }
            if self.answer("global_defs", line) {
                self.default(line);
            }
        }
    }

    fn default(&mut self, line: &Statement) {
        let name = line.name();
        let setting_of = |list: &'static [(&'static str, &'static str)]| {
            list.iter().find(|(theirs, _)| *theirs == name).map(|(_, ours)| *ours)
        };
        if let Some(field) = setting_of(NUMBERS) {
            let Some(word) = self.one(line) else { return };
            let read = VIP.setting(field).map(|it| it.kind.read(&word.text));
            self.keep(field, line, read);
        } else if let Some(field) = setting_of(SECONDS) {
            let Some(word) = self.one(line) else { return };
            let kind = VIP.setting(field).map(|it| it.kind);
            let read = kind.map(|kind| seconds_of(kind, &word.text));
            self.keep(field, line, read);
        } else if let Some(field) = setting_of(FLAGS) {
            let Some(flag) = self.flag(line) else { return };
            let value = Value::Flag(flag != (field == "answer_lower"));
            self.keep(field, line, Some(Ok(value)));
        } else {
            self.other_default(line);
        }
    }

    fn other_default(&mut self, line: &Statement) {
        match line.name() {
            "script_user" => self.script_user = self.account(line, line.arguments()),
            "enable_script_security" => {
                let Some(flag) = self.flag(line) else { return };
                self.piece.node.script_security = flag;
                let key = (Place::Node(self.node.clone()), "script_security");
                self.piece.places.insert(key, line.at());
            }
            "default_interface" => {
                let Some(word) = self.one(line) else { return };
                let read = VIP.setting("interface").map(|it| it.kind.read(&word.text));
                self.keep("interface", line, read);
            }
            "vrrp_mcast_group4" | "vrrp_mcast_group6" => {
                self.hide_what_is_no(Kind::IpAddress, line.arguments());
                let Some(word) = self.one(line) else { return };
                let index = usize::from(line.name().ends_with('6'));
                match VIP.setting("multicast_group").map(|it| it.kind.read(&word.text)) {
                    Some(Err(mistake)) => self.piece.error(word.at.clone(), mistake),
                    Some(Ok(Value::Ip(group))) if group.is_ipv4() == (index == 1) => {
                        let what = format!("{group} is of the other family");
                        self.error(word.at.clone(), what);
                    }
                    Some(Ok(value)) => {
                        if let Some(slot) = self.multicast.get_mut(index) {
                            *slot = Some((value, word.at.clone()));
                        }
                    }
                    None => {}
                }
            }
            "notify_fifo"
            | "vrrp_notify_fifo"
            | "notify_fifo_script"
            | "vrrp_notify_fifo_script" => self.fifos.push(line.clone()),
            name => self.error(line.at(), format!("`{name}` is not read")),
        }
    }

    /// Both pipes that tell of vips, each with its script.
    pub(super) fn fifos(&mut self) {
        let mut made: Vec<VipFifo> = Vec::new();
        for word in ["notify_fifo", "vrrp_notify_fifo"] {
            let lines = std::mem::take(&mut self.fifos);
            let script = format!("{word}_script");
            let (mine, rest): (Vec<_>, Vec<_>) =
                lines.into_iter().partition(|line| line.name() == word || line.name() == script);
            self.fifos = rest;
            let [pipes, scripts]: [Vec<&Statement>; 2] =
                [word, &script].map(|name| mine.iter().filter(|it| it.name() == name).collect());
            for twice in pipes.iter().skip(1).chain(scripts.iter().skip(1)) {
                self.error(twice.at(), "it is written twice here");
            }
            let Some(pipe) = pipes.first() else {
                if let Some(script) = scripts.first() {
                    let what = format!("`{}` has no `{word}` to read from", script.name());
                    self.error(script.at(), what);
                }
                continue;
            };
            let Some(fifo) = self.fifo(pipe, scripts.first().copied()) else { continue };
            if made.iter().any(|other| other.path == fifo.path) {
                let at = super::reader::across(pipe.arguments());
                self.error(at, "`notify_fifo` has the same name: Keepalived, too, takes one only");
                continue;
            }
            let key = (Place::Node(self.node.clone()), "vip_fifos");
            self.piece.places.entry(key).or_insert_with(|| pipe.at());
            made.push(fifo);
        }
        self.piece.node.vip_fifos = made;
    }

    fn fifo(&mut self, pipe: &Statement, script: Option<&Statement>) -> Option<VipFifo> {
        self.no_block(pipe);
        let Some((path, owner)) = pipe.arguments().split_first() else {
            self.error(pipe.at(), format!("`{}` names no pipe", pipe.name()));
            return None;
        };
        let mut fifo = match Kind::VipFifos.read(&path.text) {
            Ok(Value::VipFifos(mut read)) if path.text.split_whitespace().count() == 1 => {
                read.pop()?
            }
            Ok(_) => {
                self.error(path.at.clone(), "the path of a pipe has no blanks here");
                return None;
            }
            Err(mistake) => {
                self.piece.error(
                    path.at.clone(),
                    Mistake { expected: "its whole path".to_owned(), ..mistake },
                );
                return None;
            }
        };
        fifo.owner = match owner {
            [] => self.script_user.clone(),
            owner => self.account(pipe, owner),
        };
        let Some(line) = script else { return Some(fifo) };
        self.no_block(line);
        let Some((command, account)) = line.arguments().split_first() else {
            self.error(line.at(), format!("`{}` has no command", line.name()));
            return None;
        };
        if let Err(mistake) = Kind::Command.read(&command.text) {
            self.piece.error(command.at.clone(), mistake);
            return None;
        }
        self.no_shell(&command.text, &command.at);
        fifo.script = Some(command.text.clone());
        fifo.user = match account {
            [] => self.script_user.clone(),
            account => self.account(line, account),
        };
        Some(fifo)
    }

    fn keep(
        &mut self,
        field: &'static str,
        line: &Statement,
        value: Option<Result<Value, Mistake>>,
    ) {
        let at = line.arguments().first().map_or_else(|| line.at(), |word| word.at.clone());
        match value {
            Some(Ok(value)) if self.defaults.contains_key(field) => {
                drop(value);
                self.error(at, "it is written twice here");
            }
            Some(Ok(value)) => {
                self.defaults.insert(field, (value, at));
            }
            Some(Err(mistake)) => self.piece.error(at, mistake),
            None => {}
        }
    }

    /// `user [group]` as `user:group`.
    pub(super) fn account(
        &mut self,
        line: &Statement,
        words: &[super::lexer::Word],
    ) -> Option<String> {
        match words {
            [user] => Some(user.text.clone()),
            [user, group] => Some(format!("{}:{}", user.text, group.text)),
            [] => {
                self.error(line.at(), format!("`{}` has no account", line.name()));
                None
            }
            [_, _, extra, ..] => {
                let what = "an account and its group are all that is known here";
                self.error(extra.at.clone(), what);
                None
            }
        }
    }
}
