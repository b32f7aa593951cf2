//! `highgate check`: everything that is wrong with a configuration.

use highgate_config::{Config, NodeName};
use highgate_io::clock;
use highgate_proxy::{certificate::CertificateDate, tls_files};

use crate::{cli, files, output};

pub(crate) fn check(arguments: &cli::Check) -> anyhow::Result<()> {
    let node = NodeName::from(arguments.node.as_str());
    let config = files::read(&arguments.files, &node)?;
    look_at_certificates(&config);
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

/// Certificates of listeners that can't be used, or are not good any more or not for long. That is no
/// mistake of the configuration, which may be meant for another machine.
fn look_at_certificates(config: &Config) {
    let now = clock::wall_ms() / 1000;
    for (name, listener) in &config.shared.listeners {
        let told = match tls_files::for_clients(&listener.tls) {
            Ok(None) => None,
            Ok(Some(_)) => {
                let date = CertificateDate::default();
                date.set(tls_files::expires(&listener.tls));
                date.look(&format!("listener {name}"), now).map(|event| event.text)
            }
            Err(error) => Some(format!("listener {name}: {error}")),
        };
        if let Some(told) = told {
            output::complain(&format!("warning: {told}"));
        }
    }
}

fn count_of(count: usize, what: &str) -> String {
    let ending = if count == 1 { "" } else { "s" };
    format!("{count} {what}{ending}")
}
