//! Builds the parts, connects them, and hands them to tasks: the box diagram of ARCHITECTURE.md,
//! from top to bottom.

use std::{path::PathBuf, sync::Arc};

use anyhow::Context;
use highgate_admin::{Tables, Users, sql, web};
use highgate_cluster::Alone;
use highgate_config::{Address, ControlPlane, Node as NodeConfig, table::Table};
use highgate_io::{
    listen,
    tasks::{LocalTasks, Stop, Stopper},
};
use highgate_proxy::{
    monitor::{Director, Inputs},
    node::{Node, Settings},
};
use tokio::sync::{mpsc, watch};

use crate::{
    admin_password, explain_table::RulesTable, node_table::NodeTable, records,
    servers_table::ServersTable,
};

/// Everything that runs.
pub(crate) struct Wired {
    pub(crate) alone: Arc<Alone>,
    pub(crate) node: Arc<Node>,
    pub(crate) serving: watch::Sender<bool>,
    pub(crate) data_dir: PathBuf,
    stopper: Stopper,
}

/// Builds and starts everything but the admin side.
pub(crate) fn wire(alone: Alone, data_dir: PathBuf, tasks: &LocalTasks) -> anyhow::Result<Wired> {
    let alone = Arc::new(alone);
    let (_, config) = alone.current();
    let own = config.node.get(alone.node());
    let settings = Settings {
        name: alone.node().clone(),
        number: 0,
        workers: workers(own.map_or(0, |node| node.workers)),
    };
    let node = Arc::new(Node::start(settings).context("cannot start the data workers")?);
    let (stopper, stop) = Stopper::new();
    direct(&alone, &node, tasks, stop);
    Ok(Wired {
        alone,
        node,
        serving: watch::Sender::new(false),
        data_dir,
        stopper,
    })
}

/// The director, fed by the control plane, and the store of what it learns.
fn direct(alone: &Alone, node: &Node, tasks: &LocalTasks, stop: Stop) {
    let known = records::load(&alone.records());
    let (store, changes) = watch::channel(Arc::new(known.clone()));
    let (_commands, orders) = mpsc::channel(1);
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
    tasks.spawn(records::keep(alone.records(), changes));
}

impl Wired {
    /// What operators see.
    fn tables(&self) -> Tables {
        let shared = self.node.shared();
        let mut tables: Vec<Arc<dyn Table>> = vec![Arc::new(NodeTable {
            alone: self.alone.clone(),
            shared: shared.clone(),
        })];
        for table in self.node.tables() {
            let (alone, shared) = (self.alone.clone(), shared.clone());
            tables.push(match table.name() {
                "rules" => Arc::new(RulesTable {
                    inner: table,
                    shared,
                }),
                "servers" => Arc::new(ServersTable {
                    inner: table,
                    alone,
                    shared,
                }),
                _ => table,
            });
        }
        Tables::new(tables)
    }

    /// Opens the admin endpoints.
    pub(crate) fn administer(&self, tasks: &LocalTasks) -> anyhow::Result<()> {
        let (_, config) = self.alone.current();
        let own = config
            .node
            .get(self.alone.node())
            .cloned()
            .unwrap_or_default();
        let tables = self.tables();
        let accounts = admin_password::accounts(&own.admin.users, &self.data_dir)?;
        let users = Users::fixed(accounts);
        let stop = self.stop();
        self.sql_port(&own, &tables, &users, tasks, stop.clone())?;
        let site = web::Site {
            tables,
            users,
            serving: self.serving.subscribe(),
        };
        if let Some(address) = &own.admin.web {
            let (listener, address) = bind(address).context("[admin] web")?;
            tracing::info!(admin = %"web", %address, "listening");
            let router = web::router(&site, web::Door::of(address.ip()));
            tasks.spawn(web::serve(listener, router, stop.clone()));
        }
        let socket = web::owner_socket(&socket_path(&self.data_dir))
            .context("cannot open the socket for `highgate ctl`")?;
        tasks.spawn(web::serve(
            socket,
            web::router(&site, web::Door::Owner),
            stop,
        ));
        Ok(())
    }

    fn sql_port(
        &self,
        own: &NodeConfig,
        tables: &Tables,
        users: &Users,
        tasks: &LocalTasks,
        stop: Stop,
    ) -> anyhow::Result<()> {
        let Some(address) = &own.admin.sql else {
            return Ok(());
        };
        let version = env!("CARGO_PKG_VERSION");
        let engine = sql::Engine::start(tables.clone(), version, sql::Limits::default())?;
        let (listener, address) = bind(address).context("[admin] sql")?;
        tracing::info!(admin = %"sql", %address, "listening");
        let port = sql::port::Port {
            engine,
            users: users.clone(),
            version: version.to_owned(),
            limits: sql::port::PortLimits::default(),
        };
        tasks.spawn(sql::port::serve(listener, port, stop));
        Ok(())
    }

    /// Told when everything is to end.
    fn stop(&self) -> Stop {
        self.stopper.listen()
    }

    /// Ends what is left after draining.
    pub(crate) fn end(&self) {
        self.stopper.stop();
        self.node.stop();
    }
}

/// Where `highgate ctl` finds the process.
pub(crate) fn socket_path(data_dir: &std::path::Path) -> PathBuf {
    data_dir.join("highgate.sock")
}

fn bind(address: &Address) -> anyhow::Result<(tokio::net::TcpListener, std::net::SocketAddr)> {
    let address = match address {
        Address::Ip(address) => *address,
        Address::Host(host, port) => {
            let mut found = std::net::ToSocketAddrs::to_socket_addrs(&(&**host, *port))?;
            found
                .next()
                .with_context(|| format!("{host} has no address"))?
        }
        Address::Unix(path) => anyhow::bail!("{} is no TCP address", path.display()),
    };
    let listener = listen::tcp(address).with_context(|| format!("cannot listen on {address}"))?;
    let address = listener.local_addr()?;
    Ok((tokio::net::TcpListener::from_std(listener)?, address))
}

fn workers(configured: u32) -> usize {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    if configured == 0 {
        cores
    } else {
        usize::try_from(configured).unwrap_or(cores)
    }
}
