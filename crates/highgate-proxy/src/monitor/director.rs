//! The task that owns health, roles and the plan.

mod checks;
mod command;
mod judge;
mod view;

use std::{
    cell::Cell,
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use highgate_config::{Backend, BackendName, Config, NodeName, Override};
use highgate_core::{
    events::Event,
    health::{self, Action, Condition, Event as HealthEvent, HealthSettings, ServerHealth},
    plan,
    server::{ServerId, ServerRegistry, ServerState, TrafficFailure},
    snapshot::{Policy, Snapshot},
    topology::{Machine, Outcome, PrimaryRecord, Settings},
};
use highgate_io::{
    clock,
    tasks::{LocalTasks, Stop},
};
use parking_lot::Mutex;
use tokio::sync::{Semaphore, mpsc, watch};

use self::{checks::Wanted, judge::overrides};
pub use self::{
    command::{Command, Forgotten},
    view::{ServerView, View},
};
use crate::{
    monitor::{
        accounts, names,
        probe::{Probe, Probed},
        turns::Turns,
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

/// The director before it runs.
#[derive(Debug)]
pub struct Director {
    shared: Arc<Shared>,
    inputs: Inputs,
    /// What was stored of the primaries when it began.
    began: Records,
    view: Arc<Mutex<View>>,
    registry: ServerRegistry,
    servers: BTreeMap<ServerId, Watched>,
    healths: BTreeMap<ServerId, ServerHealth>,
    machines: BTreeMap<BackendName, (highgate_config::Topology, Machine)>,
    outcomes: BTreeMap<BackendName, Outcome>,
    /// New backends, and until when their first verdict may wait for servers not checked yet.
    first_by: BTreeMap<BackendName, Instant>,
    overrides: plan::Overrides,
    /// What the checks of each backend go by: its settings without its servers, of which there may be many.
    checks: BTreeMap<BackendName, Arc<Backend>>,
    /// The configuration in force, with what was made of it.
    config: Arc<Config>,
    policy: Option<Arc<Policy>>,
    snapshot: Option<Arc<Snapshot>>,
    /// When backends were judged last.
    judged: Instant,
    /// Not judged again before: where that takes long, checks would wait for it all the time.
    judge_after: Instant,
    /// Of whom something was heard since, if anything is to be judged.
    unjudged: Option<Vec<ServerId>>,
    results: mpsc::Sender<Probed>,
    /// Servers whose names are looked up, ever: numbers are not used again.
    named: BTreeSet<ServerId>,
    turns: Rc<Semaphore>,
    /// Turns for checks that open a connection.
    check_turns: Rc<Turns>,
    tasks: LocalTasks,
}

#[derive(Debug)]
struct Watched {
    state: Arc<ServerState>,
    probe: Rc<Probe>,
    /// Bytes that sessions had received from it when its last check began.
    bytes_in: Cell<u64>,
    /// Bytes that they had sent when a check last had to read a greeting for want of an answer.
    asked: Cell<u64>,
}

impl Watched {
    fn bytes_in(&self) -> u64 {
        self.state.hot.bytes_in.load(Ordering::Relaxed)
    }

    /// Has the check that begins read a greeting where sessions hold connections, have sent something, and heard
    /// nothing since the last one: a process that hangs owes them an answer, and its kernel takes connections.
    fn doubt_silence(&self) {
        let (hot, is_silent) = (&self.state.hot, self.bytes_in() == self.bytes_in.get());
        let sent = hot.bytes_out.load(Ordering::Relaxed);
        if is_silent
            && hot.leased.load(Ordering::Relaxed) > 0
            && self.probe.shared().facts.has_greeted(&self.state)
            && self.asked.replace(sent) != sent
        {
            self.probe.is_silent();
        }
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
        let check_turns = Turns::new(shared.check_sockets.clone());
        let director = Self {
            shared,
            began: inputs.records.clone(),
            inputs,
            view,
            registry: ServerRegistry::new(),
            servers: BTreeMap::new(),
            healths: BTreeMap::new(),
            machines: BTreeMap::new(),
            outcomes: BTreeMap::new(),
            first_by: BTreeMap::new(),
            overrides: plan::Overrides::new(),
            checks: BTreeMap::new(),
            config,
            policy: None,
            snapshot: None,
            judged: clock::now(),
            judge_after: clock::now(),
            unjudged: None,
            results,
            named: BTreeSet::new(),
            turns: names::turns(),
            check_turns,
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
        let judge = match self.unjudged {
            Some(_) => self.judge_after,
            None => {
                let first = self.first_by.values().copied();
                first.fold(self.judged + REVIEW, Instant::min).max(self.judge_after)
            }
        };
        let checks = self.healths.values().filter_map(ServerHealth::next_deadline);
        checks.fold(judge, Instant::min)
    }

    /// Takes over configuration and overrides: machines for new servers, new settings for the rest.
    fn configure(&mut self, now: Instant) {
        let config = self.take_config();
        self.overrides = overrides(&self.inputs.overrides.borrow_and_update());
        self.configure_checks(&config);
        let states = plan::states(&config, &mut self.registry, now);
        let wanted: BTreeSet<ServerId> = states.iter().map(|state| state.id).collect();
        self.servers.retain(|id, _| wanted.contains(id));
        self.healths.retain(|id, _| wanted.contains(id));
        for state in states {
            let Some(backend) = config.shared.backends.get(&state.backend) else { continue };
            let Some(server) = backend.servers.get(&state.name) else { continue };
            state.bound_open(server.max_connections);
            let key = (state.backend.clone(), state.name.clone());
            let mark = self.overrides.get(&key).and_then(|mark| mark.state);
            let admin = mark.unwrap_or(server.state);
            let settings = HealthSettings::from(&backend.monitor);
            let id = state.id;
            let Some(checks) = self.checks.get(&state.backend) else { continue };
            let kept = self.servers.get(&id).filter(|watched| watched.probe.is_for(checks));
            if !self.servers.contains_key(&id) {
                // Sessions may have held it while nobody watched it: what they told of then is left.
                let _ = state.take_traffic();
            }
            if kept.is_none() {
                let (shared, turns) = (self.shared.clone(), self.check_turns.clone());
                let probe = Rc::new(Probe::new(shared, state.clone(), checks.clone(), turns));
                if self.named.insert(id) && names::name(&state.address).is_some() {
                    let (server, shared) = (Arc::downgrade(&state), self.shared.clone());
                    self.tasks.spawn(names::follow(server, shared, self.turns.clone()));
                }
                let (bytes_in, asked) = (Cell::default(), Cell::default());
                self.servers.insert(id, Watched { state, probe, bytes_in, asked });
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

    fn configure_checks(&mut self, config: &Config) {
        let mut before = std::mem::take(&mut self.checks);
        for (name, backend) in &config.shared.backends {
            let checks = Backend { servers: BTreeMap::new(), ..backend.clone() };
            let checks = match before.remove(name) {
                Some(same) if *same == checks => same,
                _ => Arc::new(checks),
            };
            self.checks.insert(name.clone(), checks);
        }
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
        if let HealthEvent::TrafficFailed {
            kind: TrafficFailure::Silent | TrafficFailure::Timeout,
        } = event
        {
            watched.probe.is_silent();
        }
        let actions = health.step(event, now);
        health::apply(&actions, &watched.state, now);
        let mut must_judge = false;
        let mut is_down = false;
        for action in actions {
            match action {
                Action::CheckNow { timeout, afresh } => {
                    let standing = checks::standing(health.condition());
                    let wanted = Wanted { timeout, afresh, standing };
                    if watched.check(wanted, &self.results, &self.tasks) {
                        health.step(HealthEvent::CheckWaits, now);
                    }
                }
                Action::TryConnection => {
                    let probe = watched.probe.clone();
                    let results = self.results.clone();
                    self.tasks.spawn(async move {
                        let event = HealthEvent::ConnectionTried { works: probe.connects().await };
                        // Nobody tries again before this is heard, so it waits for its turn.
                        let _ = results.send(Probed::bare(id, event)).await;
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
                    watched.probe.give_up_opening();
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
        let mut judged = Vec::new();
        for _ in 0..RESULTS {
            let Some(probed) = next else { break };
            if probed.event != HealthEvent::CheckBegins {
                judged.push(probed.server);
            } else if let Some(watched) = self.servers.get(&probed.server) {
                watched.bytes_in.set(watched.bytes_in());
            }
            if let Some(greeting) = probed.learned
                && let Some(watched) = self.servers.get(&probed.server)
            {
                self.shared.facts.learn(&watched.state, &greeting);
            }
            if probed.heard || self.traffic_heard(probed.server) {
                self.step(probed.server, HealthEvent::Heard, now);
            }
            self.step(probed.server, probed.event, now);
            self.rest(probed.server);
            next = results.try_recv().ok();
        }
        if judged.is_empty() {
            return;
        }
        // Judged in any case: facts may have changed.
        self.judge_soon(judged, now);
    }

    /// A server that is not checked any more holds no turn.
    fn rest(&self, id: ServerId) {
        if let (Some(health), Some(watched)) = (self.healths.get(&id), self.servers.get(&id))
            && health.condition() == Condition::Maintenance
        {
            watched.probe.give_up_opening();
        }
    }

    /// Writes that wait for a judgement of these servers need wait no longer, where it is there.
    fn let_writes_go_on(&self, judged: impl IntoIterator<Item = ServerId>, now: Instant) {
        for id in judged {
            let Some(watched) = self.servers.get(&id) else { continue };
            let is_open = self.healths.get(&id).is_some_and(ServerHealth::is_in_question);
            if watched.state.holds_writes(now) && !is_open {
                watched.state.judged();
                self.shared.wake_waiting();
            }
        }
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
        let reported = reports.into_iter().map(|(id, _)| id);
        if must_judge {
            self.judge_soon(reported, now);
        } else {
            self.let_writes_go_on(reported, now);
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
        } else if must_judge || self.unjudged.is_some() {
            self.judge_soon([], now);
        }
    }

    /// Judges what was heard of these servers: now, unless that took long lately.
    fn judge_soon(&mut self, servers: impl IntoIterator<Item = ServerId>, now: Instant) {
        let mut unjudged = self.unjudged.take().unwrap_or_default();
        unjudged.extend(servers);
        if now < self.judge_after {
            self.unjudged = Some(unjudged);
            return;
        }
        self.judge(now);
        self.let_writes_go_on(unjudged, now);
    }
}
