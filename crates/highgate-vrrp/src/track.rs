//! What a router or a group watches beside its peers, and what that does to its rank.
//!
//! Results come from outside: a driver runs scripts, reads files and listens to the kernel. Here they
//! are counted (rise, fall) and weighed. Without a weight a failure ends participation.

use std::{collections::BTreeMap, time::Duration};

use serde::{Deserialize, Serialize};

/// What is watched.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Subject {
    /// A file that holds a number.
    File(String),
    /// The link of an interface.
    Interface(String),
    /// Processes of a name.
    Process(String),
    /// A script by its name.
    Script(String),
}

/// A subject and how much it matters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tracked {
    /// What is watched.
    pub subject: Subject,
    /// What is added to the priority: when good if positive, when bad if negative, the number times
    /// this for a file. 0: bad, or a number other than 0, ends participation.
    pub weight: i32,
    /// Good counts as bad and the other way round; a file's number changes its sign.
    pub reverse: bool,
}

/// A script and how often it is asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScriptSettings {
    /// Program and arguments; no shell in between.
    pub command: Vec<String>,
    /// Time between two runs.
    pub interval: Duration,
    /// How long a run may take before it is ended and counts as failed.
    pub timeout: Duration,
    /// Successes in a row after which it counts as good; at least 1.
    pub rise: u32,
    /// Failures in a row after which it counts as bad; at least 1.
    pub fall: u32,
    /// Whether it counts as bad until `rise` successes; else the first result counts at once.
    pub starts_failed: bool,
    /// The user it runs as.
    pub user: Option<String>,
    /// The group it runs as.
    pub group: Option<String>,
}

/// Counts the results of one script.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Script {
    rise: u32,
    fall: u32,
    /// 0 to rise + fall - 1; good from `rise` on. `None` before the first result.
    count: Option<u32>,
}

impl Script {
    /// A script of which nothing is known, or that counts as failed.
    #[must_use]
    pub fn new(settings: &ScriptSettings) -> Self {
        Self {
            rise: settings.rise.max(1),
            fall: settings.fall.max(1),
            count: settings.starts_failed.then_some(0),
        }
    }

    /// Other settings. What it counted as it counts as until its runs say otherwise: a reload that
    /// changes a script must not change the rank.
    pub fn adopt(&mut self, settings: &ScriptSettings) {
        let was_good = self.is_good();
        *self = Self::new(settings);
        if let Some(is_good) = was_good {
            self.count = Some(if is_good { self.rise + self.fall - 1 } else { 0 });
        }
    }

    /// Whether it is good; `None` before the first result.
    #[must_use]
    pub fn is_good(&self) -> Option<bool> {
        self.count.map(|count| count >= self.rise)
    }

    /// Takes one result, and says whether that changed what it counts as.
    pub fn take(&mut self, success: bool) -> bool {
        let before = self.is_good();
        let top = self.rise + self.fall - 1;
        self.count = Some(match (self.count, success) {
            (None, true) => top,
            (None, false) => 0,
            // A result against the trend starts its own count: rise and fall are in a row.
            (Some(count), true) if count >= self.rise => top,
            (Some(count), true) if count + 1 >= self.rise => top,
            (Some(count), true) => count + 1,
            (Some(count), false) if count < self.rise => 0,
            (Some(count), false) if count == self.rise => 0,
            (Some(count), false) => count - 1,
        });
        before != self.is_good()
    }
}

/// What was last seen of a subject.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reading {
    /// It fails, is down, or is not there.
    Bad,
    /// It works.
    Good,
    /// The number in a file.
    Number(i64),
}

/// What all that a router tracks amounts to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sum {
    /// What is added to the priority.
    pub weight: i32,
    /// What ends participation, as a sentence; the first in the order of the configuration.
    pub fault: Option<String>,
    /// Whether something without a weight has not been heard of yet.
    pub is_pending: bool,
}

/// What a file's number times its weight may be; below it the file says that the router can't take
/// part, as Keepalived has it.
const LOWEST: i64 = -253;

/// Adds up what is tracked.
#[must_use]
pub fn sum(tracked: &[Tracked], readings: &BTreeMap<Subject, Reading>) -> Sum {
    let mut sum = Sum::default();
    for entry in tracked {
        let Some(reading) = readings.get(&entry.subject) else {
            sum.is_pending |= entry.weight == 0;
            continue;
        };
        let (weight, is_fault) = entry.weigh(*reading);
        sum.weight = sum.weight.saturating_add(weight);
        if is_fault && sum.fault.is_none() {
            sum.fault = Some(entry.complaint(*reading));
        }
    }
    sum
}

impl Tracked {
    /// What one reading adds, and whether it ends participation.
    fn weigh(&self, reading: Reading) -> (i32, bool) {
        let is_good = match reading {
            Reading::Bad => self.reverse,
            Reading::Good => !self.reverse,
            Reading::Number(number) if self.weight == 0 => return (0, number != 0),
            Reading::Number(number) => {
                let signed = if self.reverse { number.saturating_neg() } else { number };
                let product = signed.saturating_mul(i64::from(self.weight));
                if product < LOWEST {
                    return (0, true);
                }
                // Beyond what any priority can be changed by, more makes no difference.
                return (i32::try_from(product.min(1_000)).unwrap_or(0), false);
            }
        };
        match (self.weight, is_good) {
            (0, _) => (0, !is_good),
            (1.., true) | (..=-1, false) => (self.weight, false),
            (1.., false) | (..=-1, true) => (0, false),
        }
    }

    fn complaint(&self, reading: Reading) -> String {
        let what = match &self.subject {
            Subject::File(name) => format!("tracked file {name}"),
            Subject::Interface(name) => format!("tracked interface {name}"),
            Subject::Process(name) => format!("tracked process {name}"),
            Subject::Script(name) => format!("script {name}"),
        };
        match (reading, &self.subject) {
            (Reading::Number(number), _) => format!("{what} says {number}"),
            (Reading::Good, _) => format!("{what} is good, and is tracked in reverse"),
            (Reading::Bad, Subject::Interface(_)) => format!("{what} is down"),
            (Reading::Bad, Subject::Process(_)) => format!("{what} does not run"),
            (Reading::Bad, _) => format!("{what} failed"),
        }
    }
}

impl Script {
    /// What it counts as, for [`sum`]; `None` before the first result.
    #[must_use]
    pub fn reading(&self) -> Option<Reading> {
        self.is_good().map(|is_good| if is_good { Reading::Good } else { Reading::Bad })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn script(rise: u32, fall: u32, starts_failed: bool) -> Script {
        Script::new(&ScriptSettings {
            command: vec!["/bin/true".to_owned()],
            interval: Duration::from_secs(1),
            timeout: Duration::from_secs(1),
            rise,
            fall,
            starts_failed,
            user: None,
            group: None,
        })
    }

    fn run(script: &mut Script, results: &[u8]) -> Vec<Option<bool>> {
        let mut seen = Vec::new();
        for result in results {
            script.take(*result == 1);
            seen.push(script.is_good());
        }
        seen
    }

    #[test]
    fn the_first_result_counts_at_once_whatever_rise_and_fall() {
        assert_eq!(run(&mut script(3, 3, false), &[1]), [Some(true)]);
        assert_eq!(run(&mut script(3, 3, false), &[0]), [Some(false)]);
    }

    #[test]
    fn one_that_starts_failed_needs_its_rise() {
        let mut script = script(2, 2, true);
        assert_eq!(script.is_good(), Some(false));
        assert_eq!(run(&mut script, &[1, 1]), [Some(false), Some(true)]);
    }

    #[test]
    fn rise_and_fall_are_counted_in_a_row() {
        let mut script = script(2, 3, false);
        let seen = run(&mut script, &[1, 0, 0, 1, 0, 0, 0, 1, 0, 1, 1]);
        let good: Vec<_> = seen.into_iter().map(|good| u8::from(good == Some(true))).collect();
        assert_eq!(good, [1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 1]);
    }

    #[test]
    fn only_a_change_is_reported() {
        let mut script = script(1, 2, false);
        let changed: Vec<_> =
            [true, true, false, false, false, true].map(|result| script.take(result)).into();
        assert_eq!(changed, [true, false, false, true, false, true]);
    }

    fn tracked(weight: i32, reverse: bool) -> Tracked {
        Tracked { subject: Subject::Script("chk".to_owned()), weight, reverse }
    }

    fn of(entry: &Tracked, reading: Reading) -> (i32, bool) {
        let sum = sum(std::slice::from_ref(entry), &[(entry.subject.clone(), reading)].into());
        (sum.weight, sum.fault.is_some())
    }

    #[test]
    fn a_positive_weight_is_added_for_success_and_a_negative_one_for_failure() {
        for (weight, reverse, good, bad) in [
            (0, false, (0, false), (0, true)),
            (20, false, (20, false), (0, false)),
            (-20, false, (0, false), (-20, false)),
            (0, true, (0, true), (0, false)),
            (20, true, (0, false), (20, false)),
            (-20, true, (-20, false), (0, false)),
        ] {
            let entry = tracked(weight, reverse);
            assert_eq!(of(&entry, Reading::Good), good, "{weight} {reverse} good");
            assert_eq!(of(&entry, Reading::Bad), bad, "{weight} {reverse} bad");
        }
    }

    #[test]
    fn a_files_number_is_multiplied_and_without_a_weight_only_zero_is_good() {
        for (weight, reverse, number, outcome) in [
            (1, false, -30, (-30, false)),
            (2, false, 10, (20, false)),
            (2, true, 10, (-20, false)),
            (1, false, -253, (-253, false)),
            (1, false, -254, (0, true)),
            (2, false, -127, (0, true)),
            (2, true, 127, (0, true)),
            (1, false, i64::MIN, (0, true)),
            (0, false, 0, (0, false)),
            (0, false, 1, (0, true)),
            (253, false, i64::MAX, (1_000, false)),
            (253, true, i64::MIN, (1_000, false)),
        ] {
            let entry = tracked(weight, reverse);
            assert_eq!(of(&entry, Reading::Number(number)), outcome, "{weight} times {number}");
        }
    }

    #[test]
    fn weights_add_up_and_the_first_failure_is_named() {
        let names = ["a", "b", "c"].map(|name| Subject::Script(name.to_owned()));
        let weights = [0, -10, 0];
        let entries: Vec<_> = names
            .iter()
            .zip(weights)
            .map(|(subject, weight)| Tracked { subject: subject.clone(), weight, reverse: false })
            .collect();
        let readings = names.into_iter().map(|name| (name, Reading::Bad)).collect();
        let sum = sum(&entries, &readings);
        assert_eq!((sum.weight, sum.fault.as_deref()), (-10, Some("script a failed")));
    }

    #[test]
    fn only_what_has_no_weight_is_waited_for() {
        let none = BTreeMap::new();
        assert!(sum(&[tracked(0, false)], &none).is_pending);
        assert!(!sum(&[tracked(-30, false)], &none).is_pending);
    }
}
