//! What has no effect where bytes are passed on as they are, and so must not look as if it had.

use super::Fault;
use crate::{
    AuthSource, Backend, BackendName, Check, Config, Listener, ListenerName, Mode, TlsMode,
    place::Place,
};

/// The words of the importer of haproxy.cfg.
const NO_TLS: &str = "TLS is not available in tcp mode yet; bytes of TLS are passed on as they are";
pub(crate) const NO_LOGIN: &str =
    "nobody is logged in by Highgate in tcp mode: the server verifies its clients itself";

pub(super) fn of_listener(name: &ListenerName, listener: &Listener, found: &mut Vec<Fault>) {
    let place = || Place::Listener(name.clone());
    if listener.tls.mode != TlsMode::Disabled {
        found.push(Fault::error(place(), "tls.mode", NO_TLS).with_hint(HINT_TLS));
    } else if listener.tls.cert.is_some() {
        found.push(Fault::error(place(), "tls.cert", NO_TLS).with_hint(HINT_TLS));
    }
    if listener.auth != AuthSource::Local {
        found.push(Fault::error(place(), "auth", NO_LOGIN).with_hint(HINT_AUTH));
    }
}

/// Of a backend which nothing but listeners in tcp mode lead to, `tls` is for checks alone.
pub(super) fn of_backend(
    config: &Config,
    name: &BackendName,
    backend: &Backend,
    found: &mut Vec<Fault>,
) {
    if backend.tls.mode == TlsMode::Disabled || !is_for_tcp_alone(config, name) {
        return;
    }
    let place = Place::Backend(name.clone());
    found.push(match backend.monitor.check {
        Check::Connect | Check::Handshake | Check::Off => Fault::error(place, "tls.mode", NO_TLS)
            .with_hint("leave `tls` out: client and server agree on TLS between themselves"),
        Check::Ping | Check::Sql(_) => Fault::warning(
            place,
            "tls.mode",
            "only checks use this: the clients of this backend come by tcp mode, where TLS is \
             between client and server alone",
        ),
    });
}

fn is_for_tcp_alone(config: &Config, name: &BackendName) -> bool {
    let shared = &config.shared;
    let mut listeners = shared.listeners.values().filter(|it| it.backend == *name).peekable();
    let named = shared.users.values().map(|user| &user.backend);
    let mut named = named.chain(shared.rules.values().map(|rule| &rule.backend));
    listeners.peek().is_some()
        && listeners.all(|it| it.mode == Mode::Tcp)
        && !named.any(|it| it.as_ref() == Some(name))
}

const HINT_TLS: &str = "leave `tls` out, or write mode = \"mysql\"";
pub(crate) const HINT_AUTH: &str = "leave `auth` out, or write mode = \"mysql\"";
