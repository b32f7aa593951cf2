//! Who replicates from whom, and how well.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use highgate_config::ServerName;

use super::{Input, IoThread, Observation, Outcome, PrimaryRecord, Source, gtid};
use crate::snapshot::Status;

/// How long a replica that lost sight of a living primary is read from where no lag cap is set.
const BLIND: Duration = Duration::from_secs(10);

/// How long a replica's link may be broken before that is told: most links come back by themselves, or their
/// primary turns out to be dead.
const PATIENCE: Duration = Duration::from_secs(2);

/// How far behind a replica was, in milliseconds, and when it could be told.
pub(super) type Sight = (Instant, u64);

/// What was known last of the replicas whose links were fine. It does not grow old while nobody takes writes.
pub(super) type LastFine = BTreeMap<ServerName, Sight>;

/// Fitness of one replica: its lag in milliseconds, or the status that keeps it out; and a reason.
#[derive(Debug)]
pub(super) struct Fitness {
    pub(super) verdict: Result<u64, Status>,
    pub(super) lag_ms: Option<u64>,
    /// Whether it is fit, but not for long if this goes on.
    pub(super) ails: bool,
    /// What its lag rests on; `None` where nothing new was learnt of it.
    pub(super) sight: Option<Sight>,
    pub(super) reason: String,
}

impl Fitness {
    const fn fit(lag: u64, sight: Option<Sight>, reason: String) -> Self {
        Self { verdict: Ok(lag), lag_ms: Some(lag), ails: false, sight, reason }
    }

    fn unfit(status: Status, lag_ms: Option<u64>, reason: String) -> Self {
        Self { verdict: Err(status), lag_ms, ails: false, sight: None, reason }
    }
}

/// The servers of a backend as a graph.
#[derive(Debug)]
pub(super) struct Links<'a> {
    pub(super) inputs: &'a [Input<'a>],
    /// The primary, or the one there was last.
    pub(super) primary: Option<&'a ServerName>,
    /// That one, where its server is not in the configuration any more.
    pub(super) gone: Option<&'a PrimaryRecord>,
    /// That one, where its server was not checked yet: its address was changed, say.
    pub(super) unchecked: Option<&'a PrimaryRecord>,
    /// Whether it takes writes now: if not, a lost link to it says nothing against a replica.
    pub(super) primary_lives: bool,
    pub(super) fine: &'a LastFine,
    /// What was said last: who lags has a lower bar to come back under.
    pub(super) before: Option<&'a Outcome>,
    pub(super) now: Instant,
}

/// The member that a replication connection leads to.
pub(super) fn target<'a>(inputs: &'a [Input<'a>], source: &Source) -> Option<&'a Input<'a>> {
    let by_id = inputs.iter().find(|input| {
        source.server_id != 0 && input.seen.is_some_and(|seen| seen.server_id == source.server_id)
    });
    by_id.or_else(|| inputs.iter().find(|input| source.is_at(input.address)))
}

impl<'a> Links<'a> {
    /// Whether it is connected, or tries to be, to another member.
    pub(super) fn replicates_inside(&self, input: &Input<'_>) -> bool {
        input.live(self.now).is_some_and(|seen| {
            seen.sources.iter().any(|source| {
                (source.io != IoThread::Stopped || source.sql_running)
                    && target(self.inputs, source).is_some_and(|to| to.name != input.name)
            })
        })
    }

    /// Judges a replica by its link and those behind it, up to the primary.
    pub(super) fn fitness(&self, input: &Input<'_>) -> Fitness {
        let Some(primary) = self.primary else {
            return self.hop(input, None).map_or_else(|unfit| *unfit, |(_, fit)| fit);
        };
        let (mut at, mut lag, mut path) = (*input, 0_u64, String::new());
        let (mut sight, mut ails) = (Some((self.now, 0_u64)), false);
        // A chain can't be longer than there are servers; a longer walk goes in a circle.
        for _ in self.inputs {
            let (next, fit) = match self.hop(&at, Some(primary)) {
                Ok(hop) => hop,
                Err(unfit) if path.is_empty() => return *unfit,
                Err(unfit) => {
                    let whose =
                        if unfit.reason.starts_with("replication") { "whose" } else { "which" };
                    let reason =
                        format!("replicates through {}, {whose} {}", at.name, unfit.reason);
                    return Fitness { reason, ..*unfit };
                }
            };
            lag = lag.saturating_add(fit.lag_ms.unwrap_or(0));
            ails |= fit.ails;
            sight = sight
                .zip(fit.sight)
                .map(|(all, one)| (all.0.min(one.0), all.1.saturating_add(one.1)));
            let Some(next) = next.filter(|next| next.name != primary) else {
                let reason = if path.is_empty() {
                    fit.reason
                } else {
                    format!("replicates from {primary} through{path}")
                };
                return Fitness { ails, ..Fitness::fit(lag, sight, reason) };
            };
            path.push(' ');
            path.push_str(next.name.as_str());
            at = *next;
        }
        let reason = format!("replicates in a circle that {primary} is not part of");
        Fitness::unfit(Status::Quarantined, None, reason)
    }

    /// One step towards the primary: the next server, and how good the link is. None: it leads to the
    /// primary, which is gone from the configuration, or not known at its new address.
    fn hop(
        &self,
        input: &Input<'_>,
        primary: Option<&ServerName>,
    ) -> Result<(Option<&'a Input<'a>>, Fitness), Box<Fitness>> {
        let Some(seen) = input.live(self.now) else {
            return Err(Box::new(Fitness::unfit(
                Status::Broken,
                None,
                format!("is {}", input.absence()),
            )));
        };
        let mut inside =
            seen.sources.iter().filter_map(|source| Some((source, target(self.inputs, source)?)));
        // With several connections the one to the primary counts, else the first to any member.
        if let Some((source, to)) = inside.clone().find(|(_, to)| Some(to.name) == primary) {
            let fit = self.link(input, source, to.name).map_err(Box::new)?;
            return Ok((Some(to), fit));
        }
        if let Some((source, to)) = self.to_former(seen) {
            let why = match self.gone {
                Some(_) => "in the configuration any more",
                None => "checked yet at the address that it has now",
            };
            let said = |fit: Fitness| {
                let reason = format!("{} ({to} is not {why})", fit.reason);
                Fitness { reason, ..fit }
            };
            let fit = self.link(input, source, to).map_err(|unfit| Box::new(said(unfit)))?;
            return Ok((None, said(fit)));
        }
        let Some((source, to)) = inside.next() else {
            return Err(Box::new(self.stranger(input, primary)));
        };
        let fit = self.link(input, source, to.name).map_err(Box::new)?;
        Ok((Some(to), fit))
    }

    /// The connection of a server to the primary that is gone from the configuration, or has another
    /// address there at which nobody has looked yet: it may be a respelling.
    fn to_former(&self, seen: &'a Observation) -> Option<(&'a Source, &'a ServerName)> {
        let former = self.gone.or(self.unchecked)?;
        let is_it =
            |source: &&Source| former.is_source(source) && target(self.inputs, source).is_none();
        Some((seen.sources.iter().find(is_it)?, &former.server))
    }

    /// One that replicates from no server of this backend.
    fn stranger(&self, input: &Input<'_>, primary: Option<&ServerName>) -> Fitness {
        let seen = input.seen;
        let is_writable = seen.is_some_and(|seen| !seen.read_only);
        let (status, reason) = match seen.and_then(|seen| seen.sources.first()) {
            // That server may be known there by another name or address; its number will tell.
            Some(source) if primary.is_none() && self.inputs.iter().any(Input::is_awaited) => {
                let from = source.address();
                let what = "which server that is is not known before every server is read";
                (Status::Unknown, format!("replicates from {from}; {what}"))
            }
            Some(source) => {
                let from = source.address();
                let reason = format!("replicates from {from}, which is no server of this backend");
                (Status::Quarantined, reason)
            }
            // At start the next answer may say that it is the primary: no alarm for that.
            None if is_writable && primary.is_none() && self.inputs.iter().any(|i| !i.checked) => {
                let what = "whether it is the primary is not known before every server is checked";
                (Status::Unknown, format!("is writable; {what}"))
            }
            None if is_writable => {
                let whom = primary.map_or("any server of this backend", ServerName::as_str);
                let reason = format!("is writable, but does not replicate from {whom}");
                (Status::Quarantined, reason)
            }
            None => (Status::Broken, "is read-only and replicates from nobody".to_owned()),
        };
        Fitness::unfit(status, None, reason)
    }

    fn link(
        &self,
        input: &Input<'_>,
        source: &Source,
        to: &ServerName,
    ) -> Result<Fitness, Fitness> {
        let fine = self.fine.get(input.name).copied();
        let to_primary = Some(to) == self.primary;
        // One that lives on outside the configuration has its replicas fall behind as before.
        let goes_on = self.gone.is_some() && source.io == IoThread::Running;
        if !self.primary_lives
            && !goes_on
            && let Some((_, lag)) = fine
            && (to_primary || self.primary.is_none())
        {
            let reason = format!("replicated well from {to} until that stopped being the primary");
            return Ok(Fitness::fit(lag, None, reason));
        }
        let error = source.error.as_deref().map_or_else(String::new, |error| format!(": {error}"));
        if !source.sql_running {
            let reason = format!("replication is stopped (SQL thread){error}");
            return Err(Fitness::unfit(Status::Broken, None, reason));
        }
        let blind = source.io != IoThread::Running || source.seconds_behind.is_none();
        if blind
            && !self.primary_lives
            && let Some(out) = self.was_out(input)
        {
            return Err(out);
        }
        if !blind || !self.primary_lives {
            return self.lagging(input, source, to);
        }
        let level = self.level(input, source);
        let Some((since, lag)) = level.or(fine) else {
            let reason = format!("replication thread is {}, lag unknown{error}", source.io);
            return Err(Fitness::unfit(Status::Broken, None, reason));
        };
        let blind_for = self.now.saturating_duration_since(since);
        let lag = lag.saturating_add(millis(blind_for));
        if lag > millis(input.max_lag.unwrap_or(BLIND)) {
            let seconds = blind_for.as_secs();
            let reason = format!("has not fetched from {to} for {seconds} s{error}");
            return Err(Fitness::unfit(Status::Broken, Some(lag), reason));
        }
        let state = match source.io {
            IoThread::Running => "its lag can't be told",
            IoThread::Connecting if level.is_some() => "has all its data, and connects to it again",
            IoThread::Connecting => "connects to it again",
            IoThread::Stopped => "fetches no more (IO thread is stopped)",
        };
        let fit = Fitness::fit(lag, level, format!("replicates from {to}, but {state}{error}"));
        Ok(Fitness { ails: blind_for >= PATIENCE, ..fit })
    }

    /// That a replica which connects again lacks nothing: it has the position of the primary. That one has come back
    /// and taken no write since, say, while its replicas wait for their next try.
    fn level(&self, input: &Input<'_>, source: &Source) -> Option<Sight> {
        let seen = input.live(self.now).filter(|_| source.io == IoThread::Connecting)?;
        let primary = self.inputs.iter().find(|input| Some(input.name) == self.primary)?;
        let at = primary.live(self.now)?;
        gtid::is_same(&seen.gtid, &at.gtid).then_some((at.at, 0))
    }

    /// How it was unfit when its lag could be told last: nobody knows whether it has caught up since.
    fn was_out(&self, input: &Input<'_>) -> Option<Fitness> {
        let was = self.before?.roles.get(input.name)?;
        let unfit = was.unfit.filter(|it| matches!(it, Status::Broken | Status::Lagging))?;
        Some(Fitness::unfit(unfit, was.lag_ms, was.reason.to_string()))
    }

    /// A link that works, by its lag.
    fn lagging(
        &self,
        input: &Input<'_>,
        source: &Source,
        to: &ServerName,
    ) -> Result<Fitness, Fitness> {
        let lag = source.seconds_behind.unwrap_or(0).saturating_mul(1000);
        if let Some(cap) = input.max_lag {
            // One that is out comes back a fifth below the cap: no flutter at the edge.
            let lagged = self.before.and_then(|before| before.roles.get(input.name));
            let lagged = lagged.is_some_and(|before| before.unfit == Some(Status::Lagging));
            let limit = if lagged { cap - cap / 5 } else { cap };
            if lag > millis(limit) {
                let (behind, most) = (lag / 1000, cap.as_secs_f64());
                let reason = if lag > millis(cap) {
                    format!("is {behind} s behind, more than {most} s")
                } else {
                    let limit = limit.as_secs_f64();
                    format!("is {behind} s behind, was more than {most} s; returns at {limit} s")
                };
                return Err(Fitness::unfit(Status::Lagging, Some(lag), reason));
            }
        }
        let is_writable = input.seen.is_some_and(|seen| !seen.read_only);
        let too = if is_writable { ", and is writable (read_only=0)" } else { "" };
        let sight = source.seconds_behind.map(|_| (self.now, lag));
        Ok(Fitness::fit(lag, sight, format!("replicates from {to}{too}")))
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
