//! The admin endpoints of a running process: the SQL port, the web port, the socket for `ctl`.

use std::{
    cell::RefCell, collections::BTreeMap, io, net::SocketAddr, os::fd::OwnedFd, path::Path,
    sync::Arc, time::Duration,
};

use anyhow::Context;
use highgate_admin::{Alarm, Logins, Offer, Room, TlsOffer, Users, sql, web};
use highgate_config::{Address, Admin, Config, Node as NodeConfig, Secret, UserName};
use highgate_core::events::{Event, Kind, Severity};
use highgate_io::{
    clock, listen,
    tasks::{self, LocalTasks, Stop, Stopper},
};
use highgate_proxy::tls_files;
use tokio::sync::watch;

use crate::{admin_password, wiring::Wired};

/// Listening sockets of the process before, by port (`sql`, `web`) and address as configured.
pub(crate) type Inherited = BTreeMap<(String, String), OwnedFd>;

/// What serves operators.
pub(crate) struct AdminSide {
    site: web::Site,
    room: Room,
    ports: Vec<Port>,
    accounts: watch::Sender<Arc<BTreeMap<UserName, Secret>>>,
    tls: watch::Sender<Offer>,
    stopper: Stopper,
    ctl: RefCell<Stopper>,
    /// What serves `highgate ctl`.
    serving_ctl: LocalTasks,
}

/// How long the end of the process waits for answers to `highgate ctl` that are under way.
const LAST_ANSWERS: Duration = Duration::from_secs(2);

/// What the SQL port says that it is. Drivers read a release of MySQL in front and refuse ones that are too
/// old; from 8.0.3 on they ask for no variables that newer servers don't have.
const SQL_VERSION: &str = concat!("8.0.36-highgate-", env!("CARGO_PKG_VERSION"));

/// A listening socket of the admin side, for the process behind.
struct Port {
    name: &'static str,
    wanted: String,
    spare: OwnedFd,
}

impl AdminSide {
    /// Opens the TCP ports, on sockets of the process before where there are any.
    pub(crate) fn open(
        wired: &Wired,
        inherited: &mut Inherited,
        tasks: &LocalTasks,
    ) -> anyhow::Result<Self> {
        let config = wired.config();
        let own = config.node.get(wired.alone.node());
        let own = own.cloned().unwrap_or_default();
        let tables = wired.tables();
        let accounts = admin_password::accounts(&own.admin.users, &wired.data_dir)?;
        let accounts = watch::Sender::new(Arc::new(accounts));
        let tls = watch::Sender::new(Certified::read(&own.admin)?.shown_by(wired));
        let (stopper, stop) = Stopper::new();
        let shared = wired.node.shared().clone();
        let rsa = shared.rsa();
        let alarm = Alarm::new(move |text| {
            shared.event(Event::new(Severity::Warning, Kind::Login, text));
        });
        let mut side = Self {
            site: web::Site {
                tables,
                logins: Logins::new(Users::new(accounts.subscribe()), alarm, rsa),
                serving: wired.serving.subscribe(),
                fault: wired.fault.clone(),
                turn: Arc::default(),
            },
            room: Room::new(wired.node.shared().operator_sockets()),
            ports: Vec::new(),
            accounts,
            tls,
            stopper,
            ctl: RefCell::new(Stopper::new().0),
            serving_ctl: LocalTasks::default(),
        };
        side.sql_port(&own, inherited, tasks, stop.clone())?;
        if let Some(address) = &own.admin.web {
            let (listener, address) = side.bind("web", address, inherited)?;
            let router = web::router(&side.site, web::Door::of(address.ip()));
            let port = web::WebPort::new(listener, side.offers());
            tasks.spawn(web::serve(port, router, side.room.clone(), stop));
        }
        Ok(side)
    }

    /// Puts accounts and certificates in force, read anew; addresses wait for the next start.
    ///
    /// Cancel safe: yes; what was not read yet stays as it was.
    ///
    /// # Errors
    /// What could not be read; it stays as it was.
    pub(crate) async fn apply(&self, wired: &Wired, config: &Config) -> anyhow::Result<()> {
        let own = config.node.get(wired.alone.node()).cloned().unwrap_or_default();
        let data_dir = wired.data_dir.clone();
        let read = move || {
            let accounts = admin_password::accounts(&own.admin.users, &data_dir);
            (accounts, Certified::read(&own.admin))
        };
        let read = tasks::blocking(read).await;
        let (accounts, certified) = read.context("reading the files of [admin] ran into a bug")?;
        self.accounts.send_replace(Arc::new(accounts?));
        self.tls.send_replace(certified?.shown_by(wired));
        Ok(())
    }

    fn offers(&self) -> TlsOffer {
        TlsOffer::new(self.tls.subscribe())
    }

    fn sql_port(
        &mut self,
        own: &NodeConfig,
        inherited: &mut Inherited,
        tasks: &LocalTasks,
        stop: Stop,
    ) -> anyhow::Result<()> {
        let Some(address) = &own.admin.sql else {
            return Ok(());
        };
        let version = SQL_VERSION;
        let tables = self.site.tables.clone();
        let engine = sql::Engine::start(tables, version, sql::Limits::default())?;
        let (listener, _) = self.bind("sql", address, inherited)?;
        let port = sql::port::Port {
            engine,
            logins: self.site.logins.clone(),
            tls: self.offers(),
            version: version.to_owned(),
            limits: sql::port::PortLimits { room: self.room.clone(), ..Default::default() },
        };
        tasks.spawn(sql::port::serve(listener, port, stop));
        Ok(())
    }

    fn bind(
        &mut self,
        name: &'static str,
        address: &Address,
        inherited: &mut Inherited,
    ) -> anyhow::Result<(tokio::net::TcpListener, SocketAddr)> {
        let wanted = address.to_string();
        let listener = match inherited.remove(&(name.to_owned(), wanted.clone())) {
            Some(socket) => std::net::TcpListener::from(socket),
            None => bind(address).with_context(|| format!("[admin] {name}"))?,
        };
        let address = listener.local_addr()?;
        tracing::info!(admin = %name, %address, "listening");
        let spare = listener.try_clone()?.into();
        self.ports.push(Port { name, wanted, spare });
        Ok((tokio::net::TcpListener::from_std(listener)?, address))
    }

    /// Opens the socket for `highgate ctl`, in place of one that is there. Only for who holds the
    /// data directory.
    pub(crate) fn open_ctl(&self, data_dir: &Path) -> anyhow::Result<()> {
        let socket = web::OwnerSocket::bind(&socket_path(data_dir))
            .context("cannot open the socket for `highgate ctl`")?;
        let (stopper, stop) = Stopper::new();
        self.ctl.replace(stopper).stop();
        let router = web::router(&self.site, web::Door::Owner);
        // Some descriptors are kept for it alone.
        self.serving_ctl.spawn(web::serve(socket, router, Room::default(), stop));
        Ok(())
    }

    /// The TCP sockets, for the process behind: port, address as configured, descriptor.
    pub(crate) fn sockets(&self) -> io::Result<Vec<(String, String, OwnedFd)>> {
        let copy = |port: &Port| {
            let spare = port.spare.try_clone()?;
            Ok((port.name.to_owned(), port.wanted.clone(), spare))
        };
        self.ports.iter().map(copy).collect()
    }

    /// Ends all of it.
    pub(crate) fn stop(&self) {
        self.stopper.stop();
        self.ctl.borrow().stop();
    }

    /// Waits, once it was stopped, until who asked something by `highgate ctl` has its answer, or for a
    /// moment.
    ///
    /// Cancel safe: yes.
    pub(crate) async fn answered(&self) {
        clock::before(clock::now() + LAST_ANSWERS, self.serving_ctl.all_ended()).await;
    }
}

/// The ports below 1024 that are to be opened and were not inherited, bound by who has the right to.
pub(crate) async fn low_ports(wired: &Wired, inherited: &mut Inherited) {
    let config = wired.config();
    let Some(own) = config.node.get(wired.alone.node()) else { return };
    let ports = [("sql", &own.admin.sql), ("web", &own.admin.web)].into_iter();
    let wanted = ports.filter_map(|(name, address)| match address {
        Some(wanted @ Address::Ip(address)) => {
            Some(((name.to_owned(), wanted.to_string()), *address))
        }
        _ => None,
    });
    let is_missing = |(key, _): &((String, String), SocketAddr)| !inherited.contains_key(key);
    let missing = wanted.filter(is_missing).collect();
    inherited.extend(wired.vips.bind(missing, wired.node.shared()).await);
}

/// Where `highgate ctl` finds the process.
pub(crate) fn socket_path(data_dir: &Path) -> std::path::PathBuf {
    data_dir.join("highgate.sock")
}

/// TLS of the ports as its files say.
struct Certified {
    offer: Offer,
    /// In seconds of Unix time.
    expires: Option<u64>,
}

impl Certified {
    /// Blocks.
    fn read(admin: &Admin) -> anyhow::Result<Self> {
        let config = tls_files::for_clients(&admin.tls).context("[admin] tls")?;
        let expires = config.as_ref().and_then(|_| tls_files::expires(&admin.tls));
        Ok(Self { offer: Offer::new(admin.tls.mode, config), expires })
    }

    /// The offer, once operators can see how long its certificate is good for.
    fn shown_by(self, wired: &Wired) -> Offer {
        wired.admin_certificate.set(self.expires);
        wired.look_at_certificates();
        self.offer
    }
}

fn bind(address: &Address) -> anyhow::Result<std::net::TcpListener> {
    let address = match address {
        Address::Ip(address) => *address,
        Address::Host(host, port) => {
            let mut found = std::net::ToSocketAddrs::to_socket_addrs(&(&**host, *port))?;
            found.next().with_context(|| format!("{host} has no address"))?
        }
        Address::Unix(path) => anyhow::bail!("{} is no TCP address", path.display()),
    };
    listen::tcp(address).with_context(|| format!("cannot listen on {address}"))
}
