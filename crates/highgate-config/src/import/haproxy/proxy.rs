//! The lines of `defaults`, `frontend`, `backend` and `listen`.

use std::time::Duration;

use super::{
    address,
    keywords::{BIND, PROXY, SERVER, TABLE, WITH_VALUE},
    lexer::{Line, Word},
    reader::{Reader, number, time},
    sections::Kind as Section,
    server::Server,
};
use crate::{
    Address, Balance, Check, Mode, Severity,
    import::keywords,
    piece::Span,
    settings::{Kind, Mistake, Value, short},
};

const STATS: &[&str] = &[
    "admin",
    "auth",
    "enable",
    "hide-version",
    "http-request",
    "realm",
    "refresh",
    "scope",
    "show-desc",
    "show-legends",
    "show-modules",
    "show-node",
    "uri",
];

/// A value with its place.
pub(super) type Given<T> = Option<(T, Span)>;

/// A section as far as it was read.
#[derive(Debug, Clone)]
pub(super) struct Proxy {
    pub(super) kind: Section,
    pub(super) name: String,
    pub(super) at: Span,
    pub(super) mode: Given<Mode>,
    pub(super) binds: Vec<(Address, Span)>,
    pub(super) has_bind_line: bool,
    pub(super) accepts_proxy: bool,
    pub(super) maxconn: Given<u32>,
    pub(super) backend: Option<Word>,
    pub(super) balance: Given<Balance>,
    pub(super) check: Given<(Check, String)>,
    pub(super) client: Given<Duration>,
    pub(super) server: Given<Duration>,
    pub(super) tunnel: Given<Duration>,
    pub(super) connect: Given<Duration>,
    pub(super) queue: Given<Duration>,
    pub(super) check_timeout: Given<Duration>,
    pub(super) usual: Server,
    pub(super) servers: Vec<Server>,
    /// `stats` of the section itself.
    pub(super) stats: Option<Span>,
    pub(super) disabled: Option<Span>,
}

impl Proxy {
    pub(super) fn new(kind: Section) -> Self {
        Self {
            kind,
            name: String::new(),
            at: 0..0,
            mode: None,
            binds: Vec::new(),
            has_bind_line: false,
            accepts_proxy: false,
            maxconn: None,
            backend: None,
            balance: None,
            check: None,
            client: None,
            server: None,
            tunnel: None,
            connect: None,
            queue: None,
            check_timeout: None,
            usual: Server::default(),
            servers: Vec::new(),
            stats: None,
            disabled: None,
        }
    }

    pub(super) fn has_clients(&self) -> bool {
        matches!(self.kind, Section::Frontend | Section::Listen)
    }

    pub(super) fn has_servers(&self) -> bool {
        matches!(self.kind, Section::Backend | Section::Listen)
    }
}

impl Reader<'_> {
    pub(super) fn line(&mut self, proxy: &mut Proxy, line: &Line) {
        let Some(first) = line.first() else { return };
        if first.text == "stats" {
            return self.stats(proxy, line);
        }
        if let Some(instead) = misplaced(proxy.kind, &first.text) {
            let what = format!("`{}` does not belong in `{}`", first.text, proxy.kind.word());
            let at = first.at.clone();
            let hint = Some(instead.to_owned());
            return self.piece.error(at, Mistake { what, hint, ..Mistake::default() });
        }
        let Some(known) = self.answer(PROXY, line) else { return };
        match known.name {
            "bind" => self.bind(proxy, line),
            "default-server" => {
                let mut usual = std::mem::take(&mut proxy.usual);
                self.server_words(&mut usual, line.get(1..).unwrap_or_default());
                proxy.usual = usual;
            }
            "server" => self.server(proxy, line),
            "disabled" => proxy.disabled = Some(first.at.clone()),
            "balance" => self.balance(proxy, line),
            "option mysql-check" => self.mysql_check(proxy, line),
            "option tcp-check" => {
                let at = line.get(1).map_or(0..0, |word| word.at.clone());
                proxy.check = Some(((Check::Connect, String::new()), at));
            }
            "enabled" => {}
            name if name.starts_with("timeout ") => {
                let Some(value) = self.one(line, known) else { return };
                self.timeout(proxy, name, &value);
            }
            _ => {
                let Some(value) = self.one(line, known) else { return };
                self.value(proxy, known.name, value);
            }
        }
    }

    /// The page of statistics is left out, but its mistakes are told.
    fn stats(&mut self, proxy: &mut Proxy, line: &Line) {
        let (Some(first), Some(second)) = (line.first(), line.get(1)) else {
            let at = line.first().map_or(0..0, |word| word.at.clone());
            return self.error(at, "`stats` has no value");
        };
        // Its value may be a password.
        self.hide(line.get(2..).unwrap_or_default());
        proxy.stats.get_or_insert_with(|| first.at.clone());
        if !STATS.contains(&second.text.as_str()) {
            let mistake = Mistake {
                what: format!("unknown keyword `stats {}`", short(&second.text)),
                expected: STATS.join(", "),
                nearest: crate::nearest::nearest(&second.text, STATS.iter().copied())
                    .map(str::to_owned),
                hint: None,
            };
            return self.piece.error(second.at.clone(), mistake);
        }
        let is_pair = line.get(2).is_some_and(|word| word.text.contains(':'));
        if second.text == "auth" && !is_pair {
            let at = line.get(2).unwrap_or(second).at.clone();
            let (what, expected) = ("`stats auth` has no password".to_owned(), "user:password");
            let expected = expected.to_owned();
            self.piece.error(at, Mistake { what, expected, ..Mistake::default() });
        }
    }

    fn value(&mut self, proxy: &mut Proxy, name: &str, value: Word) {
        match name {
            "default_backend" => proxy.backend = Some(value),
            "maxconn" => match number("maxconn", 0, 10_000_000, &value.text) {
                Ok(read) => proxy.maxconn = Some((read.count(), value.at)),
                Err(mistake) => self.piece.error(value.at, mistake),
            },
            "retries" => {
                if let Err(mistake) = number("retries", 0, 1_000_000, &value.text) {
                    self.piece.error(value.at, mistake);
                }
            }
            _ => match value.text.as_str() {
                "http" => proxy.mode = Some((Mode::Http, value.at)),
                "tcp" => proxy.mode = Some((Mode::Tcp, value.at)),
                text => {
                    let nearest = crate::nearest::nearest(text, ["http", "tcp"]);
                    let mistake = Mistake {
                        what: format!("`{}` is no mode", short(text)),
                        expected: "tcp or http".to_owned(),
                        nearest: nearest.map(str::to_owned),
                        hint: None,
                    };
                    self.piece.error(value.at, mistake);
                }
            },
        }
    }

    fn timeout(&mut self, proxy: &mut Proxy, name: &str, value: &Word) {
        let read = match time(&value.text) {
            Ok(read) => read.duration(),
            Err(mistake) => return self.piece.error(value.at.clone(), mistake),
        };
        let slot = match name {
            "timeout check" => &mut proxy.check_timeout,
            "timeout client" => &mut proxy.client,
            "timeout connect" => &mut proxy.connect,
            "timeout queue" => &mut proxy.queue,
            "timeout server" => &mut proxy.server,
            _ => &mut proxy.tunnel,
        };
        *slot = Some((read, value.at.clone()));
    }

    fn bind(&mut self, proxy: &mut Proxy, line: &Line) {
        proxy.has_bind_line = true;
        let Some(value) = line.get(1) else {
            let at = line.first().map_or(0..0, |word| word.at.clone());
            return self.error(at, "`bind` has no address");
        };
        match address::bind(&value.text) {
            Ok(list) => proxy.binds.extend(list.into_iter().map(|one| (one, value.at.clone()))),
            Err(mistake) => {
                self.piece.error(value.at.clone(), mistake);
                if !address::is_harmless(&value.text) {
                    return self.hide(line.get(1..).unwrap_or_default());
                }
            }
        }
        let mut words = line.iter().skip(2);
        while let Some(word) = words.next() {
            let Some(known) = keywords::find(TABLE, BIND, &word.text) else {
                let mistake = keywords::unknown(TABLE, BIND, &word.text);
                self.piece.error(word.at.clone(), mistake);
                continue;
            };
            let takes_value = WITH_VALUE.contains(&known.name) || known.name == "maxconn";
            if takes_value {
                words.next();
            }
            if self.say(known, word.at.clone()) {
                proxy.accepts_proxy = true;
            }
        }
    }

    fn balance(&mut self, proxy: &mut Proxy, line: &Line) {
        let Some(value) = line.get(1) else {
            let at = line.first().map_or(0..0, |word| word.at.clone());
            return self.error(at, "`balance` has no value");
        };
        let name = value.text.split('(').next().unwrap_or_default();
        let at = value.at.clone();
        let balance = match name {
            "roundrobin" | "static-rr" => Balance::RoundRobin,
            "leastconn" => Balance::LeastConnections,
            "first" => Balance::First,
            "source" => Balance::Source,
            "random" => Balance::RandomTwo,
            "hdr" | "hash" | "rdp-cookie" | "uri" | "url_param" => {
                let what = format!("`balance {name}` is known, but not honoured");
                let hint =
                    Some("it looks into what passes; in tcp mode `source` may do".to_owned());
                return self.piece.error(at, Mistake { what, hint, ..Mistake::default() });
            }
            _ => {
                let known = ["roundrobin", "static-rr", "leastconn", "first", "source", "random"];
                let mistake = Mistake {
                    what: format!("`{}` is no way to balance", short(&value.text)),
                    expected: known.join(", "),
                    nearest: crate::nearest::nearest(name, known).map(str::to_owned),
                    hint: None,
                };
                return self.piece.error(at, mistake);
            }
        };
        self.no_more(line, 2, "balance");
        let what = match name {
            "first" => "`first` is the first by name, not by id",
            "static-rr" => "weights may change at any time, as with `roundrobin`",
            _ => "",
        };
        if !what.is_empty() {
            let mistake = Mistake { what: what.to_owned(), ..Mistake::default() };
            self.piece.tell(Severity::Note, at.clone(), mistake);
        }
        proxy.balance = Some((balance, at));
    }

    fn mysql_check(&mut self, proxy: &mut Proxy, line: &Line) {
        let at = line.get(1).map_or(0..0, |word| word.at.clone());
        let (check, user) = match line.get(2..).unwrap_or_default() {
            [] => (Check::Handshake, String::new()),
            [word, user, rest @ ..] if word.text == "user" => {
                if let Some(form) =
                    rest.first().filter(|it| !["post-41", "pre-41"].contains(&&*it.text))
                {
                    let what = format!("`{}` is not known here", short(&form.text));
                    let expected = "post-41 or pre-41".to_owned();
                    let at = form.at.clone();
                    self.piece.error(at, Mistake { what, expected, ..Mistake::default() });
                }
                (Check::Ping, user.text.clone())
            }
            [word, ..] => {
                let near = crate::nearest::nearest(&word.text, ["user"]).map(str::to_owned);
                let mistake = Mistake {
                    what: format!("`{}` is not known here", short(&word.text)),
                    expected: "user NAME".to_owned(),
                    nearest: near,
                    hint: None,
                };
                return self.piece.error(word.at.clone(), mistake);
            }
        };
        proxy.check = Some(((check, user), at));
    }

    fn server(&mut self, proxy: &mut Proxy, line: &Line) {
        let [_, name, address, words @ ..] = line.as_slice() else {
            let at = line.first().map_or(0..0, |word| word.at.clone());
            let what = "`server` has a name and an address".to_owned();
            let expected = "server NAME ADDRESS:PORT".to_owned();
            return self.piece.error(at, Mistake { what, expected, ..Mistake::default() });
        };
        let read = match Kind::Name.read(&name.text).and_then(|_| address::server(&address.text)) {
            Ok(Value::Addresses(list)) => list.into_iter().next(),
            Ok(_) => None,
            Err(mistake) => {
                self.piece.error(address.at.clone(), mistake);
                None
            }
        };
        // What follows may be the rest of it: nothing is said of its words.
        let is_account = read.is_none() && !address::is_harmless(&address.text);
        let words = if is_account { &[] } else { words };
        if is_account {
            self.hide(line.get(2..).unwrap_or_default());
        }
        let mut server = Server {
            name: name.text.clone(),
            at: name.at.clone(),
            address: read.map(|read| (read, address.at.clone())),
            ..proxy.usual.clone()
        };
        self.server_words(&mut server, words);
        proxy.servers.push(server);
    }

    fn server_words(&mut self, server: &mut Server, words: &[Word]) {
        let mut words = words.iter();
        while let Some(word) = words.next() {
            let Some(known) = keywords::find(TABLE, SERVER, &word.text) else {
                let mistake = keywords::unknown(TABLE, SERVER, &word.text);
                let near = mistake.nearest.clone().unwrap_or_default();
                if WITH_VALUE.contains(&near.as_str()) || Server::has_value(&near) {
                    words.next();
                }
                server.is_odd = true;
                self.piece.error(word.at.clone(), mistake);
                continue;
            };
            let value = if WITH_VALUE.contains(&known.name) || Server::has_value(known.name) {
                words.next()
            } else {
                None
            };
            if !self.say(known, word.at.clone()) {
                continue;
            }
            if let Err((at, mistake)) = server.take(known.name, word, value) {
                server.is_odd = true;
                self.piece.error(at, mistake);
            }
        }
    }
}

/// Where a word belongs that a section can't have.
fn misplaced(kind: Section, word: &str) -> Option<&'static str> {
    match (kind, word) {
        (Section::Frontend, "server" | "balance" | "default-server") => {
            Some("put it in a `backend`, or make this a `listen`")
        }
        (Section::Backend, "bind" | "default_backend") => {
            Some("put it in a `frontend`, or make this a `listen`")
        }
        (Section::Defaults, "bind" | "server") => Some("put it in a `listen`"),
        _ => None,
    }
}
