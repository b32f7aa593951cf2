//! Sections to listeners and backends.

use std::{collections::BTreeMap, time::Duration};

use super::{
    proxy::{Given, Proxy},
    reader::Reader,
    sections::Kind as Section,
    server::Server as Read,
};
use crate::{
    AdminState, Backend, BackendName, Balance, Check, Listener, ListenerName, Mode, Place,
    SendProxy, Server, ServerName, Severity,
    import::thing::Thing,
    piece::{Found, Span},
    settings::{BACKEND, LISTENER, ListenerDraft, Mistake, SERVER, Value},
};

/// HAProxy's own, which are not ours.
const INTER: Duration = Duration::from_secs(2);
const RISE: u64 = 2;
const FALL: u64 = 3;
const UNBOUNDED: u32 = 100_000;
const STATS: &str = "Highgate has a web page of its own: at 127.0.0.1:6080 unless `[admin] web` in a native file says otherwise";

impl Reader<'_> {
    pub(super) fn build(&mut self) {
        let proxies = std::mem::take(&mut self.proxies);
        let backends: BTreeMap<&str, &Proxy> = (proxies.iter())
            .filter(|proxy| proxy.has_servers())
            .map(|proxy| (proxy.name.as_str(), proxy))
            .collect();
        for proxy in &proxies {
            if self.is_left_out(proxy) {
                continue;
            }
            if let Some((Mode::Http, at)) = &proxy.mode
                && proxy.has_clients()
            {
                self.as_tcp(proxy, at);
            }
            if proxy.has_clients() {
                self.listener(proxy, &backends);
            }
            if proxy.has_servers() {
                self.backend(proxy);
            }
        }
    }

    /// A page of statistics, or a section that is disabled.
    fn is_left_out(&mut self, proxy: &Proxy) -> bool {
        if let Some(at) = &proxy.disabled {
            let what = format!("`{} {}` is disabled and left out", proxy.kind.word(), proxy.name);
            let mistake = Mistake { what, ..Mistake::default() };
            self.piece.tell(Severity::Warning, at.clone(), mistake);
            return true;
        }
        let only_stats = proxy.stats.is_some()
            && proxy.servers.is_empty()
            && proxy.backend.is_none()
            && proxy.kind != Section::Backend;
        if only_stats {
            let what = format!(
                "`{} {}` is left out: it has the page of statistics alone",
                proxy.kind.word(),
                proxy.name
            );
            let hint = Some(STATS.to_owned());
            let mistake = Mistake { what, hint, ..Mistake::default() };
            self.piece.tell(Severity::Warning, proxy.at.clone(), mistake);
        } else if let Some(at) = &proxy.stats {
            let what = "the page of statistics is left out".to_owned();
            let hint = Some(STATS.to_owned());
            let mistake = Mistake { what, hint, ..Mistake::default() };
            self.piece.tell(Severity::Warning, at.clone(), mistake);
        }
        only_stats
    }

    fn as_tcp(&mut self, proxy: &Proxy, at: &Span) {
        let what = format!(
            "`{} {}` is served in tcp mode: mode http is not available yet",
            proxy.kind.word(),
            proxy.name
        );
        let hint =
            "requests reach the servers as they are; nothing in them is looked at, added or logged";
        let mistake = Mistake { what, hint: Some(hint.to_owned()), ..Mistake::default() };
        // Where the mode is that of `defaults`, the section is what is meant.
        let at = if at.start > proxy.at.start { at.clone() } else { proxy.at.clone() };
        self.piece.tell(Severity::Warning, at, mistake);
    }

    fn listener(&mut self, proxy: &Proxy, backends: &BTreeMap<&str, &Proxy>) {
        let name = ListenerName::from(&*proxy.name);
        let place = Place::Listener(name.clone());
        if !self.piece.is_new(&place, proxy.at.clone()) {
            return;
        }
        let mut thing: Thing<ListenerDraft> = Thing::new(&LISTENER, place);
        let draft = Listener { mode: Mode::Tcp, ..thing.draft.listener };
        thing.draft.listener = draft;
        let backend = self.backend_of(proxy, backends, &mut thing);
        let at = proxy.binds.first().map_or_else(|| proxy.at.clone(), |(_, at)| at.clone());
        if proxy.binds.is_empty() {
            let what = format!("`{} {}` has no `bind`", proxy.kind.word(), proxy.name);
            if !proxy.has_bind_line {
                self.error(proxy.at.clone(), what);
            }
        }
        let binds = proxy.binds.iter().map(|(address, _)| address.clone()).collect();
        thing.put(self.piece, &LISTENER, "bind", Ok(Value::Addresses(binds)), &at.into());
        if proxy.accepts_proxy {
            let everywhere = ["0.0.0.0/0", "::/0"].iter().filter_map(|it| it.parse().ok());
            thing.draft.listener.proxy_protocol_from = everywhere.collect();
        }
        if let Some((count, at)) = &proxy.maxconn {
            let value = Ok(Value::Count((*count).into()));
            thing.put(self.piece, &LISTENER, "max_connections", value, &at.clone().into());
        }
        self.idle(proxy, backend, &mut thing);
        self.piece.node.binds.insert(name.clone(), thing.draft.binds);
        self.piece.shared.listeners.insert(name, thing.draft.listener);
    }

    fn backend_of<'p>(
        &mut self,
        proxy: &'p Proxy,
        backends: &BTreeMap<&str, &'p Proxy>,
        thing: &mut Thing<ListenerDraft>,
    ) -> Option<&'p Proxy> {
        let own = (proxy.kind == Section::Listen).then(|| (proxy.name.clone(), proxy.at.clone()));
        let named = proxy.backend.as_ref().map(|word| (word.text.clone(), word.at.clone()));
        let own = own.filter(|_| !proxy.servers.is_empty() || named.is_none());
        let Some((name, at)) = own.or(named) else {
            let what = format!("`{} {}` has no `default_backend`", proxy.kind.word(), proxy.name);
            self.error(proxy.at.clone(), what);
            self.piece.failed.insert((thing.place.clone(), "backend"));
            return None;
        };
        self.piece.wanted.push((BackendName::from(&*name), at.clone().into()));
        let value = Ok(Value::Text(name.clone()));
        thing.put(self.piece, &LISTENER, "backend", value, &at.into());
        backends.get(name.as_str()).copied()
    }

    /// One idle time holds for both sides: the first that either side would reach.
    fn idle(&mut self, proxy: &Proxy, backend: Option<&Proxy>, thing: &mut Thing<ListenerDraft>) {
        let server = backend.and_then(|backend| backend.server.clone());
        let tunnel = backend.and_then(|backend| backend.tunnel.clone()).or(proxy.tunnel.clone());
        let sides = [proxy.client.clone(), server];
        let least = sides.into_iter().flatten().filter(|(time, _)| !time.is_zero());
        let least = least.min_by_key(|(time, _)| *time);
        let missing: Vec<&str> = [
            ("timeout client", proxy.client.is_none()),
            ("timeout server", backend.is_some_and(|it| it.server.is_none())),
            ("timeout connect", backend.is_some_and(|it| it.connect.is_none())),
        ]
        .into_iter()
        .filter_map(|(name, is_missing)| is_missing.then_some(name))
        .collect();
        if !missing.is_empty() && tunnel.is_none() {
            let what =
                format!("`{} {}` has no {}", proxy.kind.word(), proxy.name, missing.join(", no "));
            let hint = "without them, connections whose peer is gone stay for long".to_owned();
            let mistake = Mistake { what, hint: Some(hint), ..Mistake::default() };
            self.piece.tell(Severity::Warning, proxy.at.clone(), mistake);
        }
        match tunnel.or(least) {
            Some((time, at)) => {
                let (value, at) = (Ok(Value::Duration(time)), at.into());
                thing.put(self.piece, &LISTENER, "client_timeout", value, &at);
            }
            None => thing.draft.listener.client_timeout = Duration::ZERO,
        }
    }

    fn backend(&mut self, proxy: &Proxy) {
        let name = BackendName::from(&*proxy.name);
        let place = Place::Backend(name.clone());
        if !self.piece.is_new(&place, proxy.at.clone()) {
            return;
        }
        let mut thing: Thing<Backend> = Thing::new(&BACKEND, place);
        thing.draft.balance = Balance::RoundRobin;
        thing.draft.slow_start = Duration::ZERO;
        if let Some((balance, at)) = &proxy.balance {
            let value = Ok(Value::of_word(balance.word()));
            thing.put(self.piece, &BACKEND, "balance", value, &at.clone().into());
        }
        let queue = proxy.queue.clone().or(proxy.connect.clone());
        for (field, given) in [("connect_timeout", &proxy.connect), ("queue_timeout", &queue)] {
            if let Some((time, at)) = given {
                let value = Ok(Value::Duration(*time));
                thing.put(self.piece, &BACKEND, field, value, &at.clone().into());
            }
        }
        self.monitor(proxy, &mut thing);
        if let Some((send, at)) = self.same(proxy, "send-proxy", |it| it.send_proxy.clone()) {
            let value = Ok(Value::of_word(send.word()));
            thing.put(self.piece, &BACKEND, "send_proxy", value, &at.into());
        }
        if let Some((time, at)) = self.same(proxy, "slowstart", |it| it.slowstart.clone()) {
            thing.put(self.piece, &BACKEND, "slow_start", Ok(Value::Duration(time)), &at.into());
        }
        for server in &proxy.servers {
            self.add_server(&name, server, &mut thing.draft);
        }
        self.piece.shared.backends.insert(name, thing.draft);
    }

    fn monitor(&mut self, proxy: &Proxy, thing: &mut Thing<Backend>) {
        let is_checked = proxy.servers.iter().any(|server| server.is_checked);
        let (check, user) = match &proxy.check {
            _ if !is_checked => (Check::Off, String::new()),
            Some((check, _)) => check.clone(),
            None => (Check::Connect, String::new()),
        };
        thing.draft.monitor.check = check;
        thing.draft.monitor.user = user;
        if let Some(unchecked) = proxy.servers.iter().find(|it| is_checked && !it.is_checked) {
            let what = format!("server `{}` is checked as the others are", unchecked.name);
            let hint = Some("a backend is checked as a whole".to_owned());
            let mistake = Mistake { what, hint, ..Mistake::default() };
            self.piece.tell(Severity::Note, unchecked.at.clone(), mistake);
        }
        let at: Span = proxy.at.clone();
        let inter = self.same(proxy, "inter", |it| it.inter.clone());
        let (inter, inter_at) = inter.unwrap_or((INTER, at.clone()));
        let rise = self.same(proxy, "rise", |it| it.rise.clone());
        let fall = self.same(proxy, "fall", |it| it.fall.clone());
        let connect = proxy.connect.as_ref().map_or(inter, |(time, _)| *time);
        let (timeout, timeout_at) = match &proxy.check_timeout {
            Some((time, at)) => ((*time).min(connect).min(inter), at.clone()),
            None => (inter, inter_at.clone()),
        };
        let count = |given: Given<u32>, or: u64| match given {
            Some((count, at)) => (Value::Count(count.into()), at),
            None => (Value::Count(or), proxy.at.clone()),
        };
        let (rise, rise_at) = count(rise, RISE);
        let (fall, fall_at) = count(fall, FALL);
        for (field, value, at) in [
            ("monitor.interval", Value::Duration(inter), inter_at),
            ("monitor.timeout", Value::Duration(timeout), timeout_at),
            ("monitor.rise", rise, rise_at),
            ("monitor.fall", fall, fall_at),
        ] {
            thing.put(self.piece, &BACKEND, field, Ok(value), &at.into());
        }
    }

    /// What all servers of a backend have in common with us.
    fn same<T: Clone + PartialEq>(
        &mut self,
        proxy: &Proxy,
        word: &str,
        get: impl Fn(&Read) -> Given<T>,
    ) -> Given<T> {
        // Without `check`, what is said of checks has no meaning.
        let of_checks = ["fall", "inter", "rise"].contains(&word);
        let servers =
            || proxy.servers.iter().filter(|it| !it.is_odd && (it.is_checked || !of_checks));
        let first = servers().find_map(&get)?;
        for server in servers() {
            let (what, at) = match get(server) {
                Some((value, _)) if value == first.0 => continue,
                Some((_, at)) => {
                    (format!("`{word}` is another than that of the server before"), at)
                }
                None => (format!("server `{}` has no `{word}`", server.name), server.at.clone()),
            };
            let hint = "a backend has one for all its servers: make it alike, or make two backends";
            let mistake = Mistake { what, hint: Some(hint.to_owned()), ..Mistake::default() };
            let (severity, other) = (Severity::Error, Some(first.1.clone().into()));
            self.piece.found.push(Found { severity, at: at.into(), mistake, other });
        }
        Some(first)
    }

    fn add_server(&mut self, backend: &BackendName, read: &Read, into: &mut Backend) {
        let name = ServerName::from(&*read.name);
        let place = Place::Server(backend.clone(), name.clone());
        if !self.piece.is_new(&place, read.at.clone()) {
            return;
        }
        let mut thing: Thing<Server> = Thing::new(&SERVER, place);
        thing.draft.backup = read.is_backup;
        thing.draft.max_connections = UNBOUNDED;
        if read.is_disabled {
            thing.draft.state = AdminState::Maintenance;
        }
        // One that could not be read was told, and is left out.
        let Some((address, at)) = read.address.clone() else { return };
        let value = Ok(Value::Addresses(vec![address]));
        thing.put(self.piece, &SERVER, "address", value, &at.into());
        if let Some((weight, at)) = &read.weight {
            let value = Ok(Value::Count((*weight).into()));
            thing.put(self.piece, &SERVER, "weight", value, &at.clone().into());
        }
        if let Some((count, at)) = read.maxconn.as_ref().filter(|(count, _)| *count > 0) {
            let value = Ok(Value::Count((*count).into()));
            thing.put(self.piece, &SERVER, "max_connections", value, &at.clone().into());
        }
        debug_assert!(into.send_proxy == SendProxy::Off || !read.name.is_empty());
        into.servers.insert(name, thing.draft);
    }
}
