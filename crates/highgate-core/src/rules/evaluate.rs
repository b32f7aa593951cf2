//! One evaluation of the rules.

use super::{
    Cacheability, Compiled, RuleContext, RuleOutcome, RuleSet, TriedVerdict, pattern::Seen,
};

/// What is known while rules are tried.
struct Run<'c> {
    flag: u32,
    digest_seen: Seen,
    text_seen: Seen,
    context: &'c RuleContext<'c>,
    outcome: RuleOutcome,
}

impl RuleSet {
    /// Tries the rules that the index leaves.
    pub(super) fn run(
        &self,
        context: &RuleContext<'_>,
        mut tried: impl FnMut(u32, TriedVerdict),
    ) -> RuleOutcome {
        let empty: &[usize] = &[];
        let mut lists = [
            self.general.as_slice(),
            self.by_digest.get(&context.digest).map_or(empty, Vec::as_slice),
            self.by_user.get(context.user).map_or(empty, Vec::as_slice),
        ];
        let mut run = Run::new(context);
        // The three lists are merged: rules are tried in the order of their ids.
        while let Some(list) = lists
            .iter_mut()
            .filter(|list| !list.is_empty())
            .min_by_key(|list| list.first().copied())
        {
            let Some((at, rest)) = list.split_first() else {
                break;
            };
            *list = rest;
            let Some(rule) = self.rules.get(*at) else {
                break;
            };
            let verdict = run.step(self, rule);
            tried(rule.id, verdict);
            if verdict == TriedVerdict::Matched && rule.rule.apply {
                break;
            }
        }
        run.outcome
    }

    /// Tries every rule, so that `explain` can say why each was passed over.
    pub(super) fn run_all(
        &self,
        context: &RuleContext<'_>,
        mut tried: impl FnMut(u32, TriedVerdict),
    ) -> RuleOutcome {
        let mut run = Run::new(context);
        for rule in &self.rules {
            let verdict = run.step(self, rule);
            tried(rule.id, verdict);
            if verdict == TriedVerdict::Matched && rule.rule.apply {
                break;
            }
        }
        run.outcome
    }
}

impl<'c> Run<'c> {
    fn new(context: &'c RuleContext<'c>) -> Self {
        Self {
            flag: context.flag,
            digest_seen: Seen::default(),
            text_seen: Seen::default(),
            context,
            outcome: RuleOutcome::default(),
        }
    }

    fn step(&mut self, set: &RuleSet, rule: &Compiled) -> TriedVerdict {
        let verdict = self.judge(set, rule);
        if verdict == TriedVerdict::Matched {
            self.act(set, rule);
        }
        verdict
    }

    fn judge(&mut self, set: &RuleSet, rule: &Compiled) -> TriedVerdict {
        let (is, context) = (&rule.rule, self.context);
        if is.flag_in != self.flag {
            return TriedVerdict::Flag;
        }
        if is.username.as_ref().is_some_and(|user| user.as_str() != context.user) {
            return TriedVerdict::User;
        }
        if is.schemaname.as_ref().is_some_and(|schema| schema != context.schema) {
            return TriedVerdict::Schema;
        }
        if is.digest.is_some_and(|digest| digest != context.digest) {
            return TriedVerdict::Digest;
        }
        if is.listener.as_ref().is_some_and(|listener| listener != context.listener) {
            return TriedVerdict::Listener;
        }
        let inside = |net: &ipnet::IpNet| context.client_addr.is_some_and(|ip| net.contains(&ip));
        if is.client_addr.as_ref().is_some_and(|net| !inside(net)) {
            return TriedVerdict::ClientAddr;
        }
        let negate = is.negate_match_pattern;
        if let Some(at) = rule.match_digest
            && set.digests.is_match(at, context.digest_text, &mut self.digest_seen) == negate
        {
            return TriedVerdict::MatchDigest;
        }
        if let Some(at) = rule.match_pattern {
            self.outcome.cacheability = Cacheability::Text;
            let text = self.outcome.rewrite.as_deref().unwrap_or(context.text);
            if set.texts.is_match(at, text, &mut self.text_seen) == negate {
                return TriedVerdict::MatchPattern;
            }
        }
        TriedVerdict::Matched
    }

    fn act(&mut self, set: &RuleSet, rule: &Compiled) {
        let (is, out) = (&rule.rule, &mut self.outcome);
        out.matched.push(rule.id);
        if let Some(flag) = is.flag_out {
            self.flag = flag;
        }
        over(&mut out.backend, is.backend.as_ref());
        over(&mut out.role, is.role.as_ref());
        over(&mut out.timeout, is.timeout.as_ref());
        over(&mut out.error_msg, rule.error_msg.as_ref());
        over(&mut out.ok_msg, rule.ok_msg.as_ref());
        over(&mut out.multiplex, is.multiplex.as_ref());
        let regex = rule.match_pattern.and_then(|at| set.texts.regex(at));
        if let (Some(with), Some(regex), false) = (&rule.replace, regex, is.negate_match_pattern) {
            let text = out.rewrite.as_deref().unwrap_or(self.context.text);
            out.rewrite = Some(regex.replace(text, with.as_slice()).into_owned());
            self.text_seen = Seen::default();
        }
    }
}

fn over<T: Clone>(to: &mut Option<T>, from: Option<&T>) {
    if let Some(value) = from {
        *to = Some(value.clone());
    }
}
