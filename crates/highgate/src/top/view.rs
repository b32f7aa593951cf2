//! From two samples to what is shown: rates instead of counters, in an order.

use std::collections::BTreeMap;

use super::sample::{Digest, Event, Listener, Node, Sample, Server, Session};

/// How servers are ordered.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Sort {
    Commands,
    Errors,
    Latency,
    #[default]
    Name,
}

impl Sort {
    pub(crate) const fn next(self) -> Self {
        match self {
            Self::Name => Self::Commands,
            Self::Commands => Self::Latency,
            Self::Latency => Self::Errors,
            Self::Errors => Self::Name,
        }
    }

    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Commands => "commands",
            Self::Errors => "errors",
            Self::Latency => "latency",
            Self::Name => "name",
        }
    }
}

/// Everything on the screen.
#[derive(Debug, Default)]
pub(crate) struct View {
    pub(crate) node: Node,
    /// Per second, of all servers; unknown before there are two samples.
    pub(crate) commands: Option<f64>,
    pub(crate) errors: Option<f64>,
    pub(crate) servers: Vec<(Server, ServerRates)>,
    pub(crate) listeners: Vec<(Listener, ListenerRates)>,
    /// The busiest first.
    pub(crate) sessions: Vec<(Session, Option<f64>)>,
    pub(crate) all_sessions: u64,
    /// The busiest first; only those that were asked for.
    pub(crate) digests: Vec<(Digest, DigestRates)>,
    /// The latest first.
    pub(crate) events: Vec<Event>,
}

/// Per second.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct ServerRates {
    pub(crate) commands: Option<f64>,
    pub(crate) errors: Option<f64>,
}

/// Of the statements of one form, since the look before.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct DigestRates {
    /// Per second.
    pub(crate) commands: f64,
    /// Per second.
    pub(crate) errors: f64,
    /// How many were waited for at once, on average.
    pub(crate) at_once: f64,
    /// Until the answer began, in microseconds.
    pub(crate) average_us: f64,
}

/// Per second.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct ListenerRates {
    pub(crate) accepted: Option<f64>,
    pub(crate) refused: Option<f64>,
    pub(crate) login_failures: Option<f64>,
}

impl View {
    /// What changed from `before` to `now`, in so many seconds.
    pub(crate) fn new(before: Option<&Sample>, now: &Sample, seconds: f64, sort: Sort) -> Self {
        // Another process counts from zero.
        let before = before.filter(|before| before.node.pid == now.node.pid && seconds > 0.0);
        let rate = |then: Option<u64>, now: u64| {
            then.map(|then| count(now.saturating_sub(then)) / seconds)
        };
        let mut servers: Vec<(Server, ServerRates)> = (now.servers.iter())
            .map(|server| {
                let then = before.and_then(|before| {
                    let is_it =
                        |it: &&Server| it.backend == server.backend && it.name == server.name;
                    before.servers.iter().find(is_it)
                });
                let failed = |it: &Server| it.connect_errors + it.lost;
                let rates = ServerRates {
                    commands: rate(then.map(|then| then.commands), server.commands),
                    errors: rate(then.map(failed), failed(server)),
                };
                (server.clone(), rates)
            })
            .collect();
        let total = |of: fn(&ServerRates) -> Option<f64>| {
            before?;
            Some(servers.iter().filter_map(|(_, rates)| of(rates)).sum())
        };
        let (commands, errors) = (total(|rates| rates.commands), total(|rates| rates.errors));
        order(&mut servers, sort);
        Self {
            node: now.node.clone(),
            commands,
            errors,
            servers,
            listeners: listeners(before, now, &rate),
            sessions: sessions(before, now, &rate),
            all_sessions: now.all_sessions,
            digests: digests(before, now, seconds),
            events: now.events.iter().rev().cloned().collect(),
        }
    }
}

fn listeners(
    before: Option<&Sample>,
    now: &Sample,
    rate: &impl Fn(Option<u64>, u64) -> Option<f64>,
) -> Vec<(Listener, ListenerRates)> {
    let with_rates = |listener: &Listener| {
        let is_it = |it: &&Listener| it.name == listener.name && it.address == listener.address;
        let then = before.and_then(|before| before.listeners.iter().find(is_it));
        let rates = ListenerRates {
            accepted: rate(then.map(|then| then.accepted), listener.accepted),
            refused: rate(then.map(|then| then.refused), listener.refused),
            login_failures: rate(then.map(|then| then.login_failures), listener.login_failures),
        };
        (listener.clone(), rates)
    };
    now.listeners.iter().map(with_rates).collect()
}

fn sessions(
    before: Option<&Sample>,
    now: &Sample,
    rate: &impl Fn(Option<u64>, u64) -> Option<f64>,
) -> Vec<(Session, Option<f64>)> {
    let then: BTreeMap<u64, u64> = (before.iter())
        .flat_map(|before| before.sessions.iter().map(|it| (it.id, it.commands)))
        .collect();
    let with_rate = |session: &Session| {
        // One that is new asked all its commands since, unless it was there and not looked at.
        let none = || before.filter(|it| it.has_all_sessions()).map(|_| 0);
        let before = then.get(&session.id).copied().or_else(none);
        (session.clone(), rate(before, session.commands))
    };
    let mut sessions: Vec<_> = now.sessions.iter().map(with_rate).collect();
    sessions.sort_by(|(one, one_rate), (other, other_rate)| {
        let busy = other_rate.unwrap_or_default().total_cmp(&one_rate.unwrap_or_default());
        busy.then(one.id.cmp(&other.id))
    });
    sessions
}

fn digests(before: Option<&Sample>, now: &Sample, seconds: f64) -> Vec<(Digest, DigestRates)> {
    let Some(before) = before else { return Vec::new() };
    let then: BTreeMap<&str, &Digest> =
        before.digests.iter().map(|it| (it.digest.as_str(), it)).collect();
    let none = Digest::default();
    // A form that was not among the heaviest may be old: what it counts is no work of this moment.
    let with_rates = |digest: &Digest| {
        let then = then.get(digest.digest.as_str()).copied();
        let then = then.or_else(|| before.has_all_digests().then_some(&none))?;
        let since = |now: u64, then: u64| count(now.saturating_sub(then));
        let commands = since(digest.commands, then.commands);
        let time_us = since(digest.time_us, then.time_us);
        let rates = DigestRates {
            commands: commands / seconds,
            errors: since(digest.errors, then.errors) / seconds,
            at_once: time_us / 1e6 / seconds,
            average_us: if commands > 0.0 { time_us / commands } else { 0.0 },
        };
        (commands > 0.0).then(|| (digest.clone(), rates))
    };
    let mut digests: Vec<_> = now.digests.iter().filter_map(with_rates).collect();
    digests.sort_by(|(_, one), (_, other)| other.at_once.total_cmp(&one.at_once));
    digests
}

fn order(servers: &mut [(Server, ServerRates)], sort: Sort) {
    let most = |rate: fn(&(Server, ServerRates)) -> f64| {
        move |one: &(Server, ServerRates), other: &(Server, ServerRates)| {
            rate(other).total_cmp(&rate(one))
        }
    };
    servers.sort_by(|(one, _), (other, _)| {
        (&one.backend, &one.name).cmp(&(&other.backend, &other.name))
    });
    match sort {
        Sort::Name => {}
        Sort::Commands => servers.sort_by(most(|(_, rates)| rates.commands.unwrap_or_default())),
        Sort::Errors => servers.sort_by(most(|(_, rates)| rates.errors.unwrap_or_default())),
        Sort::Latency => {
            servers.sort_by(most(|(server, _)| count(server.latency_us.unwrap_or_default())));
        }
    }
}

/// Counters beyond 2^53 lose their last digits, which no screen shows.
#[expect(clippy::cast_precision_loss, reason = "for people to read")]
const fn count(number: u64) -> f64 {
    number as f64
}
