//! Warnings of a session that says nothing more: behind an error, or a warning, only its server connection has them,
//! and a hundred idle sessions would keep a hundred connections from others. After a second the session asks for
//! them itself, and gives the connection back: `SHOW WARNINGS` shows what it has kept.

use std::time::Duration;

use highgate_core::{pins::PinCause, prepare::Step};
use highgate_mysql::{Answer, error_code};

use super::{let_go, untold::Asked};
use crate::{mysql::session::Session, session::Ending};

/// How long they stay on their connection: clients that ask for warnings by themselves do so at once.
const ON_CONNECTION: Duration = Duration::from_secs(1);

/// Time for the server to show them: the client's next command waits for that.
const ANSWERED: Duration = Duration::from_secs(5);

/// What commands are told that ask for kept warnings otherwise than by `SHOW WARNINGS`.
pub(crate) fn only_shown() -> Answer {
    error_code::ER_UNKNOWN_ERROR.answer(
        "The warnings of the statement before are there for a plain SHOW WARNINGS alone: the session was idle for a \
         second, and the server connection that had them went to others",
    )
}

impl Session<'_> {
    /// When the session, which waits for its next command, is to take its warnings off its connection.
    pub(crate) fn warnings_stay(&self) -> Option<Duration> {
        let is_kept = self.lease.is_some()
            && self.state.keeps_only_warnings()
            && !self.state.in_transaction();
        is_kept.then_some(ON_CONNECTION)
    }

    /// Takes them off, and gives the connection back. Where they are too many, or the server does not show them, they
    /// stay there; where it is gone, they are gone, too.
    ///
    /// Cancel safe: no; the connection must be closed.
    pub(crate) async fn keep_warnings(&mut self) -> Result<(), Ending> {
        if self.warnings_stay().is_none() {
            return Ok(());
        }
        let Some(lease) = self.lease.take() else { return Ok(()) };
        self.context.slot.set_deadline(self.context.worker.deadline(ANSWERED));
        match self.ask_on(lease, &Step::KeepWarnings).await? {
            Asked::Answered(lease) | Asked::Refused(lease, _) => self.lease = Some(lease),
            Asked::Lost => {
                self.state.pins.remove(PinCause::Warnings);
            }
        }
        self.count_memory();
        if self.state.keeps_only_insert_id() {
            return self.ask_for_untold().await;
        }
        let_go(self.context, &self.state, false, &mut self.lease, &mut self.holds);
        self.show_pins();
        Ok(())
    }

    /// Answers `SHOW WARNINGS`.
    pub(crate) async fn show_kept_warnings(&mut self) -> Result<(), Ending> {
        self.state.row_count = Some(-1);
        let kept = self.state.kept_warnings.as_deref().unwrap_or_default();
        self.client.send(self.context, kept).await
    }
}
