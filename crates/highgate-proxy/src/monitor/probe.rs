//! The checks of one server: connect, or ask over the connection that is kept.
//!
//! A check that has no answer in time is not given up: it goes on when the next one is due, since on a
//! link that loses packets a new connection would take longer than what is left of this one, and
//! its greeting would hide a server that hangs at what it is asked. Where a check was late lately, a
//! second connection stands by: what is lost on one holds nothing up on the other.

mod asks;

use std::{
    cell::{Cell, RefCell},
    future::Future,
    pin::Pin,
    rc::Rc,
    sync::Arc,
    task::Poll,
    time::{Duration, Instant},
};

use highgate_config::{Backend, Check};
use highgate_core::{
    health::{CheckFailure, Event},
    server::{Era, ServerId, ServerState},
};
use highgate_io::clock;
use highgate_mysql::greeting::Greeting;

pub(super) use self::asks::door;
use self::asks::{Asks, Ended, Kept};
use crate::{
    monitor::turns::{Standing, Turn, Turns},
    shared::Shared,
};

/// How long a check may go on at all, however much it hears.
const LONGEST: Duration = Duration::from_secs(60);
/// How long a second connection is kept after a check was late.
const STANDS_BY: Duration = Duration::from_secs(600);

/// A check's result, for the director.
#[derive(Debug)]
pub struct Probed {
    pub(crate) server: ServerId,
    pub(crate) event: Event,
    /// Whether the check heard anything from the server since it was asked for.
    pub(crate) heard: bool,
    /// How the server greeted, if it did this time.
    pub(crate) learned: Option<Greeting>,
}

impl Probed {
    /// A result of what is no check.
    pub(crate) fn bare(server: ServerId, event: Event) -> Self {
        Self { server, event, heard: false, learned: None }
    }
}

/// What checks of one server need, with what is kept between them.
pub(crate) struct Probe {
    asks: Rc<Asks>,
    /// On the second connection: whatever is heard there is heard, too.
    stand_in: Rc<Asks>,
    left: RefCell<Left>,
    /// When what is left was looked at last: since then the server's name may have come to mean another machine.
    era: Cell<Era>,
}

/// What is left of the last checks.
#[derive(Default)]
struct Left {
    state: State,
    second: Second,
    /// When a check was late last.
    late_at: Option<Instant>,
}

/// The second connection.
#[derive(Default)]
enum Second {
    #[default]
    Nothing,
    Idle(Kept),
    Busy(Running),
}

/// What is left of the last check.
#[derive(Default)]
enum State {
    #[default]
    Nothing,
    /// A connection that lies idle.
    Kept(Kept),
    /// A check that goes on.
    Late { check: Running, started: Instant, heard: bool },
}

type Running = Pin<Box<dyn Future<Output = Ended>>>;

impl Probe {
    pub(crate) fn new(
        shared: Arc<Shared>,
        server: Arc<ServerState>,
        backend: Arc<Backend>,
        turns: Rc<Turns>,
    ) -> Self {
        let (heard, waits_for) = (Rc::default(), Cell::new(""));
        let (opens, is_silent) = (Cell::default(), Rc::default());
        let asks = Asks { shared, server, backend, turns, heard, waits_for, opens, is_silent };
        let stand_in = Rc::new(asks.clone());
        let era = Cell::new(asks.server.era());
        Self { asks: Rc::new(asks), stand_in, left: RefCell::default(), era }
    }

    /// Whether it checks by just these settings.
    pub(crate) fn is_for(&self, backend: &Arc<Backend>) -> bool {
        Arc::ptr_eq(&self.asks.backend, backend)
    }

    /// Whether answers to sessions prove what its checks ask: not where an operator's statement does.
    pub(crate) fn counts_traffic(&self) -> bool {
        !matches!(self.asks.backend.monitor.check, Check::Sql(_))
    }

    pub(crate) fn shared(&self) -> Arc<Shared> {
        self.asks.shared.clone()
    }

    /// The time between its checks.
    pub(crate) fn interval(&self) -> Duration {
        self.asks.backend.monitor.interval
    }

    /// What a check that [opens](Self::opens_next) a connection has to take first.
    pub(crate) fn turns(&self) -> &Rc<Turns> {
        &self.asks.turns
    }

    /// Has checks that only connect read a greeting as well, until there is one: the server takes connections and
    /// says nothing.
    pub(crate) fn is_silent(&self) {
        self.asks.is_silent.set(true);
    }

    /// Whether the next check opens a connection. What it would not go on with is given up then: who waits
    /// for a turn holds none.
    pub(crate) fn opens_next(&self, afresh: bool) -> bool {
        self.leave_former_places();
        let opens = match &self.left.borrow().state {
            State::Nothing => true,
            State::Kept(_) => afresh,
            State::Late { heard, .. } => afresh && !heard,
        };
        if opens {
            self.left.borrow_mut().state = State::Nothing;
        }
        opens
    }

    /// Gives up what is left of checks at another machine, or at an address that the server's name has lost:
    /// what they hear there says nothing of the server that sessions get.
    fn leave_former_places(&self) {
        let server = &self.asks.server;
        let before = self.era.replace(server.era());
        let stays = |kept: Option<&Kept>| {
            let peer = || kept.and_then(|(asker, _)| asker.peer());
            server.still_has(&mut { before }, peer)
        };
        let mut left = self.left.borrow_mut();
        let is_another = !server.is_of_this_generation(before);
        // Where a check that goes on has got to, nobody knows.
        let state_stays = match &left.state {
            State::Nothing => true,
            State::Kept(kept) => stays(Some(kept)),
            State::Late { .. } => stays(None),
        };
        let second_stays = match &left.second {
            Second::Nothing => true,
            Second::Idle(kept) => stays(Some(kept)),
            Second::Busy(_) => stays(None),
        };
        if is_another || !state_stays {
            left.state = State::Nothing;
        }
        if is_another || !second_stays {
            left.second = Second::Nothing;
        }
    }

    /// Gives up connections that are not open yet: nobody goes on with them for now.
    pub(crate) fn give_up_opening(&self) {
        let mut left = self.left.borrow_mut();
        if self.asks.opens.get() {
            left.state = State::Nothing;
        }
        if self.stand_in.opens.get() {
            left.second = Second::Nothing;
        }
    }

    /// Checks until `deadline`; `afresh` on a new connection, unless the last check goes on and was heard of.
    ///
    /// Cancel safe: yes; a dropped call closes the connection.
    pub(crate) async fn check(
        &self,
        deadline: Instant,
        afresh: bool,
        turn: Option<Turn>,
    ) -> Probed {
        self.leave_former_places();
        let Left { state, second, mut late_at } = self.left.take();
        let (mut check, started, is_late) = match state {
            State::Late { check, started, heard } if heard || !afresh => (check, started, true),
            State::Kept(kept) if !afresh => {
                (begin(&self.asks, Some(kept), None), clock::now(), false)
            }
            State::Kept(_) | State::Late { .. } | State::Nothing => {
                (begin(&self.asks, None, turn), clock::now(), false)
            }
        };
        let mut second = self.second(second, is_late, afresh, late_at);
        let before = self.asks.heard.get();
        let ended = clock::before(deadline, first(&mut check, &mut second, is_late)).await;
        let heard = self.asks.heard.get() != before;
        let server = self.asks.server.id;
        let Some((Ended { facts, kept, learned }, by_second)) = ended else {
            let is_wanted = self.turns().are_wanted();
            // Others wait for what it holds, and it heard nothing.
            let state = match self.asks.opens.get() && is_wanted {
                true => State::Nothing,
                false => State::Late { check, started, heard },
            };
            if is_wanted && self.stand_in.opens.get() {
                second = Second::Nothing;
            }
            self.left.replace(Left { state, second, late_at });
            let text = format!("no {} in time", self.asks.waits_for.get());
            let event = Event::CheckFailed { kind: CheckFailure::Timeout, text };
            return Probed { server, event, heard, learned: None };
        };
        if by_second {
            second = Second::Busy(check);
        }
        if is_late && facts.is_ok() {
            late_at = Some(clock::now());
        }
        let state = kept.map_or(State::Nothing, State::Kept);
        self.left.replace(Left { state, second, late_at });
        let event = match facts {
            Ok(facts) => {
                let latency = clock::now().saturating_duration_since(started);
                Event::CheckOk { latency, facts: facts.map(Box::new) }
            }
            Err(failed) => Event::CheckFailed { kind: failed.0, text: failed.1 },
        };
        Probed { server, event, heard, learned }
    }

    /// Whether a new connection is had and answers what checks ask, within `connect_timeout`.
    ///
    /// Cancel safe: yes; a dropped call closes the connection.
    pub(crate) async fn connects(&self) -> bool {
        // What it hears says nothing of the connection that checks keep.
        let asks = Rc::new(Asks { heard: Rc::default(), ..Asks::clone(&self.asks) });
        let turn = match self.turns().take(Standing::Alive, &self.asks.server.backend) {
            Ok(turn) => Some(turn),
            Err(queue) => queue.await.ok(),
        };
        let deadline = clock::now() + asks.backend.connect_timeout;
        asks.run(None, turn, deadline).await.facts.is_ok()
    }

    /// What the second connection does during a check: it is opened where checks were late lately, and
    /// asked once the first is late.
    fn second(
        &self,
        second: Second,
        is_late: bool,
        afresh: bool,
        late_at: Option<Instant>,
    ) -> Second {
        let lately =
            late_at.is_some_and(|at| clock::now().saturating_duration_since(at) < STANDS_BY);
        match second {
            Second::Idle(kept) if is_late => Second::Busy(begin(&self.stand_in, Some(kept), None)),
            Second::Idle(_) if !lately => Second::Nothing,
            Second::Nothing if lately && !afresh && self.asks.keeps_connections() => {
                // Nothing depends on it: it comes where a turn is free.
                match self.turns().try_take(Standing::Unknown) {
                    Some(turn) => Second::Busy(begin(&self.stand_in, None, Some(turn))),
                    None => Second::Nothing,
                }
            }
            other => other,
        }
    }
}

fn begin(asks: &Rc<Asks>, kept: Option<Kept>, turn: Option<Turn>) -> Running {
    Box::pin(asks.clone().run(kept, turn, clock::now() + LONGEST))
}

/// How the check ends; where it is late, an answer on the second connection is as good, and `true`.
///
/// Cancel safe: yes; a dropped call has consumed nothing.
async fn first(check: &mut Running, second: &mut Second, is_late: bool) -> (Ended, bool) {
    std::future::poll_fn(|context| {
        if let Poll::Ready(ended) = check.as_mut().poll(context) {
            return Poll::Ready((ended, false));
        }
        if let Second::Busy(running) = second
            && let Poll::Ready(ended) = running.as_mut().poll(context)
        {
            if is_late && ended.facts.is_ok() {
                *second = Second::Nothing;
                return Poll::Ready((ended, true));
            }
            *second = ended.kept.map_or(Second::Nothing, Second::Idle);
        }
        Poll::Pending
    })
    .await
}

impl std::fmt::Debug for Probe {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Probe").field("server", &self.asks.server.name).finish_non_exhaustive()
    }
}
