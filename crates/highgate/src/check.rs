//! `highgate check`: everything that is wrong with a configuration.

use highgate_config::NodeName;

use crate::{cli, files, output};

pub(crate) fn check(arguments: &cli::Check) -> anyhow::Result<()> {
    let node = NodeName::from(arguments.node.as_str());
    let config = files::read(&arguments.files, &node)?;
    let shared = &config.shared;
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

fn count_of(count: usize, what: &str) -> String {
    let ending = if count == 1 { "" } else { "s" };
    format!("{count} {what}{ending}")
}
