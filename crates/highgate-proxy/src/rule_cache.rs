//! What the rules said about digests seen lately, per worker.
//!
//! Texts with literals rarely repeat, digests do. A hash alone decides nothing: the digest text is
//! compared as a whole, since anybody can make two texts with one hash.

use std::{net::IpAddr, rc::Rc, sync::Arc};

use foldhash::HashMap;
use highgate_config::ListenerName;
use highgate_core::rules::{Cacheability, RuleContext, RuleOutcome, RuleSet};

/// Decisions kept; when there are more the cache starts over.
const ENTRIES: usize = 8192;

/// All of a session that rules look at besides the text.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Circumstances {
    pub(crate) user: Box<str>,
    pub(crate) schema: Box<str>,
    pub(crate) client: Option<IpAddr>,
    pub(crate) listener: ListenerName,
}

/// What a command's text is to rules.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Text<'a> {
    pub(crate) digest: u64,
    pub(crate) digest_text: &'a [u8],
    pub(crate) text: &'a [u8],
}

#[derive(Debug)]
struct Entry {
    digest_text: Box<[u8]>,
    outcome: Rc<RuleOutcome>,
}

/// The cache of one worker, for one set of rules.
#[derive(Debug)]
pub(crate) struct RuleCache {
    rules: Arc<RuleSet>,
    numbers: HashMap<Circumstances, u32>,
    entries: HashMap<(u64, u32), Entry>,
    nothing: Rc<RuleOutcome>,
    /// Grows when the numbers of circumstances start over.
    epoch: u64,
}

/// The number of a session's circumstances, as long as nothing changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Number {
    epoch: u64,
    number: u32,
}

impl RuleCache {
    pub(crate) fn new(rules: Arc<RuleSet>) -> Self {
        Self {
            rules,
            numbers: HashMap::default(),
            entries: HashMap::default(),
            nothing: Rc::default(),
            epoch: 0,
        }
    }

    /// Takes over another set of rules.
    pub(crate) fn refresh(&mut self, rules: &Arc<RuleSet>) {
        if !Arc::ptr_eq(&self.rules, rules) {
            self.rules = rules.clone();
            self.start_over();
        }
    }

    fn start_over(&mut self) {
        self.entries.clear();
        self.numbers.clear();
        self.epoch += 1;
    }

    /// Whether there is any rule.
    pub(crate) fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// What is said where there is no rule.
    pub(crate) fn nothing(&self) -> Rc<RuleOutcome> {
        self.nothing.clone()
    }

    /// The number for those circumstances; `old` is used again while it holds.
    pub(crate) fn number(
        &mut self,
        old: Option<Number>,
        make: impl FnOnce() -> Circumstances,
    ) -> Number {
        if let Some(old) = old.filter(|old| old.epoch == self.epoch) {
            return old;
        }
        if self.numbers.len() >= ENTRIES {
            self.start_over();
        }
        let next = u32::try_from(self.numbers.len()).unwrap_or(u32::MAX);
        let number = *self.numbers.entry(make()).or_insert(next);
        Number { epoch: self.epoch, number }
    }

    /// What the rules say; counts the hits.
    pub(crate) fn evaluate(
        &mut self,
        number: Number,
        text: Text<'_>,
        circumstances: impl FnOnce() -> Circumstances,
    ) -> Rc<RuleOutcome> {
        let key = (text.digest, number.number);
        if let Some(entry) = self.entries.get(&key)
            && *entry.digest_text == *text.digest_text
        {
            self.rules.count(&entry.outcome);
            return entry.outcome.clone();
        }
        let around = circumstances();
        let outcome = Rc::new(self.rules.evaluate(&RuleContext {
            user: &around.user,
            schema: &around.schema,
            client_addr: around.client,
            listener: &around.listener,
            digest: text.digest,
            digest_text: text.digest_text,
            text: text.text,
            flag: 0,
        }));
        self.rules.count(&outcome);
        if outcome.cacheability == Cacheability::Digest {
            if self.entries.len() >= ENTRIES {
                self.entries.clear();
            }
            let entry = Entry { digest_text: text.digest_text.into(), outcome: outcome.clone() };
            self.entries.insert(key, entry);
        }
        outcome
    }
}
