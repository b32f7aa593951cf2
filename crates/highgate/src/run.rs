//! `highgate run`: from the files to serving, and from a signal to the end.

use std::{path::PathBuf, sync::Arc, time::Duration};

use anyhow::Context;
use highgate_cluster::Alone;
use highgate_config::{ControlPlane, NodeName};
use highgate_core::events::{Event, Kind, Severity};
use highgate_io::tasks::{self, LocalTasks};
use tracing_subscriber::EnvFilter;

use crate::{
    cli, files,
    signals::{Asked, Signals},
    wiring::{self, Wired},
};

pub(crate) fn run(arguments: &cli::Run) -> anyhow::Result<()> {
    log(&arguments.log)?;
    let node = NodeName::from(arguments.node.as_str());
    // Before anything else: a file with mistakes changes nothing.
    let config = files::read(&arguments.files, &node)?;
    let data_dir = arguments
        .data_dir
        .clone()
        .unwrap_or_else(|| files::default_data_dir(arguments.files.first()));
    if arguments.initial {
        Alone::forget(&data_dir)?;
    }
    let alone = Alone::open(&data_dir, node)?;
    let runtime = tasks::local_runtime().context("cannot start the control runtime")?;
    runtime.block_on(async {
        for file in &arguments.files {
            let (parsed, key) = (config.clone(), files::key(file));
            let applied = alone.apply_file(alone.node(), &key, parsed, "run");
            for conflict in applied.await?.conflicts {
                tracing::warn!("{conflict}");
            }
        }
        serve(alone, data_dir, &arguments.files).await
    })
}

async fn serve(alone: Alone, data_dir: PathBuf, files: &[PathBuf]) -> anyhow::Result<()> {
    let local = LocalTasks::default();
    let mut signals = Signals::listen().context("cannot listen to signals")?;
    let wired = wiring::wire(alone, data_dir, &local)?;
    let (_, config) = wired.alone.current();
    // Who logs in before the accounts are in force would be refused.
    let mut planned = wired.node.shared().snapshot_changed.subscribe();
    planned.wait_for(|version| *version > 0).await?;
    wired.node.apply(&config)?;
    wired.administer(&local)?;
    wired.serving.send_replace(true);
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        pid = std::process::id(),
        data_dir = %wired.data_dir.display(),
        "ready"
    );
    follow(&wired, &mut signals, files).await;
    finish(&wired, &mut signals).await;
    Ok(())
}

/// Puts changed configurations in force until the stop.
async fn follow(wired: &Wired, signals: &mut Signals, files: &[PathBuf]) {
    let mut changes = wired.alone.watch_config();
    changes.mark_unchanged();
    loop {
        tokio::select! {
            biased;
            asked = signals.next() => match asked {
                Asked::Stop => return,
                Asked::Reload => reload(wired, files).await,
            },
            changed = changes.changed() => {
                if changed.is_err() {
                    return;
                }
                let config = changes.borrow_and_update().clone();
                put_in_force(wired, &config);
            }
        }
    }
}

fn put_in_force(wired: &Wired, config: &Arc<highgate_config::Config>) {
    if let Err(error) = wired.node.apply(config) {
        let text = format!("a part of the configuration is not in force: {error}");
        wired
            .node
            .shared()
            .event(Event::new(Severity::Error, Kind::Config, text));
    }
}

/// Reads the files anew; what is wrong with them is said, and changes nothing.
async fn reload(wired: &Wired, list: &[PathBuf]) {
    let shared = wired.node.shared();
    for file in list {
        let told = match files::parse(file, wired.alone.node()) {
            Ok(parsed) => {
                let key = files::key(file);
                let applied = wired
                    .alone
                    .apply_file(wired.alone.node(), &key, parsed, "SIGHUP");
                match applied.await {
                    Ok(applied) => {
                        for conflict in &applied.conflicts {
                            let text = conflict.to_string();
                            shared.event(Event::new(Severity::Warning, Kind::Config, text));
                        }
                        let count = applied.changes.len();
                        Ok(format!("{}: {count} changes are in force", file.display()))
                    }
                    Err(error) => Err(error.to_string()),
                }
            }
            Err(error) => Err(format!("{error:#}")),
        };
        let event = match told {
            Ok(text) => Event::new(Severity::Info, Kind::Config, text),
            Err(text) => {
                let text = format!("nothing was changed: {text}");
                Event::new(Severity::Error, Kind::Config, text)
            }
        };
        shared.event(event);
    }
    // Certificates may have changed under the same names.
    let (_, config) = wired.alone.current();
    put_in_force(wired, &config);
}

/// Drains within the bound; a second signal ends it at once.
async fn finish(wired: &Wired, signals: &mut Signals) {
    let (_, config) = wired.alone.current();
    let own = config.node.get(wired.alone.node());
    let patience = own.map_or(Duration::from_secs(30), |node| node.drain_timeout);
    wired.serving.send_replace(false);
    let text = format!("draining, for at most {} s", patience.as_secs());
    wired
        .node
        .shared()
        .event(Event::new(Severity::Info, Kind::Lifecycle, text));
    tokio::select! {
        biased;
        _ = signals.next() => tracing::warn!("told again: ending at once"),
        () = wired.node.drain(patience) => {}
    }
    wired.end();
    tracing::info!("ended");
}

fn log(filter: &str) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(filter)
        .with_context(|| format!("`--log {filter}` is no filter, such as `info`"))?;
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))
        .with_target(false)
        .init();
    Ok(())
}
