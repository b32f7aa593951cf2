//! Files put in force in a running process: accepted only if what comes of them can be had here.

use std::{collections::BTreeMap, net::SocketAddr, path::PathBuf, sync::Arc};

use crate::{admin_side, again::Again, files, own_files::OwnFiles, vips::Link};
use highgate_cluster::{Alone, Applied};
use highgate_config::{
    Address, Config, ControlPlane as _, Layers as _, ListenerName, NodeName, Place, VipName,
    native::{Parsed, Written},
};
use highgate_io::tasks;
use highgate_proxy::node::{ApplyError, Node};

/// What has to do with the sockets and the files of this machine when a configuration changes.
#[derive(Clone)]
pub(crate) struct Applying {
    pub(crate) alone: Arc<Alone>,
    pub(crate) node: Arc<Node>,
    pub(crate) vips: Arc<Link>,
    pub(crate) again: Arc<Again>,
    pub(crate) own: OwnFiles,
    /// What the process was started with.
    pub(crate) started: Arc<Config>,
}

impl Applying {
    /// The name under which files were last applied, which may have been another path or link to them; else
    /// what `files::key` gives.
    pub(crate) fn key_before(&self, files: &[PathBuf]) -> String {
        let (key, applied) = (files::key(files), self.alone.all_applied());
        if key == self.own.key || applied.contains_key(&key) {
            return key;
        }
        files::same_now(applied.keys(), files).cloned().unwrap_or(key)
    }

    /// As [`Self::key_before`], for files that are to be applied. Where they were by the path to which a link
    /// leads, the link's takes its place: that path is another one once the link leads elsewhere.
    ///
    /// # Errors
    /// A sentence for the operator. Nothing was changed.
    ///
    /// Cancel safe: yes, but the outcome is then unknown.
    pub(crate) async fn key_of(&self, files: &[PathBuf]) -> Result<String, String> {
        let (key, before) = (files::key(files), self.key_before(files));
        if before == key || before != files::resolved_key(files) {
            return Ok(before);
        }
        let renamed = self.alone.rename_applied(&before, &key).await;
        renamed.map_err(|error| error.to_string())?;
        Ok(key)
    }

    /// Applies files that were read, as one; `key` is the name under which they are kept. Where an address
    /// can't be listened on or a certificate can't be read, the whole of it is refused before anything is stored.
    ///
    /// # Errors
    /// A sentence for the operator. Nothing was changed, unless it says that this is unknown.
    ///
    /// Cancel safe: yes, but the outcome is then unknown.
    pub(crate) async fn apply(
        &self,
        key: &str,
        parsed: Parsed,
        who: &str,
    ) -> Result<Applied, String> {
        self.vips.could_keep(&parsed.config)?;
        self.own.none_is_emptied(key, &parsed)?;
        let Parsed { config, written, empty, .. } = parsed;
        let (this, (_, before)) = (self.clone(), self.alone.current());
        let emptied = self.emptied(key, &config);
        let ready = move |config: &Config| {
            keeps_a_listener(&before, config, emptied.as_ref())?;
            this.could_open_ports(&before, config, &written)?;
            this.get_ready(config, &written)
        };
        let applied = self.alone.apply_file(key, config, who, ready).await;
        if applied.is_ok() && key == self.own.key {
            self.own.are_in_force(&empty);
        }
        applied.map_err(|error| {
            // Sockets that nobody will serve would take clients into a queue nobody empties.
            self.node.forgo();
            error.to_string()
        })
    }

    /// As [`Emptied::of`], for files that are kept by that name.
    pub(crate) fn emptied(&self, key: &str, now: &Config) -> Option<Emptied> {
        let last = self.alone.applied(self.alone.node(), key)?;
        Emptied::of(&self.alone, key, (last, now), key == self.own.key)
    }

    /// Has the ports below 1024 of listeners bound that are to be put in force, where this process has
    /// no right to.
    ///
    /// Cancel safe: yes; sockets that were opened are closed.
    pub(crate) async fn bind_low_ports(&self, config: &Arc<Config>) {
        let (this, config) = (self.clone(), config.clone());
        let wanted = tasks::blocking(move || this.unbound(&config)).await;
        self.bind(wanted.unwrap_or_default()).await;
    }

    /// What would have to be bound. Blocks: it resolves names.
    fn unbound(&self, config: &Config) -> Vec<((ListenerName, String), SocketAddr)> {
        // Without a keeper nobody has the right to.
        if !self.vips.is_there() {
            return Vec::new();
        }
        let unbound = self.node.unbound(config).into_iter();
        unbound.map(|(listener, address, at)| ((listener, address), at)).collect()
    }

    async fn bind(&self, wanted: Vec<((ListenerName, String), SocketAddr)>) {
        self.node.inherit_more(self.vips.bind(wanted, self.node.shared()).await);
    }

    /// Refuses an address of a port for operators that nothing can listen on: the next start would find that out.
    /// Only where it changes, since what waits for a start keeps no other change waiting. Blocks: it resolves names.
    fn could_open_ports(
        &self,
        before: &Config,
        after: &Config,
        written: &Written,
    ) -> Result<(), String> {
        let node = self.alone.node();
        let Some(new) = after.node.get(node).map(|own| &own.admin) else { return Ok(()) };
        let of = |config: &Config| config.node.get(node).cloned().unwrap_or_default();
        let (started, before) = (of(&self.started), of(before));
        let binds = before.binds.values().flatten();
        let own = binds.chain(&started.admin.sql).chain(&started.admin.web);
        let held: Vec<u16> = own.filter_map(Address::port).collect();
        for (setting, new, old) in
            [("admin.sql", &new.sql, &before.admin.sql), ("admin.web", &new.web, &before.admin.web)]
        {
            let Some(address) = new.as_ref().filter(|_| new != old) else { continue };
            // What this process itself holds may be free at a start, and the keeper opens low ports then.
            let is_there = address
                .port()
                .is_some_and(|port| held.contains(&port) || (self.vips.is_there() && port < 1024));
            if !is_there && let Err(error) = admin_side::bind(address) {
                let at = written.at(&Place::Node(node.clone()), setting);
                let at = at.map_or_else(String::new, |at| format!("{at}: "));
                return Err(format!("{at}{error:#} (`{setting}`)"));
            }
        }
        Ok(())
    }

    /// Blocks.
    fn get_ready(&self, config: &Config, written: &Written) -> Result<(), String> {
        tasks::wait(self.bind(self.unbound(config)));
        self.node.get_ready(config).map_err(|error| reason(&error, written))
    }
}

/// Files without a listener that had one when they were last applied, or without a vip and a listener that
/// had a vip.
pub(crate) struct Emptied {
    /// They are those that the process was started with.
    is_own: bool,
    /// They have a vip.
    keeps_vips: bool,
    node: NodeName,
    last: Arc<Config>,
    /// Other files, as they were last applied.
    others: BTreeMap<String, Arc<Config>>,
}

impl Emptied {
    /// What is known of files that serve nobody any more, though they did when they were last applied.
    pub(crate) fn of(
        alone: &Alone,
        key: &str,
        (last, now): (Arc<Config>, &Config),
        is_own: bool,
    ) -> Option<Self> {
        let node = alone.node();
        let vips = |config: &Config| config.node.get(node).is_some_and(|it| !it.vips.is_empty());
        let listens = |config: &Config| !config.shared.listeners.is_empty();
        let is_emptied = !listens(now) && (listens(&last) || vips(&last) && !vips(now));
        let keeps_vips = vips(now);
        is_emptied.then(|| {
            let mut others = alone.all_applied();
            others.remove(key);
            Self { is_own, keeps_vips, node: node.clone(), last, others }
        })
    }

    /// A listener that would go although another file has it, and that file.
    fn taken_from_others(&self, before: &Config, after: &Config) -> Option<(&str, &ListenerName)> {
        let (listeners, left) = (&before.shared.listeners, &after.shared.listeners);
        self.others.iter().find_map(|(file, other)| {
            let goes =
                |name: &&ListenerName| listeners.contains_key(*name) && !left.contains_key(*name);
            Some((file.as_str(), other.shared.listeners.keys().find(goes)?))
        })
    }

    /// Whether a listener is left that is not from them alone.
    fn leaves_a_listener(&self, after: &Config) -> bool {
        let has = |config: &Config, name: &ListenerName| config.shared.listeners.contains_key(name);
        let mut left = after.shared.listeners.keys();
        left.any(|name| !has(&self.last, name) || self.others.values().any(|it| has(it, name)))
    }

    /// Whether this node is left a vip that is not from them alone.
    fn leaves_a_vip(&self, after: &Config) -> bool {
        let has = |config: &Config, name: &VipName| {
            config.node.get(&self.node).is_some_and(|it| it.vips.contains_key(name))
        };
        let mut left = after.node.get(&self.node).into_iter().flat_map(|it| it.vips.keys());
        left.any(|name| !has(&self.last, name) || self.others.values().any(|it| has(it, name)))
    }
}

/// Refuses to take all listeners away from clients that are served: rarely meant, and what an empty or
/// a half-written file asks for. What was set elsewhere may keep one of them, and hides nothing: the
/// files are looked at, too. Further files may take back what they added to others, and no listener that
/// another file has.
///
/// # Errors
/// A sentence for the operator.
pub(crate) fn keeps_a_listener(
    before: &Config,
    after: &Config,
    emptied: Option<&Emptied>,
) -> Result<(), String> {
    let (listeners, left) = (&before.shared.listeners, &after.shared.listeners);
    let taken = emptied.and_then(|emptied| emptied.taken_from_others(before, after));
    let is_meant = |emptied: &Emptied| {
        !emptied.is_own && (emptied.leaves_a_listener(after) || emptied.leaves_a_vip(after))
    };
    let why = if !listeners.is_empty() && left.is_empty() {
        "no listener would be left"
    } else {
        match emptied.filter(|emptied| !is_meant(emptied)) {
            None => return taken.map_or(Ok(()), |(file, name)| Err(would_take(file, name))),
            Some(Emptied { keeps_vips: true, .. }) => {
                "no listener is in the files, and there was when they were last applied"
            }
            Some(_) => {
                "no listener or vip is in the files, and there was when they were last applied"
            }
        }
    };
    Err(refused(why))
}

pub(crate) fn refused(why: &str) -> String {
    format!(
        "{why}: is a file empty, or cut off? If it is meant, stop the process and start it with these \
         files"
    )
}

fn would_take(file: &str, name: &ListenerName) -> String {
    format!(
        "listener {name} would go, which {file} has as it was last applied: is a file empty, or cut off? \
         If it is meant, take the listener out of {file}, and apply that"
    )
}

/// What can't be had, with where that is asked for.
fn reason(error: &ApplyError, written: &Written) -> String {
    let (place, setting) = error.setting();
    let at = written.at(&place, setting).map_or_else(String::new, |at| format!("{at}: "));
    format!("{at}{error} (`{setting}`)")
}

#[cfg(test)]
mod tests {
    use highgate_config::native;

    use super::*;

    fn config(text: &str) -> Config {
        native::parse("a", text, &NodeName::from("here")).unwrap().config
    }

    fn listener(name: &str, port: u16) -> String {
        format!("[[listener]]\nname = \"{name}\"\nbind = \"*:{port}\"\nbackend = \"b\"\n")
    }

    #[test]
    fn the_last_listener_of_a_running_process_is_not_taken_away() {
        let (one, none) = (config(&listener("a", 1)), config(""));
        assert!(keeps_a_listener(&one, &none, None).unwrap_err().contains("empty, or cut off"));
        assert_eq!(keeps_a_listener(&one, &one, None), Ok(()));
        assert_eq!(keeps_a_listener(&none, &none, None), Ok(()), "who has none may stay without");
    }

    /// What was set elsewhere stays, so that a listener was left of an emptied file.
    #[test]
    fn emptied_files_are_refused_whatever_is_left_unless_they_only_added_to_others() {
        let (a, both) =
            (config(&listener("a", 1)), config(&(listener("a", 1) + &listener("b", 2))));
        let kept = |before: &Config, after: &Config, is_own: bool, last: &Config| {
            keeps_a_listener(before, after, Some(&emptied(is_own, last)))
        };
        assert!(kept(&a, &a, true, &a).unwrap_err().contains("empty, or cut off"));
        assert!(kept(&both, &a, true, &both).is_err());
        assert!(kept(&both, &a, true, &config(&listener("b", 2))).is_err());
        assert!(kept(&both, &a, false, &both).is_err());
        assert_eq!(kept(&both, &a, false, &config(&listener("b", 2))), Ok(()), "a further file");
    }

    /// It took away a listener of the files that the process runs with, as soon as it had set anything of it.
    #[test]
    fn an_emptied_further_file_takes_no_listener_away_that_another_file_has() {
        let (a, b) = (config(&listener("a", 1)), config(&listener("b", 2)));
        let both = config(&(listener("a", 1) + &listener("b", 2)));
        let kept = |last: &Config, other: &Config, after: &Config| {
            let others = BTreeMap::from([("own.toml".to_owned(), Arc::new(other.clone()))]);
            let emptied = Emptied { others, ..emptied(false, last) };
            keeps_a_listener(&both, after, Some(&emptied))
        };
        let why = kept(&a, &both, &b).unwrap_err();
        assert!(why.starts_with("listener a would go, which own.toml has"), "{why}");
        assert_eq!(kept(&a, &b, &b), Ok(()), "what it alone had goes");
        assert_eq!(kept(&a, &config(""), &b), Ok(()), "as it was last applied");
        let stays = BTreeMap::from([("own.toml".to_owned(), Arc::new(a.clone()))]);
        let emptied = Emptied { others: stays, ..emptied(false, &a) };
        assert_eq!(keeps_a_listener(&a, &a, Some(&emptied)), Ok(()), "it said again what stays");
    }

    /// A further file could not take its vips back where there is no listener: stop the process, it was
    /// told, which would have dropped all addresses.
    #[test]
    fn a_further_file_may_take_its_vips_back_while_others_are_left() {
        let vip = |name: &str, last: u8| {
            format!(
                "[[vip]]\nname = \"{name}\"\nrouter_id = {last}\ninterface = \"eth0\"\n\
                 addresses = [\"192.0.2.{last}\"]\n"
            )
        };
        let (one, more) = (config(&vip("one", 1)), config(&vip("more", 2)));
        let both = config(&(vip("one", 1) + &vip("more", 2)));
        let kept = |after: &Config, is_own: bool, last: &Config| {
            keeps_a_listener(&both, after, Some(&emptied(is_own, last)))
        };
        assert_eq!(kept(&one, false, &more), Ok(()));
        let told = kept(&one, true, &more).unwrap_err();
        assert!(told.starts_with("no listener or vip is in the files"), "{told}");
        assert!(kept(&config(""), false, &both).is_err(), "all of them");
    }

    /// Files that keep their vips were told to have none.
    #[test]
    fn of_files_without_listeners_that_keep_their_vips_no_more_is_said() {
        let a = config(&listener("a", 1));
        let emptied = Emptied { keeps_vips: true, ..emptied(true, &a) };
        let told = keeps_a_listener(&a, &a, Some(&emptied)).unwrap_err();
        assert!(told.starts_with("no listener is in the files, and there was"), "{told}");
    }

    fn emptied(is_own: bool, last: &Config) -> Emptied {
        let (node, last) = (NodeName::from("here"), Arc::new(last.clone()));
        Emptied { is_own, keeps_vips: false, node, last, others: BTreeMap::new() }
    }

    #[test]
    fn a_reason_names_file_line_and_setting_where_the_file_says_it() {
        let text = "[[listener]]\nname = \"shop\"\nbind = \"127.0.0.1:1\"\nbackend = \"shop\"\n\
                    [[backend]]\nname = \"shop\"\n";
        let parsed = native::parse("shop.toml", text, &NodeName::from("here")).unwrap();
        let failed = |listener: &str| ApplyError::Bind {
            listener: listener.into(),
            address: Address::Ip("127.0.0.1:1".parse().unwrap()),
            cause: std::io::ErrorKind::AddrInUse.into(),
        };
        assert_eq!(
            reason(&failed("shop"), &parsed.written),
            "shop.toml:3:8: listener shop: cannot listen on 127.0.0.1:1: address in use (`bind`)"
        );
        // One that came from elsewhere.
        assert!(reason(&failed("other"), &parsed.written).starts_with("listener other: "));
    }
}
