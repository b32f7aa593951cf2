//! Tells when tracked files and processes are to be looked at: the kernel says so, by inotify and by
//! its process connector, instead of a look each second.
//!
//! An alarm says nothing of what has changed: whoever hears it looks at everything. Where the kernel
//! does not tell (its connector speaks within the first network and process namespace alone, a folder
//! may not exist) the look each second remains.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    mem::MaybeUninit,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::Path,
};

use netlink_sys::{Socket, SocketAddr};
use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};

/// The protocol of netlink, and its only group, by which the kernel tells of processes.
const CONNECTOR: isize = 11;
const PROCESSES: u32 = 1;
/// "Tell me", as the connector's group takes it.
const LISTEN: u32 = 1;
/// Where the kind of an event is in a message: behind the headers of netlink and of the connector.
const KIND_AT: usize = 36;
const DATA_AT: usize = 52;

/// What happened to a process, as far as it matters here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Happened {
    /// The answer to the question for events, with its error.
    Answer(u32),
    Ended(u32),
    Forked {
        parent: u32,
    },
    /// Another program, or another name.
    Renamed(u32),
}

/// Sources of alarms.
#[derive(Debug, Default)]
pub(crate) struct Alarms {
    connector: Option<Socket>,
    files: Option<OwnedFd>,
    /// Folders that are watched, by their number, with the names that matter there.
    folders: BTreeMap<i32, (String, BTreeSet<String>)>,
    /// What can't be watched.
    unwatched: BTreeSet<String>,
    is_wanted: bool,
    /// Why processes have to be looked at each second.
    why_not: Option<String>,
    told: BTreeSet<String>,
}

impl Alarms {
    /// What is to be watched from now on. Gives what operators are to be told, once each.
    pub(crate) fn set(&mut self, has_processes: bool, files: &BTreeSet<String>) -> Vec<String> {
        let mut told = Vec::new();
        if has_processes && !self.is_wanted {
            match listen() {
                Ok(socket) => self.connector = Some(socket),
                Err(error) => self.why_not = Some(error.to_string()),
            }
        } else if !has_processes {
            (self.connector, self.why_not) = (None, None);
        }
        self.is_wanted = has_processes;
        told.extend(self.complaint_of_processes());
        told.extend(self.watch(files));
        told
    }

    /// Whether there is something that has to be looked at each second.
    pub(crate) fn must_poll(&self) -> bool {
        self.is_wanted && self.connector.is_none() || !self.unwatched.is_empty()
    }

    /// Readable when there may be an alarm.
    pub(crate) fn sources(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let connector = self.connector.iter().map(|socket| socket.as_fd());
        connector.chain(self.files.iter().map(AsFd::as_fd))
    }

    /// Whether files or processes are to be looked at. `is_tracked` says which processes matter by
    /// their number; what operators are to be told comes with it.
    pub(crate) fn heard(&mut self, is_tracked: impl Fn(u32, bool) -> bool) -> (bool, Vec<String>) {
        let by_files = self.read_files();
        let by_processes = self.read_processes(is_tracked);
        (by_files | by_processes, self.complaint_of_processes().into_iter().collect())
    }

    fn complaint_of_processes(&mut self) -> Option<String> {
        let why = self.why_not.as_ref()?;
        let text = format!(
            "the kernel does not tell of processes here ({why}): those that are tracked are looked \
             at once a second"
        );
        self.told.insert(text.clone()).then_some(text)
    }

    fn watch(&mut self, files: &BTreeSet<String>) -> Vec<String> {
        let mut wanted: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for file in files {
            let path = Path::new(file);
            let folder = path.parent().map(|it| it.display().to_string()).unwrap_or_default();
            let name = path.file_name().map(|it| it.to_string_lossy().into_owned());
            wanted.entry(folder).or_default().extend(name);
        }
        let watched = self.folders.values();
        let is_same = self.unwatched.is_empty()
            && watched.clone().count() == wanted.len()
            && watched.clone().all(|(folder, names)| wanted.get(folder) == Some(names));
        if is_same {
            return Vec::new();
        }
        self.folders.clear();
        self.unwatched.clear();
        self.files = None;
        let mut told = Vec::new();
        for (folder, names) in wanted {
            match self.watch_folder(&folder) {
                Ok(number) => drop(self.folders.insert(number, (folder, names))),
                Err(error) => {
                    let text = format!(
                        "folder {folder} can't be watched ({error}): the tracked files there are \
                         looked at once a second"
                    );
                    if self.told.insert(text.clone()) {
                        told.push(text);
                    }
                    self.unwatched.insert(folder);
                }
            }
        }
        told
    }

    fn watch_folder(&mut self, folder: &str) -> io::Result<i32> {
        let files = match self.files.take() {
            Some(files) => files,
            None => inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)?,
        };
        let files = self.files.insert(files);
        // Not MODIFY: who writes a file anew empties it first, which is no number of anybody's.
        let flags = WatchFlags::CREATE
            | WatchFlags::CLOSE_WRITE
            | WatchFlags::MOVE
            | WatchFlags::DELETE
            | WatchFlags::ONLYDIR;
        Ok(inotify::add_watch(files, folder, flags)?)
    }

    fn read_files(&mut self) -> bool {
        let Some(files) = &self.files else { return false };
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut reader = inotify::Reader::new(files, &mut buffer);
        let mut is_alarm = false;
        // Ends with the error that nothing is there.
        while let Ok(event) = reader.next() {
            let Some((folder, names)) = self.folders.get(&event.wd()) else {
                is_alarm |= event.events().contains(ReadFlags::QUEUE_OVERFLOW);
                continue;
            };
            let name = event.file_name().map(|name| name.to_string_lossy().into_owned());
            is_alarm |= name.is_some_and(|name| names.contains(&name));
            if event.events().contains(ReadFlags::IGNORED) {
                // The folder is gone. It is watched again as soon as it can be.
                self.unwatched.insert(folder.clone());
                self.folders.remove(&event.wd());
                is_alarm = true;
            }
        }
        is_alarm
    }

    fn read_processes(&mut self, is_tracked: impl Fn(u32, bool) -> bool) -> bool {
        let Some(socket) = &self.connector else { return false };
        let mut is_alarm = false;
        let mut refused = None;
        loop {
            match socket.recv_from_full() {
                Ok((message, _)) => match read(&message) {
                    Some(Happened::Answer(0)) | None => {}
                    Some(Happened::Answer(error)) => {
                        let error = i32::try_from(error).unwrap_or(0);
                        refused = Some(io::Error::from_raw_os_error(error).to_string());
                    }
                    // Who was tracked before matters as much as who is now.
                    Some(Happened::Renamed(process)) => is_alarm |= is_tracked(process, true),
                    Some(Happened::Ended(process) | Happened::Forked { parent: process }) => {
                        is_alarm |= is_tracked(process, false);
                    }
                },
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // More happened than the socket could hold.
                Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => is_alarm = true,
                Err(_) => break,
            }
        }
        if refused.is_some() {
            self.connector = None;
            self.why_not = refused;
        }
        is_alarm
    }
}

/// Asks the kernel to tell of all processes.
fn listen() -> io::Result<Socket> {
    let mut socket = Socket::new(CONNECTOR)?;
    socket.bind(&SocketAddr::new(0, PROCESSES))?;
    socket.set_non_blocking(true)?;
    // Header of netlink: length, type "done", flags, sequence, sender; then that of the connector:
    // index and value of the group, sequence, acknowledgement, length, flags.
    let words: [u32; 10] = [40, 3, 0, 0, 1, 1, 0, 0, 4, LISTEN];
    let message: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
    socket.send(&message, 0)?;
    Ok(socket)
}

/// What a message tells, if it matters.
fn read(message: &[u8]) -> Option<Happened> {
    let word = |at: usize| {
        let bytes: [u8; 4] = message.get(at..at + 4)?.try_into().ok()?;
        Some(u32::from_ne_bytes(bytes))
    };
    // Of threads only the first is a process: number and number of the group are one.
    let leader = |at: usize| word(at).filter(|process| word(at + 4) == Some(*process));
    match word(KIND_AT)? {
        0 => word(DATA_AT).map(Happened::Answer),
        0x1 => leader(DATA_AT + 8)
            .and_then(|_| word(DATA_AT + 4))
            .map(|parent| Happened::Forked { parent }),
        0x2 | 0x200 => leader(DATA_AT).map(Happened::Renamed),
        0x8000_0000 => leader(DATA_AT).map(Happened::Ended),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, io::Write as _, process::Command, time::Duration};

    use rustix::event::{PollFd, PollFlags, Timespec, poll};

    use super::*;

    /// Waits for an alarm, by the descriptors alone.
    fn wait(alarms: &mut Alarms, is_tracked: impl Fn(u32, bool) -> bool + Copy) -> bool {
        for _ in 0..500 {
            if alarms.heard(is_tracked).0 {
                return true;
            }
            let mut sources: Vec<_> =
                alarms.sources().map(|it| PollFd::from_borrowed_fd(it, PollFlags::IN)).collect();
            let patience = Timespec::try_from(Duration::from_millis(20)).unwrap();
            poll(&mut sources, Some(&patience)).unwrap();
        }
        false
    }

    #[test]
    fn each_way_to_change_a_tracked_file_is_an_alarm_and_others_are_none() {
        let folder = std::env::temp_dir().join(format!("highgate-alarms-{}", std::process::id()));
        fs::create_dir(&folder).unwrap();
        let path = |name: &str| folder.join(name);
        let files = BTreeSet::from([path("level").display().to_string()]);
        let mut alarms = Alarms::default();
        assert!(alarms.set(false, &files).is_empty() && !alarms.must_poll());
        fs::write(path("other"), "1").unwrap();
        assert!(!alarms.heard(|_, _| false).0, "another file");
        let changes: [&dyn Fn(); 4] = [
            &|| fs::write(path("level"), "1").unwrap(),
            &|| fs::write(path("level"), "2").unwrap(),
            &|| fs::rename(path("other"), path("level")).unwrap(),
            &|| fs::remove_file(path("level")).unwrap(),
        ];
        for change in changes {
            change();
            assert!(wait(&mut alarms, |_, _| false));
            while alarms.heard(|_, _| false).0 {}
        }
        fs::remove_dir(&folder).unwrap();
        assert!(wait(&mut alarms, |_, _| false), "the folder is gone");
        assert!(alarms.must_poll());
        assert_eq!(alarms.set(false, &files).len(), 1, "told once");
        assert_eq!(alarms.set(false, &files).len(), 0);
        fs::create_dir(&folder).unwrap();
        alarms.set(false, &files);
        assert!(!alarms.must_poll(), "it is there again");
        fs::remove_dir(&folder).unwrap();
    }

    /// What was observed: a file was read that was empty for a moment, and a rank went down and up.
    #[test]
    fn a_file_that_is_being_written_is_no_alarm_before_it_is_whole() {
        let folder = std::env::temp_dir().join(format!("highgate-whole-{}", std::process::id()));
        fs::create_dir(&folder).unwrap();
        let path = folder.join("level");
        fs::write(&path, "10").unwrap();
        let mut alarms = Alarms::default();
        alarms.set(false, &BTreeSet::from([path.display().to_string()]));
        let mut file = fs::File::create(&path).unwrap();
        assert!(!alarms.heard(|_, _| false).0, "it is empty");
        file.write_all(b"2").unwrap();
        assert!(!alarms.heard(|_, _| false).0, "half of it");
        file.write_all(b"0").unwrap();
        drop(file);
        assert!(wait(&mut alarms, |_, _| false));
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn the_end_of_a_tracked_process_is_an_alarm_where_the_kernel_tells_of_it() {
        let mut alarms = Alarms::default();
        let told = alarms.set(true, &BTreeSet::new());
        let (_, more) = alarms.heard(|_, _| false);
        if alarms.must_poll() {
            let told = [told, more].concat();
            assert!(told[0].contains("looked at once a second"), "{told:?}");
            return eprintln!("skipped: {told:?}");
        }
        let mut child = Command::new("/bin/sleep").arg("60").spawn().unwrap();
        let pid = child.id();
        assert!(wait(&mut alarms, |process, is_new| is_new && process == pid), "its start");
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(wait(&mut alarms, |process, is_new| !is_new && process == pid), "its end");
    }

    #[test]
    fn messages_of_processes_are_read_and_those_of_threads_left_out() {
        let message = |kind: u32, data: [u32; 4]| {
            let mut bytes = vec![0; DATA_AT];
            bytes[KIND_AT..KIND_AT + 4].copy_from_slice(&kind.to_ne_bytes());
            bytes.extend(data.iter().flat_map(|word| word.to_ne_bytes()));
            bytes
        };
        for (kind, data, happened) in [
            (0, [1, 0, 0, 0], Some(Happened::Answer(1))),
            (1, [7, 7, 9, 9], Some(Happened::Forked { parent: 7 })),
            (1, [7, 7, 9, 7], None),
            (2, [9, 9, 0, 0], Some(Happened::Renamed(9))),
            (0x200, [9, 8, 0, 0], None),
            (0x8000_0000, [9, 9, 0, 0], Some(Happened::Ended(9))),
            (0x4, [9, 9, 0, 0], None),
        ] {
            assert_eq!(read(&message(kind, data)), happened, "{kind:#x} {data:?}");
        }
        assert_eq!(read(&message(2, [9; 4])[..DATA_AT + 2]), None, "cut off");
    }
}
