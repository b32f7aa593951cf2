//! From a server to where it can be connected to.

use highgate_config::Address;
use highgate_core::server::ServerState;
use highgate_io::connect::Target;

/// Where to connect to that server: at the addresses that its name had last, where it is known by one.
/// A connect looks nothing up: thousands at once would wait for a resolver that hangs.
pub(crate) fn target(server: &ServerState) -> Target {
    match &server.address {
        Address::Host(_, port) => {
            Target::Any(server.resolved().iter().map(|ip| (*ip, *port).into()).collect())
        }
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
