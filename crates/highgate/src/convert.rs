//! `highgate convert`: a configuration in the native form, as `render` writes it.

use highgate_config::{NodeName, Secrets, render};

use crate::{cli, files, output};

pub(crate) fn convert(arguments: &cli::Convert) -> anyhow::Result<()> {
    let node = NodeName::from(arguments.node.as_str());
    let config = files::read(&arguments.files, &node)?;
    output::say(render(&config, &node, Secrets::Show).trim_start())
}
