//! Scripts and notifications: each a process of its own, as its user, with a bound on its time.
//! Nothing here waits for one.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::process::{CommandExt, ExitStatusExt},
    },
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use rustix::{
    process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open},
    thread::CapabilitySet,
};

use super::{security, sys_unsafe};
use crate::track::ScriptSettings;

/// A script that somebody else ended runs again not later than this.
const SOON: Duration = Duration::from_secs(1);
/// How long a script that was told to end may take before it is killed.
const LAST_WORDS: Duration = Duration::from_millis(500);
/// How long a notification may take: it may stop and start other services.
const NOTIFICATION: Duration = Duration::from_secs(300);
/// How long a change of the rules of nftables may take.
const FILTER: Duration = Duration::from_secs(10);
/// Notifications that may run at once; a router that changes its state in a circle must not fill
/// the machine with processes.
const MOST_NOTIFICATIONS: usize = 256;
/// Where programs without a path are looked for.
const PATH: &str = "/usr/sbin:/usr/bin:/sbin:/bin";
/// Who runs scripts where nothing else is said, if there is such an account.
const SCRIPT_USER: &str = "keepalived_script";

/// What came of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// Which script.
    pub(crate) script: String,
    /// Whether it succeeded, or why not.
    pub(crate) result: Result<(), String>,
}

/// All processes that the keeper has started.
#[derive(Debug, Default)]
pub(crate) struct Children {
    scripts: BTreeMap<String, Script>,
    notifications: Vec<Running>,
    /// Killed, and not gone yet: one that waits for a disk or a dead file server may take its time.
    dying: Vec<Running>,
    /// The rules of nftables are being changed.
    filter: Option<Running>,
    /// And are to be changed once more after that.
    filter_next: Option<Vec<String>>,
    /// Whether what root would run is refused where others may write it.
    is_strict: bool,
    /// Commands that root runs although others may write them, as was told.
    weak: BTreeSet<String>,
    complaints: Vec<String>,
}

#[derive(Debug)]
struct Script {
    settings: ScriptSettings,
    next: Instant,
    running: Option<Running>,
    /// Somebody else ended the last run.
    was_ended: bool,
}

#[derive(Debug)]
struct Running {
    child: Child,
    /// Becomes readable at the end of the process.
    end: OwnedFd,
    by: Instant,
    is_told: bool,
}

impl Children {
    /// Whether what would run as root is refused where others than root may write it.
    pub(crate) const fn be_strict(&mut self, is_strict: bool) {
        self.is_strict = is_strict;
    }

    /// What is to be told of commands that run as root.
    pub(crate) fn complaints(&mut self) -> Vec<String> {
        std::mem::take(&mut self.complaints)
    }

    /// These are the scripts from now on; those that are new or changed run at once.
    pub(crate) fn set_scripts(&mut self, scripts: &BTreeMap<String, ScriptSettings>, now: Instant) {
        self.scripts.retain(|name, script| {
            let stays = scripts.get(name) == Some(&script.settings);
            if !stays && let Some(running) = script.running.take() {
                running.kill(Signal::KILL);
                self.dying.push(running);
            }
            stays
        });
        for (name, settings) in scripts {
            self.scripts.entry(name.clone()).or_insert_with(|| Script {
                settings: settings.clone(),
                next: now,
                running: None,
                was_ended: false,
            });
        }
    }

    /// Starts what is due, ends what takes too long, and collects what has ended.
    pub(crate) fn attend(&mut self, now: Instant) -> Vec<Outcome> {
        let mut outcomes = Vec::new();
        let mut weak = Vec::new();
        for (name, script) in &mut self.scripts {
            if script.running.is_none() && now >= script.next {
                let settings = &script.settings;
                match guard(&settings.command, settings.user.as_deref(), self.is_strict) {
                    Ok(why) => weak.extend(why),
                    Err(why) => {
                        script.next = now + settings.interval;
                        outcomes.push(Outcome { script: name.clone(), result: Err(why) });
                        continue;
                    }
                }
            }
            if let Some(result) = script.attend(now) {
                outcomes.push(Outcome { script: name.clone(), result });
            }
        }
        for why in weak {
            self.warn(why);
        }
        self.notifications.retain_mut(|running| {
            running.hurry(now);
            running.is_there()
        });
        self.dying.retain_mut(Running::is_there);
        outcomes
    }

    /// Runs a notification, and forgets it.
    ///
    /// # Errors
    /// It could not be started.
    pub(crate) fn notify(
        &mut self,
        command: &[String],
        user: Option<&str>,
        group: Option<&str>,
        now: Instant,
    ) -> io::Result<()> {
        if self.notifications.len() >= MOST_NOTIFICATIONS {
            return Err(io::Error::other(format!(
                "{MOST_NOTIFICATIONS} notifications run already"
            )));
        }
        match guard(command, user, self.is_strict) {
            Ok(why) => why.into_iter().for_each(|why| self.warn(why)),
            Err(why) => return Err(io::Error::new(io::ErrorKind::PermissionDenied, why)),
        }
        self.notifications.push(Running::start(command, user, group, now + NOTIFICATION)?);
        Ok(())
    }

    /// Tells once of a command that is not safe.
    fn warn(&mut self, why: String) {
        if self.weak.insert(why.clone()) {
            self.complaints.push(format!(
                "{why}, and root runs it: whoever may write it is root here; with \
                 `script_security` it is refused"
            ));
        }
    }

    /// Changes the rules of nftables; one change after the other. [`Self::filtered`] tells the end.
    ///
    /// # Errors
    /// It could not be started.
    pub(crate) fn filter(&mut self, command: Vec<String>, now: Instant) -> io::Result<()> {
        if self.filter.is_some() {
            self.filter_next = Some(command);
            return Ok(());
        }
        self.filter = Some(Running::watch(own_command(&command)?, now + FILTER)?);
        Ok(())
    }

    /// What came of changing the rules, once it has ended.
    pub(crate) fn filtered(&mut self, now: Instant) -> Option<Result<(), String>> {
        let running = self.filter.as_mut()?;
        let was_late = running.is_told;
        let result = match running.child.try_wait() {
            Ok(None) => {
                running.hurry(now);
                return None;
            }
            Ok(Some(_)) if was_late => Err("it took too long, and was ended".to_owned()),
            Ok(Some(status)) if status.success() => Ok(()),
            Ok(Some(status)) => Err(status.to_string()),
            Err(error) => Err(error.to_string()),
        };
        self.filter = None;
        match self.filter_next.take() {
            Some(command) => match self.filter(command, now) {
                Ok(()) => None,
                Err(error) => Some(Err(error.to_string())),
            },
            None => Some(result),
        }
    }

    /// When [`Self::attend`] is wanted, if no process ends before.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        let scripts = self
            .scripts
            .values()
            .map(|script| script.running.as_ref().map_or(script.next, |running| running.by));
        let others = self.notifications.iter().chain(&self.filter);
        scripts.chain(others.map(|running| running.by)).min()
    }

    /// Readable when a process has ended.
    pub(crate) fn ends(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let scripts = self.scripts.values().filter_map(|script| script.running.as_ref());
        let others = self.notifications.iter().chain(&self.filter).chain(&self.dying);
        scripts.chain(others).map(|running| running.end.as_fd())
    }
}

impl Script {
    fn attend(&mut self, now: Instant) -> Option<Result<(), String>> {
        let Some(running) = &mut self.running else {
            if now < self.next {
                return None;
            }
            let settings = &self.settings;
            let (user, group) = (settings.user.as_deref(), settings.group.as_deref());
            match Running::start(&settings.command, user, group, now + settings.timeout) {
                Ok(running) => {
                    self.running = Some(running);
                    return None;
                }
                Err(error) => {
                    self.next = now + settings.interval;
                    return Some(Err(format!("it can't be run: {error}")));
                }
            }
        };
        let was_late = running.is_told;
        let result = match running.child.try_wait() {
            Ok(None) => {
                running.hurry(now);
                return None;
            }
            Ok(Some(_)) if was_late => Err("it took too long, and was ended".to_owned()),
            // A service manager that ends all of a service says nothing of what the script looks at.
            Ok(Some(status)) if status.signal() == Some(libc::SIGTERM) && !self.was_ended => {
                self.was_ended = true;
                self.running = None;
                self.next = now + self.settings.interval.min(SOON);
                return None;
            }
            Ok(Some(status)) if status.success() => Ok(()),
            Ok(Some(status)) => Err(status.to_string()),
            Err(error) => Err(error.to_string()),
        };
        self.was_ended = false;
        self.running = None;
        self.next = now + self.settings.interval;
        Some(result)
    }
}

/// A process that runs all the while, and ends with this one at the latest.
#[derive(Debug)]
pub(super) struct Steady(Running);

impl Steady {
    /// Starts it as its user.
    ///
    /// # Errors
    /// It may not be run, or as the system says.
    pub(super) fn start(
        words: &[String],
        user: Option<&str>,
        group: Option<&str>,
        is_strict: bool,
    ) -> io::Result<Self> {
        if let Err(why) = guard(words, user, is_strict) {
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, why));
        }
        let mut command = command(words, user, group)?;
        sys_unsafe::end_with_this(&mut command);
        // Nobody ends it for its time.
        Running::watch(command, highgate_io::clock::now()).map(Self)
    }

    /// How it ended, if it did.
    pub(super) fn ended(&mut self) -> Option<String> {
        match self.0.child.try_wait() {
            Ok(None) => None,
            Ok(Some(status)) => Some(status.to_string()),
            Err(error) => Some(error.to_string()),
        }
    }

    /// Readable when it has ended.
    pub(super) fn end(&self) -> BorrowedFd<'_> {
        self.0.end.as_fd()
    }

    /// It has until then to end by itself.
    pub(super) const fn may_stay(&mut self, until: Instant) {
        self.0.by = until;
    }

    /// Tells it to end, once, when its time is over. Whether it is there still.
    pub(super) fn stays(&mut self, now: Instant) -> bool {
        if now >= self.0.by && !self.0.is_told {
            self.0.kill(Signal::TERM);
            self.0.is_told = true;
        }
        self.0.is_there()
    }

    /// When it is told to end.
    pub(super) fn until(&self) -> Option<Instant> {
        (!self.0.is_told).then_some(self.0.by)
    }
}

/// A command with its account, and with none of our rights beyond that account's.
fn command(words: &[String], user: Option<&str>, group: Option<&str>) -> io::Result<Command> {
    let mut command = own_command(words)?;
    let as_whom = run_as(user, group)?;
    if let Some((uid, gid)) = as_whom {
        command.uid(uid).gid(gid);
    }
    // Groups are left by the standard library for root alone.
    let keeps_groups = as_whom.is_none() || rustix::process::geteuid().is_root();
    let rights = rustix::thread::capabilities(None);
    // Where nothing is inherited a process is started in a way that costs this one less.
    if !keeps_groups || !rights.is_ok_and(|sets| sets.inheritable.is_empty()) {
        sys_unsafe::shed_rights(&mut command, !keeps_groups);
    }
    Ok(command)
}

/// A command as who we are, with all our rights, in a process group of its own.
fn own_command(words: &[String]) -> io::Result<Command> {
    let Some((program, arguments)) = words.split_first() else {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "an empty command"));
    };
    let mut command = Command::new(program);
    command.args(arguments).process_group(0).env("PATH", PATH);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    Ok(command)
}

impl Running {
    fn start(
        words: &[String],
        user: Option<&str>,
        group: Option<&str>,
        by: Instant,
    ) -> io::Result<Self> {
        Self::watch(command(words, user, group)?, by)
    }

    fn watch(mut command: Command, by: Instant) -> io::Result<Self> {
        let child = command.spawn()?;
        let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        let pid = pid.ok_or_else(|| io::Error::other("no process id"))?;
        let end = pidfd_open(pid, PidfdFlags::empty())?;
        Ok(Self { child, end, by, is_told: false })
    }

    /// Tells it to end when its time is over, and kills it when it does not.
    fn hurry(&mut self, now: Instant) {
        if now < self.by {
            return;
        }
        self.kill(if self.is_told { Signal::KILL } else { Signal::TERM });
        self.is_told = true;
        self.by = now + LAST_WORDS;
    }

    fn is_there(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    fn kill(&self, signal: Signal) {
        if let Some(pid) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            // It may have ended this moment.
            let _ = kill_process_group(pid, signal);
        }
    }
}

/// Whether a command may be run as its user: what is doubtful about it, or why it is refused.
fn guard(
    command: &[String],
    user: Option<&str>,
    is_strict: bool,
) -> Result<Option<String>, String> {
    let is_root = match run_as(user, None) {
        Ok(Some((uid, _))) => uid == 0,
        Ok(None) => rustix::process::geteuid().is_root(),
        // Told where it is started.
        Err(_) => false,
    };
    match security::weakness(command, PATH).filter(|_| is_root) {
        Some(why) if is_strict => Err(format!("it is refused: {why}, and root would run it")),
        why => Ok(why),
    }
}

/// As whom a command is run; `None` to stay who we are.
fn run_as(user: Option<&str>, group: Option<&str>) -> io::Result<Option<(u32, u32)>> {
    let own = rustix::process::geteuid();
    let wanted = CapabilitySet::SETUID | CapabilitySet::SETGID;
    let rights = || rustix::thread::capabilities(None).map(|sets| sets.effective);
    let may_change = own.is_root() || rights().is_ok_and(|rights| rights.contains(wanted));
    let found = if may_change || user.is_some() { find_account(user, group)? } else { None };
    changes(found, user, own.as_raw(), may_change)
        .map_err(|why| io::Error::new(io::ErrorKind::PermissionDenied, why))
}

/// Which account is changed to: never another than the one that is asked for.
fn changes(
    found: Option<(u32, u32)>,
    user: Option<&str>,
    own: u32,
    may_change: bool,
) -> Result<Option<(u32, u32)>, String> {
    match (found, user) {
        (Some((uid, _)), Some(name)) if uid != own && !may_change => Err(format!(
            "it is to run as `{name}`, and this process may not change its account (it lacks \
             CAP_SETUID and CAP_SETGID)"
        )),
        (found, _) => Ok(found.filter(|_| may_change)),
    }
}

/// The numbers of an account for what root alone may do; `None` for who is not root.
pub(super) fn account(user: Option<&str>, group: Option<&str>) -> io::Result<Option<(u32, u32)>> {
    if !rustix::process::geteuid().is_root() {
        return Ok(None);
    }
    find_account(user, group)
}

fn find_account(user: Option<&str>, group: Option<&str>) -> io::Result<Option<(u32, u32)>> {
    let users = std::fs::read_to_string("/etc/passwd")?;
    let found = match user {
        Some(name) => Some(find_user(&users, name).ok_or_else(|| {
            io::Error::new(io::ErrorKind::NotFound, format!("there is no account `{name}`"))
        })?),
        None => find_user(&users, SCRIPT_USER),
    };
    let Some((uid, own)) = found else { return Ok(None) };
    let gid = match group {
        None => own,
        Some(name) => {
            let groups = std::fs::read_to_string("/etc/group")?;
            find_group(&groups, name).ok_or_else(|| {
                io::Error::new(io::ErrorKind::NotFound, format!("there is no group `{name}`"))
            })?
        }
    };
    Ok(Some((uid, gid)))
}

/// A user's number and its group's, from the lines of /etc/passwd.
fn find_user(users: &str, name: &str) -> Option<(u32, u32)> {
    users.lines().find_map(|line| {
        let fields: Vec<&str> = line.split(':').collect();
        let [own, _, uid, gid, ..] = fields.as_slice() else { return None };
        (*own == name || *uid == name).then(|| Some((uid.parse().ok()?, gid.parse().ok()?)))?
    })
}

fn find_group(groups: &str, name: &str) -> Option<u32> {
    groups.lines().find_map(|line| {
        let fields: Vec<&str> = line.split(':').collect();
        let [own, _, gid, ..] = fields.as_slice() else { return None };
        (*own == name || *gid == name).then(|| gid.parse().ok())?
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(command: &[&str], timeout: Duration) -> ScriptSettings {
        ScriptSettings {
            command: command.iter().map(|word| (*word).to_owned()).collect(),
            interval: Duration::from_secs(60),
            timeout,
            rise: 1,
            fall: 1,
            starts_failed: false,
            user: None,
            group: None,
        }
    }

    /// Runs a script to its end, by its descriptors and deadlines alone.
    fn run(command: &[&str], timeout: Duration) -> Result<(), String> {
        let mut children = Children::default();
        let scripts = BTreeMap::from([("s".to_owned(), settings(command, timeout))]);
        children.set_scripts(&scripts, Instant::now());
        loop {
            if let Some(outcome) = children.attend(Instant::now()).pop() {
                return outcome.result;
            }
            let wait = children.next_deadline().unwrap();
            let wait = wait.saturating_duration_since(Instant::now()) + Duration::from_millis(1);
            let mut ends: Vec<_> = children
                .ends()
                .map(|end| {
                    rustix::event::PollFd::from_borrowed_fd(end, rustix::event::PollFlags::IN)
                })
                .collect();
            let wait = rustix::event::Timespec::try_from(wait).unwrap();
            rustix::event::poll(&mut ends, Some(&wait)).unwrap();
        }
    }

    #[test]
    fn a_script_succeeds_or_says_why_not() {
        let plenty = Duration::from_secs(10);
        assert_eq!(run(&["/bin/true"], plenty), Ok(()));
        assert!(run(&["/bin/sh", "-c", "exit 3"], plenty).unwrap_err().contains('3'));
        assert!(run(&["/no/such/program"], plenty).unwrap_err().contains("can't be run"));
    }

    #[test]
    fn a_script_that_ignores_its_end_is_killed_with_its_children() {
        let stubborn = ["/bin/sh", "-c", "trap '' TERM; sleep 30 & wait; sleep 30"];
        let begun = Instant::now();
        assert!(run(&stubborn, Duration::from_millis(50)).unwrap_err().contains("too long"));
        assert!(begun.elapsed() < Duration::from_secs(10));
    }

    #[test]
    fn what_others_may_write_is_not_run_by_root_where_that_is_refused() {
        if !rustix::process::geteuid().is_root() {
            return eprintln!("skipped: needs root");
        }
        let path = std::env::temp_dir().join(format!("highgate-weak-{}", std::process::id()));
        std::fs::write(&path, "#!/bin/sh\n").unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o777);
        std::fs::set_permissions(&path, mode).unwrap();
        let command = [path.display().to_string()];
        let mut children = Children::default();
        let mut run = |is_strict| {
            children.be_strict(is_strict);
            let done = children.notify(&command, Some("root"), None, Instant::now());
            (done, children.complaints())
        };
        let (done, told) = run(false);
        assert!(done.is_ok() && told.len() == 1 && told[0].contains("script_security"), "{told:?}");
        assert!(run(false).1.is_empty(), "told once");
        let refused = run(true).0.unwrap_err().to_string();
        assert!(refused.contains("refused") && refused.contains("can be written"), "{refused}");
        std::fs::remove_file(&path).unwrap();
        let script = settings(&command.each_ref().map(String::as_str), Duration::from_secs(9));
        children.set_scripts(&BTreeMap::from([("s".to_owned(), script)]), Instant::now());
        let outcome = children.attend(Instant::now()).pop().unwrap();
        assert!(outcome.result.unwrap_err().contains("can't be run"), "it is gone");
    }

    #[test]
    fn accounts_are_found_by_name_or_number() {
        let users = "root:x:0:0:root:/root:/bin/sh\nwww:x:33:34::/:/bin/false\n";
        assert_eq!(find_user(users, "www"), Some((33, 34)));
        assert_eq!(find_user(users, "33"), Some((33, 34)));
        assert_eq!(find_user(users, "nobody"), None);
        assert_eq!(find_group("adm:x:4:\n", "adm"), Some(4));
    }

    /// What was observed: under a service manager that gives rights to an account that is not root, the
    /// account of a script was left aside without a word, and it had all our rights.
    #[test]
    fn who_may_not_change_its_account_refuses_another_and_who_may_changes_to_it() {
        let (own, other) = (Some((7, 8)), Some((33, 34)));
        assert_eq!(changes(other, Some("www"), 7, true), Ok(other));
        assert_eq!(changes(other, None, 7, true), Ok(other), "the usual one for scripts");
        assert_eq!(changes(own, Some("highgate"), 7, false), Ok(None));
        assert_eq!(changes(None, None, 7, false), Ok(None));
        let why = changes(other, Some("www"), 7, false).unwrap_err();
        assert!(why.contains("`www`") && why.contains("CAP_SETUID"), "{why}");
    }

    #[test]
    fn a_script_inherits_none_of_our_rights() {
        use rustix::thread::{capabilities, configure_capability_in_ambient_set, set_capabilities};
        if !rustix::process::geteuid().is_root() {
            return eprintln!("skipped: needs root");
        }
        let mut sets = capabilities(None).unwrap();
        sets.inheritable |= CapabilitySet::NET_RAW;
        set_capabilities(None, sets).unwrap();
        configure_capability_in_ambient_set(CapabilitySet::NET_RAW, true).unwrap();
        let has_none = "! grep -qE 'Cap(Inh|Amb):.*[1-9a-f]' /proc/self/status";
        let check = ["/bin/sh", "-c", has_none];
        assert_eq!(run(&check, Duration::from_secs(10)), Ok(()));
        let own = own_command(&check.map(str::to_owned)).unwrap().status().unwrap();
        assert!(!own.success(), "nftables needs them");
    }

    /// What was observed: scripts could be ended by force alone, and what they started as well.
    #[test]
    fn a_script_can_be_ended_although_the_keeper_outlives_that() {
        sys_unsafe::outlive_signals().unwrap();
        for signal in ["INT", "HUP", "QUIT"] {
            let ends = format!("kill -{signal} $$; exit 7");
            let told = run(&["/bin/sh", "-c", &ends], Duration::from_secs(10)).unwrap_err();
            assert!(told.contains("signal"), "{signal}: {told}");
            let itself = rustix::process::getpid();
            rustix::process::kill_process(itself, Signal::TERM).unwrap();
        }
    }

    #[test]
    fn a_script_that_somebody_ends_has_not_failed_and_runs_again() {
        let file = std::env::temp_dir().join(format!("highgate-ended-{}", std::process::id()));
        let path = file.display();
        let first = format!("[ -e {path} ] && exit 0; touch {path}; kill -TERM $$; exit 7");
        assert_eq!(run(&["/bin/sh", "-c", &first], Duration::from_secs(10)), Ok(()));
        std::fs::remove_file(file).unwrap();
    }

    /// What was observed: the thread waited for a killed script that waited for a dead file server.
    #[test]
    fn nobody_waits_for_a_script_that_was_killed() {
        let mut children = Children::default();
        let long = settings(&["/bin/sleep", "60"], Duration::from_secs(90));
        children.set_scripts(&BTreeMap::from([("s".to_owned(), long)]), Instant::now());
        assert_eq!(children.attend(Instant::now()), []);
        children.set_scripts(&BTreeMap::new(), Instant::now());
        assert_eq!((children.dying.len(), children.ends().count()), (1, 1));
        let by = Instant::now() + Duration::from_secs(10);
        while !children.dying.is_empty() {
            let ends: Vec<_> = children.ends().collect();
            let mut ends: Vec<_> = ends
                .into_iter()
                .map(|end| {
                    rustix::event::PollFd::from_borrowed_fd(end, rustix::event::PollFlags::IN)
                })
                .collect();
            let wait = rustix::event::Timespec { tv_sec: 1, tv_nsec: 0 };
            rustix::event::poll(&mut ends, Some(&wait)).unwrap();
            drop(ends);
            children.attend(Instant::now());
            assert!(Instant::now() < by, "it is not gone");
        }
    }

    /// What was observed: rules that were never done kept addresses closed, or a plan waiting.
    #[test]
    fn a_change_of_rules_that_takes_too_long_is_ended_and_told() {
        let (mut children, start) = (Children::default(), Instant::now());
        let hangs = ["/bin/sleep", "60"].map(str::to_owned);
        children.filter(hangs.to_vec(), start).unwrap();
        assert_eq!(children.next_deadline(), Some(start + FILTER));
        let (mut now, by) = (start, Instant::now() + Duration::from_secs(10));
        let told = loop {
            if let Some(told) = children.filtered(now) {
                break told;
            }
            now = children.next_deadline().unwrap();
            assert!(Instant::now() < by, "it does not end");
        };
        assert!(told.unwrap_err().contains("too long"));
        assert!(now >= start + FILTER);
    }
}
