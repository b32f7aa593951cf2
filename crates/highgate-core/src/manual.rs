//! The manual's part about tables, written from the declarations: what the words in them mean.

use std::fmt::Write as _;

use crate::{
    events::{Kind, Severity},
    pins::PinCause,
    snapshot::Status,
};

/// What statuses, kinds of events and pin causes mean, and what to do, in Markdown.
#[must_use]
pub fn words() -> String {
    let mut page = String::from(INTRODUCTION);
    section(&mut page, STATUSES, Status::ALL.iter().map(|it| (it.as_str(), it.meaning())));
    section(&mut page, EVENTS, Kind::ALL.iter().map(|it| (it.as_str(), it.meaning())));
    page.push_str("\nAn event is one of:\n\n");
    for severity in Severity::ALL {
        let _ = writeln!(page, "- `{severity}`: {}", severity.meaning());
    }
    let pins = PinCause::ALL.iter().map(|it| it.facts());
    section(&mut page, PINS, pins.map(|facts| (facts.name, facts.sentence)));
    page
}

const INTRODUCTION: &str = "# What the words in tables mean
";

const STATUSES: &str = "Statuses of servers

Column `status` of the table `servers` (`highgate ctl status`, `highgate top`, the page). Column `reason`
says why in each case.";

const EVENTS: &str = "Kinds of events

Column `kind` of the table `events` (`highgate ctl events`). The table holds the latest 10,000 events of this
process and begins anew with the next one. The log, on standard error, has them all.";

const PINS: &str = "Why a session keeps its server connection

Column `pinned_by` of the table `sessions`. Such a session holds one server connection until what is said
here has ended.";

fn section(
    page: &mut String,
    head: &str,
    words: impl Iterator<Item = (&'static str, &'static str)>,
) {
    let _ = write!(page, "\n## {head}\n\n| word | what it means, and what to do |\n|---|---|\n");
    for (word, meaning) in words {
        let _ = writeln!(page, "| `{word}` | {} |", meaning.replace('|', "\\|"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_is_explained_in_a_sentence_of_its_own() {
        let page = words();
        let statuses = Status::ALL.iter().map(|it| (it.as_str(), it.meaning()));
        let kinds = Kind::ALL.iter().map(|it| (it.as_str(), it.meaning()));
        for (word, meaning) in statuses.chain(kinds) {
            assert!(meaning.ends_with('.') && meaning.len() > 8, "{word}: {meaning}");
            assert!(page.contains(&format!("| `{word}` | {meaning} |\n")), "{word}");
        }
        assert_eq!(
            page.matches("\n| `").count(),
            Status::ALL.len() + Kind::ALL.len() + PinCause::ALL.len()
        );
    }
}
