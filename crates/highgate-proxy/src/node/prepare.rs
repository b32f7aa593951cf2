//! What a configuration needs before it can be put in force: sockets and TLS settings, all or none.

use std::{collections::BTreeMap, io, net::SocketAddr, os::fd::OwnedFd, sync::Arc};

use highgate_config::{
    Address, BackendName, Config, Listener, ListenerName, Node as NodeConfig, Place,
};
use highgate_io::listen;

use super::{ApplyError, Node, Serving};
use crate::{
    listener::Bound,
    tls_files::{self, TowardsServers},
};

impl Node {
    /// Gets hold of what a configuration needs to be put in force: its new sockets are bound and kept
    /// for [`Self::apply`], its certificates are read. Nothing is served yet. Where the configuration is
    /// not accepted after all, [`Self::forgo`] closes them. Blocks.
    ///
    /// # Errors
    /// [`ApplyError`] says what can't be had; nothing was changed.
    pub fn get_ready(&self, config: &Config) -> Result<(), ApplyError> {
        let _preparing = self.preparing.lock();
        let name = &self.settings.name;
        if let Some(node) = config.node.get(name) {
            tls_files::for_clients(&node.admin.tls)
                .map_err(|cause| ApplyError::Tls { place: Place::Node(name.clone()), cause })?;
        }
        let prepared = self.prepare(config)?;
        let mut kept = self.inherited.lock();
        for listener in prepared.listeners {
            for (address, _, socket) in listener.bound {
                kept.insert((listener.name.clone(), address.to_string()), socket);
            }
        }
        Ok(())
    }

    /// Closes what waits for a configuration that uses it: none will.
    pub fn forgo(&self) {
        self.inherited.lock().clear();
        self.give_way_to_none();
    }

    /// What listens goes on to do so: nothing takes its place.
    fn give_way_to_none(&self) {
        let listeners = self.listeners.lock();
        let inherited = self.inherited.lock();
        let sockets = listeners.values().flat_map(|it| &it.sockets).map(|socket| &socket.spare);
        for socket in sockets.chain(inherited.values()) {
            // A Unix socket has no such thing, and no way was given.
            let _ = listen::give_way(socket, false);
        }
    }

    pub(super) fn prepare(&self, config: &Config) -> Result<Prepared, ApplyError> {
        let prepared = self.collect(config);
        if prepared.is_err() {
            self.give_way_to_none();
        }
        prepared
    }

    fn collect(&self, config: &Config) -> Result<Prepared, ApplyError> {
        let binds = config.node.get(&self.settings.name).map(|node| &node.binds);
        let present = self.present();
        let mut prepared = Prepared::default();
        for (name, settings) in &config.shared.listeners {
            let wanted = binds.and_then(|binds| binds.get(name)).cloned().unwrap_or_default();
            let tls = tls_files::for_clients(&settings.tls)
                .map_err(|cause| ApplyError::Tls { place: Place::Listener(name.clone()), cause })?;
            let expires = tls.as_ref().and_then(|_| tls_files::expires(&settings.tls));
            let mut bound = Vec::new();
            for address in &wanted {
                if present.contains(&(name.clone(), address.clone())) {
                    continue;
                }
                let failed = |cause| ApplyError::Bind {
                    listener: name.clone(),
                    address: address.clone(),
                    cause,
                };
                let socket = self.bind(name, address, config).map_err(failed)?;
                let spare = socket.duplicate().map_err(failed)?;
                bound.push((address.clone(), socket, spare));
            }
            let settings = Arc::new(settings.clone());
            prepared.listeners.push(New {
                name: name.clone(),
                settings,
                tls,
                expires,
                binds: wanted,
                bound,
            });
        }
        for (name, backend) in &config.shared.backends {
            let tls = TowardsServers::build(&backend.tls)
                .map_err(|cause| ApplyError::Tls { place: Place::Backend(name.clone()), cause })?;
            if let Some(tls) = tls {
                let expires = tls_files::expires(&backend.tls);
                prepared.server_certificates.insert(name.clone(), expires);
                prepared.towards_servers.insert(name.clone(), tls);
            }
        }
        Ok(prepared)
    }

    /// TCP addresses of a configuration that nobody listens on yet, by listener and as configured.
    #[must_use]
    pub fn unbound(&self, config: &Config) -> Vec<(ListenerName, String, SocketAddr)> {
        let present = self.present();
        let inherited: Vec<_> = self.inherited.lock().keys().cloned().collect();
        let binds = config.node.get(&self.settings.name).map(|node| &node.binds);
        let all = binds
            .into_iter()
            .flatten()
            .filter(|(name, _)| config.shared.listeners.contains_key(*name));
        all.flat_map(|(name, addresses)| addresses.iter().map(move |address| (name, address)))
            .filter(|(name, address)| !present.contains(&((*name).clone(), (*address).clone())))
            .filter(|(name, address)| !inherited.contains(&((*name).clone(), address.to_string())))
            .filter(|(_, address)| self.let_go(address, config).is_none())
            .filter_map(|(name, address)| {
                Some((name.clone(), address.to_string(), resolve(address).ok()??))
            })
            .collect()
    }

    fn present(&self) -> Vec<(ListenerName, Address)> {
        let listeners = self.listeners.lock();
        listeners
            .iter()
            .flat_map(|(name, running)| {
                running.sockets.iter().map(move |socket| (name.clone(), socket.wanted.clone()))
            })
            .collect()
    }

    /// The socket of an address that moves from a listener to another, as when one is renamed: it
    /// can't be bound anew while it is served.
    fn let_go(&self, address: &Address, config: &Config) -> Option<OwnedFd> {
        if address.is_any_port() {
            return None;
        }
        let listeners = self.listeners.lock();
        let mut gone = listeners
            .iter()
            .filter(|(name, _)| !self.wants(config, name, |other| other == address));
        let found = gone.find_map(|(_, it)| it.sockets.iter().find(|s| s.wanted == *address))?;
        found.spare.try_clone().ok()
    }

    /// Whether a listener of the configuration has such an address on this node.
    fn wants(
        &self,
        config: &Config,
        listener: &ListenerName,
        is_it: impl Fn(&Address) -> bool,
    ) -> bool {
        let own = config.node.get(&self.settings.name);
        let binds = own.and_then(|node: &NodeConfig| node.binds.get(listener));
        config.shared.listeners.contains_key(listener)
            && binds.is_some_and(|binds| binds.iter().any(is_it))
    }

    /// Listening sockets, here or of the process before, on a port that the configuration wants for
    /// other addresses.
    fn going(&self, port: u16, config: &Config) -> io::Result<Vec<OwnedFd>> {
        let listeners = self.listeners.lock();
        let inherited = self.inherited.lock();
        let here = listeners.iter().flat_map(|(name, running)| {
            let gone =
                |socket: &&Serving| !self.wants(config, name, |address| *address == socket.wanted);
            running.sockets.iter().filter(gone).map(|socket| &socket.spare)
        });
        let before = inherited.iter().filter_map(|((name, address), socket)| {
            let is_gone = !self.wants(config, name, |other| other.to_string() == *address);
            is_gone.then_some(socket)
        });
        here.chain(before)
            .filter(|socket| listen::address(socket).is_some_and(|at| at.port() == port))
            .map(OwnedFd::try_clone)
            .collect()
    }

    /// A socket of its own, or that of an address which is the same one under another name.
    fn listen(&self, address: SocketAddr, config: &Config) -> io::Result<std::net::TcpListener> {
        let in_use = match listen::tcp(address) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => error,
            other => return other,
        };
        let going = self.going(address.port(), config)?;
        if let Some(same) = going.iter().find(|socket| listen::address(socket) == Some(address)) {
            return Ok(same.try_clone()?.into());
        }
        if going.is_empty() {
            return Err(in_use);
        }
        listen::tcp_beside(address, &going)
    }

    fn bind(
        &self,
        listener: &ListenerName,
        address: &Address,
        config: &Config,
    ) -> io::Result<Bound> {
        let inherited = self.inherited.lock().remove(&(listener.clone(), address.to_string()));
        let inherited = inherited.or_else(|| self.let_go(address, config));
        match (address, inherited) {
            (Address::Unix(_), Some(descriptor)) => Ok(Bound::Unix(descriptor.into())),
            (_, Some(descriptor)) => Ok(Bound::Tcp(descriptor.into())),
            (Address::Unix(path), None) => listen::unix(path).map(Bound::Unix),
            (address, None) => {
                let found = resolve(address)?.ok_or_else(|| {
                    io::Error::new(io::ErrorKind::NotFound, "the name has no address")
                })?;
                self.listen(found, config).map(Bound::Tcp)
            }
        }
    }
}

/// Where to listen; `None` for what has no such address.
fn resolve(address: &Address) -> io::Result<Option<SocketAddr>> {
    match address {
        Address::Ip(address) => Ok(Some(*address)),
        Address::Host(host, port) => {
            Ok(std::net::ToSocketAddrs::to_socket_addrs(&(&**host, *port))?.next())
        }
        Address::Unix(_) => Ok(None),
    }
}

#[derive(Debug, Default)]
pub(super) struct Prepared {
    pub(super) listeners: Vec<New>,
    pub(super) towards_servers: BTreeMap<BackendName, TowardsServers>,
    /// When the certificates expire that servers are shown.
    pub(super) server_certificates: BTreeMap<BackendName, Option<u64>>,
}

#[derive(Debug)]
pub(super) struct New {
    pub(super) name: ListenerName,
    pub(super) settings: Arc<Listener>,
    pub(super) tls: Option<Arc<rustls::ServerConfig>>,
    pub(super) expires: Option<u64>,
    pub(super) binds: Vec<Address>,
    pub(super) bound: Vec<(Address, Bound, OwnedFd)>,
}
