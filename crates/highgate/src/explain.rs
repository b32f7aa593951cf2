//! `highgate explain`: the production decision, in the running process or on files alone.

use std::collections::BTreeMap;

use highgate_config::NodeName;
use highgate_core::{
    plan::{Observed, Overrides, plan, policy},
    server::ServerRegistry,
};
use highgate_io::clock;

use crate::{
    admin_side, cli, ctl, files, output,
    rule_actions::{self, Asked},
};

pub(crate) fn explain(arguments: &cli::Explain) -> anyhow::Result<()> {
    if arguments.files.is_empty() {
        return ctl::ask(&admin_side::socket_path(&arguments.data_dir), &arguments.question);
    }
    offline(arguments)
}

/// Plans the files with nothing observed, and decides on that.
fn offline(arguments: &cli::Explain) -> anyhow::Result<()> {
    let node = NodeName::from(arguments.node.as_str());
    let config = files::read(&arguments.files, &node)?;
    let (healths, topologies, overrides) = (BTreeMap::new(), BTreeMap::new(), Overrides::new());
    let observed = Observed { healths: &healths, topologies: &topologies, overrides: &overrides };
    let mut registry = ServerRegistry::default();
    let (policy, events) = policy(&config, &node, None);
    let snapshot = plan(&policy, observed, &mut registry, None, clock::now());
    for event in &events {
        output::complain(&event.text);
    }
    let question = &arguments.question;
    let asked = Asked {
        sql: &question.sql,
        user: question.user.as_deref().unwrap_or_default(),
        listener: question.listener.as_deref().unwrap_or_default(),
        schema: question.schema.as_deref(),
        client: question.client,
    };
    let plain = |_: &_| highgate_mysql::sql::LexMode::default();
    let trace = rule_actions::decide(&snapshot, &asked, plain).map_err(anyhow::Error::msg)?;
    output::say(&format!(
        "{}\nThis is the configuration alone: which servers are up, and which is primary, only a \
         running process knows (without --config).",
        trace.trim_end()
    ))
}
