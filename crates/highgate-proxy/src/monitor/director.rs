//! The task that owns health, roles and the plan.

use std::{
    cell::Cell,
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use highgate_config::{
    AdminState, BackendName, Config, NodeName, Override, OverrideKind, ServerName,
};
use highgate_core::{
    events::{Event, Kind, Severity},
    health::{self, Action, Event as HealthEvent, HealthSettings, ServerHealth},
    plan::{self, Observed},
    server::{ServerId, ServerRegistry, ServerState},
    snapshot::{Policy, Snapshot, Writes},
    topology::{Machine, Outcome, PrimaryRecord, Settings},
};
use highgate_io::{
    clock,
    tasks::{LocalTasks, Stop},
};
use parking_lot::Mutex;
use tokio::sync::{Semaphore, mpsc, oneshot, watch};

use crate::{
    monitor::{
        accounts, names,
        probe::{Probe, Probed},
    },
    shared::Shared,
    worker::Mail,
};

/// Results of checks that may wait; each server has at most one under way.
const RESULTS: usize = 4096;
/// Longest time without a new judgement: lag and ramps move without any event.
const REVIEW: Duration = Duration::from_secs(1);

/// How long the first verdict about a backend waits for servers that do not answer: a living one
/// needs a few milliseconds, a dead one would hold up the others for its whole time-out.
const FIRST_WORD: Duration = Duration::from_millis(250);

/// What is stored of each backend's primary, and read at start.
pub type Records = BTreeMap<BackendName, PrimaryRecord>;

/// What the director is given.
#[derive(Debug)]
pub struct Inputs {
    /// The desired state, as it changes.
    pub config: watch::Receiver<Arc<Config>>,
    /// Operators' marks, as they change.
    pub overrides: watch::Receiver<Arc<Vec<Override>>>,
    /// Orders from the control side.
    pub commands: mpsc::Receiver<Command>,
    /// Which node this is.
    pub node: NodeName,
    /// What was stored of the primaries.
    pub records: Records,
    /// Told whenever what is to be stored has changed.
    pub store: watch::Sender<Arc<Records>>,
}

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

/// A server's health as operators see it; rewritten after each judgement.
#[derive(Debug, Clone, Default)]
pub struct View {
    /// By server: time of the last check's answer, and the last error.
    pub servers: BTreeMap<ServerId, ServerView>,
}

/// One server's health as operators see it.
#[derive(Debug, Clone, Default)]
pub struct ServerView {
    /// How long the last good check took.
    pub latency: Option<Duration>,
    /// What the last failure said.
    pub last_error: Option<String>,
}

/// The director before it runs.
#[derive(Debug)]
pub struct Director {
    shared: Arc<Shared>,
    inputs: Inputs,
    view: Arc<Mutex<View>>,
    registry: ServerRegistry,
    servers: BTreeMap<ServerId, Watched>,
    healths: BTreeMap<ServerId, ServerHealth>,
    machines: BTreeMap<BackendName, (highgate_config::Topology, Machine)>,
    outcomes: BTreeMap<BackendName, Outcome>,
    /// New backends, and until when their first verdict may wait for servers not checked yet.
    first_by: BTreeMap<BackendName, Instant>,
    overrides: plan::Overrides,
    /// The configuration in force, with what was made of it.
    config: Arc<Config>,
    policy: Option<Arc<Policy>>,
    snapshot: Option<Arc<Snapshot>>,
    /// When backends were judged last.
    judged: Instant,
    results: mpsc::Sender<Probed>,
    /// Servers whose names are looked up, ever: numbers are not used again.
    named: BTreeSet<ServerId>,
    turns: Rc<Semaphore>,
    tasks: LocalTasks,
}

#[derive(Debug)]
struct Watched {
    state: Arc<ServerState>,
    probe: Rc<Probe>,
    /// Bytes that sessions had received from it when its last check began.
    bytes_in: Cell<u64>,
}

impl Watched {
    fn bytes_in(&self) -> u64 {
        self.state.hot.bytes_in.load(Ordering::Relaxed)
    }

    /// Whether sessions had answers since its last check began that count as a sign of life.
    fn traffic_heard(&self) -> bool {
        self.probe.counts_traffic() && self.bytes_in() != self.bytes_in.get()
    }
}

impl Director {
    /// Plans the first snapshot. Gives the director and the results that its checks will send.
    pub fn new(
        shared: Arc<Shared>,
        inputs: Inputs,
        view: Arc<Mutex<View>>,
    ) -> (Self, mpsc::Receiver<Probed>) {
        let (results, receiver) = mpsc::channel(RESULTS);
        let config = inputs.config.borrow().clone();
        let director = Self {
            shared,
            inputs,
            view,
            registry: ServerRegistry::new(),
            servers: BTreeMap::new(),
            healths: BTreeMap::new(),
            machines: BTreeMap::new(),
            outcomes: BTreeMap::new(),
            first_by: BTreeMap::new(),
            overrides: plan::Overrides::new(),
            config,
            policy: None,
            snapshot: None,
            judged: clock::now(),
            results,
            named: BTreeSet::new(),
            turns: names::turns(),
            tasks: LocalTasks::default(),
        };
        (director, receiver)
    }

    /// Runs until the stop.
    ///
    /// Cancel safe: yes; what is known of servers is lost and learned anew.
    pub async fn run(mut self, mut results: mpsc::Receiver<Probed>, stop: Stop) {
        self.tasks.spawn(accounts::follow(self.shared.clone(), stop.clone()));
        self.configure(clock::now());
        loop {
            let deadline = self.next_deadline();
            let shared = self.shared.clone();
            tokio::select! {
                biased;
                () = stop.stopped() => return,
                Some(probed) = results.recv() => self.probed(probed, &mut results),
                () = shared.traffic_failure.notified() => self.traffic(),
                Ok(()) = self.inputs.config.changed() => self.configure(clock::now()),
                Ok(()) = self.inputs.overrides.changed() => self.configure(clock::now()),
                Some(command) = self.inputs.commands.recv() => self.obey(command),
                () = clock::sleep_until(deadline) => self.tick(),
            }
        }
    }

    fn next_deadline(&self) -> Instant {
        let review = self.judged + REVIEW;
        let checks = self.healths.values().filter_map(ServerHealth::next_deadline);
        checks.chain(self.first_by.values().copied()).fold(review, Instant::min)
    }

    /// Takes over configuration and overrides: machines for new servers, new settings for the rest.
    fn configure(&mut self, now: Instant) {
        let config = self.take_config();
        self.overrides = overrides(&self.inputs.overrides.borrow_and_update());
        let states = plan::states(&config, &mut self.registry, now);
        let wanted: BTreeSet<ServerId> = states.iter().map(|state| state.id).collect();
        self.servers.retain(|id, _| wanted.contains(id));
        self.healths.retain(|id, _| wanted.contains(id));
        for state in states {
            let Some(backend) = config.shared.backends.get(&state.backend) else { continue };
            let Some(server) = backend.servers.get(&state.name) else { continue };
            let key = (state.backend.clone(), state.name.clone());
            let mark = self.overrides.get(&key).and_then(|mark| mark.state);
            let admin = mark.unwrap_or(server.state);
            let settings = HealthSettings::from(&backend.monitor);
            let id = state.id;
            let kept = self.servers.get(&id).filter(|watched| watched.probe.is_for(backend));
            if kept.is_none() {
                let probe =
                    Rc::new(Probe::new(self.shared.clone(), state.clone(), backend.clone()));
                if self.named.insert(id) && names::name(&state.address).is_some() {
                    let (server, shared) = (Arc::downgrade(&state), self.shared.clone());
                    self.tasks.spawn(names::follow(server, shared, self.turns.clone()));
                }
                let bytes_in = Cell::default();
                self.servers.insert(id, Watched { state, probe, bytes_in });
            }
            let fresh = || ServerHealth::new(settings, admin, now);
            self.healths.entry(id).or_insert_with(fresh);
            // For a new one these say what it knows already.
            self.step(id, HealthEvent::Settings(settings), now);
            self.step(id, HealthEvent::Admin(admin), now);
            self.step(id, HealthEvent::Tick, now);
        }
        self.configure_topologies(&config, now);
        self.registry.forget_dead();
        self.judge(now);
    }

    /// The newest configuration. Whether its policy is another one is looked at here alone: that takes
    /// as long as the configuration is large, and backends are judged many times a second.
    fn take_config(&mut self) -> Arc<Config> {
        let config = self.inputs.config.borrow_and_update().clone();
        if self.policy.is_none() || !Arc::ptr_eq(&self.config, &config) {
            let old = self.policy.as_ref();
            let (policy, events) = plan::policy(&config, &self.inputs.node, old);
            self.policy = Some(policy);
            self.config = Arc::clone(&config);
            for event in events {
                self.shared.event(event);
            }
        }
        config
    }

    fn configure_topologies(&mut self, config: &Config, now: Instant) {
        let backends = &config.shared.backends;
        self.machines.retain(|name, (kind, _)| {
            backends.get(name).is_some_and(|backend| backend.topology == *kind)
        });
        self.outcomes.retain(|name, _| backends.contains_key(name));
        self.first_by.retain(|name, _| backends.contains_key(name));
        for (name, backend) in backends {
            let kind = backend.topology;
            let record = self.inputs.records.get(name).cloned();
            if !self.outcomes.contains_key(name) {
                self.first_by.entry(name.clone()).or_insert(now + FIRST_WORD);
            }
            let settings = Settings::from(backend);
            let fresh = || (kind, Machine::new(kind, name, settings, record));
            self.machines.entry(name.clone()).or_insert_with(fresh).1.set(settings);
        }
    }

    fn step(&mut self, id: ServerId, event: HealthEvent, now: Instant) -> bool {
        let (Some(health), Some(watched)) = (self.healths.get_mut(&id), self.servers.get(&id))
        else {
            return false;
        };
        let actions = health.step(event, now);
        health::apply(&actions, &watched.state);
        let mut must_judge = false;
        let mut is_down = false;
        for action in actions {
            match action {
                Action::CheckNow { timeout, afresh } => {
                    watched.bytes_in.set(watched.bytes_in());
                    let probe = watched.probe.clone();
                    let results = self.results.clone();
                    self.tasks.spawn(async move {
                        let probed = probe.check(clock::now() + timeout, afresh).await;
                        // A full channel means that the director is far behind: the machine's own
                        // time-out for the check then stands for its result.
                        let _ = results.try_send(probed);
                    });
                }
                Action::Event { severity, kind, text } => {
                    let event = Event::new(severity, kind, text)
                        .backend(&watched.state.backend)
                        .server(&watched.state.name);
                    self.shared.event(event);
                }
                Action::DeclareDown { .. } => {
                    (must_judge, is_down) = (true, true);
                }
                Action::DeclareUp | Action::Replan => must_judge = true,
                Action::Shun { .. } | Action::Unshun => {}
            }
        }
        if is_down {
            for worker in &self.shared.workers {
                let _ = worker.mail.try_send(Mail::ServersDown(vec![id]));
            }
        }
        must_judge
    }

    /// Takes in a check's result, and all that wait behind it: who watches thousands of servers
    /// judges them once for all that came meanwhile.
    fn probed(&mut self, first: Probed, results: &mut mpsc::Receiver<Probed>) {
        let now = clock::now();
        let mut next = Some(first);
        for _ in 0..RESULTS {
            let Some(probed) = next else { break };
            if let Some(greeting) = probed.learned
                && let Some(watched) = self.servers.get(&probed.server)
            {
                crate::facts::learn(&self.shared, &watched.state.backend, &greeting);
            }
            if probed.heard || self.traffic_heard(probed.server) {
                self.step(probed.server, HealthEvent::Heard, now);
            }
            self.step(probed.server, probed.event, now);
            next = results.try_recv().ok();
        }
        // Judged in any case: facts may have changed.
        self.judge(now);
    }

    fn traffic_heard(&self, id: ServerId) -> bool {
        self.servers.get(&id).is_some_and(Watched::traffic_heard)
    }

    /// Takes in what traffic saw since the last time.
    fn traffic(&mut self) {
        let now = clock::now();
        let reports: Vec<_> = self
            .servers
            .iter()
            .map(|(id, watched)| (*id, watched.state.take_traffic()))
            .filter(|(_, report)| !report.is_empty())
            .collect();
        let mut must_judge = false;
        for (id, report) in &reports {
            for (kind, _) in report.iter() {
                must_judge |= self.step(*id, HealthEvent::TrafficFailed { kind }, now);
            }
        }
        if must_judge {
            self.judge(now);
        }
        for (id, _) in reports {
            if let Some(watched) = self.servers.get(&id) {
                watched.state.judged();
            }
        }
    }

    fn tick(&mut self) {
        let now = clock::now();
        self.shared.tell_counted();
        let due: Vec<ServerId> = self
            .healths
            .iter()
            .filter(|(_, health)| health.next_deadline().is_some_and(|at| at <= now))
            .map(|(id, _)| *id)
            .collect();
        let mut must_judge = self.judged + REVIEW <= now;
        must_judge |= self.first_by.values().any(|until| *until <= now);
        for id in due {
            if self.traffic_heard(id) {
                must_judge |= self.step(id, HealthEvent::Heard, now);
            }
            must_judge |= self.step(id, HealthEvent::Tick, now);
        }
        let marks = overrides(&self.inputs.overrides.borrow());
        if marks != self.overrides {
            self.configure(now);
        } else if must_judge {
            self.judge(now);
        }
    }

    fn obey(&mut self, command: Command) {
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

    /// Assigns roles, plans, and publishes what is new.
    fn judge(&mut self, now: Instant) {
        self.judged = now;
        let config = self.config.clone();
        let Some(policy) = self.policy.clone() else { return };
        let mut events = Vec::new();
        for (name, backend) in &config.shared.backends {
            let Some((_, machine)) = self.machines.get_mut(name) else { continue };
            let inputs = plan::inputs(backend, name, &self.registry, &self.healths);
            // At start, nobody is judged before everybody was looked at, or had the time to answer:
            // no false alarm, and no verdict that the next answer would overturn.
            if let Some(until) = self.first_by.get(name) {
                if now < *until && machine.awaits(&inputs, now) {
                    continue;
                }
                self.first_by.remove(name);
            }
            let outcome = machine.step(&inputs, now, &mut events);
            self.outcomes.insert(name.clone(), outcome);
        }
        let observed = Observed {
            healths: &self.healths,
            topologies: &self.outcomes,
            overrides: &self.overrides,
        };
        let previous = self.snapshot.as_deref();
        let snapshot = plan::plan(&policy, observed, &mut self.registry, previous, now);
        let is_new = previous.is_none_or(|previous| previous.version != snapshot.version);
        if is_new {
            let snapshot = Arc::new(snapshot);
            self.snapshot = Some(snapshot.clone());
            self.shared.publish(snapshot);
        }
        if let Some(snapshot) = &self.snapshot {
            plan::hurry(snapshot, &mut self.healths, now);
        }
        for event in events {
            self.shared.event(event);
        }
        self.store_records();
        self.show();
    }

    fn store_records(&mut self) {
        // A backend that is not configured for now keeps its record; only an operator has it forgotten.
        for (name, (_, machine)) in &self.machines {
            let Some(record) = machine.record() else { continue };
            if self.inputs.records.get(name) != Some(record) {
                self.inputs.records.insert(name.clone(), record.clone());
            }
        }
        if **self.inputs.store.borrow() != self.inputs.records {
            self.inputs.store.send_replace(Arc::new(self.inputs.records.clone()));
        }
    }

    fn show(&self) {
        let servers = self
            .healths
            .iter()
            .map(|(id, health)| {
                let last_error = health.last_error().map(str::to_owned);
                (*id, ServerView { latency: health.latency(), last_error })
            })
            .collect();
        self.view.lock().servers = servers;
    }
}

/// The marks that hold now, in the form of the plan.
fn overrides(marks: &[Override]) -> plan::Overrides {
    let wall_ms = clock::wall_ms();
    let mut by_server = plan::Overrides::new();
    for mark in marks.iter().filter(|mark| mark.holds_at(wall_ms / 1000)) {
        let (state, weight) = match mark.kind {
            OverrideKind::Drain => (Some(AdminState::Drain), None),
            OverrideKind::Maintenance => (Some(AdminState::Maintenance), None),
            OverrideKind::Weight(weight) => (None, Some(weight)),
        };
        let mark_of_plan = plan::Override {
            state,
            weight,
            who: mark.who.clone(),
            since_ms: mark.since * 1000,
            until_ms: mark.until.map(|until| until * 1000),
        };
        by_server.insert(mark.server.clone(), mark_of_plan);
    }
    by_server
}

/// Why writes to a backend can't be sent now, for tables.
#[must_use]
pub fn writes_sentence(writes: &Writes) -> String {
    match writes {
        Writes::Open => "open".to_owned(),
        Writes::Waiting { reason } => format!("waiting: {reason}"),
        Writes::Refused { reason } => format!("refused: {reason}"),
    }
}
