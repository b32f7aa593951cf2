//! The process that keeps the addresses: a loop over what it hears from the network, the kernel, its
//! scripts and the main process. It never waits for any of them.
//!
//! It makes no system call that may wait for anything but a processor: what changes links and
//! addresses, or starts a process, or reads a file is done by two threads beside it (`hands`,
//! `errands`), in the order in which it was decided, and what came of it is heard like all else.

mod carry;
mod in_turn;
mod looked;
mod notify;
mod reach;
mod stalls;
mod told;
mod troubles;

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    net::IpAddr,
    os::{fd::AsFd, unix::net::UnixStream},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use highgate_io::clock;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use self::{notify::Told, reach::Reach, stalls::Stalls, troubles::Troubles};
use super::{
    closed::{self, Closing},
    control::Control,
    deeds::Deeds,
    errands::{Errand, Errands},
    lifetimes::{Lifetimes, Verdict},
    messages::{FromKeeper, Task},
    netlink::{Change, Notices},
    sys_unsafe::{self, Rank},
    watcher,
    will::Will,
};
use crate::{
    event::{self, Event, Kind, Limiter, Severity, Topic},
    routers::{Interface, Routers},
    settings::Plan,
};

/// The main process says this often that it lives.
pub const BEAT: Duration = Duration::from_millis(100);
/// Without a word for so long it does not, and the addresses are given away. Well above what a
/// machine that is busy with other things makes a healthy process wait.
pub const SILENCE: Duration = Duration::from_millis(1500);
/// How often the main process is told how everything is.
const NEWS: Duration = Duration::from_secs(1);
/// Packets that are taken from one socket before the others have their turn.
const BURST: usize = 512;
/// Turns in a row that end with packets unread before a backup looks at time all the same: more than
/// a socket's buffer holds (2 MiB in the kernel's count, at least 768 bytes for each packet), so that
/// all that lay there has been read, and a flood can't keep it from taking over.
const BEHIND: u32 = 8;

/// Keeps addresses for the main process, whose stream is the standard input, until it ends.
/// `program` is what is run as the watcher.
///
/// # Errors
/// Without the rights for raw sockets and netlink.
pub fn keep(program: &dyn Fn(&str) -> Command, took_over: bool) -> io::Result<()> {
    sys_unsafe::outlive_signals()?;
    let stream = io::stdin().as_fd().try_clone_to_owned()?;
    let control = if took_over { Control::inherited(stream)? } else { Control::new(stream)? };
    // Before there are threads, whose stacks would be read in whole.
    let complaints = be_punctual();
    let mut keeper = Keeper::new(control)?;
    keeper.control.send(&watcher::hello(took_over));
    for text in complaints {
        keeper.tell(None, Event::new(Severity::Warning, Kind::Stall, text));
    }
    while !keeper.is_over {
        keeper.ensure_watched(program);
        keeper.wait();
        keeper.turn(clock::now());
        let is_ended = keeper.deeds.hands.is_over() || keeper.errands.is_over();
        if is_ended || keeper.hangs {
            keeper.make_way();
            let how = if is_ended { "ended" } else { "hangs" };
            return Err(io::Error::other(format!("a thread that keeps the addresses {how}")));
        }
    }
    keeper.end();
    Ok(())
}

/// What makes this process keep its times on a busy machine. Gives what is to be told where it has no
/// right to that.
fn be_punctual() -> Vec<String> {
    let all = [
        ("run at real-time priority", sys_unsafe::run_first(Rank::Decides)),
        ("keep its memory from being paged out", sys_unsafe::stay_in_memory()),
    ];
    let failed = all.into_iter().filter_map(|(what, done)| Some((what, done.err()?)));
    let told = failed.map(|(what, error)| {
        format!(
            "the process that keeps the addresses can't {what} ({error}): on a busy machine it may \
             be late, and a backup take over"
        )
    });
    told.collect()
}

pub(super) struct Keeper {
    control: Control,
    watcher: Option<Control>,
    /// Not before this is another watcher started: one that dies at once must not keep us busy.
    watcher_after: Instant,
    notices: Notices,
    deeds: Deeds,
    errands: Errands,
    routers: Routers,
    task: Task,
    will: Will,
    /// The watcher that is there knows the will.
    is_bequeathed: bool,
    /// Addresses that are closed to packets.
    closing: Closing,
    /// What is to be done once the addresses are closed that it wants closed.
    next_task: Option<Task>,
    has_task: bool,
    /// Interfaces as the routers were told them.
    interfaces: BTreeMap<String, Interface>,
    /// Turns in a row that ended with packets unread although a router's time had come.
    behind: u32,
    /// What could not be done, and for whom.
    troubles: Troubles,
    /// What scripts and pipes were told.
    told: Told,
    /// Addresses of routers that somebody else has set, to stay, as was told.
    standing: BTreeSet<(String, IpAddr)>,
    /// To whom adverts can be sent.
    reach: Reach,
    /// Why scripts failed, as was told last.
    scripts_said: BTreeMap<String, String>,
    /// When the main process was last heard; `None` before its first task.
    beat_at: Option<Instant>,
    is_silent: bool,
    news_at: Instant,
    lifetimes: Lifetimes,
    /// What this process was late for.
    stalls: Stalls,
    /// What was told lately of addresses that others removed.
    removals: Limiter,
    /// The thread that sets addresses does not come back.
    hangs: bool,
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
            errands: Errands::start()?,
            routers: Routers::new(Plan::default(), now),
            task: Task::default(),
            will: Will::default(),
            is_bequeathed: false,
            closing: Closing::default(),
            next_task: None,
            has_task: false,
            interfaces: BTreeMap::new(),
            behind: 0,
            troubles: Troubles::default(),
            told: Told::default(),
            standing: BTreeSet::new(),
            reach: Reach::default(),
            scripts_said: BTreeMap::new(),
            beat_at: None,
            is_silent: false,
            news_at: now,
            lifetimes: Lifetimes::new(now),
            stalls: Stalls::new(now),
            removals: Limiter::default(),
            hangs: false,
            is_news: false,
            is_over: false,
        })
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
        self.watcher_after = now + NEWS;
        match self.start_watcher(program) {
            Ok(watcher) => {
                self.watcher = Some(watcher);
                self.is_bequeathed = false;
                self.bequeath();
            }
            Err(error) => self.has_no_watcher(&error),
        }
    }

    fn has_no_watcher(&mut self, error: &io::Error) {
        let text = format!(
            "the process that watches this one can't be started: {error}; should this one be \
             killed, the addresses go when their lifetime ends, after up to 3 s"
        );
        self.tell(None, Event::new(Severity::Warning, Kind::Settings, text));
    }

    fn start_watcher(&self, program: &dyn Fn(&str) -> Command) -> io::Result<Control> {
        let (ours, theirs) = UnixStream::pair()?;
        let control = self.control.as_fd().try_clone_to_owned()?;
        let mut command = program("vip-watcher");
        command.stdin(Stdio::from(std::os::fd::OwnedFd::from(theirs)));
        command.stdout(Stdio::from(control));
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        self.errands.run(Errand::Watcher(Box::new(command)));
        Control::new(ours.into())
    }

    /// Waits until there is something to do.
    fn wait(&self) {
        let now = clock::now();
        let deadline = [
            self.routers.next_deadline(),
            self.deeds.next_announcement(),
            self.beat_at.filter(|_| !self.is_silent).map(|at| at + SILENCE),
            self.lifetimes.next_deadline(),
            Some(self.stalls.next_turn()),
            Some(self.news_at),
        ];
        let wait = deadline.into_iter().flatten().min().unwrap_or(now + NEWS);
        let wait = Timespec::try_from(wait.saturating_duration_since(now)).ok();
        let mut control = PollFlags::IN;
        control.set(PollFlags::OUT, self.control.has_unsent());
        let mut sources = vec![
            PollFd::from_borrowed_fd(self.control.as_fd(), control),
            PollFd::from_borrowed_fd(self.notices.as_fd(), PollFlags::IN),
            PollFd::from_borrowed_fd(self.deeds.hands.done.as_fd(), PollFlags::IN),
            PollFd::from_borrowed_fd(self.errands.results.as_fd(), PollFlags::IN),
        ];
        let watcher = self.watcher.as_ref().map(AsFd::as_fd);
        let wires = self.deeds.wires.values().map(AsFd::as_fd);
        for source in watcher.into_iter().chain(wires) {
            sources.push(PollFd::from_borrowed_fd(source, PollFlags::IN));
        }
        // Interrupted or not: all sources are looked at.
        let _ = poll(&mut sources, wait.as_ref());
    }

    /// Looks at everything once. Packets come before time: who was late must not take over from one
    /// whose adverts lie in a socket.
    fn turn(&mut self, now: Instant) {
        let is_all_read = self.hear(now);
        // In this order: what an order changed is told by the kernel before the order is done.
        let done = self.deeds.hands.done.take();
        self.read_notices(now);
        self.hear_done(done, now);
        self.read_control(now);
        if let Some(watcher) = &mut self.watcher {
            // It says nothing; reading tells its end.
            let _: Vec<()> = watcher.receive();
            watcher.flush();
        }
        self.hear_ran(now);
        self.listen_for_silence(now);
        self.judge_sleep(now);
        if self.routers.next_deadline().is_some_and(|at| at <= now) {
            self.behind = if is_all_read { 0 } else { self.behind + 1 };
            let orders = if (1..=BEHIND).contains(&self.behind) {
                self.routers.timer_of_active(now)
            } else {
                self.behind = 0;
                self.routers.timer(now)
            };
            self.carry_out(orders, now);
        }
        self.deeds.send_announcements(now);
        self.tell_of_stalls(now);
        if self.deeds.hands.gets_on() {
            self.lifetimes.get_on();
        }
        match self.lifetimes.judge(now) {
            Some(Verdict::Late(text)) => {
                self.tell(None, Event::new(Severity::Warning, Kind::Stall, text));
            }
            Some(Verdict::Lost(why)) => self.let_go(why, now),
            Some(Verdict::Hung) => self.hangs = true,
            None => {}
        }
        if now >= self.news_at {
            self.news_at = now + NEWS;
            self.is_news = true;
            self.try_again(now);
            self.advance(now);
        }
        if std::mem::take(&mut self.is_news) && self.has_task {
            let status = FromKeeper::Status(self.routers.status(now));
            self.control.send(&status);
        }
        self.control.flush();
    }

    /// Whether all that lay in the sockets was read.
    fn hear(&mut self, now: Instant) -> bool {
        let mut heard = Vec::new();
        let mut is_all_read = true;
        let mut broken = Vec::new();
        for (key, wire) in &self.deeds.wires {
            let mut left = BURST;
            loop {
                if left == 0 {
                    is_all_read = false;
                    break;
                }
                left -= 1;
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
        if !broken.is_empty() {
            broken.into_iter().for_each(|key| self.deeds.is_broken(key));
            self.look_at_links();
        }
        for (interface, envelope, payload) in heard {
            let orders = self.routers.packet(&interface, &payload, &envelope, now);
            self.carry_out(orders, now);
        }
        is_all_read
    }

    fn read_notices(&mut self, now: Instant) {
        let changes = self.notices.read();
        let is_news = changes.iter().any(|change| match change {
            Change::Links => true,
            // Those that are held and went are seen to below.
            Change::Added(address) | Change::Removed(address) => !self.deeds.knows(address),
        });
        let gone = changes.iter().filter_map(|change| match change {
            Change::Removed(address) => Some(address),
            _ => None,
        });
        let lost = self.deeds.lost(gone, now);
        let is_loss = !lost.addresses.is_empty();
        let verdict = if is_loss { self.lifetimes.went() } else { None };
        if let Some(Verdict::Lost(why)) = verdict {
            self.let_go(why, now);
        } else {
            self.tell_of_removals(&lost.addresses, now);
        }
        if is_news || lost.is_seen_to {
            self.look_at_links();
        }
    }

    fn tell_of_removals(&mut self, addresses: &[IpAddr], now: Instant) {
        for address in addresses {
            let admitted = self.removals.admit(Topic::Event(Kind::Need), *address, now);
            let Some(left_out) = admitted else { continue };
            let text = format!(
                "{address}, which this node holds, was removed by somebody else; it is set again"
            );
            let text = event::with_left_out(text, left_out);
            self.tell(None, Event::new(Severity::Warning, Kind::Need, text));
        }
    }

    /// Has the watcher take this one's place. It is told, since it may not hear of an end: a thread that
    /// the kernel does not let go keeps this one's descriptors open.
    fn make_way(&mut self) {
        self.deeds.pacers.forget_all();
        if self.hangs {
            let text =
                "the thread that sets the addresses hangs: another process keeps them from now";
            self.complain(text.to_owned());
        }
        if let Some(watcher) = &self.watcher {
            watcher.hang_up();
        }
    }

    /// Gives everything away, says so, and ends the watcher.
    fn end(&mut self) {
        let now = clock::now();
        let orders = self.routers.stop(now);
        self.carry_out(orders, now);
        self.deeds.send_announcements(now);
        self.errands.end();
        for error in self.deeds.end() {
            self.complain(format!("{error}; it goes when its lifetime ends"));
        }
        if self.closing.may_close()
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
