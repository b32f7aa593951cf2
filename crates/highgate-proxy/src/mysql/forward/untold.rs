//! An insert id that no answer told: LOAD DATA and CREATE TABLE … SELECT generate some, and statements that
//! fail behind their first row. It is asked for as soon as the session keeps its connection for nothing else:
//! who has loaded something and says nothing more would keep it from others.

use highgate_core::prepare::Step;

use super::let_go;
use crate::{mysql::session::Session, session::Ending};

impl Session<'_> {
    /// Asks for it, where nothing else is kept, and gives the connection back.
    ///
    /// Cancel safe: no; the connection must be closed.
    pub(crate) async fn ask_for_untold(&mut self) -> Result<(), Ending> {
        let Some(mut lease) = self.lease.take() else { return Ok(()) };
        let mut space = self.context.worker.take_space();
        space.rest.steps.clear();
        space.rest.steps.push(Step::CaptureLastInsertId);
        let asked = self.run_steps(&mut lease, false, &mut space.rest).await;
        self.context.worker.give_space(space);
        if asked.is_err() {
            return self.after_refusal(lease, true).map_or(Ok(()), Err);
        }
        self.lease = Some(lease);
        let_go(self.context, &self.state, false, &mut self.lease, &mut self.holds);
        Ok(())
    }
}
