//! What operators have the director do.

use std::collections::BTreeSet;

use highgate_config::{BackendName, ServerName};
use highgate_core::{
    events::{Event, Kind, Severity},
    topology::PrimaryRecord,
};
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
    fn go_by(&mut self, mut stored: Records) {
        let began = std::mem::take(&mut self.began);
        let all: BTreeSet<_> = began.keys().chain(stored.keys()).cloned().collect();
        for backend in all {
            let record = stored.remove(&backend);
            let term = |record: Option<&PrimaryRecord>| record.map_or(0, |record| record.term);
            // Terms grow, but for an operator's word.
            let was_forgotten = term(record.as_ref()) < term(began.get(&backend));
            let own = self.machines.get(&backend).and_then(|(_, machine)| machine.record());
            let own = own.or(self.inputs.records.get(&backend));
            if !was_forgotten && !record.as_ref().is_some_and(|record| record.outranks(own)) {
                continue;
            }
            let text = match &record {
                Some(record) => {
                    format!("the process before had {} as the primary of record", record.server)
                }
                None => "the process before had the primary of record forgotten".to_owned(),
            };
            let event = Event::new(Severity::Info, Kind::Lifecycle, text).backend(&backend);
            self.shared.event(match &record {
                Some(record) => event.server(&record.server),
                None => event,
            });
            self.machines.remove(&backend);
            self.inputs.records.remove(&backend);
            self.inputs.records.extend(record.map(|record| (backend, record)));
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
