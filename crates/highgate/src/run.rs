//! `highgate run`: from the files to serving, and from a signal to the end.

use std::{path::PathBuf, sync::Arc, time::Duration};

use anyhow::Context;
use highgate_cluster::Applied;
use highgate_config::{Config, ControlPlane as _, NodeName, native::Parsed};
use highgate_core::events::{Event, Kind, Severity};
use highgate_io::{
    clock,
    log::{LogLines, LogQueue},
    tasks::{self, LocalTasks},
};

use crate::{
    again::{Last, Outcome},
    applying::Applying,
    cli, files,
    handover::give::{self, LetGo, Word},
    log,
    own_files::OwnFiles,
    report::Before,
    signals::{Asked, Signals},
    start::{self, Door, Running, Start},
    vips,
};

/// How long the end of the process waits for work on files that is under way.
const LAST_WORK: Duration = Duration::from_secs(1);
/// How long the end of the process waits for the last lines of the log to be written.
const LAST_LINES: Duration = Duration::from_millis(500);

pub(crate) fn run(arguments: &cli::Run) -> anyhow::Result<()> {
    let (lines, mut queue) = log::start(&arguments.log)?;
    let done = run_logged(arguments, &lines, &mut queue);
    match queue {
        Some(queue) => queue.write_rest_to(std::io::stderr()),
        None => lines.flush_within(LAST_LINES),
    }
    done
}

/// Takes the queue of the log once there is a thread that writes it.
fn run_logged(
    arguments: &cli::Run,
    lines: &LogLines,
    queue: &mut Option<LogQueue>,
) -> anyhow::Result<()> {
    let node = NodeName::from(arguments.node.as_str());
    // Before anything else: a file with mistakes changes nothing.
    let parsed = files::parsed(&arguments.files, &node)?;
    let own = OwnFiles::new(&arguments.files, &parsed);
    let data_dir = arguments
        .data_dir
        .clone()
        .unwrap_or_else(|| files::default_data_dir(arguments.files.first()));
    // While there is one thread, and all rights are there.
    let keeper = vips::start(parsed.config.node.get(&node))?;
    if keeper.is_some() {
        vips::drop_rights().context("cannot give up the rights that only the keeper needs")?;
    }
    log::write_elsewhere(queue)?;
    let log = lines.clone();
    let start = Start { arguments, node, parsed, own, data_dir, keeper, log };
    let runtime = tasks::local_runtime().context("cannot start the control runtime")?;
    let done = runtime.block_on(serve(start));
    // What a disk or a name server holds up ends with the process; a file is replaced whole or not.
    runtime.shutdown_timeout(LAST_WORK);
    done
}

async fn serve(start: Start<'_>) -> anyhow::Result<()> {
    let local = LocalTasks::default();
    let mut signals = Signals::listen().context("cannot listen to signals")?;
    let files = &start.arguments.files;
    let (running, door) = start::start(start, &local).await?;
    running.wired.keep_records(&local);
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        pid = std::process::id(),
        data_dir = %running.wired.data_dir.display(),
        "ready"
    );
    let ended = follow(&running, door, &mut signals, files, &local).await;
    finish(&running, &mut signals, ended).await;
    Ok(())
}

/// Why a process stops serving.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ended {
    /// A signal.
    Told,
    /// Another process took over.
    Replaced,
}

/// Time between two looks at the dates of certificates.
const CERTIFICATES: Duration = Duration::from_secs(3600);

/// Puts changed configurations in force until the stop, which waits for none of it.
async fn follow(
    running: &Running,
    mut door: Door,
    signals: &mut Signals,
    files: &[PathBuf],
    local: &LocalTasks,
) -> Ended {
    let wired = &running.wired;
    let mut changes = wired.alone.watch_config();
    changes.mark_unchanged();
    let mut look = clock::now() + CERTIFICATES;
    let mut last = None;
    loop {
        tokio::select! {
            biased;
            asked = signals.next() => match asked {
                Asked::Stop => return Ended::Told,
                Asked::Reload => {
                    if signals.unless_stopped(reload(running, files)).await.is_none() {
                        return Ended::Told;
                    }
                }
            },
            changed = changes.changed() => {
                if changed.is_err() {
                    return Ended::Told;
                }
                let config = changes.borrow_and_update().clone();
                match signals.unless_stopped(put_in_force(running, &config)).await {
                    None => return Ended::Told,
                    Some(outcome) => last = Some((config, outcome)),
                }
            }
            () = wired.again.asked() => {
                match signals.unless_stopped(answer(running, last)).await {
                    None => return Ended::Told,
                    Some(told) => last = told,
                }
            }
            () = clock::sleep_until(look) => {
                look = clock::now() + CERTIFICATES;
                wired.look_at_certificates();
            }
            Some(word) = door.words.recv() => {
                match signals.unless_stopped(hand_over(running, word, local)).await {
                    None => return Ended::Told,
                    Some(Handed::Over) => return Ended::Replaced,
                    Some(Handed::NotOver(new)) => door = new.unwrap_or(door),
                }
            }
        }
    }
}

/// What became of a hand-over.
enum Handed {
    /// The other process serves.
    Over,
    /// This one goes on, with another door where it could have one.
    NotOver(Option<Door>),
}

async fn hand_over(running: &Running, word: Word, local: &LocalTasks) -> Handed {
    let Word::Ready(peer) = word else { return Handed::Over };
    match give::let_go(&running.wired, peer).await {
        LetGo::Taken => Handed::Over,
        LetGo::Kept(peer) => Handed::NotOver(Some(running.open_door_later(peer, local))),
        LetGo::TakenBack => {
            let door = running.open_door(local);
            Handed::NotOver(door.inspect_err(start::not_opened).ok())
        }
    }
}

/// Tells those who asked what came of putting the configuration in force, which is done for them where
/// it was not yet, or certificates are to be read again. Gives what was put in force last.
async fn answer(running: &Running, last: Last) -> Last {
    let config = running.wired.config();
    let (waiting, known) = running.wired.again.take(&config, &last);
    let outcome = match known {
        Some(outcome) => outcome,
        None => put_in_force(running, &config).await,
    };
    waiting.tell(&outcome);
    Some((config, outcome))
}

/// Puts in force what was accepted.
///
/// # Errors
/// Which part of it could not be; an event says so, too.
async fn put_in_force(running: &Running, config: &Arc<Config>) -> Outcome {
    let wired = &running.wired;
    wired.applying().bind_low_ports(config).await;
    let failed = |error: &dyn std::fmt::Display| {
        let text = format!("a part of the configuration is not in force: {error}");
        wired.node.shared().event(Event::new(Severity::Error, Kind::Config, text.clone()));
        text
    };
    let (node, new) = (wired.node.clone(), config.clone());
    let listeners = match tasks::blocking(move || node.apply(&new)).await {
        Some(applied) => applied.map_err(|error| failed(&error)),
        None => Err(failed(&"it ran into a bug; the log has its place")),
    };
    let operators = running.admin.apply(wired, config).await;
    let operators = operators.map_err(|error| failed(&format_args!("{error:#}")));
    listeners.and(operators)
}

/// Says once that a refused reload changed nothing: some errors say it by themselves.
fn unchanged(why: &str) -> String {
    const SAID: &str = "nothing was changed";
    let before = why.strip_prefix(SAID).and_then(|why| why.strip_prefix(": ")).unwrap_or(why);
    let after = before.strip_suffix(SAID).and_then(|why| why.strip_suffix("; "));
    format!("{SAID}: {}", after.unwrap_or(before))
}

/// Reads the files anew. What is wrong with them, or can't be had, is said, and changes nothing. A pipe can't:
/// who waits for its writer would keep every later change waiting.
async fn reload(running: &Running, list: &[PathBuf]) {
    let wired = &running.wired;
    let shared = wired.node.shared();
    let (files, node) = (list.to_owned(), wired.alone.node().clone());
    let read = move || files::parsed_for_operator(&files, &node);
    let read = match tasks::blocking(read).await {
        Some(read) => read.map_err(|error| format!("{error:#}")),
        None => Err("reading the files ran into a bug; the log has its place".to_owned()),
    };
    let (applying, names) = (wired.applying(), names(list));
    let lines = match read {
        Ok(parsed) => apply(&applying, parsed).await,
        Err(why) => Err(why),
    };
    let (severity, text) = match lines {
        // Certificates may have changed under the same names.
        Ok((severity, lines)) => match put_in_force(running, &wired.config()).await {
            Ok(()) => {
                (severity, format!("{names}: read again, and certificates with them: {lines}"))
            }
            // Which part of it, an event has said.
            Err(_) => {
                (Severity::Warning, format!("{names}: read again, and in part in force: {lines}"))
            }
        },
        Err(why) => (Severity::Error, unchanged(&why)),
    };
    shared.event(Event::new(severity, Kind::Config, text));
}

fn names(files: &[PathBuf]) -> String {
    files.iter().map(|it| it.display().to_string()).collect::<Vec<_>>().join(", ")
}

/// Applies the process's own files; gives what `highgate apply` would say of it, in one line, and how
/// much that matters: who sends a signal reads no answer, and is to find what was set twice. That comes
/// first: an event's text has an end.
async fn apply(applying: &Applying, parsed: Parsed) -> Result<(Severity, String), String> {
    let (before, key) = (Before::of(applying), applying.own.key.clone());
    let Applied { changes, conflicts, .. } = applying.apply(&key, parsed.clone(), "SIGHUP").await?;
    let (_, after) = applying.alone.current();
    let severity = if conflicts.is_empty() { Severity::Info } else { Severity::Warning };
    let told = move || before.lines((&key, &parsed), &changes, &conflicts, Some(&after));
    let mut told = tasks::blocking(told).await.unwrap_or_default();
    told.sort_by_key(|line| !line.starts_with("note:"));
    Ok((severity, told.join("; ")))
}

/// Drains within the bound; a second signal ends it at once.
async fn finish(running: &Running, signals: &mut Signals, ended: Ended) {
    let wired = &running.wired;
    // Who waits for what is not done any more is told so while there are ports to tell it by.
    wired.again.end();
    let patience = wired.patience();
    let text = format!("draining, for at most {} s", patience.as_secs());
    let event = Event::new(Severity::Info, Kind::Lifecycle, text);
    wired.node.shared().event(event);
    // Listening goes on until the addresses are gone: a closed socket would refuse their clients.
    wired.vips.stop().await;
    wired.serving.send_replace(false);
    if ended == Ended::Told || !retire(running, signals).await {
        tokio::select! {
            biased;
            () = signals.stopped() => tracing::warn!("told again: ending at once"),
            () = wired.node.drain(patience) => {}
        }
    }
    running.admin.stop();
    running.admin.answered().await;
    wired.end();
    tracing::info!("ended");
}

/// Lets sessions end once another process took over; `false` when a signal came first.
async fn retire(running: &Running, signals: &mut Signals) -> bool {
    // That process answers operators now.
    running.admin.stop();
    let wired = &running.wired;
    tokio::select! {
        biased;
        () = signals.stopped() => false,
        () = wired.node.retire(wired.patience()) => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_reload_says_once_that_nothing_was_changed() {
        for (error, told) in [
            ("nothing was changed: taken", "nothing was changed: taken"),
            (
                "a:1:1: error\n1 error; nothing was changed",
                "nothing was changed: a:1:1: error\n1 error",
            ),
            ("not stored (full); nothing was changed", "nothing was changed: not stored (full)"),
            ("cannot read a", "nothing was changed: cannot read a"),
        ] {
            assert_eq!(unchanged(error), told);
        }
    }
}
