//! Which vips operators took out: single ones, or all of a node but for those that were let back in.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The words of operators, as far as they still count.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drains {
    all: Option<String>,
    /// What was said of one vip after the last word about all.
    each: BTreeMap<String, Option<String>>,
}

impl Drains {
    /// A vip is taken out, or all without a name; without a reason it is let back in.
    pub fn say(&mut self, vip: Option<&str>, why: Option<&str>) {
        let why = why.map(str::to_owned);
        match vip {
            Some(vip) => drop(self.each.insert(vip.to_owned(), why)),
            None => {
                self.each.clear();
                self.all = why;
            }
        }
    }

    /// Why a vip is out; `None` if it is not.
    #[must_use]
    pub fn why(&self, vip: &str) -> Option<&str> {
        self.each.get(vip).unwrap_or(&self.all).as_deref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_that_was_let_back_in_after_all_were_taken_out_is_in() {
        let mut drains = Drains::default();
        drains.say(Some("a"), Some("old"));
        drains.say(None, Some("night"));
        drains.say(Some("b"), None);
        let why = |drains: &Drains| ["a", "b", "c"].map(|it| drains.why(it).map(str::to_owned));
        let night = Some("night".to_owned());
        assert_eq!(why(&drains), [night.clone(), None, night]);
        drains.say(None, None);
        assert_eq!(why(&drains), [None, None, None]);
    }
}
