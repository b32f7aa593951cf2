//! The process that keeps the addresses: a loop over what it hears from the network, the kernel, its
//! scripts and the main process. It never waits for any of them.

mod carry;
mod told;

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    net::IpAddr,
    os::{fd::AsFd, unix::net::UnixStream},
    process::{Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use highgate_io::clock;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::{
    alarms::Alarms,
    children::Children,
    closed,
    control::Control,
    deeds::{Deeds, REFRESH},
    fifos::Fifos,
    messages::{FromKeeper, Task},
    netlink::{Change, Notices},
    processes::Processes,
    sys_unsafe, watcher,
    will::Will,
};
use crate::{
    event::{Event, Kind, Severity},
    machine::Need,
    routers::{Interface, Routers},
    settings::Plan,
};

/// The main process says this often that it lives.
pub const BEAT: Duration = Duration::from_millis(100);
/// Without a word for so long it does not, and the addresses are given away. Well above what a
/// machine that is busy with other things makes a healthy process wait.
pub const SILENCE: Duration = Duration::from_millis(1500);
/// How often the main process is told how everything is, and files and processes that are tracked are
/// looked at where the kernel does not tell of them.
const LOOK: Duration = Duration::from_secs(1);
/// Where it does, they are looked at for good measure at every so many of these times.
const RARELY: u32 = 10;
/// Packets that are taken from one socket before the others have their turn.
const BURST: usize = 512;

/// Keeps addresses for the main process, whose stream is the standard input, until it ends.
/// `program` is what is run as the watcher.
///
/// # Errors
/// Without the rights for raw sockets and netlink.
pub fn keep(program: &dyn Fn(&str) -> Command, took_over: bool) -> io::Result<()> {
    sys_unsafe::outlive_signals()?;
    let control = Control::new(io::stdin().as_fd().try_clone_to_owned()?)?;
    let mut keeper = Keeper::new(control)?;
    keeper.control.send(&watcher::hello(took_over));
    keeper.first_words();
    while !keeper.is_over {
        keeper.ensure_watched(program);
        keeper.wait();
        keeper.turn(clock::now());
    }
    keeper.end();
    Ok(())
}

pub(super) struct Keeper {
    control: Control,
    watcher: Option<Control>,
    /// Not before this is another watcher started: one that dies at once must not keep us busy.
    watcher_after: Instant,
    notices: Notices,
    deeds: Deeds,
    children: Children,
    processes: Processes,
    alarms: Alarms,
    fifos: Fifos,
    /// Looks at files and processes that were left out since nobody called for one.
    looks_left_out: u32,
    routers: Routers,
    task: Task,
    will: Will,
    /// The watcher that is there knows the will.
    is_bequeathed: bool,
    /// Addresses that are closed to packets.
    closed: BTreeSet<IpAddr>,
    /// Interfaces as the routers were told them.
    interfaces: BTreeMap<String, Interface>,
    /// What could not be done, and for whom.
    troubles: BTreeSet<(Arc<str>, Need)>,
    /// Why scripts failed, as was told last.
    scripts_said: BTreeMap<String, String>,
    /// When the main process was last heard; `None` before its first task.
    beat_at: Option<Instant>,
    is_silent: bool,
    look_at: Instant,
    refresh_at: Instant,
    /// The main process is to be told how everything is.
    is_news: bool,
    is_over: bool,
}

impl Keeper {
    fn new(control: Control) -> io::Result<Self> {
        let now = clock::now();
        Ok(Self {
            control,
            watcher: None,
            watcher_after: now,
            notices: Notices::open()?,
            deeds: Deeds::open()?,
            children: Children::default(),
            processes: Processes::default(),
            alarms: Alarms::default(),
            fifos: Fifos::default(),
            looks_left_out: 0,
            routers: Routers::new(Plan::default(), now),
            task: Task::default(),
            will: Will::default(),
            is_bequeathed: false,
            closed: BTreeSet::new(),
            interfaces: BTreeMap::new(),
            troubles: BTreeSet::new(),
            scripts_said: BTreeMap::new(),
            beat_at: None,
            is_silent: false,
            look_at: now,
            refresh_at: now + REFRESH,
            is_news: false,
            is_over: false,
        })
    }

    /// What makes it keep its times on a busy machine; without the right to it, that is told.
    fn first_words(&mut self) {
        for (what, done) in [
            ("run at real-time priority", sys_unsafe::run_first()),
            ("keep its memory from being paged out", sys_unsafe::stay_in_memory()),
        ] {
            if let Err(error) = done {
                let text = format!(
                    "the process that keeps the addresses can't {what} ({error}): on a busy machine \
                     it may be late, and a backup take over"
                );
                self.tell(None, Event::new(Severity::Warning, Kind::Stall, text));
            }
        }
    }

    /// Starts a watcher where there is none.
    fn ensure_watched(&mut self, program: &dyn Fn(&str) -> Command) {
        let now = clock::now();
        if self.watcher.as_ref().is_some_and(|watcher| !watcher.is_over())
            || now < self.watcher_after
        {
            return;
        }
        if self.watcher.take().is_some() {
            let text = "the process that watches this one died; another is started";
            self.tell(None, Event::new(Severity::Warning, Kind::Settings, text));
        }
        self.watcher_after = now + LOOK;
        match self.start_watcher(program) {
            Ok(watcher) => {
                self.watcher = Some(watcher);
                self.is_bequeathed = false;
                self.bequeath();
            }
            Err(error) => {
                let text = format!(
                    "the process that watches this one can't be started: {error}; should this one be \
                     killed, the addresses go when their lifetime ends, after up to 3 s"
                );
                self.tell(None, Event::new(Severity::Warning, Kind::Settings, text));
            }
        }
    }

    fn start_watcher(&self, program: &dyn Fn(&str) -> Command) -> io::Result<Control> {
        let (ours, theirs) = UnixStream::pair()?;
        let control = self.control.as_fd().try_clone_to_owned()?;
        let mut command = program("vip-watcher");
        command.stdin(Stdio::from(std::os::fd::OwnedFd::from(theirs)));
        command.stdout(Stdio::from(control));
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        // It ends when we do, or takes our place: nobody waits for it before.
        let _child = command.spawn()?;
        Control::new(ours.into())
    }

    /// Waits until there is something to do.
    fn wait(&self) {
        let now = clock::now();
        let deadline = [
            self.routers.next_deadline(),
            self.children.next_deadline(),
            self.deeds.next_announcement(),
            self.processes.next_deadline(),
            self.fifos.next_deadline(),
            self.beat_at.filter(|_| !self.is_silent).map(|at| at + SILENCE),
            Some(self.look_at),
            Some(self.refresh_at),
        ];
        let wait = deadline.into_iter().flatten().min().unwrap_or(now + LOOK);
        let wait = Timespec::try_from(wait.saturating_duration_since(now)).ok();
        let mut control = PollFlags::IN;
        control.set(PollFlags::OUT, self.control.has_unsent());
        let mut sources = vec![
            PollFd::from_borrowed_fd(self.control.as_fd(), control),
            PollFd::from_borrowed_fd(self.notices.as_fd(), PollFlags::IN),
        ];
        let watcher = self.watcher.as_ref().map(AsFd::as_fd);
        let wires = self.deeds.wires.values().map(AsFd::as_fd);
        let ends = self.children.ends().chain(self.fifos.ends()).chain(self.alarms.sources());
        for source in watcher.into_iter().chain(wires).chain(ends) {
            sources.push(PollFd::from_borrowed_fd(source, PollFlags::IN));
        }
        // Interrupted or not: all sources are looked at.
        let _ = poll(&mut sources, wait.as_ref());
    }

    /// Looks at everything once. Packets come before time: who was late must not take over from one
    /// whose adverts lie in a socket.
    fn turn(&mut self, now: Instant) {
        self.hear(now);
        self.read_notices(now);
        self.read_control(now);
        if let Some(watcher) = &mut self.watcher {
            // It says nothing; reading tells its end.
            let _: Vec<()> = watcher.receive();
            watcher.flush();
        }
        for outcome in self.children.attend(now) {
            self.judge_script(&outcome, now);
        }
        let told = self.fifos.attend(self.task.script_security, now);
        self.tell_of_fifos(told);
        for text in self.children.complaints() {
            self.tell(None, Event::new(Severity::Warning, Kind::Settings, text));
        }
        if let Some(done) = self.children.filtered(now) {
            self.told_of_filter(done);
        }
        self.hear_alarms(now);
        self.listen_for_silence(now);
        if self.routers.next_deadline().is_some_and(|at| at <= now) {
            let orders = self.routers.timer(now);
            self.carry_out(orders, now);
        }
        self.deeds.send_announcements(now);
        if now >= self.refresh_at {
            self.refresh_at = now + REFRESH;
            self.refresh(now);
        }
        if now >= self.look_at {
            self.look_at = now + LOOK;
            self.look_if_due(now);
            self.is_news = true;
        }
        if std::mem::take(&mut self.is_news) && self.beat_at.is_some() {
            let status = FromKeeper::Status(self.routers.status(now));
            self.control.send(&status);
        }
        self.control.flush();
    }

    fn hear(&mut self, now: Instant) {
        let mut heard = Vec::new();
        let mut broken = Vec::new();
        for (key, wire) in &self.deeds.wires {
            for _ in 0..BURST {
                match wire.hear() {
                    Ok(Some((envelope, payload))) => heard.push((key.0.clone(), envelope, payload)),
                    Ok(None) => break,
                    Err(_) => {
                        broken.push(key.clone());
                        break;
                    }
                }
            }
        }
        for key in broken {
            // Opened anew when the link is looked at.
            self.deeds.wires.remove(&key);
        }
        for (interface, envelope, payload) in heard {
            let orders = self.routers.packet(&interface, &payload, &envelope, now);
            self.carry_out(orders, now);
        }
    }

    fn read_notices(&mut self, now: Instant) {
        let changes = self.notices.read();
        let is_news = changes.iter().any(|change| match change {
            Change::Links => true,
            Change::Added(address) => !self.deeds.holds(address),
            Change::Removed(_) => true,
        });
        let lost = changes
            .iter()
            .any(|change| matches!(change, Change::Removed(address) if self.deeds.holds(address)));
        if lost {
            let text =
                "an address that this node holds was removed by somebody else; it is set again";
            self.tell(None, Event::new(Severity::Warning, Kind::Need, text));
            self.refresh(now);
        }
        if is_news {
            self.look_at_links(now);
        }
    }

    /// Gives everything away, says so, and ends the watcher.
    fn end(&mut self) {
        let now = clock::now();
        let orders = self.routers.stop(now);
        self.carry_out(orders, now);
        self.deeds.send_announcements(now);
        self.deeds.keep_virtual_links(&BTreeSet::new());
        self.fifos.end();
        if !self.closed.is_empty()
            && let Err(error) = closed::open_all()
        {
            self.complain(format!("the table of nftables is left behind: {error}"));
        }
        if let Some(watcher) = &mut self.watcher {
            watcher.send(&Will { is_over: true, ..Will::default() });
        }
        self.control.send(&FromKeeper::Status(self.routers.status(now)));
        self.control.send(&FromKeeper::Stopped);
    }
}
