//! `vrrp_instance` and `vrrp_sync_group`.

use super::{
    blocks::Statement,
    lexer::Word,
    reader::{Reader, across, seconds_of},
};
use crate::{
    Place, Severity, Vip, VipGroup, VipGroupName, VipName,
    import::thing::Thing,
    piece::At,
    settings::{Kind, Mistake, TableOf, VIP, VIP_GROUP, Value, short},
};

const NUMBERS: &[(&str, &str)] = &[
    ("down_timer_adverts", "down_timer_adverts"),
    ("garp_lower_prio_repeat", "announce.lower_count"),
    ("garp_master_refresh_repeat", "announce.refresh_count"),
    ("garp_master_repeat", "announce.count"),
    ("interface", "interface"),
    ("mcast_dst_ip", "multicast_group"),
    ("mcast_src_ip", "source"),
    ("priority", "priority"),
    ("unicast_src_ip", "source"),
    ("unicast_ttl", "unicast_ttl"),
    ("version", "version"),
    ("virtual_router_id", "router_id"),
];
const SECONDS: &[(&str, &str)] = &[
    ("advert_int", "interval"),
    ("garp_lower_prio_delay", "announce.lower_delay"),
    ("garp_master_delay", "announce.delay"),
    ("garp_master_refresh", "announce.refresh"),
    ("preempt_delay", "preempt_delay"),
];
/// Words, settings, and whether a word says the contrary of its setting.
const FLAGS: &[(&str, &str, bool)] = &[
    ("accept", "accept", false),
    ("check_unicast_src", "only_from_peers", false),
    ("dont_track_primary", "track_interface", true),
    ("higher_prio_send_advert", "answer_higher", false),
    ("lower_prio_no_advert", "answer_lower", true),
    ("no_accept", "accept", true),
    ("notify_priority_changes", "notify.priorities", false),
    ("nopreempt", "preempt", true),
    ("preempt", "preempt", false),
    ("vmac_xmit_base", "vmac.transmit_base", false),
];
const COMMANDS: &[(&str, &str)] = &[
    ("notify", "notify.any"),
    ("notify_backup", "notify.backup"),
    ("notify_fault", "notify.fault"),
    ("notify_master", "notify.active"),
    ("notify_master_rx_lower_pri", "notify.lower"),
    ("notify_stop", "notify.stop"),
];
const LONGEST_PASSWORD: usize = 8;

impl Reader<'_> {
    pub(super) fn instance(&mut self, statement: &Statement) {
        let Some(name) = self.name(statement) else { return };
        let vip = VipName::from(&*name.text);
        let place = Place::Vip(self.node.clone(), vip.clone());
        if !self.piece.is_new(&place, name.at.clone()) {
            return;
        }
        let mut thing = Thing::new(&VIP, place);
        thing.draft.track.clear();
        let mut state = None;
        let lines = self.block(statement);
        let router = lines.iter().find(|line| line.name() == "virtual_router_id");
        let router = router.and_then(|line| line.arguments().first());
        for line in lines {
            if line.name() == "use_vmac" {
                self.vmac(&mut thing, line, router);
            } else if self.answer("vrrp_instance", line) {
                self.instance_line(&mut thing, line, &mut state);
            }
        }
        self.defaults_of(&mut thing);
        self.complete(&mut thing, &name, state);
        self.piece.node.vips.insert(vip, thing.draft);
    }

    fn instance_line(
        &mut self,
        thing: &mut Thing<Vip>,
        line: &Statement,
        state: &mut Option<Word>,
    ) {
        let name = line.name();
        let of = |list: &[(&'static str, &'static str)]| {
            list.iter().find(|(theirs, _)| *theirs == name).map(|(_, ours)| *ours)
        };
        if let Some(field) = of(NUMBERS) {
            let Some(setting) = VIP.setting(field) else { return };
            self.hide_what_is_no(setting.kind, line.arguments());
            let Some(word) = self.one(line) else { return };
            thing.set(self.piece, &VIP, field, setting.kind.read(&word.text), &word.at);
        } else if let Some(field) = of(SECONDS) {
            let Some(word) = self.one(line) else { return };
            let Some(setting) = VIP.setting(field) else { return };
            let read = seconds_of(setting.kind, &word.text);
            thing.set(self.piece, &VIP, field, read, &word.at);
        } else if let Some((_, field, is_turned)) = FLAGS.iter().find(|(it, ..)| *it == name) {
            let Some(flag) = self.flag(line) else { return };
            thing.set(self.piece, &VIP, field, Ok(Value::Flag(flag != *is_turned)), &line.at());
        } else if let Some(field) = of(COMMANDS) {
            self.notify(thing, &VIP, field, line);
        } else {
            self.instance_block(thing, line, state);
        }
    }

    fn instance_block(
        &mut self,
        thing: &mut Thing<Vip>,
        line: &Statement,
        state: &mut Option<Word>,
    ) {
        match line.name() {
            "authentication" => self.authentication(thing, line),
            "state" => *state = self.state(line),
            "unicast_peer" => {
                let mut peers = std::mem::take(&mut thing.draft.peers);
                for line in self.block(line) {
                    self.no_block(line);
                    if let Some(Value::Peers(one)) = self.entry(Kind::Peers, &line.words) {
                        peers.extend(one);
                    }
                }
                if peers.is_empty() {
                    let what = "`unicast_peer` names no peer";
                    self.expected(line.at(), what, "the address of each other node, one per line");
                }
                thing.set(self.piece, &VIP, "peers", Ok(Value::Peers(peers)), &line.at());
            }
            "virtual_routes" | "virtual_rules" => self.routing(thing, line),
            "virtual_ipaddress" | "virtual_ipaddress_excluded" => self.addresses(thing, line),
            "track_file" | "track_interface" | "track_process" | "track_script" => {
                let key = (thing.place.clone(), "track");
                self.piece.places.entry(key).or_insert_with(|| line.at());
                self.tracks(line, &mut thing.draft.track);
            }
            name => self.error(line.at(), format!("`{name}` is not read")),
        }
    }

    fn state(&mut self, line: &Statement) -> Option<Word> {
        let word = self.one(line)?;
        if ["BACKUP", "MASTER"].contains(&word.text.as_str()) {
            return Some(word.clone());
        }
        let nearest = crate::nearest::nearest(&word.text, ["BACKUP", "MASTER"]);
        let mistake = Mistake {
            what: format!("`{}` is no state to begin with", short(&word.text)),
            expected: "MASTER or BACKUP".to_owned(),
            nearest: nearest.map(str::to_owned),
            hint: Some("Keepalived would begin as BACKUP, whatever was meant".to_owned()),
        };
        self.piece.error(word.at.clone(), mistake);
        None
    }

    fn authentication(&mut self, thing: &mut Thing<Vip>, statement: &Statement) {
        let mut kind: Option<Word> = None;
        let mut is_given = false;
        for line in self.block(statement) {
            if !self.answer("authentication", line) {
                continue;
            }
            if line.name() == "auth_pass" {
                self.hide(line.arguments());
                is_given = true;
                self.password(thing, line);
            } else if let Some(word) = self.one(line) {
                kind = Some(word.clone());
            }
        }
        let Some(kind) = kind else {
            return self.expected(
                statement.at(),
                "`authentication` has no `auth_type`",
                "auth_type PASS",
            );
        };
        match kind.text.as_str() {
            "PASS" if !is_given => {
                let what =
                    "`authentication` has no `auth_pass`: Keepalived would go on without any";
                self.error(statement.at(), what);
            }
            "PASS" => {}
            "AH" => {
                let what = "`AH` is known, but not honoured".to_owned();
                let hint =
                    "it is IPsec with MD5, which RFC 3768 took out of VRRP; use PASS on each node";
                let hint = Some(hint.to_owned());
                self.piece.error(kind.at, Mistake { what, hint, ..Mistake::default() });
            }
            text => {
                let nearest = crate::nearest::nearest(text, ["AH", "PASS"]).map(str::to_owned);
                let what = format!("`{}` is no kind of authentication", short(text));
                let expected = "PASS".to_owned();
                self.piece.error(kind.at, Mistake { what, expected, nearest, hint: None });
            }
        }
    }

    fn password(&mut self, thing: &mut Thing<Vip>, line: &Statement) {
        let Some(word) = self.one(line) else { return };
        let mut password = word.text.clone();
        if password.len() > LONGEST_PASSWORD {
            let end = (0..=LONGEST_PASSWORD).rev().find(|at| password.is_char_boundary(*at));
            let what = format!("the password has {} bytes; the first 8 are used", password.len());
            let hint = "as Keepalived does; VRRP has room for 8".to_owned();
            password.truncate(end.unwrap_or(0));
            let mistake = Mistake { what, hint: Some(hint), ..Mistake::default() };
            self.piece.tell(Severity::Warning, word.at.clone(), mistake);
        }
        thing.set(self.piece, &VIP, "password", Kind::Secret.read(&password), &word.at);
    }

    /// What `global_defs` says where the instance does not.
    fn defaults_of(&mut self, thing: &mut Thing<Vip>) {
        let defaults = self.defaults.clone();
        for (field, (value, at)) in defaults {
            if !thing.is_set(self.piece, field) {
                thing.put(self.piece, &VIP, field, Ok(value), &at);
            }
        }
        let is_ipv6 = thing.draft.addresses.first().is_some_and(|it| it.address.is_ipv6());
        let [of_ipv4, of_ipv6] = self.multicast.clone();
        let group = if is_ipv6 { of_ipv6 } else { of_ipv4 };
        if let Some((value, at)) = group
            && !thing.is_set(self.piece, "multicast_group")
            && thing.draft.peers.is_empty()
        {
            thing.put(self.piece, &VIP, "multicast_group", Ok(value), &at);
        }
        if is_ipv6 {
            // As with Keepalived: there is no other version for it.
            thing.draft.version = 3;
        }
        self.one_account(&mut thing.draft.notify.user);
    }

    fn complete(&mut self, thing: &mut Thing<Vip>, name: &Word, state: Option<Word>) {
        for (field, theirs) in [
            ("interface", "interface"),
            ("router_id", "virtual_router_id"),
            ("addresses", "virtual_ipaddress"),
        ] {
            if !thing.is_set(self.piece, field) {
                let what = format!("`vrrp_instance {}` has no `{theirs}`", short(&name.text));
                self.error(name.at.clone(), what);
                self.piece.failed.insert((thing.place.clone(), field));
            }
        }
        // Keepalived's owner is active from the start only where it says MASTER.
        if thing.draft.priority == 255 && state.as_ref().is_none_or(|word| word.text != "MASTER") {
            let at = state.as_ref().map_or_else(|| name.at.clone(), |word| word.at.clone());
            thing.set(self.piece, &VIP, "listens_first", Ok(Value::Flag(true)), &at);
        }
        let at_of = |reader: &Self, field: &'static str| {
            reader.piece.places.get(&(thing.place.clone(), field)).cloned()
        };
        let is_first = state.as_ref().is_some_and(|word| word.text == "MASTER");
        let first_at = state.map(|word| word.at);
        let contrary = |reader: &mut Self, field: &'static str, word: &str| {
            let (Some(at), Some(other)) = (at_of(reader, field), first_at.clone()) else { return };
            let what = format!("`{word}` does not go with `state MASTER`");
            let hint = "Keepalived would drop it; write `state BACKUP` on each node".to_owned();
            let mistake = Mistake { what, hint: Some(hint), ..Mistake::default() };
            let severity = Severity::Error;
            reader.piece.found.push(crate::piece::Found {
                severity,
                at,
                mistake,
                other: Some(other),
            });
        };
        if is_first && !thing.draft.preempt {
            contrary(self, "preempt", "nopreempt");
        }
        if is_first && !thing.draft.preempt_delay.is_zero() {
            contrary(self, "preempt_delay", "preempt_delay");
        }
        self.strict(thing);
    }

    /// Under `vrrp_strict` Keepalived sends other advertisements than the file says.
    fn strict(&mut self, thing: &Thing<Vip>) {
        let Some(strict) = self.strict.clone() else { return };
        for (field, is_there, dropped) in [
            ("password", thing.draft.password.is_some(), "the password"),
            ("peers", !thing.draft.peers.is_empty(), "`unicast_peer`"),
        ] {
            let at = self.piece.places.get(&(thing.place.clone(), field)).cloned();
            if let Some(at) = at.filter(|_| is_there) {
                let what = format!("under `vrrp_strict` Keepalived drops {dropped}");
                let hint = "take one of the two out, on each node".to_owned();
                let mistake = Mistake { what, hint: Some(hint), ..Mistake::default() };
                let (severity, other) = (Severity::Error, Some(strict.clone()));
                self.piece.found.push(crate::piece::Found { severity, at, mistake, other });
            }
        }
    }

    /// `notify_master "COMMAND" [user [group]]`.
    fn notify<T: Notifies>(
        &mut self,
        thing: &mut Thing<T>,
        table: &TableOf<T>,
        field: &'static str,
        line: &Statement,
    ) {
        self.no_block(line);
        let Some((command, account)) = line.arguments().split_first() else {
            return self.error(line.at(), format!("`{}` has no command", line.name()));
        };
        thing.set(self.piece, table, field, Kind::Command.read(&command.text), &command.at);
        self.no_shell(&command.text, &command.at);
        if account.is_empty() {
            self.without_account.get_or_insert(command.at.clone());
            return;
        }
        let is_command = account.iter().any(|word| word.text.starts_with(['/', '-']));
        if is_command || account.len() > 2 {
            let what = "the command goes on after its first word".to_owned();
            let hint = Some("put the whole command within double quotes".to_owned());
            let at = across(account);
            return self.piece.error(at, Mistake { what, hint, ..Mistake::default() });
        }
        let Some(account) = self.account(line, account) else { return };
        let user = thing.draft.notify_user();
        if user.as_ref().is_some_and(|user| *user != account) {
            let what = "the commands of one instance run as one account";
            let at = across(line.arguments().get(1..).unwrap_or_default());
            return self.expected(at, what, &format!("`{}`", user.clone().unwrap_or_default()));
        }
        *user = Some(account);
    }

    /// One account runs them all: what names none must not run as another one than it would.
    fn one_account(&mut self, user: &mut Option<String>) {
        let without = self.without_account.take();
        let Some(account) = user else { return user.clone_from(&self.script_user) };
        if let Some(at) = without.filter(|_| self.script_user.as_ref() != Some(account)) {
            let what = "the commands of one instance run as one account, and this names none";
            self.expected(at, what, &format!("`{account}` behind the command"));
        }
    }

    pub(super) fn group(&mut self, statement: &Statement) {
        let Some(name) = self.name(statement) else { return };
        let group = VipGroupName::from(&*name.text);
        let place = Place::VipGroup(self.node.clone(), group.clone());
        if !self.piece.is_new(&place, name.at.clone()) {
            return;
        }
        let mut thing = Thing::new(&VIP_GROUP, place);
        for line in self.block(statement) {
            if self.answer("vrrp_sync_group", line) {
                self.group_line(&mut thing, line);
            }
        }
        if !thing.is_set(self.piece, "members") {
            let what = format!("`vrrp_sync_group {}` has no `group`", short(&name.text));
            self.error(name.at.clone(), what);
            self.piece.failed.insert((thing.place.clone(), "members"));
        }
        self.one_account(&mut thing.draft.notify.user);
        self.piece.node.vip_groups.insert(group, thing.draft);
    }

    /// A member that does not exist is told where it is written, not where the group begins.
    fn member(&mut self, thing: &Thing<VipGroup>, word: &Word) {
        if self.piece.node.vips.contains_key(&*word.text) {
            return;
        }
        let known = self.piece.node.vips.keys().map(VipName::as_str);
        let nearest = crate::nearest::nearest(&word.text, known).map(str::to_owned);
        let what = format!("there is no `vrrp_instance {}`", short(&word.text));
        self.piece.error(word.at.clone(), Mistake { what, nearest, ..Mistake::default() });
        self.piece.failed.insert((thing.place.clone(), "members"));
    }

    fn group_line(&mut self, thing: &mut Thing<VipGroup>, line: &Statement) {
        let name = line.name();
        if let Some((_, field)) = COMMANDS.iter().find(|(theirs, _)| *theirs == name) {
            return self.notify(thing, &VIP_GROUP, field, line);
        }
        match name {
            "group" => {
                let words: Vec<Word> =
                    self.block(line).iter().flat_map(|line| line.words.clone()).collect();
                for word in &words {
                    self.member(thing, word);
                }
                let names = words.iter().map(|word| word.text.clone()).collect();
                let at = if words.is_empty() { line.at() } else { group_at(&words) };
                thing.set(self.piece, &VIP_GROUP, "members", Ok(Value::Names(names)), &at);
            }
            "global_tracking" | "sync_group_tracking_weight" => {
                if let Some(flag) = self.flag(line) {
                    let value = Ok(Value::Flag(flag));
                    thing.set(self.piece, &VIP_GROUP, "track_weights", value, &line.at());
                }
            }
            "track_file" | "track_interface" | "track_process" | "track_script" => {
                let key = (thing.place.clone(), "track");
                self.piece.places.entry(key).or_insert_with(|| line.at());
                self.tracks(line, &mut thing.draft.track);
            }
            name => self.error(line.at(), format!("`{name}` is not read")),
        }
    }
}

/// The first member: the others may be in other lines.
fn group_at(words: &[Word]) -> At {
    words.first().map_or(At::from(0..0), |word| word.at.clone())
}

/// What has notify commands with an account.
pub(super) trait Notifies {
    fn notify_user(&mut self) -> &mut Option<String>;
}

impl Notifies for Vip {
    fn notify_user(&mut self) -> &mut Option<String> {
        &mut self.notify.user
    }
}

impl Notifies for VipGroup {
    fn notify_user(&mut self) -> &mut Option<String> {
        &mut self.notify.user
    }
}
