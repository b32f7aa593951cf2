//! A client's session from accept to its one [`Ending`].

mod ending;

use std::rc::Rc;

use highgate_config::Mode;
use highgate_core::events::{Event, Kind};
use highgate_io::clock;

pub(crate) use self::ending::{Counted, Ending, Idle, KilledBy};
use crate::{
    listener::ListenerState,
    pool::Grant,
    session_info::{Activity, SessionInfo},
    shared::Accepted,
    slots::{Interrupt, Slot},
    worker::{Presence, Worker},
};

/// What every session has, whatever it speaks.
#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) worker: Rc<Worker>,
    pub(crate) slot: Slot<Grant>,
    pub(crate) presence: Presence,
}

impl Context {
    /// Shows operators what the session does.
    pub(crate) fn shows(&self, activity: Activity) {
        self.presence.info.set_activity(activity, self.worker.age_ms());
    }

    /// The ending for what the session was told, where that ends it.
    pub(crate) fn ending(&self) -> Option<Ending> {
        match self.slot.interrupted()? {
            Interrupt::Kill => Some(Ending::Killed),
            Interrupt::Drain => Some(Ending::Drained),
            Interrupt::Deadline => Some(Ending::Idle(Idle::Client)),
            Interrupt::KillQuery | Interrupt::ServerDown => None,
        }
    }
}

/// Starts the session of an accepted client on its worker.
pub(crate) fn start(worker: &Rc<Worker>, accepted: Box<Accepted>) {
    let slot = worker.slot();
    slot.watch(accepted.descriptor(), accepted.listener.settings.load().keepalive_timeout);
    let place = (worker.index, slot.id());
    let listener = accepted.listener.name.clone();
    let info = worker.shared.register(worker.node, |id| {
        let now_ms = worker.shared.age_ms(clock::now());
        SessionInfo::new(id, listener, accepted.peer, now_ms, place)
    });
    let presence = Presence::new(worker.clone(), info);
    let context = Context { worker: worker.clone(), slot, presence };
    let listener = accepted.listener.clone();
    let mode = listener.settings.load().mode;
    // Blocks, since an async function keeps its arguments twice.
    match mode {
        Mode::Mysql => worker.tasks.spawn_with(|running| async move {
            let ending = crate::mysql::session::run(&context, accepted).await;
            over(&context, &listener, &ending);
            drop((context, running));
        }),
        Mode::Tcp | Mode::Http => worker.tasks.spawn_with(|running| async move {
            let ending = crate::tcp::run(&context, accepted).await;
            over(&context, &listener, &ending);
            drop((context, running));
        }),
    }
}

/// The one place where the end of a session is counted and told.
fn over(context: &Context, listener: &ListenerState, ending: &Ending) {
    let ending = if context.slot.is_client_lost() { &Ending::ClientLost } else { ending };
    listener.count_ended(ending.counted());
    let info = &context.presence.info;
    let (session, name, side) = (info.id, &listener.name, ending.side());
    tracing::debug!(session, listener = %name, %side, client = ?info.client(), "session ended: {ending}");
    if matches!(ending, Ending::ClientClosed) {
        return;
    }
    let user = info.identity().user;
    let Some(severity) = ending.severity(!user.is_empty()) else { return };
    let of = if user.is_empty() { String::new() } else { format!(" of `{user}`") };
    let mut text = format!("listener {name}: a session{of} ended: {ending}");
    if matches!(ending, Ending::Killed) {
        text = format!("{text} {}", info.killed_by());
    }
    let event = Event::new(severity, Kind::SessionEnd, text);
    context.worker.shared.event_limited(event.session(session));
}
