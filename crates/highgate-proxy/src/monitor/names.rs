//! Servers known by a name: looked up in the background, so that no connect waits for a resolver and
//! a resolver that fails takes nothing away.

use std::{
    io,
    net::IpAddr,
    pin::pin,
    rc::Rc,
    sync::{Arc, Weak},
    time::{Duration, Instant},
};

use highgate_config::Address;
use highgate_core::{
    events::{Event, Kind, Severity},
    server::ServerState,
};
use highgate_io::{clock, connect};
use tokio::sync::Semaphore;

use crate::shared::Shared;

/// Time between two look-ups of one name.
const EVERY: Duration = Duration::from_secs(5);
/// Time for one.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long the last good answer is used while look-ups fail.
const GRACE: Duration = Duration::from_secs(3600);

/// Look-ups under way at once: the system's resolver may hold a thread for half a minute.
const AT_ONCE: usize = 3;

/// Turns for look-ups, shared by all that follow a name.
pub(super) fn turns() -> Rc<Semaphore> {
    Rc::new(Semaphore::new(AT_ONCE))
}

/// Looks a server's name up again and again, until nobody holds the server. No other look-up of it
/// begins before the last one has ended, however late that is.
///
/// Cancel safe: yes; what was found last stays in use.
pub(super) async fn follow(server: Weak<ServerState>, shared: Arc<Shared>, turns: Rc<Semaphore>) {
    let mut answers = Answers::default();
    loop {
        let Some(host) = server.upgrade().and_then(|server| name(&server.address)) else { return };
        let mut looking = pin!(in_turn(&turns, &host));
        let mut tell = |found| {
            let Some(state) = server.upgrade() else { return };
            for (severity, text) in answers.take(&state, found, clock::now()) {
                let event = Event::new(severity, Kind::Monitor, format!("{host}: {text}"));
                shared.event(event.backend(&state.backend).server(&state.name));
            }
        };
        match clock::before(clock::now() + PATIENCE, looking.as_mut()).await {
            Some(found) => tell(found),
            None => {
                tell(Err(io::ErrorKind::TimedOut.into()));
                let late = looking.await;
                if late.is_ok() {
                    tell(late);
                }
            }
        }
        clock::pause(EVERY).await;
    }
}

async fn in_turn(turns: &Semaphore, host: &str) -> io::Result<Vec<IpAddr>> {
    let _turn = turns.acquire().await;
    connect::resolve(host).await
}

/// Waits until that server's address is known, which a name's is once it was looked up.
///
/// Cancel safe: yes; a dropped call has consumed nothing.
pub(super) async fn known(server: &ServerState, deadline: Instant) {
    while name(&server.address).is_some() && server.resolved().is_empty() && clock::now() < deadline
    {
        clock::pause(GLANCE).await;
    }
}

/// Between two looks whether a first look-up has ended.
const GLANCE: Duration = Duration::from_millis(20);

/// The name that a server is known by.
pub(super) fn name(address: &Address) -> Option<String> {
    match address {
        Address::Host(host, _) => Some(host.clone()),
        Address::Ip(_) | Address::Unix(_) => None,
    }
}

/// What look-ups of one name gave.
#[derive(Debug, Default)]
struct Answers {
    failing_since: Option<Instant>,
}

impl Answers {
    /// Takes an answer in; says what is worth telling.
    fn take(
        &mut self,
        server: &ServerState,
        found: io::Result<Vec<IpAddr>>,
        now: Instant,
    ) -> Vec<(Severity, String)> {
        let why = match found {
            Ok(addresses) if !addresses.is_empty() => return self.good(server, addresses),
            Ok(_) => "no address".to_owned(),
            Err(error) => error.to_string(),
        };
        let since = *self.failing_since.get_or_insert(now);
        let had = !server.resolved().is_empty();
        if had && now.saturating_duration_since(since) >= GRACE {
            server.resolve(&[]);
            let text = format!(
                "not resolved for {} s ({why}); its last addresses are dropped",
                GRACE.as_secs()
            );
            return vec![(Severity::Error, text)];
        }
        if since < now {
            return Vec::new();
        }
        let used = if had { "; its last addresses stay in use" } else { "" };
        vec![(Severity::Warning, format!("cannot be resolved: {why}{used}"))]
    }

    fn good(
        &mut self,
        server: &ServerState,
        mut addresses: Vec<IpAddr>,
    ) -> Vec<(Severity, String)> {
        let mut told = Vec::new();
        if self.failing_since.take().is_some() {
            told.push((Severity::Info, "is resolved again".to_owned()));
        }
        // Resolvers rotate: the same set is the same answer.
        addresses.sort_unstable();
        addresses.dedup();
        let before = server.resolved();
        if *before == *addresses {
            return told;
        }
        let list: Vec<_> = addresses.iter().map(IpAddr::to_string).collect();
        let loses = server.resolve(&addresses);
        if !before.is_empty() {
            let rest = if loses { "; connections to the former ones end" } else { "" };
            told.push((Severity::Info, format!("has other addresses: {}{rest}", list.join(", "))));
        }
        told
    }
}

#[cfg(test)]
mod tests {
    use highgate_core::server::{ServerId, ServerKey};

    use super::*;

    fn server() -> ServerState {
        let address = Address::Host("db1.lan".to_owned(), 3306);
        let key = ServerKey { backend: "shop".into(), name: "db1".into(), address };
        ServerState::new(ServerId(1), key, clock::now())
    }

    fn ip(last: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, last])
    }

    #[test]
    fn a_failing_resolver_takes_nothing_away_within_the_grace_time() {
        let (server, mut answers, start) = (server(), Answers::default(), clock::now());
        assert!(answers.take(&server, Ok(vec![ip(1)]), start).is_empty());
        assert_eq!(answers.take(&server, Ok(Vec::new()), start).len(), 1, "told once");
        let later = start + EVERY;
        assert!(answers.take(&server, Err(io::ErrorKind::TimedOut.into()), later).is_empty());
        assert_eq!(&*server.resolved(), &[ip(1)]);
        assert_eq!(answers.take(&server, Ok(vec![ip(1)]), later).len(), 1, "resolved again");
        let _ = answers.take(&server, Ok(Vec::new()), later);
        let _ = answers.take(&server, Ok(Vec::new()), later + GRACE);
        assert!(server.resolved().is_empty());
    }

    #[test]
    fn an_answer_in_another_order_is_the_same_answer() {
        let (server, mut answers, now) = (server(), Answers::default(), clock::now());
        let _ = answers.take(&server, Ok(vec![ip(1), ip(2)]), now);
        assert!(answers.take(&server, Ok(vec![ip(2), ip(1)]), now).is_empty());
        assert_eq!(answers.take(&server, Ok(vec![ip(3)]), now).len(), 1);
        assert_eq!(server.generation(), 1);
    }
}
