//! Reads the accounts of clusters from their grant tables, in the background, for listeners with
//! `auth = "cluster"`.
//!
//! Nobody waits for it: logins are decided on what was read last. Where reading fails that stays in
//! force, and an event says so once, and once more when it works again.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};

use highgate_config::{AuthSource, Backend, BackendName, Mode};
use highgate_core::{
    accounts::{AccountList, ClusterAccount, Surroundings, from_global_priv, from_user_table},
    events::{Event, Kind, Severity},
    snapshot::{Group, Role, Status},
};
use highgate_io::{clock, tasks::Stop};
use highgate_mysql::capability::ServerFlavor;

use super::probe;
use crate::{
    mysql::ask::{Answered, AskError, Asker},
    shared::Shared,
};

/// Time for one reading.
const PATIENCE: Duration = Duration::from_secs(10);
/// Shortest time between two readings that failed logins ask for.
const SHORTEST: Duration = Duration::from_secs(1);
/// Shortest time between two tries that fail.
const AGAIN: Duration = Duration::from_secs(1);
/// Longest pause: backends come and go with the configuration.
const REVIEW: Duration = Duration::from_secs(3600);
/// Accounts that an event names at most.
const NAMED: usize = 5;

/// When a backend is read next, and what is known of the last time.
#[derive(Debug, Default)]
struct Known {
    read_at: Option<Instant>,
    /// A login has failed since.
    is_wanted: bool,
    tried_at: Option<Instant>,
    error: Option<String>,
    unusable: Vec<(String, String)>,
}

/// Reads until the stop.
///
/// Cancel safe: yes; what was read stays.
pub(super) async fn follow(shared: Arc<Shared>, stop: Stop) {
    let mut changes = shared.snapshot_changed.subscribe();
    let mut known: BTreeMap<BackendName, Known> = BTreeMap::new();
    loop {
        let wanted = wanted(&shared, &known);
        known.retain(|name, _| wanted.contains_key(name));
        shared.accounts.lock().retain(|name, _| wanted.contains_key(name));
        let now = clock::now();
        for (name, group) in &wanted {
            let it = known.entry(name.clone()).or_default();
            if is_judged(group) && due(it, &group.backend, now) <= now {
                it.tried_at = Some(now);
                read(&shared, group, it).await;
            }
        }
        let judged = wanted.iter().filter(|(_, group)| is_judged(group));
        let next =
            judged.filter_map(|(name, group)| Some(due(known.get(name)?, &group.backend, now)));
        let next = next.min().unwrap_or(now + REVIEW);
        tokio::select! {
            biased;
            () = stop.stopped() => return,
            changed = changes.changed() => if changed.is_err() { return },
            () = shared.accounts_wanted.notified() => hurry(&mut known),
            () = clock::sleep_until(next) => {}
        }
    }
}

/// Backends whose accounts let clients in. While sessions are there that any let in, those that did stay:
/// a change of a session's user is verified by them, whatever became of its listener.
fn wanted(
    shared: &Shared,
    known: &BTreeMap<BackendName, Known>,
) -> BTreeMap<BackendName, Arc<Group>> {
    let snapshot = shared.snapshot.load();
    let listeners = snapshot.policy.listeners.values();
    let mut names: BTreeSet<_> = listeners
        .filter(|listener| listener.auth == AuthSource::Cluster && listener.mode == Mode::Mysql)
        .map(|listener| &listener.backend)
        .collect();
    if Arc::strong_count(&shared.lets_in) > 1 {
        names.extend(known.keys());
    }
    let group = |name: &BackendName| snapshot.placement.groups.get(name).cloned();
    names.into_iter().filter_map(|name| Some((name.clone(), group(name)?))).collect()
}

/// Whether there is a server to ask, or it is known that there is none: before the first checks nobody is
/// to be alarmed, and every new plan is a reason to look again.
fn is_judged(group: &Group) -> bool {
    group.members.iter().any(|member| member.status.serves())
        || group.members.iter().all(|member| member.status != Status::Unknown)
}

/// When to read next.
fn due(known: &Known, backend: &Backend, now: Instant) -> Instant {
    let interval = backend.accounts.interval;
    // Where a login failed: what was read a moment ago is recent enough, but not for long.
    let pause = if known.is_wanted { SHORTEST.min(interval) } else { interval };
    let by_interval = known.read_at.map_or(now, |at| at + pause);
    // A reading that failed is repeated, and not in a spin.
    let by_pause = known.tried_at.map_or(now, |at| at + AGAIN.min(interval));
    by_interval.max(by_pause)
}

/// A login failed: the next reading need not wait for its interval.
fn hurry(known: &mut BTreeMap<BackendName, Known>) {
    known.values_mut().for_each(|it| it.is_wanted = true);
}

async fn read(shared: &Shared, group: &Group, known: &mut Known) {
    let name = &group.name;
    let tell = |severity, text: String| {
        shared.event(Event::new(severity, Kind::Login, text).backend(name));
    };
    match accounts(shared, group).await {
        Ok(list) => {
            known.read_at = Some(clock::now());
            known.is_wanted = false;
            if known.error.take().is_some() {
                tell(Severity::Info, format!("the accounts of backend {name} can be read again"));
            }
            let unusable: Vec<_> = list.unusable().collect();
            if unusable != known.unusable {
                if let Some(text) = sentence(&unusable) {
                    tell(Severity::Info, text);
                }
                known.unusable = unusable;
            }
            let mut lists = shared.accounts.lock();
            if lists.get(name).is_none_or(|before| **before != list) {
                lists.insert(name.clone(), Arc::new(list));
            }
            drop(lists);
            shared.accounts_read.notify_waiters();
        }
        Err(why) => {
            if known.error.as_ref() != Some(&why) {
                let what = if shared.accounts.lock().contains_key(name) {
                    "those read last stay in force"
                } else {
                    "until then nobody can log in"
                };
                let text = format!("the accounts of backend {name} can't be read: {why}; {what}");
                tell(Severity::Error, text);
            }
            known.error = Some(why);
        }
    }
}

/// Accounts that are of no use here are said once, with the reason.
fn sentence(unusable: &[(String, String)]) -> Option<String> {
    let first: Vec<String> =
        unusable.iter().take(NAMED).map(|(name, why)| format!("{name} ({why})")).collect();
    let more = unusable.len().saturating_sub(NAMED);
    let rest = if more > 0 { format!(" and {more} more") } else { String::new() };
    (!first.is_empty()).then(|| format!("not usable through Highgate: {}{rest}", first.join(", ")))
}

/// Reads from the primary, or else from any server that serves.
async fn accounts(shared: &Shared, group: &Group) -> Result<AccountList, String> {
    let mut members: Vec<_> =
        group.members.iter().filter(|member| member.status.serves()).collect();
    members.sort_by_key(|member| member.role != Role::Primary);
    let backend = &group.backend;
    let account = if backend.accounts.user.is_empty() {
        (backend.monitor.user.as_str(), &backend.monitor.password)
    } else {
        (backend.accounts.user.as_str(), &backend.accounts.password)
    };
    let mut last = "no server is up".to_owned();
    for member in members {
        let door = probe::door(shared, &member.state, backend.clone(), account);
        match from_server(door).await {
            Ok(list) => return Ok(list),
            Err(error) => last = format!("{}: {error}", member.state.name),
        }
    }
    Err(last)
}

async fn from_server(door: crate::mysql::open::Door) -> Result<AccountList, AskError> {
    let deadline = clock::now() + PATIENCE;
    let (mut asker, greeting) = Asker::open(door, deadline).await?;
    let flavor = greeting.flavor();
    let resolving = "SELECT NOT @@global.skip_name_resolve AS resolves";
    let resolves = asker.query(resolving, deadline).await?.get(0, "resolves") == Some("1");
    let lifetime = "SELECT @@global.default_password_lifetime AS days";
    let days = match asker.query(lifetime, deadline).await {
        Ok(answered) => answered.get(0, "days").and_then(|days| days.parse().ok()).unwrap_or(0),
        // Older servers know no expiry.
        Err(AskError::Server { code: 1193, .. }) => 0,
        Err(error) => return Err(error),
    };
    let surroundings = Surroundings { password_lifetime: days };
    let table = "SELECT User, Host, Priv FROM mysql.global_priv";
    let list = match asker.query(table, deadline).await {
        Ok(answered) => of_global_priv(&answered, surroundings)?,
        // There is no such table in older versions. MySQL has none either, and says to those who
        // may read no other table of the schema that they may not read this one.
        Err(AskError::Server { code, .. })
            if code == 1146 || (code == 1142 && flavor != ServerFlavor::MariaDb) =>
        {
            of_user_table(&mut asker, surroundings, deadline).await?
        }
        Err(error) => return Err(error),
    };
    Ok(AccountList::new(list, resolves, flavor))
}

async fn of_user_table(
    asker: &mut Asker,
    surroundings: Surroundings,
    deadline: Instant,
) -> Result<Vec<ClusterAccount>, AskError> {
    let table = "SELECT *, UNIX_TIMESTAMP(password_last_changed) AS changed_at FROM mysql.user";
    let answered = match asker.query(table, deadline).await {
        Err(AskError::Server { code: 1054, .. }) => {
            asker.query("SELECT * FROM mysql.user", deadline).await?
        }
        other => other?,
    };
    let row = |row| from_user_table(|column| answered.field(row, column), surroundings);
    Ok(answered.rows.iter().filter_map(row).collect())
}

/// Rows that can't be read make no account: a wrong guess could let somebody in.
fn of_global_priv(
    answered: &Answered,
    surroundings: Surroundings,
) -> Result<Vec<ClusterAccount>, AskError> {
    let mut list = Vec::new();
    for row in &answered.rows {
        let field = |column| answered.field(row, column);
        let (Some(user), Some(host), Some(document)) =
            (field("User"), field("Host"), field("Priv"))
        else {
            return Err(AskError::Garbage);
        };
        match from_global_priv(user, host, document, surroundings) {
            Ok(account) => list.extend(account),
            Err(why) => tracing::warn!(user, host, "an account can't be read: {why}"),
        }
    }
    Ok(list)
}

#[cfg(test)]
mod tests {
    use highgate_config::{NodeName, native};

    use super::*;

    /// It was forgotten where accounts had been read less than a second before: an account made since
    /// was refused until the next login failed, or for the whole interval.
    #[test]
    fn a_login_that_fails_right_after_a_reading_has_the_next_one_a_second_after_that() {
        let text = "[[backend]]\nname = \"shop\"\naccounts = { interval = \"60s\" }\n";
        let parsed = native::parse("shop.toml", text, &NodeName::from("here")).unwrap();
        let backend = &parsed.config.shared.backends["shop"];
        let read_at = clock::now();
        let it = Known { read_at: Some(read_at), tried_at: Some(read_at), ..Known::default() };
        let mut known = BTreeMap::from([(BackendName::from("shop"), it)]);
        for ms in [0, 10, 999, 1000, 30_000] {
            let now = read_at + Duration::from_millis(ms);
            let next = |known: &BTreeMap<_, _>| due(&known["shop"], backend, now);
            known.values_mut().for_each(|it| it.is_wanted = false);
            assert_eq!(next(&known), read_at + Duration::from_secs(60));
            hurry(&mut known);
            assert_eq!(next(&known), read_at + SHORTEST, "{ms}");
        }
    }
}
