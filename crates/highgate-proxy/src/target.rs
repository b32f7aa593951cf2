//! From a configured address to one that can be connected to.

use highgate_config::Address;
use highgate_io::connect::Target;

/// Where to connect for that address.
pub(crate) fn target(address: &Address) -> Target {
    match address {
        Address::Host(host, port) => Target::Host(host.clone(), *port),
        Address::Ip(address) => Target::Ip(*address),
        Address::Unix(path) => Target::Unix(path.clone()),
    }
}

/// The name that a server's certificate must have.
pub(crate) fn host(address: &Address) -> String {
    match address {
        Address::Host(host, _) => host.clone(),
        Address::Ip(address) => address.ip().to_string(),
        Address::Unix(_) => "localhost".to_owned(),
    }
}
