//! What operators have the director do.

use highgate_config::{BackendName, ServerName};
use highgate_core::events::{Event, Kind, Severity};
use highgate_io::clock;
use tokio::sync::oneshot;

use super::Director;

/// What the director can be asked to do.
#[derive(Debug)]
pub enum Command {
    /// Forget who was the primary: whoever is the only writable server becomes it.
    ForgetPrimary {
        /// The backend concerned.
        backend: BackendName,
        /// Told what became of it, if there was a record.
        done: oneshot::Sender<Option<Forgotten>>,
    },
    /// Say when what was stored before is in force.
    Settled {
        /// Told then.
        done: oneshot::Sender<()>,
    },
}

/// A primary of record that was forgotten.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Forgotten {
    /// Who it was.
    pub was: ServerName,
    /// Who is the primary now.
    pub now: Option<ServerName>,
}

impl Director {
    pub(super) fn obey(&mut self, command: Command) {
        match command {
            Command::ForgetPrimary { backend, done } => {
                let _ = done.send(self.forget_primary(&backend));
            }
            // Marks and configurations are looked at before commands.
            Command::Settled { done } => {
                let _ = done.send(());
            }
        }
    }

    fn forget_primary(&mut self, backend: &BackendName) -> Option<Forgotten> {
        let was = self.machines.get(backend)?.1.record()?.server.clone();
        let text = format!("an operator had {was} forgotten as the primary of record");
        let event = Event::new(Severity::Warning, Kind::Override, text);
        self.shared.event(event.backend(backend).server(&was));
        self.machines.remove(backend);
        self.inputs.records.remove(backend);
        let config = self.config.clone();
        let now = clock::now();
        self.configure_topologies(&config, now);
        self.judge(now);
        let now = self.outcomes.get(backend).and_then(|outcome| outcome.primary.clone());
        Some(Forgotten { was, now })
    }
}
