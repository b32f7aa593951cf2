//! What operators have the director do.

use highgate_config::{BackendName, ServerName};
use highgate_core::events::{Event, Kind, Severity};
use highgate_io::clock;
use tokio::sync::oneshot;

use super::{Director, Records};

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
    /// Go by what the process before stored, where that knows more.
    Records {
        /// What it stored last.
        stored: Records,
        /// Told when backends were judged by it.
        done: oneshot::Sender<()>,
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
            Command::Records { stored, done } => {
                self.go_by(stored);
                let _ = done.send(());
            }
            // Marks and configurations are looked at before commands.
            Command::Settled { done } => {
                let _ = done.send(());
            }
        }
    }

    /// What this process found out beside the one before began with what that had stored by then. A machine begins
    /// anew with what it stored since, as after a restart.
    fn go_by(&mut self, stored: Records) {
        for (backend, record) in stored {
            let own = self.machines.get(&backend).and_then(|(_, machine)| machine.record());
            if !record.outranks(own.or(self.inputs.records.get(&backend))) {
                continue;
            }
            let text = format!("the process before had {} as the primary of record", record.server);
            let event = Event::new(Severity::Info, Kind::Lifecycle, text);
            self.shared.event(event.backend(&backend).server(&record.server));
            self.machines.remove(&backend);
            self.inputs.records.insert(backend, record);
        }
        self.judge_anew();
    }

    fn judge_anew(&mut self) {
        let (config, now) = (self.config.clone(), clock::now());
        self.configure_topologies(&config, now);
        self.judge(now);
    }

    fn forget_primary(&mut self, backend: &BackendName) -> Option<Forgotten> {
        let was = self.machines.get(backend)?.1.record()?.server.clone();
        let text = format!("an operator had {was} forgotten as the primary of record");
        let event = Event::new(Severity::Warning, Kind::Override, text);
        self.shared.event(event.backend(backend).server(&was));
        self.machines.remove(backend);
        self.inputs.records.remove(backend);
        self.judge_anew();
        let now = self.outcomes.get(backend).and_then(|outcome| outcome.primary.clone());
        Some(Forgotten { was, now })
    }
}
