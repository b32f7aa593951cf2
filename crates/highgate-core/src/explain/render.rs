//! A trace as text.

use std::fmt;

use super::{Candidates, Trace, words};
use crate::rules::TriedVerdict;

/// What becomes of it comes first: who asks has an outage, or a statement at the wrong server.
impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "result     {}", result(self))?;
        writeln!(f, "why        {}", self.reason)?;
        writeln!(f, "statement  {}: {}", self.kind, words::effects(self.effects))?;
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
            writeln!(f, "{label:<10} {}: {}", tried.rule, verdict(self, tried.verdict))?;
        }
        if let Some(rewrite) = &self.rewrite {
            writeln!(f, "rewritten  {}", rewrite.text)?;
            writeln!(f, "           {}: {}", rewrite.kind, words::effects(rewrite.effects))?;
        }
        if let Some(multiplex) = self.multiplex {
            writeln!(f, "sharing    {}", sharing(multiplex))?;
        }
        self.backend.as_ref().map_or(Ok(()), |group| servers(f, group))
    }
}

const fn sharing(multiplex: bool) -> &'static str {
    if multiplex {
        "on again, unless the backend has it off"
    } else {
        "off: the session keeps its connection from then on (multiplex_off)"
    }
}

fn result(trace: &Trace) -> String {
    let Some(group) = &trace.backend else { return trace.route.clone() };
    match (&group.chosen, &group.nobody) {
        (Some(chosen), _) if group.is_full => {
            format!("waits for a connection to {chosen}, whose limit is reached: {}", trace.route)
        }
        (Some(chosen), _) if group.equals > 0 => {
            let (equals, route) = (group.equals + 1, &trace.route);
            format!("goes to {chosen}, or another of the {equals} that can take it: {route}")
        }
        (Some(chosen), _) if group.for_want => {
            format!("goes to {chosen}, the primary, for want of {}", trace.route)
        }
        (Some(chosen), _) => format!("goes to {chosen}: {}", trace.route),
        (None, Some(nobody)) => nobody.clone(),
        (None, None) => trace.route.clone(),
    }
}

fn servers(f: &mut fmt::Formatter<'_>, group: &Candidates) -> fmt::Result {
    writeln!(f, "backend    {}: {}", group.name, group.plan)?;
    let width = group.servers.iter().map(|server| server.name.len()).max().unwrap_or_default();
    for server in &group.servers {
        let (name, state) = (&server.name, &server.state);
        match &server.passed {
            None => writeln!(f, "  * {name:<width$}  takes it ({state})")?,
            Some(passed) => writeln!(f, "  - {name:<width$}  passed over: {passed} ({state})")?,
        }
    }
    Ok(())
}

const fn verdict(trace: &Trace, verdict: TriedVerdict) -> &'static str {
    match verdict {
        TriedVerdict::ClientAddr if !trace.has_client => {
            "passed over, it is for clients of a network, and no address was given (--client ADDRESS)"
        }
        TriedVerdict::Schema if !trace.has_schema => {
            "passed over, it is for another schema than the account's default (--schema NAME)"
        }
        TriedVerdict::ClientAddr => "passed over, it is for clients of another network",
        TriedVerdict::Digest => "passed over, it is for another digest",
        TriedVerdict::Flag => "passed over, no rule before it led here (flag)",
        TriedVerdict::Listener => "passed over, it is for another listener",
        TriedVerdict::MatchDigest => "passed over, its match_digest does not match",
        TriedVerdict::MatchPattern => "passed over, its match_pattern does not match",
        TriedVerdict::Matched => "matches",
        TriedVerdict::Schema => "passed over, it is for another schema",
        TriedVerdict::User => "passed over, it is for another user",
    }
}
