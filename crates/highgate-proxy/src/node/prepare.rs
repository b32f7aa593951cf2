//! What a configuration needs before it can be put in force: sockets and TLS settings, all or none.

use std::{collections::BTreeMap, io, net::SocketAddr, os::fd::OwnedFd, sync::Arc};

use highgate_config::{Address, Config, Listener, ListenerName};
use highgate_io::listen;

use super::{ApplyError, Node};
use crate::{listener::Bound, tls_files};

impl Node {
    pub(super) fn prepare(&self, config: &Config) -> Result<Prepared, ApplyError> {
        let binds = config.node.get(&self.settings.name).map(|node| &node.binds);
        let present = self.present();
        let mut prepared = Prepared::default();
        for (name, settings) in &config.shared.listeners {
            let wanted = binds.and_then(|binds| binds.get(name)).cloned().unwrap_or_default();
            let tls = tls_files::for_clients(&settings.tls)
                .map_err(|cause| ApplyError::Tls { place: format!("listener {name}"), cause })?;
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
                let socket = self.bind(name, address).map_err(failed)?;
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
            let tls = tls_files::for_servers(&backend.tls)
                .map_err(|cause| ApplyError::Tls { place: format!("backend {name}"), cause })?;
            if let Some(tls) = tls {
                prepared.towards_servers.insert(name.clone(), tls);
            }
        }
        Ok(prepared)
    }

    /// TCP addresses of a configuration that nobody listens on yet, by listener and as configured.
    #[must_use]
    pub fn unbound(&self, config: &Config) -> Vec<(ListenerName, String, SocketAddr)> {
        let present = self.present();
        let binds = config.node.get(&self.settings.name).map(|node| &node.binds);
        let all = binds
            .into_iter()
            .flatten()
            .filter(|(name, _)| config.shared.listeners.contains_key(*name));
        all.flat_map(|(name, addresses)| addresses.iter().map(move |address| (name, address)))
            .filter(|(name, address)| !present.contains(&((*name).clone(), (*address).clone())))
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

    fn bind(&self, listener: &ListenerName, address: &Address) -> io::Result<Bound> {
        let inherited = self.inherited.lock().remove(&(listener.clone(), address.to_string()));
        match (address, inherited) {
            (Address::Unix(_), Some(descriptor)) => Ok(Bound::Unix(descriptor.into())),
            (_, Some(descriptor)) => Ok(Bound::Tcp(descriptor.into())),
            (Address::Unix(path), None) => listen::unix(path).map(Bound::Unix),
            (address, None) => {
                let found = resolve(address)?.ok_or_else(|| {
                    io::Error::new(io::ErrorKind::NotFound, "the name has no address")
                })?;
                listen::tcp(found).map(Bound::Tcp)
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
    pub(super) towards_servers: BTreeMap<highgate_config::BackendName, Arc<rustls::ClientConfig>>,
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
