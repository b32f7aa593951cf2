//! An insert id that no answer told: LOAD DATA and CREATE TABLE … SELECT generate some, and statements that
//! fail behind their first row. It is asked for as soon as the session keeps its connection for nothing else:
//! who has loaded something and says nothing more would keep it from others.

use highgate_core::settle;

use super::let_go;
use crate::{
    mysql::{
        exchange::Stopped,
        prepare::{Unprepared, ask_for_insert_id},
        session::Session,
    },
    session::Ending,
    slots::Interrupt,
};

impl Session<'_> {
    /// Asks for it, where nothing else is kept, and gives the connection back. Where it can't be had the session
    /// goes on without it: hardly anybody asks for it who did not have it by the answer.
    ///
    /// Cancel safe: no; the connection must be closed.
    pub(crate) async fn ask_for_untold(&mut self) -> Result<(), Ending> {
        let Some(mut lease) = self.lease.take() else { return Ok(()) };
        let mut space = self.context.worker.take_space();
        let (slot, exchange) = (&self.context.slot, &mut space.rest.exchange);
        let asked = ask_for_insert_id(slot, &mut lease.connection, exchange, &mut self.state).await;
        self.context.worker.give_space(space);
        match asked {
            Ok(()) => {}
            Err(Unprepared::Stopped(Stopped::Client(ending))) => {
                self.abandon(lease);
                return Err(ending);
            }
            Err(Unprepared::Stopped(Stopped::Told(Interrupt::Kill))) => {
                self.abandon(lease);
                return Err(Ending::Killed);
            }
            Err(Unprepared::Stopped(stopped)) => {
                self.note_loss(&lease, &stopped);
                self.note_id_lost(&lease, &stopped.to_string());
                settle::lose_insert_id(&mut self.state);
                // Its answer may still come: nobody may use the connection any more.
                self.abandon(lease);
                return Ok(());
            }
            Err(Unprepared::Refused { answer, .. }) => {
                self.note_id_lost(&lease, &answer.to_string());
                settle::lose_insert_id(&mut self.state);
            }
            // It is no question for how far the server is.
            Err(Unprepared::Behind) => {}
        }
        self.lease = Some(lease);
        let_go(self.context, &self.state, false, &mut self.lease, &mut self.holds);
        Ok(())
    }
}
