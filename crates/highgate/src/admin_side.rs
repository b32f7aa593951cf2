//! The admin endpoints of a running process: the SQL port, the web port, the socket for `ctl`.

use std::{
    cell::RefCell, collections::BTreeMap, io, os::fd::OwnedFd, path::Path, rc::Rc, sync::Arc,
    time::Duration,
};

use anyhow::Context;
use highgate_admin::{Alarm, Logins, Offer, Room, TlsOffer, Users, sql, web};
use highgate_config::{Address, Admin, Config, Secret, UserName};
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
    ports: RefCell<Vec<Port>>,
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

/// What becomes of a port that can't be opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Missing {
    /// The start ends: another process serves, and goes on.
    EndsTheStart,
    /// It is tried again, and clients are served meanwhile: without this process nobody would.
    IsTriedAgain,
}

/// Between two attempts to open a port that is taken.
const AGAIN: Duration = Duration::from_secs(2);

/// The ports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Which {
    Sql,
    Web,
}

impl Which {
    fn name(self) -> &'static str {
        match self {
            Self::Sql => "sql",
            Self::Web => "web",
        }
    }
}

/// A listening socket of the admin side, for the process behind.
struct Port {
    name: &'static str,
    wanted: String,
    spare: OwnedFd,
}

impl AdminSide {
    /// Opens the TCP ports, on sockets of the process before where there are any.
    pub(crate) fn open(
        wired: &Rc<Wired>,
        inherited: &mut Inherited,
        tasks: &LocalTasks,
        missing: Missing,
    ) -> anyhow::Result<Rc<Self>> {
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
        let side = Rc::new(Self {
            site: web::Site {
                tables,
                logins: Logins::new(Users::new(accounts.subscribe()), alarm, rsa),
                serving: wired.serving.subscribe(),
                fault: wired.fault.clone(),
                turn: Arc::default(),
            },
            room: Room::new(wired.node.shared().operator_sockets()),
            ports: RefCell::default(),
            accounts,
            tls,
            stopper,
            ctl: RefCell::new(Stopper::new().0),
            serving_ctl: LocalTasks::default(),
        });
        let ports = [(Which::Sql, own.admin.sql), (Which::Web, own.admin.web)];
        for (which, address) in ports.into_iter().filter_map(|(it, at)| Some((it, at?))) {
            let inherited = inherited.remove(&(which.name().to_owned(), address.to_string()));
            let socket = match inherited {
                Some(socket) => Ok(std::net::TcpListener::from(socket)),
                None => bind(&address).with_context(|| format!("[admin] {}", which.name())),
            };
            match socket {
                Ok(socket) => side.serve(which, &address, socket, (tasks, stop.clone()))?,
                Err(error) if missing == Missing::EndsTheStart => return Err(error),
                Err(error) => {
                    let seconds = AGAIN.as_secs();
                    let text = format!(
                        "{error:#}; clients are served without it, and it is tried again every {seconds} s"
                    );
                    let event = Event::new(Severity::Error, Kind::Config, text);
                    wired.node.shared().event(event);
                    let (which, again) = ((which, address), (tasks.clone(), stop.clone()));
                    tasks.spawn(side.clone().serve_later(wired.clone(), which, again));
                }
            }
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

    /// Opens a port as soon as it can be, or ends with the others.
    async fn serve_later(
        self: Rc<Self>,
        wired: Rc<Wired>,
        (which, address): (Which, Address),
        (tasks, stop): (LocalTasks, Stop),
    ) {
        let bound = async {
            loop {
                clock::pause(AGAIN).await;
                // That it can't be had was told.
                if let Address::Ip(address) = &address
                    && let Some(Ok(socket)) = wired.vips.bind_one(*address).await
                {
                    return socket.into();
                }
                let address = address.clone();
                if let Some(Ok(socket)) = tasks::blocking(move || bind(&address)).await {
                    return socket;
                }
            }
        };
        let socket = tokio::select! {
            biased;
            () = stop.stopped() => return,
            bound = bound => bound,
        };
        let name = which.name();
        let (severity, text) = match self.serve(which, &address, socket, (&tasks, stop.clone())) {
            Ok(()) => (Severity::Info, format!("[admin] {name}: listening on {address} now")),
            Err(error) => (Severity::Error, format!("[admin] {name}: {error:#}")),
        };
        wired.node.shared().event(Event::new(severity, Kind::Config, text));
    }

    fn serve(
        &self,
        which: Which,
        wanted: &Address,
        socket: std::net::TcpListener,
        (tasks, stop): (&LocalTasks, Stop),
    ) -> anyhow::Result<()> {
        let (name, address) = (which.name(), socket.local_addr()?);
        let (spare, wanted) = (socket.try_clone()?.into(), wanted.to_string());
        let listener = tokio::net::TcpListener::from_std(socket)?;
        match which {
            Which::Sql => {
                let port = self.sql_port()?;
                tasks.spawn(sql::port::serve(listener, port, stop));
            }
            Which::Web => {
                let router = web::router(&self.site, web::Door::of(address.ip()));
                let port = web::WebPort::new(listener, self.offers());
                tasks.spawn(web::serve(port, router, self.room.clone(), stop));
            }
        }
        tracing::info!(admin = %name, %address, "listening");
        self.ports.borrow_mut().push(Port { name, wanted, spare });
        Ok(())
    }

    fn sql_port(&self) -> anyhow::Result<sql::port::Port> {
        let (version, tables) = (SQL_VERSION, self.site.tables.clone());
        Ok(sql::port::Port {
            engine: sql::Engine::start(tables, version, sql::Limits::default())?,
            logins: self.site.logins.clone(),
            tls: self.offers(),
            version: version.to_owned(),
            limits: sql::port::PortLimits { room: self.room.clone(), ..Default::default() },
        })
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
        self.ports.borrow().iter().map(copy).collect()
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
    let ports = [("sql", own.admin.sql.as_ref()), ("web", own.admin.web.as_ref())];
    let bound = by_keeper(wired, ports, |key| !inherited.contains_key(key)).await;
    inherited.extend(bound);
}

/// Those of these ports that are below 1024 and are missing, where the keeper could bind them.
async fn by_keeper<const N: usize>(
    wired: &Wired,
    ports: [(&'static str, Option<&Address>); N],
    is_missing: impl Fn(&(String, String)) -> bool,
) -> Inherited {
    let wanted = ports.into_iter().filter_map(|(name, address)| match address {
        Some(wanted @ Address::Ip(address)) => {
            Some(((name.to_owned(), wanted.to_string()), *address))
        }
        _ => None,
    });
    let missing = wanted.filter(|(key, _)| is_missing(key)).collect();
    wired.vips.bind(missing, wired.node.shared()).await
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

/// Blocks: it resolves names.
pub(crate) fn bind(address: &Address) -> anyhow::Result<std::net::TcpListener> {
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
