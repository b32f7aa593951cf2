//! What would happen to a statement, and why: for `highgate explain` and its table.
//!
//! [`explain`] runs what production runs, [`crate::rules`], [`crate::route`] and [`crate::choose`], on a
//! session that has just logged in, counts nothing, and says each step. Its text is [`Trace`]'s
//! `Display`.

mod render;
#[cfg(test)]
mod tests;
mod words;

use std::{net::IpAddr, sync::Arc, time::Instant};

use highgate_config::{ListenerName, UserName};
use highgate_mysql::sql::{Analysis, Effects, Hint, LexMode, Scratch, StatementKind, analyze};

use crate::{
    choose::{self, NoServer, Passed, Request, Turn},
    route::{self, Reason, Role, Route, RouteHint, Target, To, View},
    rules::{RuleContext, Tried},
    snapshot::{Group, Member, Role as MemberRole, Snapshot, Status, Writes},
    state::SessionState,
    track::{self, CommandFacts, CommandKind},
};

/// What is to be explained.
#[derive(Debug, Clone, Copy)]
pub struct Question<'a> {
    /// The statement.
    pub text: &'a [u8],
    /// The listener it would come by.
    pub listener: &'a ListenerName,
    /// The account.
    pub user: &'a UserName,
    /// The current schema; `None` = the account's default.
    pub schema: Option<&'a str>,
    /// The client's address.
    pub client: Option<IpAddr>,
    /// How the text is read.
    pub mode: LexMode,
    /// The time.
    pub now: Instant,
}

/// What can't be explained at all.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unexplained {
    /// No such listener.
    #[error("there is no listener `{0}`")]
    Listener(ListenerName),
}

/// Each step from a text to a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trace {
    /// What the text is.
    pub kind: StatementKind,
    /// What it does.
    pub effects: Effects,
    /// Its digest.
    pub digest: u64,
    /// The digest's text.
    pub digest_text: String,
    /// A hint within the text, and whether it is honoured.
    pub hint: Option<String>,
    /// Whether the configuration knows the account.
    pub knows_user: bool,
    /// Whether it was asked for a client's address; without one, it is as by a Unix socket.
    pub has_client: bool,
    /// Whether it was asked for a schema; without one, it is the account's default.
    pub has_schema: bool,
    /// Every rule that was tried, in order.
    pub rules: Vec<Tried>,
    /// What the rules put in the text's place: that is what routing judges.
    pub rewrite: Option<Rewrite>,
    /// Whether the session's connection is shared from then on, where a rule says so.
    pub multiplex: Option<bool>,
    /// Where it goes.
    pub route: String,
    /// Why.
    pub reason: Reason,
    /// Within the backend: who could take it and who would.
    pub backend: Option<Candidates>,
}

/// What is sent in the place of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rewrite {
    /// The text.
    pub text: String,
    /// What it is.
    pub kind: StatementKind,
    /// What it does.
    pub effects: Effects,
}

impl Rewrite {
    fn of(text: &[u8], analysis: &Analysis<'_>) -> Self {
        Self {
            text: String::from_utf8_lossy(text).into_owned(),
            kind: analysis.kind,
            effects: analysis.effects,
        }
    }
}

/// The servers of the backend that a statement goes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidates {
    /// The backend's name.
    pub name: String,
    /// Why it looks as it does.
    pub plan: String,
    /// Every server.
    pub servers: Vec<Candidate>,
    /// Who takes it; of equals this may be another one each time.
    pub chosen: Option<String>,
    /// Whether it waits there, since as many connections are at work as may be.
    pub is_full: bool,
    /// How many others could take it as well.
    pub equals: usize,
    /// Whether that is the primary although a replica is wanted: none can take it.
    pub for_want: bool,
    /// What becomes of it where nobody can take it.
    pub nobody: Option<String>,
}

/// One server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// Its name.
    pub name: String,
    /// Its role and status, and why they are so.
    pub state: String,
    /// Why it was passed over; `None` = it takes the statement.
    pub passed: Option<String>,
}

/// Says what would become of a statement.
///
/// # Errors
/// There is no such listener.
pub fn explain(question: &Question<'_>, snapshot: &Snapshot) -> Result<Trace, Unexplained> {
    let policy = &snapshot.policy;
    let listener = (policy.listeners.get(question.listener))
        .ok_or_else(|| Unexplained::Listener(question.listener.clone()))?;
    let user = policy.users.get(question.user);
    let default_schema = user.and_then(|user| user.default_schema.as_deref());
    let schema = question.schema.or(default_schema);
    let mut state = SessionState::new(0, question.user.as_str(), schema, 45);
    let (mut scratch, mut anew) = (Scratch::new(), Scratch::new());
    let analysis = analyze(question.text, question.mode, &mut scratch);
    let (rules, tried) = policy.rules.explain(&RuleContext {
        user: question.user.as_str(),
        schema: schema.unwrap_or_default(),
        client_addr: question.client.map(|ip| ip.to_canonical()),
        listener: question.listener,
        digest: analysis.digest,
        digest_text: analysis.digest_text,
        text: question.text,
        flag: 0,
    });
    let text = rules.rewrite.as_deref().unwrap_or(question.text);
    let sent = match rules.rewrite {
        Some(_) => analyze(text, question.mode, &mut anew),
        None => analysis,
    };
    let facts = CommandFacts::text(CommandKind::Query, text, &sent, question.mode);
    track::before(&mut state, &facts);
    let named = named_server(sent.hint.as_ref(), text);
    let hint = sent.hint.as_ref().map(|hint| route_hint(hint, &named));
    let view = View {
        listener,
        user: user.map(|user| &**user),
        placement: &snapshot.placement,
        rules: &rules,
        hint,
        holds: None,
        session_id: 0,
        draining: false,
    };
    let route = route::route(&state, &facts, &view);
    Ok(Trace {
        kind: analysis.kind,
        effects: analysis.effects,
        digest: analysis.digest,
        digest_text: String::from_utf8_lossy(analysis.digest_text).into_owned(),
        hint: hint_text(hint, sent.hint_ignored),
        knows_user: user.is_some(),
        has_client: question.client.is_some(),
        has_schema: question.schema.is_some(),
        rules: tried,
        rewrite: rules.rewrite.is_some().then(|| Rewrite::of(text, &sent)),
        multiplex: route.actions.multiplex.filter(|_| matches!(route.to, To::Server(_))),
        route: destination(&route),
        reason: route.reason,
        backend: candidates(&route, snapshot, question.now),
    })
}

/// The server that a comment names; empty if none.
fn named_server(hint: Option<&Hint>, text: &[u8]) -> String {
    match hint {
        Some(Hint::Server(name)) => String::from_utf8_lossy(name.of(text)).into_owned(),
        Some(Hint::Primary | Hint::Replica) | None => String::new(),
    }
}

const fn route_hint<'a>(hint: &Hint, named: &'a str) -> RouteHint<'a> {
    match hint {
        Hint::Primary => RouteHint::Primary,
        Hint::Replica => RouteHint::Replica,
        Hint::Server(_) => RouteHint::Server(named),
    }
}

fn hint_text(hint: Option<RouteHint<'_>>, ignored: bool) -> Option<String> {
    match hint {
        Some(RouteHint::Primary) => Some("to the primary".to_owned()),
        Some(RouteHint::Replica) => Some("to a replica".to_owned()),
        Some(RouteHint::Server(name)) => Some(format!("to server {name}")),
        None => ignored.then(|| "to a replica; ignored, it is not proved to read".to_owned()),
    }
}

fn destination(route: &Route<'_>) -> String {
    match &route.to {
        To::Answer(_) => "answered by Highgate".to_owned(),
        To::End => "the session ends".to_owned(),
        To::Kill { .. } => "Highgate ends the session or its statement".to_owned(),
        To::Login => "a new login".to_owned(),
        To::Refuse(refused) => format!("refused: {refused}"),
        To::Say { ok: true, text } => format!("answered OK: {text}"),
        To::Say { ok: false, text } => format!("answered with an error: {text}"),
        To::Server(target) => wanted(target),
    }
}

fn wanted(target: &Target<'_>) -> String {
    let role = match target.role {
        Role::Any => "any server",
        Role::Primary => "the primary",
        Role::Replica => "a replica",
        Role::Same => "the server in use",
    };
    match target.server {
        Some(name) => format!("server {name} of backend {}", target.backend),
        None => format!("{role} of backend {}", target.backend),
    }
}

fn candidates(route: &Route<'_>, snapshot: &Snapshot, now: Instant) -> Option<Candidates> {
    let To::Server(target) = &route.to else {
        return None;
    };
    let group = snapshot.placement.groups.get(target.backend)?;
    let mut eligible = eligible(group, target);
    let request = Request {
        members: &group.members,
        candidates: &[],
        balance: group.backend.balance,
        key: None,
        exclude: &[],
        max_lag_ms: None,
        full_ok: true,
        // As the session layer asks.
        writes: target.role == Role::Primary && target.server.is_none(),
        now,
    };
    // No dice: of equals the first is named.
    let choose = |candidates: &[usize]| {
        let request = Request { candidates, ..request };
        choose::choose(&request, &mut Turn::default(), &mut || u64::MAX)
    };
    let reads = matches!(target.role, Role::Any | Role::Replica) && target.server.is_none();
    let instead = if reads { group.instead_of_readers() } else { &[] };
    let is_shunned =
        |at: usize| group.members.get(at).is_none_or(|member| member.state.is_shunned(now));
    let chosen = choose::or_instead(choose(&eligible), instead, is_shunned, choose);
    if chosen.is_ok_and(|at| !eligible.contains(&at)) {
        eligible.extend(instead);
    }
    let passed = choose::explain(&Request { candidates: &eligible, ..request }, chosen.ok());
    let equals = passed.iter().filter(|(_, passed)| *passed == Some(Passed::NotChosen)).count();
    let taker = chosen.ok().and_then(|index| group.members.get(index));
    let on_primary = taker.is_some_and(|member| member.role == MemberRole::Primary);
    let wants_replica = target.role == Role::Replica && target.server.is_none();
    let servers = (group.members.iter().zip(passed))
        .map(|(member, (_, passed))| Candidate {
            name: member.state.name.to_string(),
            state: format!("{}, {}: {}", member.role, member.status, member.reason),
            passed: passed.map(|passed| why_passed(passed, target, member, group)),
        })
        .collect();
    Some(Candidates {
        name: group.name.to_string(),
        plan: group.reason.to_string(),
        servers,
        chosen: taker.map(|member| member.state.name.to_string()),
        is_full: taker.is_some_and(choose::is_full),
        equals,
        for_want: wants_replica && on_primary && equals == 0,
        nobody: chosen.err().map(|none| nobody(none, target, group)),
    })
}

/// Of one whose role does not fit, which role is wanted.
fn why_passed(passed: Passed, target: &Target<'_>, member: &Member, group: &Group) -> String {
    if passed != Passed::NotCandidate {
        return passed.to_string();
    }
    match (target.server, target.role, member.role) {
        (Some(only), ..) => format!("only {only} is asked for"),
        (None, Role::Primary, _) => "it is not the primary".to_owned(),
        (None, _, MemberRole::Primary) if group.keeps_reads_off_primary() => {
            "it is the primary, which takes no reads (`reads_on_primary`)".to_owned()
        }
        (None, _, MemberRole::Primary) => "it is the primary, and others take the reads".to_owned(),
        (None, ..) => passed.to_string(),
    }
}

/// Members that the session layer would choose among.
fn eligible(group: &Arc<Group>, target: &Target<'_>) -> Vec<usize> {
    if let Some(only) = target.server {
        return (group.members.iter())
            .position(|member| member.state.name.as_str() == only)
            .into_iter()
            .collect();
    }
    match target.role {
        Role::Any | Role::Replica => group.for_reads().to_vec(),
        _ => group.writers.clone(),
    }
}

/// As the session layer does where nobody can take it: waiting helps unless writes are refused.
fn nobody(none: NoServer, target: &Target<'_>, group: &Group) -> String {
    let wanted = wanted(target);
    if group.members.iter().all(|member| member.status == Status::Unknown) {
        return format!("goes to {wanted}; no server was checked yet");
    }
    let is_write = target.role == Role::Primary;
    if let (true, Writes::Refused { reason }) = (is_write, &group.writes) {
        return format!("fails at once: {reason}");
    }
    let wait = group.backend.failover_wait.as_secs_f64();
    match (is_write, &group.writes) {
        (true, Writes::Waiting { reason }) => {
            format!("waits up to {wait} s for {wanted}, then fails: {reason}")
        }
        _ => format!("waits up to {wait} s for {wanted}, then fails: {none}"),
    }
}
