//! A server that a session is bound to takes no writes any more: where nothing but an insert id binds it
//! there, it leaves with that; else it is told why it can't.

use highgate_core::{
    pins::{PinCause, PinSet},
    prepare::Step,
    retry::{self, Delivery, No, Retry, ServerSaid, SessionFacts, Word},
    server::ServerState,
    settle::{self, Lost},
    track::CommandFacts,
};

use highgate_config::Topology;
use highgate_mysql::{
    Answer,
    error_code::ER_OPTION_PREVENTS_STATEMENT,
    sql::{Effects, StatementKind},
};

use super::{Ran, Tried};
use crate::mysql::{
    acquire::{Lease, Wish},
    answer,
    command::RestSpace,
    prepare::Unprepared,
    session::Session,
    wash,
};

/// Why a command goes to the primary that was not sent yet.
const NOT_SENT: &str = "to the primary: its session's server is the primary no more";

fn bound_by(silent: PinSet) -> String {
    format!(
        "; this session is bound to that server, which is not the primary any more, by {silent}: connect anew"
    )
}

/// What is refused too late where its first statement, or the first behind it, is.
const FIRST_IS_TOO_LATE: Effects = Effects::BEGINS_TRANSACTION.union(Effects::MULTI);

/// Whether it may write to tables that other sessions see, as far as its text tells.
fn may_write(facts: &CommandFacts<'_>) -> bool {
    const WRITES: Effects = Effects::WRITES
        .union(Effects::DOUBTFUL)
        .union(Effects::SEQUENCE)
        .union(Effects::ADMINISTRATION);
    const CALLS: Effects = Effects::CAN_CHANGE_SESSION.union(Effects::SIDE_EFFECT_FUNCTION);
    const LOCKS: Effects = Effects::NAMED_LOCK.union(Effects::RELEASES_NAMED_LOCK);
    const OWN_TABLES: Effects = Effects::TEMP_TABLE.union(Effects::DROPS_TEMP_TABLE);
    let effects = facts.shape.effects;
    if effects.contains(Effects::MULTI) || effects.contains(Effects::CAN_CHANGE_SESSION) {
        return effects.intersects(WRITES.union(CALLS));
    }
    // Of several calls only one need be of a lock.
    let calls_once = |text: &[u8]| text.iter().filter(|byte| **byte == b'(').count() == 1;
    let is_lock = effects.intersects(LOCKS) && facts.text.is_some_and(calls_once);
    let calls = effects.contains(Effects::SIDE_EFFECT_FUNCTION) && !is_lock;
    calls || effects.intersects(WRITES) && !effects.intersects(OWN_TABLES)
}

impl Session<'_> {
    /// What would become of the refused command, if the session took its insert id along. `None`: more than
    /// that binds it, or the error says something else.
    pub(super) fn could_leave(
        &self,
        lease: &Lease,
        facts: &CommandFacts<'_>,
        space: &RestSpace,
    ) -> Option<Retry> {
        let progress = space.exchange.progress(Delivery::Complete, false);
        let ServerSaid::Error { word: Word::ReadOnly, .. } = progress.server else { return None };
        if !self.is_bound_by_id_alone() {
            return None;
        }
        let free = SessionFacts { may_move: true, ..self.session_facts(lease, facts) };
        let retry = retry::may_retry(&progress, facts, &free);
        matches!(retry, Retry::Again(_) | Retry::No(No::TransactionRefused(_))).then_some(retry)
    }

    fn is_bound_by_id_alone(&self) -> bool {
        let id: PinSet = [PinCause::LastInsertIdUnknown].into_iter().collect();
        let pins = self.state.pins;
        pins.contains(PinCause::LastInsertIdUnknown) && !pins.without(id).is_lost_silently()
    }

    /// Whether a session that an insert id binds leaves its server before this command: it begins a transaction, whose
    /// first write would be refused there, or has several statements, of which the first need not be the write.
    pub(super) fn leaves_before(&self, lease: &Lease, facts: &CommandFacts<'_>) -> bool {
        self.is_bound_by_id_alone()
            && !self.state.pins.contains(PinCause::OpenCursor)
            && !self.state.in_transaction()
            && facts.command.runs()
            && !facts.reads_leftovers()
            && (!self.state.autocommit || facts.shape.effects.intersects(FIRST_IS_TOO_LATE))
            && self.is_demoted(lease.connection.server())
    }

    /// What becomes of a command that may write where its session holds a server as the primary and another
    /// is that now: what the old one's refusal would make of it. It need not refuse: accounts with rights to, and
    /// routines of such accounts, write to a server that is read-only, and what they write there is lost. `None`: it
    /// is sent.
    pub(super) fn writes_behind(
        &mut self,
        lease: &mut Lease,
        facts: &CommandFacts<'_>,
    ) -> Option<Tried> {
        if !self.writes_at_replaced(lease, facts) {
            return None;
        }
        if !self.state.in_transaction() && self.is_bound_by_id_alone() {
            return Some(Tried::Leaves(None));
        }
        let refused = Retry::No(No::TransactionRefused(ER_OPTION_PREVENTS_STATEMENT.code));
        if self.state.in_transaction()
            && let Some(tried) = self.end_transaction(lease, refused)
        {
            return Some(tried);
        }
        let (server, pins) = (lease.connection.server(), self.state.pins);
        let silent: PinSet = pins.iter().filter(|cause| cause.is_lost_silently()).collect();
        if self.told_bound != Some(server.id) {
            self.told_bound = Some(server.id);
            self.note_bound(server, silent);
        }
        Some(Tried::Refused(ER_OPTION_PREVENTS_STATEMENT.answer(format!(
            "Its server takes no writes any more (read-only), so it cannot execute this statement{}",
            bound_by(silent)
        ))))
    }

    /// Whether a command may write, or make lasting what was written, at a server that the session holds as the
    /// primary, and another is that now. Members of a Galera cluster all take writes.
    pub(super) fn writes_at_replaced(&self, lease: &Lease, facts: &CommandFacts<'_>) -> bool {
        let is_rollback = matches!(facts.shape.kind, StatementKind::Rollback { .. })
            && !facts.shape.effects.contains(Effects::MULTI);
        let ends_writes =
            self.state.in_transaction() && self.state.transaction.wrote && !is_rollback;
        if self.taken_for != Some(Wish::Writer)
            || !facts.command.runs()
            || !ends_writes && !may_write(facts)
        {
            return false;
        }
        let snapshot = self.context.worker.snapshot();
        let server = lease.connection.server();
        snapshot.judge_of(server, true, self.holds.as_ref()).is_some_and(|group| {
            let primary = group.primary.and_then(|primary| group.members.get(primary));
            // It may be a member by another name now.
            let there = group.member_at(server);
            group.backend.topology != Topology::Galera
                && primary.zip(there).is_some_and(|(it, there)| it.state.id != there.state.id)
        })
    }

    /// Whether the session holds that server in order to write, and another takes the writes now, or none.
    fn is_demoted(&self, server: &ServerState) -> bool {
        let snapshot = self.context.worker.snapshot();
        let group = snapshot.placement.groups.get(&server.backend);
        self.taken_for == Some(Wish::Writer)
            && group.is_some_and(|group| {
                let primary = group.primary.and_then(|primary| group.members.get(primary));
                primary.is_none_or(|primary| primary.state.id != server.id)
            })
    }

    /// Says in the server's refusal of a write that the session is bound to it, and tells operators once.
    pub(super) fn explain_refusal(&mut self, lease: &Lease, space: &mut RestSpace) {
        let (server, pins) = (lease.connection.server(), self.state.pins);
        if !pins.is_lost_silently() || !self.is_demoted(server) {
            return;
        }
        let silent: PinSet = pins.iter().filter(|cause| cause.is_lost_silently()).collect();
        space.exchange.explain_error(&bound_by(silent));
        if self.told_bound != Some(server.id) {
            self.told_bound = Some(server.id);
            self.note_bound(server, silent);
        }
    }

    /// Asks the server for the insert id and leaves it; gives what the client is told, or the command goes to
    /// the primary. Where the id can't be had the session stays.
    ///
    /// Cancel safe: no; the connections must be closed.
    pub(super) async fn leave(
        &mut self,
        mut lease: Lease,
        retry: Option<Retry>,
        space: &mut RestSpace,
    ) -> Result<Option<Answer>, Lease> {
        space.steps.clear();
        space.steps.push(Step::CaptureLastInsertId);
        if let Err(unprepared) = self.run_steps(&mut lease, false, space).await {
            if matches!(unprepared, Unprepared::Stopped(_)) {
                // Its answer is to come: nobody may use the connection any more.
                lease.connection.state.dirt.insert(PinCause::SessionUnknown);
            }
            return Err(lease);
        }
        if let Some(retry @ Retry::No(_)) = retry {
            let ended = self.end_transaction(&mut lease, retry);
            self.forget_lease();
            return Ok(Some(match ended {
                Some(Tried::Refused(answer)) => answer,
                _ => answer::no_writes(Ran::No.sentence()),
            }));
        }
        let lost = settle::server_lost(&mut self.state);
        debug_assert!(matches!(lost, Lost::Nothing), "{lost:?}");
        let why = retry.map_or_else(|| NOT_SENT.to_owned(), |retry| retry.to_string());
        self.count_retry(lease.connection.server().id, &why);
        wash::start(self.context, lease);
        self.forget_lease();
        Ok(None)
    }
}
