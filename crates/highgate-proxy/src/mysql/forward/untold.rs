//! An insert id that no answer told: LOAD DATA and CREATE TABLE … SELECT generate some, and statements that
//! fail behind their first row. It is asked for as soon as the session keeps its connection for nothing else:
//! who has loaded something and says nothing more would keep it from others.

use super::{Tried, let_go};
use crate::{
    mysql::{
        prepare::{Unprepared, ask_for_insert_id},
        session::Session,
    },
    session::Ending,
};

impl Session<'_> {
    /// Asks for it, where nothing else is kept, and gives the connection back.
    ///
    /// Cancel safe: no; the connection must be closed.
    pub(crate) async fn ask_for_untold(&mut self) -> Result<(), Ending> {
        let Some(mut lease) = self.lease.take() else { return Ok(()) };
        let mut space = self.context.worker.take_space();
        let (slot, exchange) = (&self.context.slot, &mut space.rest.exchange);
        let asked = ask_for_insert_id(slot, &mut lease.connection, exchange, &mut self.state).await;
        self.context.worker.give_space(space);
        match asked {
            Ok(()) => {
                self.lease = Some(lease);
                let_go(self.context, &self.state, false, &mut self.lease, &mut self.holds);
                Ok(())
            }
            Err(Unprepared::Stopped(stopped)) => {
                // Its answer may still come: nobody may use the connection any more.
                let ended = self.stopped_before(&mut lease, true, stopped);
                self.abandon(lease);
                match ended {
                    Tried::Ended(ending) => Err(ending),
                    _ => Ok(()),
                }
            }
            // It is asked again behind the next command.
            Err(_) => {
                self.lease = Some(lease);
                Ok(())
            }
        }
    }
}
