//! One frame: a view drawn as lines of text, for a screen of some size. Pure.
//!
//! No line is wider than the screen and no frame higher. What clients and servers chose as names is
//! shown without control characters: nobody's name can steer an operator's terminal.

use super::{
    text::{Cell, Column, Tone, fit, padded},
    view::View,
};

/// A screen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Size {
    pub(crate) columns: usize,
    /// Without a bound nothing is left out.
    pub(crate) rows: Option<usize>,
}

/// What is beside the data.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Look<'a> {
    pub(crate) size: Size,
    pub(crate) has_colour: bool,
    /// Milliseconds of Unix time.
    pub(crate) wall_ms: u64,
    /// In the corner: `live`, `paused`, or what is wrong.
    pub(crate) state: &'a str,
    /// The last line; none where nobody can press a key.
    pub(crate) keys: Option<&'a str>,
}

/// The lines of the frame.
pub(crate) fn frame(view: &View, look: &Look<'_>) -> Vec<String> {
    let mut lines = head(view, look);
    let keys = look.keys.map(|keys| padded(keys, look.size.columns));
    let mut room = look
        .size
        .rows
        .map(|rows| rows.saturating_sub(lines.len()).saturating_sub(usize::from(keys.is_some())));
    let events = events(view, look);
    // Each has a gap above and a heading. Events are why one looks: some room is theirs.
    let kept = room.map(|room| events.len().min((room / 4).max(3)) + 2);
    for section in
        [servers(view, look), listeners(view, look), digests(view, look), sessions(view, look)]
    {
        push(&mut lines, section, (room.as_mut(), look.size.columns), kept.unwrap_or(0));
    }
    push(&mut lines, events, (room.as_mut(), look.size.columns), 0);
    if let (Some(rows), Some(keys)) = (look.size.rows, keys) {
        lines.resize(rows.saturating_sub(1), String::new());
        lines.push(tinted(&keys, Tone::Faint, look));
    }
    lines.truncate(look.size.rows.unwrap_or(usize::MAX));
    lines
}

/// Adds as much of a section as there is room for; the last line says what is left out.
fn push(
    lines: &mut Vec<String>,
    mut section: Vec<String>,
    (room, width): (Option<&mut usize>, usize),
    kept: usize,
) {
    if section.len() < 2 {
        return;
    }
    if let Some(room) = room {
        let own = room.saturating_sub(kept + 1);
        if own < 2 {
            return;
        }
        if section.len() > own {
            let left_out = section.len() - own + 1;
            section.truncate(own - 1);
            section.push(fit(&format!("… {left_out} more"), width));
        }
        *room = room.saturating_sub(section.len() + 1);
    }
    lines.push(String::new());
    lines.append(&mut section);
}

fn head(view: &View, look: &Look<'_>) -> Vec<String> {
    let (node, width) = (&view.node, look.size.columns);
    let draining = if node.draining > 0 { "   draining" } else { "" };
    let left = format!(
        "highgate {} on {}   up {}   configuration {}{draining}",
        node.version,
        node.name,
        span(node.uptime_seconds),
        node.config_version,
    );
    let right = format!("{} UTC   {}", clock(look.wall_ms), look.state);
    let serving = view.servers.iter().filter(|(server, _)| serves(&server.status)).count();
    let second = format!(
        "clients {} of {}   commands/s {}   errors/s {}   servers up {serving} of {}",
        node.clients,
        node.max_clients,
        rate(view.commands),
        rate(view.errors),
        view.servers.len()
    );
    let gap = width.saturating_sub(super::text::width(&left) + super::text::width(&right));
    let first = if gap >= 2 { format!("{left}{}{right}", " ".repeat(gap)) } else { left };
    let all_well = view.errors.unwrap_or_default() <= 0.0 && serving == view.servers.len();
    let tone = if all_well { Tone::Usual } else { Tone::Warning };
    vec![tinted(&fit(&first, width), Tone::Strong, look), tinted(&fit(&second, width), tone, look)]
}

fn servers(view: &View, look: &Look<'_>) -> Vec<String> {
    const COLUMNS: &[Column] = &[
        Column::text("SERVER", 0),
        Column::text("ROLE", 0),
        Column::text("STATE", 0),
        Column::number("LAG", 2),
        Column::number("BUSY", 3),
        Column::number("OPEN", 4),
        Column::number("QUEUE", 3),
        Column::number("CMD/S", 0),
        Column::number("LATENCY", 1),
        Column::number("ERR/S", 1),
        Column::text("WHY", 2),
    ];
    let row = |(server, rates): &(super::sample::Server, super::view::ServerRates)| {
        let tone = match &*server.status {
            status if serves(status) => Tone::Usual,
            "broken" | "down" | "quarantined" => Tone::Bad,
            _ => Tone::Warning,
        };
        let failed = if rates.errors.unwrap_or_default() > 0.0 { Tone::Bad } else { Tone::Usual };
        let queued = if server.queued > 0 { Tone::Warning } else { Tone::Usual };
        let role = server.role.as_deref().unwrap_or("-");
        let strong = if role == "primary" { Tone::Strong } else { Tone::Usual };
        vec![
            Cell::new(format!("{}/{}", server.backend, server.name), Tone::Usual),
            Cell::new(role, strong),
            Cell::new(&*server.status, tone),
            Cell::usual(server.lag_ms.map_or_else(|| "-".to_owned(), |lag| micros(lag * 1000.0))),
            Cell::usual(server.leased),
            Cell::usual(server.opened),
            Cell::new(server.queued, queued),
            Cell::usual(rate(rates.commands)),
            Cell::usual(server.latency_us.map_or_else(|| "-".to_owned(), |us| micros(float(us)))),
            Cell::new(rate(rates.errors), failed),
            Cell::new(server.reason.as_deref().unwrap_or_default(), tone),
        ]
    };
    section(COLUMNS, view.servers.iter().map(row), look)
}

fn serves(status: &str) -> bool {
    matches!(status, "up" | "starting")
}

fn listeners(view: &View, look: &Look<'_>) -> Vec<String> {
    const COLUMNS: &[Column] = &[
        Column::text("LISTENER", 0),
        Column::text("MODE", 2),
        Column::text("ADDRESS", 1),
        Column::text("BACKEND", 3),
        Column::number("CLIENTS", 0),
        Column::number("NEW/S", 0),
        Column::number("REFUSED/S", 1),
        Column::number("BAD LOGINS/S", 1),
    ];
    let row = |(listener, rates): &(super::sample::Listener, super::view::ListenerRates)| {
        let alarm = |rate: Option<f64>| match rate {
            Some(rate) if rate > 0.0 => Tone::Warning,
            _ => Tone::Usual,
        };
        vec![
            Cell::usual(&*listener.name),
            Cell::usual(&*listener.mode),
            Cell::usual(&*listener.address),
            Cell::usual(&*listener.backend),
            Cell::usual(listener.clients),
            Cell::usual(rate(rates.accepted)),
            Cell::new(rate(rates.refused), alarm(rates.refused)),
            Cell::new(rate(rates.login_failures), alarm(rates.login_failures)),
        ]
    };
    section(COLUMNS, view.listeners.iter().map(row), look)
}

fn sessions(view: &View, look: &Look<'_>) -> Vec<String> {
    const COLUMNS: &[Column] = &[
        Column::number("SESSION", 0),
        Column::text("USER", 0),
        Column::text("CLIENT", 2),
        Column::text("SERVER", 1),
        Column::text("STATE", 0),
        Column::number("SINCE", 3),
        Column::number("CMD/S", 0),
        Column::text("BOUND BY", 2),
    ];
    let text = |text: &Option<String>| Cell::usual(text.as_deref().unwrap_or("-"));
    let row = |(session, commands): &(super::sample::Session, Option<f64>)| {
        vec![
            Cell::usual(session.id),
            text(&session.user),
            text(&session.client),
            text(&session.server),
            text(&session.state),
            Cell::usual(session.seconds.map_or_else(|| "-".to_owned(), |s| micros(s * 1e6))),
            Cell::usual(rate(*commands)),
            Cell::usual(session.pinned_by.as_deref().unwrap_or_default()),
        ]
    };
    let mut lines = section(COLUMNS, view.sessions.iter().map(row), look);
    let unseen = view.all_sessions.saturating_sub(view.sessions.len() as u64);
    if unseen > 0 {
        lines.push(fit(&format!("… {unseen} more"), look.size.columns));
    }
    lines
}

fn digests(view: &View, look: &Look<'_>) -> Vec<String> {
    const COLUMNS: &[Column] = &[
        Column::number("CMD/S", 0),
        Column::number("AT ONCE", 1),
        Column::number("LATENCY", 0),
        Column::number("ERR/S", 1),
        Column::text("STATEMENT (LITERALS AS ?)", 0),
    ];
    let row = |(digest, rates): &(super::sample::Digest, super::view::DigestRates)| {
        let failed = if rates.errors > 0.0 { Tone::Bad } else { Tone::Usual };
        vec![
            Cell::usual(rate(Some(rates.commands))),
            Cell::usual(format!("{:.2}", rates.at_once)),
            Cell::usual(micros(rates.average_us)),
            Cell::new(rate(Some(rates.errors)), failed),
            Cell::usual(&*digest.digest_text),
        ]
    };
    // Sessions want their place as well.
    let most = look.size.rows.map_or(8, |rows| (rows / 10).clamp(2, 8));
    section(COLUMNS, view.digests.iter().take(most).map(row), look)
}

fn events(view: &View, look: &Look<'_>) -> Vec<String> {
    const COLUMNS: &[Column] = &[
        Column::text("TIME", 1),
        Column::text("SEVERITY", 2),
        Column::text("SERVER", 1),
        Column::text("EVENT (LATEST FIRST)", 0),
    ];
    let row = |event: &super::sample::Event| {
        let tone = match &*event.severity {
            "error" => Tone::Bad,
            "warning" => Tone::Warning,
            _ => Tone::Usual,
        };
        let place: Vec<&str> =
            [&event.backend, &event.server].into_iter().filter_map(|it| it.as_deref()).collect();
        vec![
            Cell::usual(clock(event.time)),
            Cell::new(&*event.severity, tone),
            Cell::usual(place.join("/")),
            Cell::new(&*event.text, tone),
        ]
    };
    section(COLUMNS, view.events.iter().map(row), look)
}

fn section(
    columns: &[Column],
    rows: impl Iterator<Item = Vec<Cell>>,
    look: &Look<'_>,
) -> Vec<String> {
    super::text::table(columns, &rows.collect::<Vec<_>>(), look.size.columns, look.has_colour)
}

fn tinted(text: &str, tone: Tone, look: &Look<'_>) -> String {
    super::text::tinted(text, tone, look.has_colour)
}

/// A rate as briefly as it can be read.
fn rate(rate: Option<f64>) -> String {
    match rate {
        None => "-".to_owned(),
        Some(rate) if rate <= 0.0 => "0".to_owned(),
        Some(rate) if rate < 10.0 => format!("{rate:.1}"),
        Some(rate) if rate < 100_000.0 => format!("{rate:.0}"),
        Some(rate) if rate < 1e7 => format!("{:.0}k", rate / 1e3),
        Some(rate) => format!("{:.0}M", rate / 1e6),
    }
}

/// A time given in microseconds.
fn micros(us: f64) -> String {
    match us {
        us if us <= 0.0 => "0".to_owned(),
        us if us < 1000.0 => format!("{us:.0}us"),
        us if us < 100_000.0 => format!("{:.1}ms", us / 1e3),
        us if us < 1e6 => format!("{:.0}ms", us / 1e3),
        us if us < 1e8 => format!("{:.1}s", us / 1e6),
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates")]
        us => span((us / 1e6) as u64),
    }
}

/// Seconds, in its two largest units.
fn span(seconds: u64) -> String {
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds}s"),
        (0, 0, _) => format!("{minutes}m {}s", seconds % 60),
        (0, ..) => format!("{hours}h {minutes}m"),
        _ => format!("{days}d {hours}h"),
    }
}

/// The time of day.
fn clock(ms: u64) -> String {
    let seconds = ms / 1000 % 86_400;
    format!("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

#[expect(clippy::cast_precision_loss, reason = "for people to read")]
const fn float(number: u64) -> f64 {
    number as f64
}
