//! What the main process tells the keeper, and what its silence means.

use std::time::Instant;

use super::{Keeper, SILENCE};
use crate::{
    event::{Event, Kind, Severity},
    linux::{
        children::Outcome,
        messages::{FromKeeper, Task, ToKeeper},
    },
    track::{Reading, Subject},
};

impl Keeper {
    pub(super) fn read_control(&mut self, now: Instant) {
        for message in self.control.receive() {
            match message {
                ToKeeper::Task(task) => self.adopt(*task, now),
                // Meant for the keeper before, which died: this one has nothing to serve for yet.
                ToKeeper::Beat(_) if self.beat_at.is_none() => {}
                ToKeeper::Beat(serving) => {
                    self.beat_at = Some(now);
                    self.end_of_silence(now);
                    let orders = self.routers.serving(serving, now);
                    self.carry_out(orders, now);
                }
                ToKeeper::Drain { router, why } => {
                    self.remember_drain(router.as_ref(), why.as_ref());
                    let orders = self.routers.drain(router.as_deref(), why, now);
                    self.carry_out(orders, now);
                    self.is_news = true;
                }
                ToKeeper::Stop => self.is_over = true,
            }
        }
        // The main process is gone: nobody is left to keep an address for.
        self.is_over |= self.control.is_over();
    }

    /// Other things to do from now on.
    fn adopt(&mut self, task: Task, now: Instant) {
        let is_first = self.beat_at.is_none();
        self.beat_at = Some(now);
        let before = std::mem::replace(&mut self.task, task);
        let before = before.plan.routers.into_iter();
        self.settings_before = before.map(|router| (router.name.clone(), router)).collect();
        if let Err(error) = self.deeds.look() {
            self.complain(format!("links and addresses can't be listed: {error}"));
        }
        if is_first {
            for found in self.deeds.remove_leftovers(&self.task.plan.routers) {
                let text = format!("{found} was left behind by a process before, and is removed");
                self.tell(None, Event::new(Severity::Warning, Kind::Settings, text));
            }
            let _ = self.deeds.look();
        }
        self.close_addresses(is_first, now);
        self.children.be_strict(self.task.script_security);
        self.children.set_scripts(&self.task.plan.scripts, now);
        let orders = self.routers.apply(self.task.plan.clone(), now);
        self.carry_out(orders, now);
        self.keep_virtual_links();
        self.look_at_links(now);
        self.look(now);
        if is_first {
            let orders = self.routers.start(now);
            self.carry_out(orders, now);
        }
        self.is_news = true;
    }

    pub(super) fn listen_for_silence(&mut self, now: Instant) {
        let Some(at) = self.beat_at else { return };
        if self.is_silent || now.saturating_duration_since(at) < SILENCE {
            return;
        }
        self.is_silent = true;
        let why = "the main process does not answer".to_owned();
        self.complain(format!("{why}: the addresses are given away"));
        let orders = self.routers.drain(None, Some(why), now);
        self.carry_out(orders, now);
    }

    fn end_of_silence(&mut self, now: Instant) {
        if std::mem::take(&mut self.is_silent) {
            let text = "the main process answers again";
            self.tell(None, Event::new(Severity::Info, Kind::Need, text));
            self.undo_silence(now);
        }
    }

    /// Lets routers back in, but for those that operators took out: not even for a moment.
    fn undo_silence(&mut self, now: Instant) {
        let routers = &self.task.plan.routers;
        let names: Vec<String> = routers.iter().map(|router| router.name.clone()).collect();
        for name in names {
            let name = Some(name);
            let why = self.drained.get(&name).or_else(|| self.drained.get(&None)).cloned();
            let orders = self.routers.drain(name.as_deref(), why, now);
            self.carry_out(orders, now);
        }
    }

    fn remember_drain(&mut self, router: Option<&String>, why: Option<&String>) {
        match why {
            Some(why) => drop(self.drained.insert(router.cloned(), why.clone())),
            None if router.is_none() => self.drained.clear(),
            None => drop(self.drained.remove(&router.cloned())),
        }
    }

    /// Counts the result of a script.
    pub(super) fn judge_script(&mut self, outcome: &Outcome, now: Instant) {
        let Outcome { script, result } = outcome;
        if let Err(why) = result
            && self.scripts_said.get(script) != Some(why)
        {
            let text = format!("script {script} failed: {why}");
            self.tell(None, Event::new(Severity::Warning, Kind::Need, text));
        }
        match result {
            Ok(()) => self.scripts_said.remove(script),
            Err(why) => self.scripts_said.insert(script.clone(), why.clone()),
        };
        let orders = self.routers.script(script, result.is_ok(), now);
        self.carry_out(orders, now);
    }

    /// Looks at files and processes that are tracked.
    pub(super) fn look(&mut self, now: Instant) {
        let mut readings: Vec<(Subject, Reading)> = Vec::new();
        for (name, holds) in self.processes.look(&self.task.processes, now) {
            let reading = if holds { Reading::Good } else { Reading::Bad };
            readings.push((Subject::Process(name), reading));
        }
        let own = self.task.plan.routers.iter().flat_map(|router| &router.tracked);
        let groups = self.task.plan.groups.values().flat_map(|group| &group.tracked);
        for tracked in own.chain(groups) {
            if let Subject::File(path) = &tracked.subject {
                readings.push((tracked.subject.clone(), Reading::Number(number_in(path))));
            }
        }
        for (subject, reading) in readings {
            let orders = self.routers.read(subject, reading, now);
            self.carry_out(orders, now);
        }
    }

    pub(super) fn complain(&mut self, text: String) {
        self.tell(None, Event::new(Severity::Error, Kind::Need, text));
    }

    pub(super) fn tell(&mut self, router: Option<&str>, event: Event) {
        let router = router.map(str::to_owned);
        self.control.send(&FromKeeper::Event { router, event });
    }
}

/// The number at the start of a file; 0 where there is none, as Keepalived has it.
fn number_in(path: &str) -> i64 {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.split_whitespace().next().and_then(|word| word.parse().ok()).unwrap_or(0)
}
