//! Which forms of statements cost the most: a bounded table of the heaviest.
//!
//! A worker counts into its own [`Recent`], without a lock and, once a form is known, without an
//! allocation. What came together there goes to the node's [`Heaviest`] now and then. Both are bounded in
//! forms and in bytes; what found no room is counted together. Nothing is decided by these numbers, so two
//! texts with one digest may count as one.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use foldhash::HashMap;

/// Forms that one worker counts between two times that it tells them.
const RECENT: usize = 512;
/// Forms that a node keeps.
const KEPT: usize = 1000;
/// Forms without an answer whose texts a node keeps.
const UNANSWERED: usize = 256;
/// Of a form's text, this much is kept.
const TEXT: usize = 1024;

/// What the statements of one form have cost.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Cost {
    /// How many were answered.
    pub commands: u64,
    /// How many of them with an error.
    pub errors: u64,
    /// Until their answers began, summed, in microseconds.
    pub time_us: u64,
    /// The longest of those times, in microseconds.
    pub longest_us: u64,
    /// Bytes of their answers.
    pub bytes: u64,
}

impl Cost {
    /// The cost of one statement.
    #[must_use]
    pub fn one(time: Duration, bytes: u64, is_error: bool) -> Self {
        let time_us = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        Self { commands: 1, errors: is_error.into(), time_us, longest_us: time_us, bytes }
    }

    fn add(&mut self, more: Self) {
        self.commands = self.commands.saturating_add(more.commands);
        self.errors = self.errors.saturating_add(more.errors);
        self.time_us = self.time_us.saturating_add(more.time_us);
        self.longest_us = self.longest_us.max(more.longest_us);
        self.bytes = self.bytes.saturating_add(more.bytes);
    }
}

/// A form with its cost.
#[derive(Debug, Clone)]
pub struct Form {
    /// The text with its literals left out; a long one is cut.
    pub text: Arc<str>,
    /// What its statements have cost.
    pub cost: Cost,
    /// When it was counted last, in milliseconds of Unix time.
    pub last_seen_ms: u64,
}

/// What one worker counted since it last told.
#[derive(Debug, Default)]
pub struct Recent {
    forms: HashMap<u64, (Arc<str>, Cost)>,
    others: Cost,
}

impl Recent {
    /// A statement of that digest is to be carried out.
    pub fn seen(&mut self, digest: u64, text: &[u8]) {
        if !self.forms.contains_key(&digest) && self.forms.len() < RECENT {
            self.forms.insert(digest, (cut(text), Cost::default()));
        }
    }

    /// It was answered.
    pub fn answered(&mut self, digest: u64, cost: Cost) {
        match self.forms.get_mut(&digest) {
            Some((_, sum)) => sum.add(cost),
            None => self.others.add(cost),
        }
    }

    /// Tells all of it, and counts from zero. Forms that nobody asked for are forgotten where room
    /// becomes short.
    pub fn tell(&mut self, heaviest: &mut Heaviest, wall_ms: u64) {
        let has_room = self.forms.len() < RECENT / 2;
        self.forms.retain(|digest, (text, cost)| {
            let is_used = cost.commands > 0;
            if is_used {
                heaviest.add(*digest, text, std::mem::take(cost), wall_ms);
            } else {
                heaviest.meet(*digest, text);
            }
            is_used || has_room
        });
        heaviest.others.add(std::mem::take(&mut self.others));
        heaviest.shrink();
    }
}

/// The heaviest forms of a node, by the time that they have taken.
#[derive(Debug)]
pub struct Heaviest {
    forms: HashMap<u64, Form>,
    others: Cost,
    /// The newest last.
    unanswered: VecDeque<(u64, Arc<str>)>,
}

impl Default for Heaviest {
    /// With room for all that will ever be in it: workers, who add to it, do not allocate.
    fn default() -> Self {
        let forms = HashMap::with_capacity_and_hasher(KEPT + RECENT, <_>::default());
        let unanswered = VecDeque::with_capacity(UNANSWERED);
        Self { forms, others: Cost::default(), unanswered }
    }
}

impl Heaviest {
    /// The text of a form that is kept, or that came lately and has no answer yet.
    #[must_use]
    pub fn text(&self, digest: u64) -> Option<&str> {
        if let Some(form) = self.forms.get(&digest) {
            return Some(&form.text);
        }
        self.unanswered.iter().find(|(of, _)| *of == digest).map(|(_, text)| &**text)
    }

    /// A form without an answer, as yet: whoever asks what runs so long needs its text.
    fn meet(&mut self, digest: u64, text: &Arc<str>) {
        if self.text(digest).is_some() {
            return;
        }
        if self.unanswered.len() == UNANSWERED {
            self.unanswered.pop_front();
        }
        self.unanswered.push_back((digest, text.clone()));
    }

    /// All forms that are kept with their digests, the heaviest first.
    #[must_use]
    pub fn forms(&self) -> Vec<(u64, Form)> {
        let mut forms: Vec<_> =
            self.forms.iter().map(|(digest, form)| (*digest, form.clone())).collect();
        forms.sort_by_key(|(digest, form)| (std::cmp::Reverse(form.cost.time_us), *digest));
        forms
    }

    /// What all those have cost that are not kept.
    #[must_use]
    pub const fn others(&self) -> Cost {
        self.others
    }

    fn add(&mut self, digest: u64, text: &Arc<str>, cost: Cost, wall_ms: u64) {
        let form = self.forms.entry(digest).or_insert_with(|| Form {
            text: text.clone(),
            cost: Cost::default(),
            last_seen_ms: wall_ms,
        });
        form.cost.add(cost);
        form.last_seen_ms = wall_ms;
    }

    /// Lets the lightest go while there are too many.
    fn shrink(&mut self) {
        let Some(spare @ 1..) = self.forms.len().checked_sub(KEPT) else { return };
        let mut order: Vec<(u64, u64)> =
            self.forms.iter().map(|(digest, form)| (form.cost.time_us, *digest)).collect();
        order.sort_unstable();
        for (_, digest) in order.into_iter().take(spare) {
            if let Some(form) = self.forms.remove(&digest) {
                self.others.add(form.cost);
            }
        }
    }
}

fn cut(text: &[u8]) -> Arc<str> {
    let kept = text.get(..TEXT).unwrap_or(text);
    String::from_utf8_lossy(kept).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn micros(us: u64) -> Cost {
        Cost::one(Duration::from_micros(us), 10, false)
    }

    #[test]
    fn what_workers_count_comes_together_the_heaviest_first() {
        let (mut one, mut other, mut node) =
            (Recent::default(), Recent::default(), Heaviest::default());
        for recent in [&mut one, &mut other] {
            for _ in 0..2 {
                recent.seen(1, b"SELECT ?");
                recent.answered(1, micros(100));
            }
            recent.seen(2, b"UPDATE t SET a = ?");
            recent.answered(2, Cost::one(Duration::from_millis(5), 7, true));
            recent.tell(&mut node, 42);
        }
        let forms = node.forms();
        let told: Vec<_> = forms.iter().map(|(digest, form)| (*digest, &*form.text)).collect();
        assert_eq!(told, [(2, "UPDATE t SET a = ?"), (1, "SELECT ?")]);
        let select = Cost { commands: 4, errors: 0, time_us: 400, longest_us: 100, bytes: 40 };
        assert_eq!((forms[1].1.cost, forms[1].1.last_seen_ms), (select, 42));
        assert_eq!((forms[0].1.cost.errors, forms[0].1.cost.bytes), (2, 14));
        one.tell(&mut node, 43);
        assert_eq!(node.forms()[1].1.cost, select, "nothing is counted twice");
    }

    #[test]
    fn the_text_of_what_runs_for_the_first_time_is_known_and_it_is_counted_with_its_answer() {
        let (mut recent, mut node) = (Recent::default(), Heaviest::default());
        recent.seen(1, b"SELECT SLEEP(?)");
        recent.tell(&mut node, 41);
        assert_eq!(node.text(1), Some("SELECT SLEEP(?)"));
        assert!(node.forms().is_empty());
        recent.answered(1, micros(5));
        recent.tell(&mut node, 42);
        assert_eq!((node.text(1), node.forms().len()), (Some("SELECT SLEEP(?)"), 1));
        for digest in 10..10_000 {
            recent.seen(digest, b"SELECT ?");
            recent.tell(&mut node, 43);
        }
        assert_eq!((node.text(9_999), node.unanswered.len()), (Some("SELECT ?"), UNANSWERED));
    }

    #[test]
    fn however_many_forms_there_are_room_is_bounded_the_heavy_stay_and_none_is_uncounted() {
        let (mut recent, mut node) = (Recent::default(), Heaviest::default());
        let long = "x".repeat(100_000);
        let mut commands = 0;
        for round in 0..40 {
            recent.seen(7, b"heavy");
            recent.answered(7, micros(10_000));
            for number in 0..1_000 {
                let digest = 1_000_000 + round * 1_000 + number;
                recent.seen(digest, long.as_bytes());
                recent.answered(digest, micros(3));
            }
            commands += 1_001;
            recent.tell(&mut node, round);
        }
        let forms = node.forms();
        assert_eq!(forms.len(), KEPT);
        assert_eq!(forms[0].1.cost.time_us, 400_000);
        assert!(forms.iter().all(|(_, form)| form.text.len() <= TEXT));
        let kept: u64 = forms.iter().map(|(_, form)| form.cost.commands).sum();
        assert_eq!(kept + node.others().commands, commands);
    }
}
