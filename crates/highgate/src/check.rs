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
        count => format!(", {count} vips"),
    };
    output::say(&format!(
        "configuration is valid: {} listeners, {} backends with {servers} servers, {} users, {} rules{vips}",
        shared.listeners.len(),
        shared.backends.len(),
        shared.users.len(),
        shared.rules.len()
    ))
}
