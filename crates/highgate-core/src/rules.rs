//! Query rules, compiled.
//!
//! Rules are tried in the order of their ids, as ProxySQL does: every condition of a rule must hold, each
//! action that is set overwrites what earlier rules said, `flag_out` changes the flag for the rules
//! that follow, `apply` ends the evaluation. Conditions that cost nothing come first; patterns over
//! the digest text are tested all at once by an automaton before any is tested alone. Hits outlive a
//! recompilation. Nothing here knows routing.

mod evaluate;
mod pattern;
#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use highgate_config::{BackendName, ListenerName, Rule, RuleRole};
use pattern::{Pattern, Patterns};

/// What a command is judged by.
#[derive(Debug, Clone, Copy)]
pub struct RuleContext<'a> {
    /// The account.
    pub user: &'a str,
    /// The current schema; empty if none.
    pub schema: &'a str,
    /// The client's address; `None` for a Unix socket.
    pub client_addr: Option<IpAddr>,
    /// The listener it came by.
    pub listener: &'a ListenerName,
    /// The digest.
    pub digest: u64,
    /// The digest's text.
    pub digest_text: &'a [u8],
    /// The text itself.
    pub text: &'a [u8],
    /// The flag to begin with.
    pub flag: u32,
}

/// What the rules say about a command.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RuleOutcome {
    /// Ids of the rules that matched, in order.
    pub matched: Vec<u32>,
    /// Where it goes.
    pub backend: Option<BackendName>,
    /// Which role takes it.
    pub role: Option<RuleRole>,
    /// The time it may take.
    pub timeout: Option<Duration>,
    /// It is answered with this error.
    pub error_msg: Option<Arc<str>>,
    /// It is answered with OK and this text.
    pub ok_msg: Option<Arc<str>>,
    /// Whether its connection may be shared afterwards.
    pub multiplex: Option<bool>,
    /// The text to be sent in its place. From then on that is what is judged: whoever takes it reads it
    /// anew.
    pub rewrite: Option<Vec<u8>>,
    /// Whether this holds for every text of that digest.
    pub cacheability: Cacheability,
}

impl RuleOutcome {
    /// The last rule that matched: the one named as the reason.
    #[must_use]
    pub fn last(&self) -> Option<u32> {
        self.matched.last().copied()
    }
}

/// For what an outcome may be remembered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Cacheability {
    /// Every text of the same digest text, in the same context.
    #[default]
    Digest,
    /// This text only: a `match_pattern` looked at it.
    Text,
}

/// A rule that was tried, for `explain`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tried {
    /// Its id.
    pub rule: u32,
    /// Whether it matched, or the first condition that did not hold.
    pub verdict: TriedVerdict,
}

/// Whether a rule matched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TriedVerdict {
    /// `client_addr` is another network.
    ClientAddr,
    /// Another digest.
    Digest,
    /// The flag has another value.
    Flag,
    /// Another listener.
    Listener,
    /// `match_digest` says no.
    MatchDigest,
    /// `match_pattern` says no.
    MatchPattern,
    /// All conditions hold.
    Matched,
    /// Another schema.
    Schema,
    /// Another user.
    User,
}

/// A rule whose pattern can't be compiled.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("rule {rule}: {column} {pattern:?} is not a regular expression: {why}")]
pub struct RuleError {
    /// The rule.
    pub rule: u32,
    /// The column.
    pub column: &'static str,
    /// What was written.
    pub pattern: String,
    /// What is wrong with it.
    pub why: String,
}

/// Rules, ready to be evaluated.
#[derive(Debug, Default)]
pub struct RuleSet {
    rules: Vec<Compiled>,
    /// Rules that ask for a digest, for a user, and for neither; each in order.
    by_digest: BTreeMap<u64, Vec<usize>>,
    by_user: BTreeMap<Box<str>, Vec<usize>>,
    general: Vec<usize>,
    digests: Patterns,
    texts: Patterns,
}

#[derive(Debug)]
struct Compiled {
    id: u32,
    rule: Rule,
    error_msg: Option<Arc<str>>,
    ok_msg: Option<Arc<str>>,
    match_digest: Option<usize>,
    match_pattern: Option<usize>,
    replace: Option<Vec<u8>>,
    hits: Arc<AtomicU64>,
}

impl RuleSet {
    /// Compiles the active rules; patterns and hits of `previous` are taken over.
    ///
    /// # Errors
    /// Every pattern that is not a regular expression.
    pub fn compile(
        rules: &BTreeMap<u32, Rule>,
        previous: Option<&Self>,
    ) -> Result<Self, Vec<RuleError>> {
        let mut set = Self::default();
        let mut errors = Vec::new();
        for (&id, rule) in rules.iter().filter(|(_, rule)| rule.active) {
            let mut pattern =
                |of: &Option<String>, column, known: fn(&Self) -> &Patterns, set: &mut Patterns| {
                    let text = of.as_deref().filter(|text| !text.is_empty())?;
                    let pattern =
                        Pattern { text: text.into(), case_sensitive: rule.case_sensitive };
                    let at = set.add(pattern, previous.map(known));
                    at.map_err(|why| {
                        errors.push(RuleError { rule: id, column, pattern: text.into(), why });
                    })
                    .ok()
                };
            let digest =
                pattern(&rule.match_digest, "match_digest", |p| &p.digests, &mut set.digests);
            let text = pattern(&rule.match_pattern, "match_pattern", |p| &p.texts, &mut set.texts);
            set.push(id, rule, digest, text, previous);
        }
        set.digests.seal(previous.map(|set| &set.digests));
        set.texts.seal(previous.map(|set| &set.texts));
        if errors.is_empty() { Ok(set) } else { Err(errors) }
    }

    fn push(
        &mut self,
        id: u32,
        rule: &Rule,
        match_digest: Option<usize>,
        match_pattern: Option<usize>,
        previous: Option<&Self>,
    ) {
        let at = self.rules.len();
        match (rule.digest, &rule.username) {
            (Some(digest), _) => self.by_digest.entry(digest).or_default().push(at),
            (None, Some(user)) => {
                self.by_user.entry(user.as_str().into()).or_default().push(at);
            }
            (None, None) => self.general.push(at),
        }
        let hits = previous.and_then(|set| set.find(id)).map(|old| Arc::clone(&old.hits));
        self.rules.push(Compiled {
            id,
            error_msg: rule.error_msg.as_deref().map(Into::into),
            ok_msg: rule.ok_msg.as_deref().map(Into::into),
            match_digest,
            match_pattern,
            replace: rule.replace_pattern.as_deref().map(pattern::replacement),
            hits: hits.unwrap_or_default(),
            rule: rule.clone(),
        });
    }

    /// Whether there is no rule.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// What the rules say; counts nothing (see [`Self::count`]).
    #[must_use]
    pub fn evaluate(&self, context: &RuleContext<'_>) -> RuleOutcome {
        self.run(context, |_, _| {})
    }

    /// The same, with every rule that was tried.
    #[must_use]
    pub fn explain(&self, context: &RuleContext<'_>) -> (RuleOutcome, Vec<Tried>) {
        let mut tried = Vec::new();
        let outcome = self.run_all(context, |rule, verdict| tried.push(Tried { rule, verdict }));
        (outcome, tried)
    }

    /// Counts one hit for every rule that matched.
    pub fn count(&self, outcome: &RuleOutcome) {
        for rule in outcome.matched.iter().filter_map(|id| self.find(*id)) {
            rule.hits.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Hits by rule id.
    pub fn hits(&self) -> impl Iterator<Item = (u32, u64)> + '_ {
        self.rules.iter().map(|rule| (rule.id, rule.hits.load(Ordering::Relaxed)))
    }

    fn find(&self, id: u32) -> Option<&Compiled> {
        let at = self.rules.binary_search_by_key(&id, |rule| rule.id).ok()?;
        self.rules.get(at)
    }
}
