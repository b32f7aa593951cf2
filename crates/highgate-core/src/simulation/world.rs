//! The real servers, what befalls them, and the operators who repair them.

use std::time::Instant;

use crate::{
    testing::{Dice, ms},
    topology::{IoThread, Observation, Source},
};

/// How a server really is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Life {
    /// It answers.
    Lives,
    /// Its port refuses.
    Dead,
    /// It takes connections and says nothing.
    Hangs,
}

#[derive(Debug, Clone)]
pub(super) struct Real {
    pub(super) life: Life,
    pub(super) read_only: bool,
    pub(super) source: Option<usize>,
    pub(super) lag: u64,
    pub(super) sql_running: bool,
    /// Whether the monitor's account is refused.
    pub(super) denies: bool,
    /// When that ended last.
    pub(super) readable_since: Instant,
    /// When life or `read_only` changed last.
    pub(super) changed_at: Instant,
}

#[derive(Debug)]
pub(super) struct World {
    pub(super) servers: Vec<Real>,
    /// Who was promoted by right.
    pub(super) legit: usize,
    promoted_at: Instant,
    next: Instant,
    /// The other half of a planned switchover: from, to, and whether the new one was opened first.
    pending: Option<(usize, usize, bool)>,
    stopped: bool,
}

impl World {
    pub(super) fn new(count: usize, now: Instant) -> Self {
        let real = |index| Real {
            life: Life::Lives,
            read_only: index != 0,
            source: (index != 0).then_some(0),
            lag: 0,
            sql_running: true,
            denies: false,
            readable_since: now,
            changed_at: now,
        };
        Self {
            servers: (0..count).map(real).collect(),
            legit: 0,
            promoted_at: now,
            next: now,
            pending: None,
            stopped: false,
        }
    }

    pub(super) const fn next_at(&self) -> Instant {
        self.next
    }

    pub(super) fn promoted_now(&self, now: Instant) -> bool {
        self.promoted_at == now
    }

    pub(super) fn promoted_before(&self, then: Instant) -> bool {
        self.promoted_at < then
    }

    /// Whether some monitor was refused since then.
    pub(super) fn hidden_since(&self, then: Instant) -> bool {
        let hidden = |server: &Real| server.denies || server.readable_since > then;
        self.servers.iter().any(hidden)
    }

    /// Whether since then all live, can be read, and follow the legitimate primary.
    pub(super) fn in_order_since(&self, then: Instant) -> bool {
        let in_order = |(index, server): (usize, &Real)| {
            let follows = server.read_only && server.source == Some(self.legit);
            server.life == Life::Lives
                && server.changed_at < then
                && (index == self.legit || follows)
        };
        !self.hidden_since(then) && self.servers.iter().enumerate().all(in_order)
    }

    /// Who was opened before the old primary was closed, in a switchover on its way: if the old one
    /// counts as down just then, to follow the new one is right.
    pub(super) fn opened_first(&self) -> Option<usize> {
        self.pending.filter(|(_, _, open_first)| *open_first).map(|(_, to, _)| to)
    }

    pub(super) fn stop_faults(&mut self) {
        self.stopped = true;
    }

    /// One thing happens. Whom it hit, and whether the proxy restarts.
    pub(super) fn act(
        &mut self,
        dice: &mut Dice,
        now: Instant,
        faults: bool,
    ) -> (Option<usize>, bool) {
        self.next = now + ms(20 + dice.below(400));
        if let Some((from, to, open_first)) = self.pending.take() {
            self.finish_switchover(from, to, open_first, now);
            return (None, false);
        }
        if self.stopped {
            for index in 0..self.servers.len() {
                self.live(index, now);
                self.servers[index].lag = 0;
                self.servers[index].sql_running = true;
                self.admit(index, now);
            }
        }
        if self.repair(dice, now) || !faults {
            return (None, false);
        }
        let index = dice.index(self.servers.len());
        match dice.below(28) {
            0 | 1 => self.set_life(index, Life::Dead, now),
            2 | 3 => self.set_life(index, Life::Hangs, now),
            4..=9 => {
                self.live(index, now);
                return (None, false);
            }
            10 => self.servers[index].lag = 60,
            11 | 12 => self.servers[index].lag = 0,
            13 => self.servers[index].sql_running = false,
            14 | 15 => self.servers[index].sql_running = true,
            16 => self.start_switchover(index, dice.below(2) == 0, now),
            17 => return (None, true),
            // A burst of lost connections without any fault of the server's.
            18 => return (Some(index), false),
            19 => self.servers[index].denies = true,
            20 | 21 => self.admit(index, now),
            22 => self.servers.iter_mut().for_each(|server| server.denies = true),
            23 | 24 => (0..self.servers.len()).for_each(|index| self.admit(index, now)),
            _ => {}
        }
        let hit = (self.servers[index].life != Life::Lives).then_some(index);
        (hit, false)
    }

    /// What careful operators do, one thing at a time.
    fn repair(&mut self, dice: &mut Dice, now: Instant) -> bool {
        let legit = &self.servers[self.legit];
        let dead_for = now.saturating_duration_since(legit.changed_at);
        if legit.life != Life::Lives && dead_for > ms(3000) {
            return self.promote(now);
        }
        let legit = self.legit;
        let stray = (0..self.servers.len()).find(|index| {
            let server = &self.servers[*index];
            *index != legit && server.life == Life::Lives && server.source != Some(legit)
        });
        match stray.filter(|_| self.servers[legit].life == Life::Lives && dice.below(4) == 0) {
            Some(stray) => {
                let server = &mut self.servers[stray];
                (server.read_only, server.source, server.sql_running) = (true, Some(legit), true);
                server.changed_at = now;
                true
            }
            None => false,
        }
    }

    fn promote(&mut self, now: Instant) -> bool {
        let heir = (0..self.servers.len()).find(|index| {
            let server = &self.servers[*index];
            server.life == Life::Lives && server.read_only && server.source == Some(self.legit)
        });
        let Some(heir) = heir else { return false };
        self.crown(heir, now);
        true
    }

    fn crown(&mut self, heir: usize, now: Instant) {
        let server = &mut self.servers[heir];
        (server.read_only, server.source, server.lag) = (false, None, 0);
        server.changed_at = now;
        self.legit = heir;
        self.promoted_at = now;
    }

    /// The primary dies or is closed, and another is promoted in the same instant.
    pub(super) fn switch(&mut self, to: usize, dies: bool, now: Instant) {
        let old = &mut self.servers[self.legit];
        if dies {
            old.life = Life::Dead;
        } else {
            old.read_only = true;
        }
        old.changed_at = now;
        self.crown(to, now);
    }

    fn start_switchover(&mut self, to: usize, open_first: bool, now: Instant) {
        let (old, new) = (&self.servers[self.legit], &self.servers[to]);
        let fine = old.life == Life::Lives
            && new.life == Life::Lives
            && new.read_only
            && new.source == Some(self.legit);
        if !fine {
            return;
        }
        let (read_only, changed) = if open_first { (false, to) } else { (true, self.legit) };
        self.servers[changed].read_only = read_only;
        self.servers[changed].changed_at = now;
        if open_first {
            self.servers[to].source = None;
        }
        self.pending = Some((self.legit, to, open_first));
    }

    fn finish_switchover(&mut self, from: usize, to: usize, open_first: bool, now: Instant) {
        if open_first {
            self.servers[from].read_only = true;
            self.servers[from].changed_at = now;
        }
        self.crown(to, now);
    }

    fn live(&mut self, index: usize, now: Instant) {
        self.set_life(index, Life::Lives, now);
    }

    fn admit(&mut self, index: usize, now: Instant) {
        let server = &mut self.servers[index];
        if std::mem::take(&mut server.denies) {
            server.readable_since = now;
        }
    }

    fn set_life(&mut self, index: usize, life: Life, now: Instant) {
        let server = &mut self.servers[index];
        if server.life != life {
            server.life = life;
            server.changed_at = now;
        }
    }

    pub(super) fn observe(&self, index: usize, now: Instant) -> Observation {
        let server = &self.servers[index];
        let id = |index: usize| u32::try_from(index + 1).unwrap();
        let sources = server.source.map(|source| {
            let connected = self.servers[source].life == Life::Lives;
            Source {
                name: String::new(),
                host: super::NAMES[source].to_owned(),
                port: 3306,
                server_id: id(source),
                io: if connected { IoThread::Running } else { IoThread::Connecting },
                sql_running: server.sql_running,
                seconds_behind: (connected && server.sql_running).then_some(server.lag),
                error: None,
            }
        });
        Observation {
            at: now,
            read_only: server.read_only,
            server_id: id(index),
            uuid: None,
            gtid: "0-1-1".to_owned(),
            sources: sources.into_iter().collect(),
            galera: None,
        }
    }
}
