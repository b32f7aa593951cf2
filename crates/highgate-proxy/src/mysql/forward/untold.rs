//! An insert id that no answer told: LOAD DATA and CREATE TABLE … SELECT generate some, and statements that
//! fail behind their first row. It is asked for as soon as the session keeps its connection for nothing else:
//! who has loaded something and says nothing more would keep it from others.

use highgate_core::{pins::PinCause, prepare::Step, settle};

use super::let_go;
use crate::{
    mysql::{
        acquire::Lease,
        exchange::Stopped,
        prepare::{Unprepared, ask_held},
        session::Session,
    },
    session::Ending,
    slots::Interrupt,
};

/// What became of a question to the connection that a session holds.
pub(super) enum Asked {
    Answered(Lease),
    Refused(Lease, String),
    /// The connection is gone.
    Lost,
}

impl Session<'_> {
    /// Asks for it, where nothing else is kept, and gives the connection back. Where it can't be had the session
    /// goes on without it: hardly anybody asks for it who did not have it by the answer.
    ///
    /// Cancel safe: no; the connection must be closed.
    pub(crate) async fn ask_for_untold(&mut self) -> Result<(), Ending> {
        let Some(lease) = self.lease.take() else { return Ok(()) };
        match self.ask_on(lease, &Step::CaptureLastInsertId).await? {
            Asked::Answered(lease) => self.lease = Some(lease),
            Asked::Refused(lease, why) => {
                self.note_id_lost(&lease, &why);
                settle::lose_insert_id(&mut self.state);
                self.lease = Some(lease);
            }
            Asked::Lost => return Ok(()),
        }
        let_go(self.context, &self.state, false, &mut self.lease, &mut self.holds);
        Ok(())
    }

    /// Asks on the connection that the session held. Where that is lost, an untold insert id is lost with it.
    ///
    /// Cancel safe: no; the connection must be closed.
    pub(super) async fn ask_on(&mut self, mut lease: Lease, step: &Step) -> Result<Asked, Ending> {
        let mut space = self.context.worker.take_space();
        let (slot, exchange) = (&self.context.slot, &mut space.rest.exchange);
        let asked = ask_held(slot, &mut lease.connection, step, exchange, &mut self.state).await;
        self.context.worker.give_space(space);
        match asked {
            // Behind: it is no question for how far the server is.
            Ok(()) | Err(Unprepared::Behind) => Ok(Asked::Answered(lease)),
            Err(Unprepared::Refused { answer, .. }) => {
                Ok(Asked::Refused(lease, answer.to_string()))
            }
            Err(Unprepared::Stopped(Stopped::Client(ending))) => {
                self.abandon(lease);
                Err(ending)
            }
            Err(Unprepared::Stopped(Stopped::Told(Interrupt::Kill))) => {
                self.abandon(lease);
                Err(Ending::Killed)
            }
            Err(Unprepared::Stopped(stopped)) => {
                self.note_loss(&lease, &stopped);
                if self.state.pins.contains(PinCause::LastInsertIdUnknown) {
                    self.note_id_lost(&lease, &stopped.to_string());
                    settle::lose_insert_id(&mut self.state);
                }
                // Its answer may still come: nobody may use the connection any more.
                self.abandon(lease);
                Ok(Asked::Lost)
            }
        }
    }
}
