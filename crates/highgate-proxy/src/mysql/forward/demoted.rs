//! A server that a session is bound to takes no writes any more: where nothing but an insert id binds it
//! there, it leaves with that.

use highgate_core::{
    pins::{PinCause, PinSet},
    prepare::Step,
    retry::{self, Delivery, No, Retry, ServerSaid, SessionFacts, Word},
    settle::{self, Lost},
    track::CommandFacts,
};

use highgate_mysql::Answer;

use super::{Ran, Tried};
use crate::mysql::{acquire::Lease, answer, command::RestSpace, session::Session, wash};

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
        let id: PinSet = [PinCause::LastInsertIdUnknown].into_iter().collect();
        let pins = self.state.pins;
        let is_lost = pins.without(id).iter().any(PinCause::is_lost_silently);
        if is_lost || !pins.contains(PinCause::LastInsertIdUnknown) {
            return None;
        }
        let free = SessionFacts { may_move: true, ..self.session_facts(lease, facts) };
        let retry = retry::may_retry(&progress, facts, &free);
        matches!(retry, Retry::Again(_) | Retry::No(No::TransactionRefused(_))).then_some(retry)
    }

    /// Asks the server for the insert id and leaves it; gives what the client is told, or the command goes to
    /// the primary. Where the id can't be had the session stays.
    ///
    /// Cancel safe: no; the connections must be closed.
    pub(super) async fn leave(
        &mut self,
        mut lease: Lease,
        retry: Retry,
        space: &mut RestSpace,
    ) -> Result<Option<Answer>, Lease> {
        space.steps.clear();
        space.steps.push(Step::CaptureLastInsertId);
        if self.run_steps(&mut lease, false, space).await.is_err() {
            return Err(lease);
        }
        if let Retry::No(_) = retry {
            let ended = self.end_transaction(&mut lease, retry);
            self.forget_lease();
            return Ok(Some(match ended {
                Some(Tried::Refused(answer)) => answer,
                _ => answer::no_writes(Ran::No.sentence()),
            }));
        }
        let lost = settle::server_lost(&mut self.state);
        debug_assert!(matches!(lost, Lost::Nothing), "{lost:?}");
        self.count_retry(lease.connection.server().id, &retry.to_string());
        wash::start(self.context, lease);
        self.forget_lease();
        Ok(None)
    }
}
