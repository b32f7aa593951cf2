//! The thread that starts scripts, notifications and other processes, and looks at what is tracked.
//! A process that is started has the one that starts it wait until it has a processor; files and
//! /proc may have it wait for a disk or for another's memory: so the thread that sends adverts does
//! none of it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    io::{self, Read as _},
    os::unix::fs::OpenOptionsExt as _,
    process::Command,
    thread::JoinHandle,
    time::{Duration, Instant},
};

use highgate_io::{clock, tasks};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::{
    alarms::Alarms,
    children::{Children, Outcome},
    fifos::Fifos,
    mailbox::Mailbox,
    messages::{FifoRule, ProcessRule},
    processes::Processes,
    sys_unsafe::{self, Rank},
};
use crate::{
    event::{Event, Kind, Severity},
    track::{Reading, ScriptSettings, Subject},
};

/// How often files and processes that are tracked are looked at where the kernel does not tell of them.
const LOOK: Duration = Duration::from_secs(1);
/// Where it does, they are looked at for good measure at every so many of these times.
const RARELY: u32 = 10;
/// Bytes of a tracked file that are read: its number is at the start.
const MOST_READ: u64 = 4096;
/// How long errands that are given at the end may take to be started.
const LAST: Duration = Duration::from_secs(1);

/// What is to be done.
#[derive(Debug)]
pub(crate) enum Errand {
    /// These scripts are run, and that is tracked, from now on.
    Track {
        scripts: BTreeMap<String, ScriptSettings>,
        processes: BTreeMap<String, ProcessRule>,
        files: BTreeSet<String>,
        fifos: Vec<FifoRule>,
        /// Whether what would run as root is refused where others may write it.
        is_strict: bool,
    },
    /// Run a notification of that router or group, and forget it.
    Notify { whose: String, command: Vec<String>, user: Option<String>, group: Option<String> },
    /// Write a line into the named pipes.
    Write(String),
    /// Change the rules of nftables.
    Filter(Vec<String>),
    /// Start the process that watches this one.
    Watcher(Box<Command>),
    /// That was all.
    End,
}

/// What came of it.
#[derive(Debug)]
pub(crate) enum Ran {
    /// A script has run.
    Script(Outcome),
    /// What is tracked reads so.
    Read(Vec<(Subject, Reading)>),
    /// The rules of nftables are changed, or why not.
    Filtered(Result<(), String>),
    /// Operators are to be told.
    Told(Event),
    /// There is no watcher.
    NoWatcher(io::Error),
}

/// The thread, for who has errands for it.
#[derive(Debug)]
pub(crate) struct Errands {
    inbox: Mailbox<Errand>,
    pub(crate) results: Mailbox<Ran>,
    thread: JoinHandle<()>,
}

impl Errands {
    /// Starts it.
    ///
    /// # Errors
    /// Without threads or descriptors left.
    pub(crate) fn start() -> io::Result<Self> {
        let (inbox, results) = (Mailbox::new()?, Mailbox::new()?);
        let body = Body {
            inbox: inbox.clone(),
            results: results.clone(),
            children: Children::default(),
            processes: Processes::default(),
            alarms: Alarms::default(),
            fifos: Fifos::default(),
            is_strict: false,
            rules: BTreeMap::new(),
            files: BTreeSet::new(),
            looks_left_out: 0,
            look_at: clock::now() + LOOK,
        };
        let thread = tasks::thread("errands", move || body.run())?;
        Ok(Self { inbox, results, thread })
    }

    /// Has something done.
    pub(crate) fn run(&self, errand: Errand) {
        self.inbox.post(errand);
    }

    /// Whether it ended, which it never does by itself.
    pub(crate) fn is_over(&self) -> bool {
        self.thread.is_finished()
    }

    /// Waits until all is begun, but not for long.
    pub(crate) fn end(&self) {
        self.run(Errand::End);
        let by = clock::now() + LAST;
        while !self.is_over() && clock::now() < by {
            let _ = poll(&mut [], Some(&Timespec { tv_sec: 0, tv_nsec: 5_000_000 }));
        }
    }
}

struct Body {
    inbox: Mailbox<Errand>,
    results: Mailbox<Ran>,
    children: Children,
    processes: Processes,
    alarms: Alarms,
    fifos: Fifos,
    is_strict: bool,
    rules: BTreeMap<String, ProcessRule>,
    files: BTreeSet<String>,
    /// Looks that were left out since nobody called for one.
    looks_left_out: u32,
    look_at: Instant,
}

impl Body {
    fn run(mut self) {
        // Without the right to it the thread that decides has said so.
        let _ = sys_unsafe::run_first(Rank::Runs);
        loop {
            self.wait();
            let now = clock::now();
            for errand in self.inbox.take() {
                if matches!(errand, Errand::End) {
                    self.fifos.end();
                    return;
                }
                self.begin(errand, now);
            }
            self.attend(now);
        }
    }

    fn wait(&self) {
        let now = clock::now();
        let deadlines = [
            self.children.next_deadline(),
            self.processes.next_deadline(),
            self.fifos.next_deadline(),
        ];
        let wait = deadlines.into_iter().flatten().min().unwrap_or(self.look_at).min(self.look_at);
        let wait = Timespec::try_from(wait.saturating_duration_since(now)).ok();
        let mut sources = vec![PollFd::new(&self.inbox, PollFlags::IN)];
        for source in self.children.ends().chain(self.fifos.ends()).chain(self.alarms.sources()) {
            sources.push(PollFd::from_borrowed_fd(source, PollFlags::IN));
        }
        // Interrupted or not: all sources are looked at.
        let _ = poll(&mut sources, wait.as_ref());
    }

    fn begin(&mut self, errand: Errand, now: Instant) {
        match errand {
            Errand::Track { scripts, processes, files, fifos, is_strict } => {
                self.is_strict = is_strict;
                let told = self.fifos.set(&fifos, is_strict, now);
                self.tell_of_fifos(told);
                self.children.be_strict(is_strict);
                self.children.set_scripts(&scripts, now);
                (self.rules, self.files) = (processes, files);
                self.watch_tracked();
                self.look(now);
            }
            Errand::Notify { whose, command, user, group } => {
                let done = self.children.notify(&command, user.as_deref(), group.as_deref(), now);
                if let Err(error) = done {
                    let program = command.first().map(String::as_str).unwrap_or_default();
                    let text =
                        format!("{whose}: the notification `{program}` can't be run: {error}");
                    self.tell(Severity::Warning, Kind::Need, text);
                }
            }
            Errand::Write(line) => {
                let told = self.fifos.write(&line);
                self.tell_of_fifos(told);
            }
            Errand::Filter(command) => {
                if let Err(error) = self.children.filter(command, now) {
                    self.results.post(Ran::Filtered(Err(error.to_string())));
                }
            }
            Errand::Watcher(mut command) => {
                // It ends when we do, or takes our place: nobody waits for it before.
                if let Err(error) = command.spawn() {
                    self.results.post(Ran::NoWatcher(error));
                }
            }
            Errand::End => {}
        }
    }

    fn attend(&mut self, now: Instant) {
        for outcome in self.children.attend(now) {
            self.results.post(Ran::Script(outcome));
        }
        let told = self.fifos.attend(self.is_strict, now);
        self.tell_of_fifos(told);
        for text in self.children.complaints() {
            self.tell(Severity::Warning, Kind::Settings, text);
        }
        if let Some(done) = self.children.filtered(now) {
            self.results.post(Ran::Filtered(done));
        }
        self.hear_alarms(now);
        if now >= self.look_at {
            self.look_at = now + LOOK;
            self.look_if_due(now);
        }
    }

    /// Looks where the kernel says that a tracked file or process may have changed.
    fn hear_alarms(&mut self, now: Instant) {
        let (rules, processes) = (&self.rules, &self.processes);
        let is_tracked = |pid, may_be_new| processes.is_tracked(rules, pid, may_be_new);
        let (is_alarm, told) = self.alarms.heard(is_tracked);
        self.tell_all(told);
        if is_alarm || self.processes.next_deadline().is_some_and(|at| at <= now) {
            self.look(now);
        }
    }

    /// Looks where nobody calls for it, or for good measure.
    fn look_if_due(&mut self, now: Instant) {
        self.looks_left_out += 1;
        if self.alarms.must_poll() || self.looks_left_out >= RARELY {
            self.watch_tracked();
            self.look(now);
        }
    }

    /// Has the kernel tell of what is tracked.
    fn watch_tracked(&mut self) {
        let told = self.alarms.set(!self.rules.is_empty(), &self.files);
        self.tell_all(told);
    }

    /// Looks at files and processes that are tracked.
    fn look(&mut self, now: Instant) {
        self.looks_left_out = 0;
        let mut readings: Vec<(Subject, Reading)> = Vec::new();
        for (name, holds) in self.processes.look(&self.rules, now) {
            let reading = if holds { Reading::Good } else { Reading::Bad };
            readings.push((Subject::Process(name), reading));
        }
        for path in &self.files {
            readings.push((Subject::File(path.clone()), Reading::Number(number_in(path))));
        }
        if !readings.is_empty() {
            self.results.post(Ran::Read(readings));
        }
    }

    fn tell_all(&self, texts: Vec<String>) {
        for text in texts {
            self.tell(Severity::Info, Kind::Settings, text);
        }
    }

    fn tell_of_fifos(&self, texts: Vec<String>) {
        for text in texts {
            self.tell(Severity::Warning, Kind::Settings, text);
        }
    }

    fn tell(&self, severity: Severity, kind: Kind, text: String) {
        self.results.post(Ran::Told(Event::new(severity, kind, text)));
    }
}

/// The number at the start of a file; 0 where there is none, as Keepalived has it.
fn number_in(path: &str) -> i64 {
    let text = start_of(path).unwrap_or_default();
    text.split_whitespace().next().and_then(|word| word.parse().ok()).unwrap_or(0)
}

/// The start of a file, and of nothing else: what stands in its place, as a pipe, may have one wait.
fn start_of(path: &str) -> io::Result<String> {
    let mut file = File::options().read(true).custom_flags(libc::O_NONBLOCK).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "no file"));
    }
    let mut bytes = Vec::new();
    file.by_ref().take(MOST_READ).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_read_from_the_start_of_a_file_alone() {
        let folder = std::env::temp_dir().join(format!("highgate-number-{}", std::process::id()));
        std::fs::create_dir(&folder).unwrap();
        let [file, pipe, none] =
            ["file", "pipe", "none"].map(|name| folder.join(name).display().to_string());
        rustix::fs::mknodat(
            rustix::fs::CWD,
            &pipe,
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::RWXU,
            0,
        )
        .unwrap();
        let mut long = b" -7 ".to_vec();
        long.resize(1 << 20, 0xff);
        std::fs::write(&file, long).unwrap();
        assert_eq!(start_of(&file).unwrap().get(..4), Some(" -7 "));
        // Without a writer a pipe would have it wait.
        assert_eq!([&file, &pipe, &none].map(|path| number_in(path)), [-7, 0, 0]);
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
