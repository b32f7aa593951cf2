//! The table `backends` with what operators may do: have the primary of record forgotten.

use highgate_config::{BackendName, table::Action};
use highgate_io::tasks;
use highgate_proxy::monitor::{Command, Forgotten};
use tokio::sync::{mpsc, oneshot};

use crate::acting_table::Actions;

/// What operators may do with `backends`.
pub(crate) struct BackendActions {
    pub(crate) director: mpsc::Sender<Command>,
}

const ACTIONS: &[Action] = &[Action {
    name: "forget_primary",
    arguments: &["backend"],
    doc: "Forgets which server of BACKEND was the primary, for when that one is gone for good: the only \
          writable server becomes the primary, whatever it may lack.",
}];

impl Actions for BackendActions {
    fn actions(&self) -> &'static [Action] {
        ACTIONS
    }

    fn act(&self, action: &str, arguments: &[&str]) -> Result<String, String> {
        match (action, arguments) {
            ("forget_primary", [backend]) => self.forget_primary(backend),
            _ => Err(format!("`{action}` does not take these arguments")),
        }
    }
}

impl BackendActions {
    fn forget_primary(&self, backend: &str) -> Result<String, String> {
        let (done, told) = oneshot::channel();
        let order = Command::ForgetPrimary { backend: BackendName::from(backend), done };
        let told = tasks::wait(async {
            self.director.send(order).await.ok()?;
            told.await.ok()
        });
        match told.ok_or("the process is about to end")? {
            Some(Forgotten { was, now: Some(now) }) if was == now => Ok(format!(
                "{backend}: {was} is forgotten as the primary of record, and is the primary again: \
                 it is the only writable server"
            )),
            Some(Forgotten { was, now: Some(now) }) => Ok(format!(
                "{backend}: {was} is forgotten as the primary of record; {now} is the primary"
            )),
            Some(Forgotten { was, now: None }) => Ok(format!(
                "{backend}: {was} is forgotten as the primary of record; the only server that is made \
                 writable (read_only=0) becomes the primary"
            )),
            None => Err(format!(
                "no primary of `{backend}` is on record; see table `backends` for those whose topology is watched"
            )),
        }
    }
}
