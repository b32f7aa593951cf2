//! Which of the tracked processes run, by looking at /proc.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    time::{Duration, Instant},
};

use super::messages::ProcessRule;

/// What was last seen of each rule, and since when it has been different.
#[derive(Debug, Default)]
pub(crate) struct Processes {
    seen: BTreeMap<String, Seen>,
    /// Those that met a rule at the last look.
    matched: BTreeSet<u32>,
    /// When a delay ends that is running.
    again_at: Option<Instant>,
}

#[derive(Debug)]
struct Seen {
    counts_as: bool,
    differs_since: Option<Instant>,
}

impl Processes {
    /// Looks, and says what each rule counts as.
    pub(crate) fn look(
        &mut self,
        rules: &BTreeMap<String, ProcessRule>,
        now: Instant,
    ) -> Vec<(String, bool)> {
        if rules.is_empty() {
            return Vec::new();
        }
        self.seen.retain(|name, _| rules.contains_key(name));
        let running = running();
        let is_one = |process: &&Process| rules.values().any(|rule| rule.is(process));
        self.matched = running.iter().filter(is_one).map(|process| process.pid).collect();
        self.again_at = None;
        rules
            .iter()
            .map(|(name, rule)| {
                let count = running.iter().filter(|process| rule.is(process)).count();
                let holds = rule.holds(count);
                (name.clone(), self.judge(name, rule, holds, now))
            })
            .collect()
    }

    fn judge(&mut self, name: &str, rule: &ProcessRule, holds: bool, now: Instant) -> bool {
        let seen = self
            .seen
            .entry(name.to_owned())
            .or_insert(Seen { counts_as: holds, differs_since: None });
        if seen.counts_as == holds {
            seen.differs_since = None;
            return holds;
        }
        let since = *seen.differs_since.get_or_insert(now);
        let delay: Duration = if holds { rule.fork_delay } else { rule.end_delay };
        if now.saturating_duration_since(since) >= delay {
            *seen = Seen { counts_as: holds, differs_since: None };
        } else {
            let at = since + delay;
            self.again_at = Some(self.again_at.map_or(at, |other| other.min(at)));
        }
        seen.counts_as
    }

    /// When to look again although nothing happens: a delay ends.
    pub(crate) const fn next_deadline(&self) -> Option<Instant> {
        self.again_at
    }

    /// Whether a process met a rule at the last look, or, where it may have changed since, does now.
    pub(crate) fn is_tracked(
        &self,
        rules: &BTreeMap<String, ProcessRule>,
        pid: u32,
        may_be_new: bool,
    ) -> bool {
        let does_now = || {
            let process = process(pid, &Path::new("/proc").join(pid.to_string()));
            process.is_some_and(|process| rules.values().any(|rule| rule.is(&process)))
        };
        self.matched.contains(&pid) || may_be_new && does_now()
    }
}

impl ProcessRule {
    fn is(&self, process: &Process) -> bool {
        if self.whole_command {
            return process.words == self.command;
        }
        let Some(wanted) = self.command.first() else { return false };
        // A name with a path is a program; one without is compared with the last part of it, and
        // with the name that the process gave itself.
        let program = process.words.first().map(String::as_str).unwrap_or_default();
        let base = program.rsplit('/').next().unwrap_or_default();
        program == wanted || base == wanted || process.name == *wanted
    }

    fn holds(&self, count: usize) -> bool {
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        count >= self.quorum.max(1) && self.quorum_max.is_none_or(|most| count <= most)
    }
}

#[derive(Debug)]
struct Process {
    pid: u32,
    name: String,
    words: Vec<String>,
}

/// All processes but kernel threads.
fn running() -> Vec<Process> {
    let Ok(folder) = fs::read_dir("/proc") else { return Vec::new() };
    let entries = folder.filter_map(Result::ok);
    entries
        .filter_map(|entry| {
            let pid = entry.file_name().to_str()?.parse().ok()?;
            process(pid, &entry.path())
        })
        .collect()
}

/// A process by its folder; none where it is gone, or a kernel thread.
fn process(pid: u32, path: &Path) -> Option<Process> {
    let line = fs::read(path.join("cmdline")).ok().filter(|line| !line.is_empty())?;
    let words = line
        .split(|byte| *byte == 0)
        .filter(|word| !word.is_empty())
        .map(|word| String::from_utf8_lossy(word).into_owned())
        .collect();
    let name = fs::read_to_string(path.join("comm")).unwrap_or_default();
    Some(Process { pid, name: name.trim_end().to_owned(), words })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(words: &[&str]) -> ProcessRule {
        ProcessRule {
            command: words.iter().map(|word| (*word).to_owned()).collect(),
            whole_command: words.len() > 1,
            quorum: 1,
            quorum_max: None,
            fork_delay: Duration::ZERO,
            end_delay: Duration::from_secs(2),
        }
    }

    #[test]
    fn a_process_is_found_by_its_name_its_path_or_all_its_words() {
        let process = Process {
            pid: 1,
            name: "mariadbd".to_owned(),
            words: vec!["/usr/sbin/mariadbd".to_owned(), "--port=1".to_owned()],
        };
        assert!(rule(&["mariadbd"]).is(&process));
        assert!(rule(&["/usr/sbin/mariadbd"]).is(&process));
        assert!(rule(&["/usr/sbin/mariadbd", "--port=1"]).is(&process));
        assert!(!rule(&["/usr/sbin/mariadbd", "--port=2"]).is(&process));
        assert!(!rule(&["maria"]).is(&process));
    }

    #[test]
    fn an_end_counts_only_after_its_delay() {
        let (mut processes, rule, start) = (Processes::default(), rule(&["x"]), Instant::now());
        let mut at = |holds, seconds| {
            processes.judge("x", &rule, holds, start + Duration::from_secs(seconds))
        };
        assert!(at(true, 0));
        assert!(at(false, 1), "not yet");
        assert!(at(true, 2), "it came back");
        assert!(at(false, 3));
        assert!(!at(false, 5));
        assert!(at(true, 6), "a start counts at once");
    }
}
