//! What the demo shows: sentences that stay, and one line that runs.

use std::{
    io::IsTerminal,
    sync::{Arc, atomic::Ordering::Relaxed},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use highgate_io::{clock, tasks};
use parking_lot::Mutex;

use super::{
    client::Client,
    load::Counts,
    proxy::{self, Proxy, Seen},
    pulse::Pulse,
};
use crate::output;

/// Standard output, with a running line at its end where that is a terminal.
pub(super) struct Screen {
    is_terminal: bool,
    begun: Instant,
    /// The running line that stands there now.
    line: Mutex<String>,
}

/// How a sentence looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Look {
    Plain,
    Bold,
    Good,
    Bad,
}

impl Screen {
    pub(super) fn new() -> Self {
        let is_terminal = std::io::stdout().is_terminal();
        Self { is_terminal, begun: clock::now(), line: Mutex::default() }
    }

    /// Writes a sentence above the running line.
    pub(super) fn say(&self, look: Look, text: &str) {
        let line = self.line.lock();
        let (on, off) = match (self.is_terminal, look) {
            (false, _) | (_, Look::Plain) => ("", ""),
            (true, Look::Bold) => ("\x1b[1m", "\x1b[0m"),
            (true, Look::Good) => ("\x1b[32m", "\x1b[0m"),
            (true, Look::Bad) => ("\x1b[31m", "\x1b[0m"),
        };
        let clear = if line.is_empty() { "" } else { "\r\x1b[K" };
        output::write(&format!("{clear}{on}{text}{off}\n{line}"));
    }

    /// A sentence with the time since the demo began.
    pub(super) fn note(&self, text: &str) {
        let seconds = clock::now().saturating_duration_since(self.begun).as_secs_f64();
        self.say(Look::Plain, &format!("{seconds:6.1} s  {text}"));
    }

    /// The heading of a scene.
    pub(super) fn heading(&self, text: &str) {
        self.say(Look::Bold, &format!("\n{text}"));
    }

    /// A promise, and whether it was kept.
    pub(super) fn verdict(&self, is_kept: bool, text: &str) {
        let (look, mark) = if is_kept { (Look::Good, '✔') } else { (Look::Bad, '✘') };
        self.say(look, &format!("          {mark} {text}"));
    }

    /// Puts another running line in the place of the last one.
    fn run(&self, text: &str) {
        let mut line = self.line.lock();
        if !self.is_terminal {
            output::write(&format!("{text}\n"));
            return;
        }
        *line = text.chars().take(output::width().saturating_sub(1)).collect();
        output::write(&format!("\r\x1b[K{line}"));
    }

    /// Ends the running line.
    fn end_line(&self) {
        let mut line = self.line.lock();
        if !line.is_empty() {
            output::write("\r\x1b[K");
            line.clear();
        }
    }
}

/// Keeps the running line up to date until it is dropped.
pub(super) struct RunningLine {
    pulse: Pulse,
    thread: Option<JoinHandle<()>>,
}

impl RunningLine {
    pub(super) fn start(
        screen: &Arc<Screen>,
        proxy: &Proxy,
        counts: &Arc<Counts>,
    ) -> anyhow::Result<Self> {
        let pulse = Pulse::default();
        let (until, screen, counts) = (pulse.clone(), screen.clone(), counts.clone());
        let mut admin = proxy.admin()?;
        let thread = tasks::thread("demo-line", move || {
            draw(&until, &screen, &counts, &mut admin);
            screen.end_line();
        })?;
        Ok(Self { pulse, thread: Some(thread) })
    }
}

impl Drop for RunningLine {
    fn drop(&mut self) {
        self.pulse.stop();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn draw(until: &Pulse, screen: &Screen, counts: &Counts, admin: &mut Client) {
    // A file gets half as many lines as a terminal gets pictures.
    let period = Duration::from_millis(if screen.is_terminal { 500 } else { 1000 });
    let mut before = (clock::now(), counts.operations(), proxy::servers(admin).unwrap_or_default());
    while until.rest(period) {
        let now = (clock::now(), counts.operations(), proxy::servers(admin).unwrap_or_default());
        let silent = now.0.saturating_duration_since(*counts.last_write.lock());
        let passed = now.0.saturating_duration_since(before.0).as_secs_f64().max(0.001);
        #[expect(clippy::cast_precision_loss, reason = "a number to look at")]
        let picture = Picture {
            seconds: now.0.saturating_duration_since(screen.begun).as_secs_f64(),
            rate: now.1.saturating_sub(before.1) as f64 / passed,
            errors: counts.errors() - counts.writes_unknown.load(Relaxed),
            unknown: counts.writes_unknown.load(Relaxed),
            // Between two writes there is always a little time.
            silent: if silent < period / 2 { 0.0 } else { silent.as_secs_f64() },
        };
        screen.run(&picture.line(&before.2, &now.2, output::width()));
        before = now;
    }
}

/// What the running line says, beside the servers.
struct Picture {
    seconds: f64,
    rate: f64,
    errors: u64,
    unknown: u64,
    silent: f64,
}

impl Picture {
    /// The line; on a narrow terminal, a shorter one.
    fn line(&self, before: &[Seen], now: &[Seen], width: usize) -> String {
        let Self { seconds, rate, errors, unknown, silent } = self;
        let shares = shares(before, now);
        let long = format!(
            "{seconds:6.1} s  {rate:5.0} ops/s | {shares} | errors {errors}, unknown {unknown} \
             | no writes for {silent:.1} s"
        );
        if long.chars().count() < width {
            return long;
        }
        let shares = shares.replace("primary", "P").replace("replica", "R").replace(',', "");
        format!(
            "{seconds:4.0} s {rate:5.0}/s {shares}, errors {errors}+{unknown}?, paused {silent:.1} s"
        )
    }
}

/// Each server with its role and its share of the commands since the last picture.
fn shares(before: &[Seen], now: &[Seen]) -> String {
    let done = |server: &Seen| {
        let former = before.iter().find(|former| former.name == server.name);
        server.commands.saturating_sub(former.map_or(0, |former| former.commands))
    };
    let all: u64 = now.iter().map(done).sum();
    let servers = now.iter().map(|server| {
        let share = done(server) * 100 / all.max(1);
        let what = if server.status == "up" { &server.role } else { &server.status };
        format!("{} {what} {share:2}%", server.name)
    });
    servers.collect::<Vec<_>>().join(", ")
}

/// `1234567` as people read it.
pub(super) fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.char_indices() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_get_a_comma_at_each_thousand() {
        let all: Vec<String> = [0, 999, 1000, 1_234_567].into_iter().map(thousands).collect();
        assert_eq!(all, ["0", "999", "1,000", "1,234,567"]);
    }

    #[test]
    fn shares_are_of_what_was_done_since_the_last_look() {
        let seen = |name: &str, role: &str, status: &str, commands| Seen {
            name: name.to_owned(),
            role: role.to_owned(),
            status: status.to_owned(),
            commands,
        };
        let before = [seen("db1", "primary", "up", 100), seen("db2", "replica", "up", 100)];
        let now = [seen("db1", "primary", "down", 100), seen("db2", "replica", "up", 150)];
        assert_eq!(shares(&before, &now), "db1 down  0%, db2 replica 100%");
    }
}
