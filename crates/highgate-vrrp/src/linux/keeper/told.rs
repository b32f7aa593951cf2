//! What the main process tells the keeper, and what its silence means.

use std::{
    collections::BTreeSet,
    io,
    net::{IpAddr, SocketAddr},
    os::fd::OwnedFd,
    time::Instant,
};

use highgate_io::{deaf, listen};

use super::{Keeper, NEWS, SILENCE};
use crate::{
    event::{Event, Kind, Severity},
    linux::{
        children::Outcome,
        closed,
        errands::{Errand, Ran},
        hands::Job,
        messages::{FromKeeper, Task, ToKeeper},
    },
    track::Subject,
};

impl Keeper {
    pub(super) fn read_control(&mut self, now: Instant) {
        for message in self.control.receive() {
            match message {
                ToKeeper::Task(task) => {
                    self.beat_at = Some(now);
                    self.next_task = Some(*task);
                    self.advance(now);
                }
                // Meant for the keeper before, which died: this one has nothing to serve for yet.
                ToKeeper::Beat(_) if self.beat_at.is_none() => {}
                ToKeeper::Beat(serving) => {
                    self.beat_at = Some(now);
                    self.end_of_silence(now);
                    let orders = self.routers.serving(serving, now);
                    self.carry_out(orders, now);
                }
                ToKeeper::Drain { router, why } => {
                    let orders = self.routers.drain(router.as_deref(), why.as_deref(), now);
                    self.carry_out(orders, now);
                    self.is_news = true;
                }
                ToKeeper::Drains(drains) => {
                    let orders = self.routers.take_out(drains, now);
                    self.carry_out(orders, now);
                    self.is_news = true;
                }
                ToKeeper::Deafen { number, to, sockets } => self.deafen(number, &to, sockets),
                ToKeeper::Bind { address } => self.bind(address),
                ToKeeper::Yielded { router } => {
                    let orders = self.routers.yielded(&router, now);
                    self.carry_out(orders, now);
                }
                ToKeeper::Stop => self.is_over = true,
            }
        }
        if let Some(error) = self.control.take_misheard() {
            self.complain(format!(
                "what the main process says is not understood ({error}): the addresses are given away"
            ));
        }
        // The main process is gone: nobody is left to keep an address for.
        self.is_over |= self.control.is_over();
    }

    /// Listens on a port for which the main process has no right.
    fn bind(&mut self, address: SocketAddr) {
        let refused = || Err(io::Error::other("this process binds ports below 1024 alone"));
        let bound =
            if (1..1024).contains(&address.port()) { listen::tcp(address) } else { refused() };
        let error = bound.as_ref().err().map(ToString::to_string);
        let message = FromKeeper::Bound { address, error };
        self.control.send_with(&message, bound.ok().map(OwnedFd::from));
    }

    fn deafen(&mut self, number: u64, to: &[IpAddr], sockets: usize) {
        let mut error = None;
        for socket in self.control.descriptors(sockets) {
            let done = match to {
                [] => deaf::hear_again(&socket),
                to => deaf::turn_deaf(&socket, to),
            };
            error = done.err().map(|error| error.to_string()).or(error);
        }
        self.control.send(&FromKeeper::Deafened { number, error });
    }

    /// Closes addresses to packets as the tasks want it, and begins with the next task once its own
    /// are closed. At the first one, opens what a process before left closed.
    pub(super) fn advance(&mut self, now: Instant) {
        let next = self.next_task.as_ref().map(|task| closed::closed(&task.plan.routers));
        if next.is_some() || self.has_task {
            let mut wanted = closed::closed(&self.task.plan.routers);
            wanted.extend(next.iter().flatten());
            if !self.deeds.is_idle() {
                // Those that are being removed stay closed as long as they are there.
                wanted.extend(self.closing.in_force());
            }
            let may_be_some = || !self.has_task && closed::is_possible();
            if (!wanted.is_empty() || self.closing.is_known() || may_be_some())
                && let Some(wanted) = self.closing.order(wanted, now)
            {
                self.bequeath();
                self.errands.run(Errand::Filter(closed::command(&wanted)));
            }
        }
        let Some(next) = next.filter(|next| !self.closing.is_awaited(next, now)) else { return };
        if self.closing.is_late(&next, now) {
            self.complain(
                "packets to the addresses of vips with `accept = false` are not dropped yet: \
                 nftables takes its time, and the vips don't wait for it any longer"
                    .to_owned(),
            );
        }
        if let Some(task) = self.next_task.take() {
            self.adopt(task, now);
        }
    }

    /// What came of closing addresses.
    fn told_of_filter(&mut self, done: Result<(), String>, now: Instant) {
        let is_news = self.closing.done(done.is_ok(), now);
        match done {
            Err(error) if is_news => self.complain(format!(
                "packets to the addresses of vips with `accept = false` can't be dropped \
                 (nftables: {error}); they are taken; that is tried again every 10 s"
            )),
            Ok(()) if is_news => {
                let text = "packets to the addresses of vips with `accept = false` are dropped now";
                self.tell(None, Event::new(Severity::Info, Kind::Need, text));
            }
            _ => {}
        }
        self.advance(now);
    }

    /// Other things to do from now on.
    fn adopt(&mut self, task: Task, now: Instant) {
        let is_first = !std::mem::replace(&mut self.has_task, true);
        // Peers and intervals may be others: what is said next is repeated, nothing before it.
        self.deeds.pacers.forget_all();
        let shortest = task.plan.routers.iter().map(|router| router.interval).min();
        let shortest = shortest.unwrap_or(NEWS);
        self.stalls.pulses(shortest, now);
        if let Err(error) = self.deeds.pacers.attend(shortest) {
            self.complain(format!(
                "adverts are not repeated where this process is late: {error}; on a busy machine a \
                 backup may take over by mistake"
            ));
        }
        // Who leaves does so where it was.
        let orders = self.routers.retire(&task.plan, now);
        self.carry_out(orders, now);
        self.task = task;
        let routers = &self.task.plan.routers;
        // One that left and comes anew knows of no trouble.
        self.troubles.start_anew(|name| self.routers.state(name).is_some(), now);
        let is_router = |name: &str| routers.iter().any(|router| router.name == name);
        self.told.keep_only(is_router, &self.task.plan.groups);
        if is_first {
            self.deeds.hands.order(Job::Clear(routers.clone()));
        }
        self.errands.run(Errand::Track {
            scripts: self.task.plan.scripts.clone(),
            processes: self.task.processes.clone(),
            files: self.tracked_files(),
            fifos: self.task.fifos.clone(),
            is_strict: self.task.script_security,
        });
        let orders = self.routers.apply(self.task.plan.clone(), now);
        self.carry_out(orders, now);
        self.keep_routes();
        self.look_at_links();
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
        let orders = self.routers.silence(Some(why), now);
        self.carry_out(orders, now);
    }

    fn end_of_silence(&mut self, now: Instant) {
        if std::mem::take(&mut self.is_silent) {
            let text = "the main process answers again";
            self.tell(None, Event::new(Severity::Info, Kind::Need, text));
            // Those that operators took out stay out: not in even for a moment.
            let orders = self.routers.silence(None, now);
            self.carry_out(orders, now);
        }
    }

    /// Counts the result of a script.
    fn judge_script(&mut self, outcome: &Outcome, now: Instant) {
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

    /// Hears what came of errands.
    pub(super) fn hear_ran(&mut self, now: Instant) {
        for ran in self.errands.results.take() {
            match ran {
                Ran::Script(outcome) => self.judge_script(&outcome, now),
                Ran::Read(readings) => {
                    for (subject, reading) in readings {
                        let orders = self.routers.read(subject, reading, now);
                        self.carry_out(orders, now);
                    }
                }
                Ran::Filtered(done) => self.told_of_filter(done, now),
                Ran::Told(event) => self.tell(None, event),
                Ran::NoWatcher(error) => self.has_no_watcher(&error),
            }
        }
    }

    fn tracked_files(&self) -> BTreeSet<String> {
        let own = self.task.plan.routers.iter().flat_map(|router| &router.tracked);
        let groups = self.task.plan.groups.values().flat_map(|group| &group.tracked);
        let files = own.chain(groups).filter_map(|tracked| match &tracked.subject {
            Subject::File(path) => Some(path.clone()),
            _ => None,
        });
        files.collect()
    }

    pub(super) fn complain(&mut self, text: String) {
        self.tell(None, Event::new(Severity::Error, Kind::Need, text));
    }

    pub(super) fn tell(&mut self, router: Option<&str>, event: Event) {
        let router = router.map(str::to_owned);
        self.control.send(&FromKeeper::Event { router, event });
    }
}
