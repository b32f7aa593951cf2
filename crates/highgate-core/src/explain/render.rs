//! A trace as text.

use std::fmt;

use super::{Candidates, Trace};
use crate::rules::TriedVerdict;

impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "statement  {:?}: {}", self.kind, effects(self))?;
        writeln!(f, "digest     0x{:016X}  {}", self.digest, self.digest_text)?;
        if let Some(hint) = &self.hint {
            writeln!(f, "hint       {hint}")?;
        }
        if !self.knows_user {
            writeln!(f, "user       not known to the configuration")?;
        }
        if self.rules.is_empty() {
            writeln!(f, "rules      none")?;
        }
        for (nth, tried) in self.rules.iter().enumerate() {
            let label = if nth == 0 { "rules" } else { "" };
            writeln!(f, "{label:<10} {}: {}", tried.rule, verdict(tried.verdict))?;
        }
        if let Some(rewrite) = &self.rewrite {
            writeln!(f, "rewritten  {rewrite}")?;
        }
        writeln!(f, "route      {} ({})", self.route, self.reason)?;
        self.backend.as_ref().map_or(Ok(()), |group| servers(f, group))
    }
}

fn servers(f: &mut fmt::Formatter<'_>, group: &Candidates) -> fmt::Result {
    writeln!(f, "backend    {}: {}", group.name, group.plan)?;
    for server in &group.servers {
        let (mark, why) = match &server.passed {
            None => ("*", "takes it".to_owned()),
            Some(passed) => ("-", format!("passed over, {passed}")),
        };
        writeln!(f, "  {mark} {:<8} {why} ({})", server.name, server.state)?;
    }
    match &group.nobody {
        Some(nobody) => writeln!(f, "result     {nobody}"),
        None => {
            let chosen = group.chosen.as_deref().unwrap_or("nobody");
            writeln!(f, "result     {chosen}")
        }
    }
}

fn effects(trace: &Trace) -> String {
    let names: Vec<String> = (trace.effects.iter_names())
        .map(|(name, _)| name.to_ascii_lowercase().replace('_', " "))
        .collect();
    if names.is_empty() { "no effects known".to_owned() } else { names.join(", ") }
}

const fn verdict(verdict: TriedVerdict) -> &'static str {
    match verdict {
        TriedVerdict::ClientAddr => "passed over, the client's address is in another network",
        TriedVerdict::Digest => "passed over, another digest",
        TriedVerdict::Flag => "passed over, the flag has another value",
        TriedVerdict::Listener => "passed over, another listener",
        TriedVerdict::MatchDigest => "passed over, match_digest says no",
        TriedVerdict::MatchPattern => "passed over, match_pattern says no",
        TriedVerdict::Matched => "matches",
        TriedVerdict::Schema => "passed over, another schema",
        TriedVerdict::User => "passed over, another user",
    }
}
