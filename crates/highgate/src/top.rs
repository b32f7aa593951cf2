//! `highgate top`: the running process on a terminal, anew every second.
//!
//! [`sample`] holds what the process says, [`view`] turns two samples into rates, [`mod@frame`] draws one
//! frame as lines. Those are pure; this file and [`terminal`] do what they say. It asks by the socket of
//! `highgate ctl`, and keeps asking where the process goes away and comes back.

mod frame;
mod keys;
mod sample;
mod terminal;
mod text;
mod view;

use std::{
    io::IsTerminal as _,
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use highgate_admin::ctl;
use highgate_io::{clock, tasks};
use tokio::signal::unix::{SignalKind, signal};

use self::{
    frame::{Look, Size, frame},
    keys::Key,
    sample::Sample,
    terminal::Terminal,
    view::{Sort, View},
};
use crate::{admin_side, cli, output, signals::Signals};

/// Between the samples of the first rates, and of `--once`.
const FIRST: Duration = Duration::from_millis(500);
const KEYS: &str = "q quit   p pause   s sort   space refresh";

/// Shows the process until a key or a signal ends it; once where that is asked for, or nobody looks.
pub(crate) fn top(arguments: &cli::Top) -> anyhow::Result<()> {
    let is_terminal = std::io::stdout().is_terminal();
    let screen = Screen {
        socket: admin_side::socket_path(&arguments.data_dir),
        period: Duration::from_secs(arguments.seconds),
        has_colour: is_terminal && cli::variable("NO_COLOR").is_none_or(|it| it.is_empty()),
        before: None,
        now: None,
        trouble: None,
        is_paused: false,
        sort: Sort::default(),
    };
    let runtime = tasks::local_runtime().context("cannot start a runtime")?;
    if arguments.once || !is_terminal {
        runtime.block_on(once(screen))
    } else {
        runtime.block_on(live(screen))
    }
}

/// One frame, with rates, without a bound to its height.
async fn once(mut screen: Screen) -> anyhow::Result<()> {
    screen.look().await?;
    clock::pause(FIRST).await;
    screen.look().await?;
    let size = Size { columns: output::width(), rows: None };
    output::say(&screen.frame(size, None).join("\n"))
}

/// Frames until a key or a signal ends them.
async fn live(mut screen: Screen) -> anyhow::Result<()> {
    // What is wrong from the start is said on the usual screen.
    screen.look().await?;
    let mut signals = Signals::listen().context("cannot listen to signals")?;
    let mut resized = signal(SignalKind::window_change()).context("cannot listen to signals")?;
    let terminal = Terminal::take().context("cannot draw on this terminal")?;
    let mut next = clock::now() + FIRST;
    loop {
        let keys = terminal.has_keys().then_some(KEYS);
        terminal.draw(&screen.frame(terminal::size(), keys));
        tokio::select! {
            biased;
            _ = signals.next() => return Ok(()),
            key = terminal.key() => match key {
                Key::Quit => return Ok(()),
                Key::Pause => screen.is_paused = !screen.is_paused,
                Key::Sort => screen.sort = screen.sort.next(),
                Key::Refresh => next = clock::now(),
            },
            _ = resized.recv() => {}
            () = clock::sleep_until(next) => {
                next = clock::now() + screen.period;
                screen.look_on().await;
            }
        }
    }
}

/// What is shown, and how.
struct Screen {
    socket: PathBuf,
    period: Duration,
    has_colour: bool,
    before: Option<(Instant, Sample)>,
    now: Option<(Instant, Sample)>,
    /// Why there is no newer sample.
    trouble: Option<String>,
    is_paused: bool,
    sort: Sort,
}

impl Screen {
    /// Takes a sample.
    ///
    /// # Errors
    /// Why there is none.
    ///
    /// Cancel safe: yes.
    async fn look(&mut self) -> anyhow::Result<()> {
        let socket = self.socket.clone();
        let taken = tasks::blocking(move || {
            Sample::take(|path| ctl::get(&socket, path).map_err(crate::ctl::told))
        });
        let sample = taken.await.context("the question was not answered")??;
        self.before = self.now.replace((clock::now(), sample));
        Ok(())
    }

    /// Takes a sample unless paused; what is wrong is shown.
    async fn look_on(&mut self) {
        if self.is_paused {
            return;
        }
        self.trouble = self.look().await.err().map(|error| format!("{error:#}"));
    }

    fn frame(&self, size: Size, keys: Option<&str>) -> Vec<String> {
        let Some((at, now)) = &self.now else { return Vec::new() };
        let seconds = self
            .before
            .as_ref()
            .map_or(0.0, |(before, _)| at.saturating_duration_since(*before).as_secs_f64());
        let before = self.before.as_ref().map(|(_, sample)| sample);
        let view = View::new(before, now, seconds, self.sort);
        let state = match (&self.trouble, self.is_paused) {
            (Some(trouble), _) => trouble,
            (None, true) => "paused",
            (None, false) => "live",
        };
        let keys = keys.map(|keys| format!("{keys}   by {}", self.sort.word()));
        let look = Look {
            size,
            has_colour: self.has_colour,
            wall_ms: clock::wall_ms(),
            state,
            keys: keys.as_deref(),
        };
        frame(&view, &look)
    }
}

#[cfg(test)]
mod tests;
