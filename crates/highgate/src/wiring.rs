//! Builds the parts, connects them, and hands them to tasks: the box diagram of ARCHITECTURE.md,
//! from top to bottom.

use std::{path::PathBuf, sync::Arc, time::Duration};

use anyhow::Context;
use highgate_admin::Tables;
use highgate_cluster::Alone;
use highgate_config::{Config, ControlPlane, table::Table};
use highgate_io::{
    log::LogLines,
    tasks::{LocalTasks, Stop, Stopper},
};
use highgate_proxy::{
    certificate::CertificateDate,
    monitor::{Command, Director, Inputs, Records},
    node::{Node, Settings},
};
use tokio::sync::{mpsc, oneshot, watch};

use crate::{
    acting_table::{ActingTable, Actions},
    again::Again,
    applying::Applying,
    backend_actions::BackendActions,
    log,
    node_table::NodeTable,
    own_files::OwnFiles,
    records,
    rule_actions::RuleActions,
    server_actions::ServerActions,
    vips::{Keeper, Link, PeersTable, RefusalsTable, VipsTable},
    vitals,
};

/// Everything that runs.
pub(crate) struct Wired {
    pub(crate) alone: Arc<Alone>,
    /// The configuration that it was started with.
    started: Arc<Config>,
    pub(crate) node: Arc<Node>,
    pub(crate) serving: watch::Sender<bool>,
    /// What keeps this node from its work, though it is to serve.
    pub(crate) fault: watch::Receiver<Option<String>>,
    pub(crate) data_dir: PathBuf,
    /// To the process that keeps the addresses.
    pub(crate) vips: Arc<Link>,
    /// Who asked that what was accepted is put in force, certificates read anew.
    pub(crate) again: Arc<Again>,
    /// Of the ports for operators.
    pub(crate) admin_certificate: Arc<CertificateDate>,
    own: OwnFiles,
    log: LogLines,
    stopper: Stopper,
    /// Who the primaries are, as the director learns it.
    learned: watch::Receiver<Arc<Records>>,
    director: mpsc::Sender<Command>,
}

/// Orders to the director that may wait; who gives one waits for its end.
const ORDERS: usize = 4;

/// Builds and starts everything but the admin side.
pub(crate) fn wire(
    alone: Alone,
    data_dir: PathBuf,
    own: OwnFiles,
    (keeper, in_charge): (Option<Keeper>, bool),
    lines: LogLines,
    tasks: &LocalTasks,
) -> anyhow::Result<Wired> {
    let alone = Arc::new(alone);
    let (_, config) = alone.current();
    let this = config.node.get(alone.node());
    let settings = Settings {
        name: alone.node().clone(),
        number: 0,
        workers: workers(this.map_or(0, |node| node.workers)),
    };
    let node = Arc::new(Node::start(settings).context("cannot start the data workers")?);
    let (stopper, stop) = Stopper::new();
    let (director, orders) = mpsc::channel(ORDERS);
    let learned = direct(&alone, &node, orders, tasks, stop.clone());
    tasks.spawn(log::watch(lines.clone(), node.shared().clone(), stop.clone()));
    let serving = watch::Sender::new(false);
    let (faults, fault) = watch::channel(vitals::idle(&config, alone.node()));
    let desired = (alone.watch_config(), alone.node().clone());
    tasks.spawn(vitals::watch(node.clone(), desired, faults, stop.clone()));
    let serves = (serving.subscribe(), fault.clone(), in_charge);
    let vips = Link::open(keeper, &alone, &node, serves, (tasks, stop))
        .context("cannot talk to the process that keeps the addresses")?;
    let admin_certificate = Arc::default();
    Ok(Wired {
        alone,
        started: config,
        node,
        serving,
        fault,
        data_dir,
        vips,
        again: Arc::default(),
        admin_certificate,
        own,
        log: lines,
        stopper,
        learned,
        director,
    })
}

/// The director, fed by the control plane; gives what it learns.
fn direct(
    alone: &Alone,
    node: &Node,
    orders: mpsc::Receiver<Command>,
    tasks: &LocalTasks,
    stop: Stop,
) -> watch::Receiver<Arc<Records>> {
    let known = records::load(&alone.records());
    let (store, changes) = watch::channel(Arc::new(known.clone()));
    let inputs = Inputs {
        config: alone.watch_config(),
        overrides: alone.watch_overrides(),
        commands: orders,
        node: alone.node().clone(),
        records: known,
        store,
    };
    let (director, results) = Director::new(node.shared().clone(), inputs, node.view().clone());
    tasks.spawn(director.run(results, stop));
    changes
}

impl Wired {
    /// What operators see.
    pub(crate) fn tables(&self) -> Tables {
        let shared = self.node.shared();
        let mut tables: Vec<Arc<dyn Table>> = vec![Arc::new(NodeTable {
            alone: self.alone.clone(),
            shared: shared.clone(),
            certificate: self.admin_certificate.clone(),
            log: self.log.clone(),
            applying: self.applying(),
        })];
        for table in self.node.tables() {
            let (alone, shared) = (self.alone.clone(), shared.clone());
            let director = self.director.clone();
            tables.push(match table.name() {
                "rules" => acting(table, RuleActions { shared }),
                "backends" => acting(table, BackendActions { director }),
                "servers" => acting(table, ServerActions { alone, shared, director }),
                _ => table,
            });
        }
        tables.push(Arc::new(VipsTable(self.vips.clone())));
        tables.push(Arc::new(PeersTable(self.vips.clone())));
        tables.push(Arc::new(RefusalsTable(self.vips.clone())));
        Tables::new(tables)
    }

    /// Tells operators of certificates that expire, or have. To be called now and then.
    pub(crate) fn look_at_certificates(&self) {
        self.node.look_at_certificates();
        let now = highgate_io::clock::wall_ms() / 1000;
        if let Some(event) = self.admin_certificate.look("the ports for operators", now) {
            self.node.shared().event(event);
        }
    }

    /// Has the director go by what the process before stored, which it did until it let go of the data directory:
    /// what was read beside it, at start, may be two minutes old.
    pub(crate) async fn go_by_stored_records(&self) {
        let (done, told) = oneshot::channel();
        let order = Command::Records { stored: records::load(&self.alone.records()), done };
        if self.director.send(order).await.is_ok() {
            let _ = told.await;
        }
    }

    /// Stores what the director learns: from when this process may write.
    pub(crate) fn keep_records(&self, tasks: &LocalTasks) {
        let changes = self.learned.clone();
        tasks.spawn(records::keep(self.alone.records(), changes, self.node.shared().clone()));
    }

    /// What changes of the configuration go through.
    pub(crate) fn applying(&self) -> Applying {
        Applying {
            alone: self.alone.clone(),
            node: self.node.clone(),
            vips: self.vips.clone(),
            again: self.again.clone(),
            own: self.own.clone(),
            started: self.started.clone(),
        }
    }

    /// The configuration in force.
    pub(crate) fn config(&self) -> Arc<Config> {
        self.alone.current().1
    }

    /// How long sessions may take to end.
    pub(crate) fn patience(&self) -> Duration {
        let config = self.config();
        let own = config.node.get(self.alone.node());
        own.map_or(Duration::from_secs(30), |node| node.drain_timeout)
    }

    /// Ends what is left after draining.
    pub(crate) fn end(&self) {
        self.stopper.stop();
        self.node.stop();
    }
}

fn acting(inner: Arc<dyn Table>, actions: impl Actions + 'static) -> Arc<dyn Table> {
    Arc::new(ActingTable { inner, actions })
}

fn workers(configured: u32) -> usize {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    if configured == 0 { cores } else { usize::try_from(configured).unwrap_or(cores) }
}
