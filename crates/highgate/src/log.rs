//! The log of `run`: what is written, and what operators are told when it can't be.

use std::{sync::Arc, time::Duration};

use anyhow::Context as _;
use highgate_core::events::{Event, Kind, Severity};
use highgate_io::{
    clock,
    log::{LogLines, LogQueue, Losses, queue},
    tasks::{self, Stop},
};
use highgate_proxy::shared::Shared;
use tracing_subscriber::EnvFilter;

/// Time between two looks at what was lost.
const LOOK: Duration = Duration::from_secs(1);

/// Logs into a queue from now on. Nothing is written before [`write_elsewhere`]: the privileged
/// processes are started while this one has a single thread.
pub(crate) fn start(filter: &str) -> anyhow::Result<(LogLines, Option<LogQueue>)> {
    let filter = EnvFilter::try_new(filter)
        .with_context(|| format!("`--log {filter}` is no filter, such as `info`"))?;
    let (lines, queue) = queue();
    let writer = lines.clone();
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(move || writer.clone())
        .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))
        .with_target(false)
        .init();
    Ok((lines, Some(queue)))
}

/// Gives the log a thread that writes it.
pub(crate) fn write_elsewhere(queue: &mut Option<LogQueue>) -> anyhow::Result<()> {
    if let Some(queue) = queue.take() {
        tasks::thread("log", move || queue.write_to(std::io::stderr()))
            .context("cannot start the thread of the log")?;
    }
    Ok(())
}

/// Tells operators when lines of the log are lost, and when that is over.
///
/// Cancel safe: yes; what was not told yet is not told.
pub(crate) async fn watch(log: LogLines, shared: Arc<Shared>, stop: Stop) {
    let mut told = Told::default();
    loop {
        tokio::select! {
            biased;
            () = stop.stopped() => return,
            () = clock::pause(LOOK) => {}
        }
        if let Some(event) = told.look(&log.losses()) {
            shared.event(event);
        }
    }
}

/// What operators know of it.
#[derive(Debug, Default)]
struct Told {
    lines: u64,
    failing: bool,
}

impl Told {
    fn look(&mut self, losses: &Losses) -> Option<Event> {
        if losses.lines == self.lines || (self.failing && losses.because.is_some()) {
            return None;
        }
        let (severity, text) = match &losses.because {
            Some(because) => (
                Severity::Error,
                format!(
                    "the log can't be written: {because}; its lines are counted and lost until it can be, \
                     events stay in table `events`"
                ),
            ),
            None => {
                let lost = losses.lines - std::mem::replace(&mut self.lines, losses.lines);
                (
                    Severity::Warning,
                    format!("the log is written again; {lost} lines of it were lost"),
                )
            }
        };
        self.failing = losses.because.is_some();
        Some(Event::new(severity, Kind::Limit, text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lost_lines_are_told_once_when_it_begins_and_once_when_it_is_over() {
        let mut told = Told::default();
        let mut look = |lines, because: Option<&str>| {
            let because = because.map(str::to_owned);
            told.look(&Losses { lines, because }).map(|event| event.text)
        };
        assert_eq!(look(0, None), None);
        let text = look(3, Some("no space")).unwrap();
        assert!(text.starts_with("the log can't be written: no space; its lines"), "{text}");
        assert_eq!(look(9, Some("no space")), None);
        assert_eq!(look(9, None).unwrap(), "the log is written again; 9 lines of it were lost");
        assert_eq!(look(9, None), None);
        // Shorter than it takes to look.
        assert_eq!(look(10, None).unwrap(), "the log is written again; 1 lines of it were lost");
    }
}
