//! `highgate check`: everything that is wrong with a configuration.

use anyhow::bail;
use highgate_config::{NodeName, Place, Tls, native::Parsed};
use highgate_io::clock;
use highgate_proxy::{certificate::CertificateDate, node::ApplyError, tls_files};

use crate::{cli, files, output};

pub(crate) fn check(arguments: &cli::Check) -> anyhow::Result<()> {
    let node = NodeName::from(arguments.node.as_str());
    let parsed = files::parsed(&arguments.files, &node)?;
    look_at_certificates(&parsed, &node)?;
    let config = parsed.config;
    let shared = &config.shared;
    let has_vips = config.node.get(&node).is_some_and(|node| !node.vips.is_empty());
    if shared.listeners.is_empty() && !has_vips {
        output::complain(
            "warning: there is no listener and no vip: nobody could connect. Is the file empty, or \
             cut off?",
        );
    }
    let servers: usize = shared.backends.values().map(|backend| backend.servers.len()).sum();
    let vips = match config.node.get(&node).map_or(0, |node| node.vips.len()) {
        0 => String::new(),
        count => format!(", {}", count_of(count, "vip")),
    };
    output::say(&format!(
        "configuration is valid: {}, {} with {}, {}, {}{vips}",
        count_of(shared.listeners.len(), "listener"),
        count_of(shared.backends.len(), "backend"),
        count_of(servers, "server"),
        count_of(shared.users.len(), "user"),
        count_of(shared.rules.len(), "rule"),
    ))
}

/// Looks at all certificates and keys: what is there and can't be used is an error, as it is for `run`
/// and `apply`. What can't be read, or is not good any more or not for long, is no mistake of the
/// configuration, which may be meant for another machine.
fn look_at_certificates(parsed: &Parsed, node: &NodeName) -> anyhow::Result<()> {
    let config = &parsed.config;
    let mut wrong = Vec::new();
    for (name, listener) in &config.shared.listeners {
        let place = Place::Listener(name.clone());
        match tls_files::for_clients(&listener.tls) {
            Ok(None) => {}
            Ok(Some(_)) => {
                look_at_date(
                    &CertificateDate::default(),
                    &listener.tls,
                    &format!("listener {name}"),
                );
            }
            Err(cause) => wrong.push(ApplyError::Tls { place, cause }),
        }
    }
    for (name, backend) in &config.shared.backends {
        let date = CertificateDate::towards_servers();
        match tls_files::for_servers(&backend.tls) {
            Ok(None) => {}
            Ok(Some(_)) => look_at_date(&date, &backend.tls, &format!("backend {name}")),
            Err(cause) => {
                wrong.push(ApplyError::Tls { place: Place::Backend(name.clone()), cause });
            }
        }
    }
    if let Some(own) = config.node.get(node)
        && let Err(cause) = tls_files::for_clients(&own.admin.tls)
    {
        wrong.push(ApplyError::Tls { place: Place::Node(node.clone()), cause });
    }
    let mut errors = 0;
    for error in &wrong {
        let (place, setting) = error.setting();
        let at = parsed.written.at(&place, setting).map_or_else(String::new, |at| at + ": ");
        let is_elsewhere =
            matches!(error, ApplyError::Tls { cause, .. } if cause.is_about_reading());
        let word = if is_elsewhere { "warning" } else { "error" };
        errors += usize::from(!is_elsewhere);
        output::complain(&format!("{at}{word}: {error} (`{setting}`)"));
    }
    match errors {
        0 => Ok(()),
        count => bail!(count_of(count, "error")),
    }
}

fn look_at_date(date: &CertificateDate, settings: &Tls, whose: &str) {
    date.set(tls_files::expires(settings));
    if let Some(event) = date.look(whose, clock::wall_ms() / 1000) {
        output::complain(&format!("warning: {}", event.text));
    }
}

fn count_of(count: usize, what: &str) -> String {
    let ending = if count == 1 { "" } else { "s" };
    format!("{count} {what}{ending}")
}
