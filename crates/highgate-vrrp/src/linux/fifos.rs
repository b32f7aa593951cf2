//! Named pipes into which each change is written, and the scripts that read from them. Nothing here
//! waits for a reader: what does not fit is left out, and that is told. At the end alone a script has
//! a moment to read what its pipe still holds.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, Write},
    os::{
        fd::BorrowedFd,
        unix::fs::{FileTypeExt, MetadataExt},
    },
    time::{Duration, Instant},
};

use highgate_io::clock;
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fs::{Gid, Mode, OFlags, Uid},
};

use super::{children::Steady, messages::FifoRule};

/// Not sooner is a script that ended started again, and a pipe that failed made again.
const AGAIN: Duration = Duration::from_secs(5);
/// So long may a script go on after its pipe was closed: it reads what is left there, and sees the end.
const REST: Duration = Duration::from_millis(500);

/// All of them, by path.
#[derive(Debug, Default)]
pub(crate) struct Fifos {
    all: BTreeMap<String, Fifo>,
    /// Scripts whose pipes are closed.
    leaving: Vec<Steady>,
}

#[derive(Debug)]
struct Fifo {
    rule: FifoRule,
    /// Open in both directions: so there is a reader always, and what is written stays.
    pipe: Option<File>,
    /// The one that was made here, by the numbers of its device and file.
    made: Option<(u64, u64)>,
    script: Option<Steady>,
    /// When the pipe or the script is tried again.
    next: Instant,
    why: Option<String>,
    left_out: u64,
    /// A line of which a part is written already.
    rest: Vec<u8>,
}

impl Fifos {
    /// These are the pipes from now on. Gives what is to be told.
    pub(crate) fn set(&mut self, rules: &[FifoRule], is_strict: bool, now: Instant) -> Vec<String> {
        let stays = |fifo: &Fifo| rules.contains(&fifo.rule);
        for (_, gone) in self.all.extract_if(.., |_, fifo| !stays(fifo)) {
            self.leaving.extend(gone.close(now));
        }
        for rule in rules {
            self.all.entry(rule.path.clone()).or_insert_with(|| Fifo {
                rule: rule.clone(),
                pipe: None,
                made: None,
                script: None,
                next: now,
                why: None,
                left_out: 0,
                rest: Vec::new(),
            });
        }
        self.attend(is_strict, now)
    }

    /// Makes and opens what is missing, starts scripts, ends those that are to go. Gives what is to be
    /// told.
    pub(crate) fn attend(&mut self, is_strict: bool, now: Instant) -> Vec<String> {
        self.leaving.retain_mut(|script| script.stays(now));
        self.all.values_mut().filter_map(|fifo| fifo.attend(is_strict, now)).collect()
    }

    /// When [`Self::attend`] is wanted.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        let waits = self.all.values().filter(|fifo| fifo.is_wanting());
        waits.map(|fifo| fifo.next).chain(self.leaving.iter().filter_map(Steady::until)).min()
    }

    /// Readable when a script has ended.
    pub(crate) fn ends(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let scripts = self.all.values().filter_map(|fifo| fifo.script.as_ref());
        scripts.chain(&self.leaving).map(Steady::end)
    }

    /// Writes a line into each. Gives what is to be told.
    pub(crate) fn write(&mut self, line: &str) -> Vec<String> {
        self.all.values_mut().filter_map(|fifo| fifo.write(line)).collect()
    }

    /// Removes the pipes that were made here, and ends the scripts: who reads to the end is waited for
    /// a moment, so that it hears the last lines.
    pub(crate) fn end(&mut self) {
        let begun = clock::now();
        let closed = std::mem::take(&mut self.all).into_values();
        self.leaving.extend(closed.filter_map(|fifo| fifo.close(begun)));
        loop {
            let now = clock::now();
            self.leaving.retain_mut(|script| script.stays(now));
            let Some(by) = self.leaving.iter().filter_map(Steady::until).max() else { return };
            let wait = Timespec::try_from(by.saturating_duration_since(now)).ok();
            let ends = self.leaving.iter().filter(|script| script.until().is_some());
            let ends = ends.map(|script| PollFd::from_borrowed_fd(script.end(), PollFlags::IN));
            let _ = poll(&mut ends.collect::<Vec<_>>(), wait.as_ref());
        }
    }
}

impl Fifo {
    /// Something is not there that should be.
    const fn is_wanting(&self) -> bool {
        self.pipe.is_none() || (self.script.is_none() && !self.rule.script.is_empty())
    }

    fn attend(&mut self, is_strict: bool, now: Instant) -> Option<String> {
        let mut told = None;
        if let Some(script) = &mut self.script
            && let Some(how) = script.ended()
        {
            self.script = None;
            self.next = now + AGAIN;
            let path = &self.rule.path;
            told = Some(format!(
                "the script that reads {path} ended ({how}); it is started again in {} s",
                AGAIN.as_secs()
            ));
        }
        if !self.is_wanting() || now < self.next {
            return told;
        }
        self.next = now + AGAIN;
        match self.open(is_strict) {
            Ok(()) => {
                let was = self.why.take();
                was.map(|_| format!("{} is there now", self.rule.path)).or(told)
            }
            Err(error) => {
                let why = format!("changes of vips are not written to {}: {error}", self.rule.path);
                let is_new = self.why.as_ref() != Some(&why);
                self.why = Some(why.clone());
                is_new.then_some(why).or(told)
            }
        }
    }

    fn open(&mut self, is_strict: bool) -> io::Result<()> {
        let FifoRule { path, owner, owner_group, script, user, group } = &self.rule;
        if self.pipe.is_none() {
            self.made = self.made.or(make(path, owner.as_deref(), owner_group.as_deref())?);
            let flags = OFlags::RDWR | OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let pipe = File::from(rustix::fs::open(path, flags, Mode::empty())?);
            if !pipe.metadata()?.file_type().is_fifo() {
                return Err(io::Error::other("it is there, and is no named pipe"));
            }
            self.pipe = Some(pipe);
        }
        if self.script.is_none() && !script.is_empty() {
            let words: Vec<String> = script.iter().chain([path]).cloned().collect();
            let started = Steady::start(&words, user.as_deref(), group.as_deref(), is_strict);
            self.script = Some(started.map_err(|error| {
                io::Error::new(error.kind(), format!("its script can't be run: {error}"))
            })?);
        }
        Ok(())
    }

    fn write(&mut self, line: &str) -> Option<String> {
        let pipe = self.pipe.as_mut()?;
        let path = &self.rule.path;
        // Lines are shorter than what the kernel takes as a whole or not at all; the rest of one that
        // is not goes before the next.
        let whole = [self.rest.as_slice(), line.as_bytes()].concat();
        match pipe.write(&whole) {
            Ok(written) => {
                self.rest = whole.get(written..).unwrap_or_default().to_vec();
                let left_out = std::mem::take(&mut self.left_out);
                (left_out > 0)
                    .then(|| format!("{path} takes lines again; {left_out} were left out"))
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.left_out += 1;
                (self.left_out == 1).then(|| {
                    format!("{path} is full, since nobody reads it: lines are left out until somebody does")
                })
            }
            Err(error) => {
                self.pipe = None;
                Some(format!("{path} can't be written: {error}; it is opened anew"))
            }
        }
    }

    /// Removes the pipe if it was made here, and closes it. Gives the script that reads from it.
    fn close(self, now: Instant) -> Option<Steady> {
        // Before it is closed: a script that opens it again at its end must not find it.
        let there = fs::symlink_metadata(&self.rule.path).map(|it| (it.dev(), it.ino()));
        if self.made.is_some_and(|made| there.is_ok_and(|there| there == made)) {
            // Somebody else may have removed it this moment.
            let _ = fs::remove_file(&self.rule.path);
        }
        let mut script = self.script?;
        script.may_stay(now + REST);
        Some(script)
    }
}

/// Makes a pipe for its owner alone; `None` where there is one.
fn make(path: &str, owner: Option<&str>, group: Option<&str>) -> io::Result<Option<(u64, u64)>> {
    match rustix::fs::mkfifoat(rustix::fs::CWD, path, Mode::RUSR | Mode::WUSR) {
        Err(rustix::io::Errno::EXIST) => return Ok(None),
        done => done?,
    }
    let made = fs::symlink_metadata(path)?;
    if let Some((uid, gid)) = super::children::account(owner, group)? {
        let (uid, gid) = (Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)));
        let flags = rustix::fs::AtFlags::SYMLINK_NOFOLLOW;
        rustix::fs::chownat(rustix::fs::CWD, path, uid, gid, flags)?;
    }
    Ok(Some((made.dev(), made.ino())))
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    struct Folder(std::path::PathBuf);

    impl Folder {
        fn new() -> Self {
            let thread = format!("{:?}", std::thread::current().id()).replace(['(', ')'], "");
            let name = format!("highgate-fifos-{}-{thread}", std::process::id());
            let path = std::env::temp_dir().join(name);
            fs::create_dir_all(&path).unwrap();
            Self(path)
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn rule(path: &std::path::Path) -> FifoRule {
        FifoRule { path: path.to_str().unwrap().to_owned(), ..FifoRule::default() }
    }

    #[test]
    fn a_line_waits_for_its_reader_and_the_pipe_goes_at_the_end() {
        let folder = Folder::new();
        let path = folder.0.join("fifo");
        let mut fifos = Fifos::default();
        assert_eq!(fifos.set(&[rule(&path)], false, Instant::now()), Vec::<String>::new());
        assert!(fifos.write("INSTANCE \"V\" BACKUP 100\n").is_empty());
        let mut read = [0; 64];
        let count = File::open(&path).unwrap().read(&mut read).unwrap();
        assert_eq!(&read[..count], b"INSTANCE \"V\" BACKUP 100\n");
        fifos.end();
        assert!(!path.exists());
    }

    #[test]
    fn a_pipe_that_nobody_reads_loses_lines_and_says_so_once() {
        let folder = Folder::new();
        let path = folder.0.join("fifo");
        let mut fifos = Fifos::default();
        fifos.set(&[rule(&path)], false, Instant::now());
        let line = format!("{}\n", "x".repeat(99));
        let told: Vec<String> = (0..2000).flat_map(|_| fifos.write(&line)).collect();
        assert!(told.len() == 1 && told[0].contains("nobody reads it"), "{told:?}");
        let mut reader = File::open(&path).unwrap();
        let mut read = vec![0; 1 << 20];
        let count = reader.read(&mut read).unwrap();
        assert!(read[..count].split_inclusive(|b| *b == b'\n').all(|it| it == line.as_bytes()));
        let told = fifos.write("last\n");
        assert!(told.len() == 1 && told[0].contains("were left out"), "{told:?}");
    }

    /// A rule with a script of a shell, to which the pipe's path is `$0`.
    fn with_script(path: &std::path::Path, script: &str) -> FifoRule {
        let script = ["/bin/sh", "-c", script].map(str::to_owned).to_vec();
        // Not as the usual account for scripts, which may not write here.
        let user = rustix::process::geteuid().is_root().then(|| "root".to_owned());
        FifoRule { script, user, ..rule(path) }
    }

    /// Waits until the file has as many lines.
    fn until_lines(file: &std::path::Path, count: usize) -> String {
        let by = Instant::now() + Duration::from_secs(10);
        loop {
            let text = fs::read_to_string(file).unwrap_or_default();
            if text.lines().count() == count {
                return text;
            }
            assert!(Instant::now() < by, "{text:?}");
            let _ = poll(&mut [], Some(&Timespec { tv_sec: 0, tv_nsec: 5_000_000 }));
        }
    }

    /// What was observed: it was ended with lines unread, those that tell of the end first of all.
    #[test]
    fn a_script_reads_what_its_pipe_holds_before_it_is_ended() {
        let folder = Folder::new();
        let (path, heard) = (folder.0.join("fifo"), folder.0.join("heard"));
        let script = format!(
            "exec < \"$0\" >> {}; read -r first; echo $first; sleep 0.05; exec cat",
            heard.display()
        );
        let mut fifos = Fifos::default();
        let told = fifos.set(&[with_script(&path, &script)], false, Instant::now());
        assert_eq!(told, Vec::<String>::new());
        fifos.write("1\n");
        until_lines(&heard, 1);
        for line in ["2\n", "3\n", "STOP\n"] {
            fifos.write(line);
        }
        fifos.end();
        assert_eq!(fs::read_to_string(&heard).unwrap(), "1\n2\n3\nSTOP\n");
        assert!(!path.exists() && fifos.leaving.is_empty());
    }

    #[test]
    fn a_script_that_goes_on_after_its_pipe_was_closed_is_told_to_end() {
        let folder = Folder::new();
        let (path, heard) = (folder.0.join("fifo"), folder.0.join("heard"));
        let script = format!(
            "trap 'echo ended >> {0}; exit' TERM; echo begun >> {0}; while :; do sleep 0.01; done",
            heard.display()
        );
        let rules = [with_script(&path, &script)];
        let (mut fifos, begun) = (Fifos::default(), Instant::now());
        fifos.set(&rules, false, begun);
        until_lines(&heard, 1);
        // By other settings, beside which all goes on; and at the end.
        assert_eq!(fifos.set(&[], false, begun), Vec::<String>::new());
        assert!(!path.exists());
        assert_eq!((fifos.next_deadline(), fifos.ends().count()), (Some(begun + REST), 1));
        fifos.attend(false, begun + REST);
        assert_eq!(until_lines(&heard, 2), "begun\nended\n");
        fifos.set(&rules, false, begun + REST);
        until_lines(&heard, 3);
        let at_end = Instant::now();
        fifos.end();
        assert!(at_end.elapsed() >= REST, "it had its time");
        assert_eq!(until_lines(&heard, 4).lines().last(), Some("ended"));
    }

    #[test]
    fn what_is_no_pipe_is_not_written_and_a_pipe_of_others_stays() {
        let folder = Folder::new();
        let path = folder.0.join("file");
        fs::write(&path, "kept").unwrap();
        let mut fifos = Fifos::default();
        let told = fifos.set(&[rule(&path)], false, Instant::now());
        assert!(told.len() == 1 && told[0].contains("no named pipe"), "{told:?}");
        assert!(fifos.write("x\n").is_empty());
        fifos.end();
        assert_eq!(fs::read_to_string(&path).unwrap(), "kept");
        let path = folder.0.join("theirs");
        rustix::fs::mkfifoat(rustix::fs::CWD, &path, Mode::RUSR | Mode::WUSR).unwrap();
        fifos.set(&[rule(&path)], false, Instant::now());
        fifos.end();
        assert!(path.exists());
    }
}
