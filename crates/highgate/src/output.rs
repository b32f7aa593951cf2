//! Standard output and standard error: the only place that writes to them.

use std::io::{IsTerminal as _, Write};

/// Writes to standard output. A reader that has gone is no error: it has seen enough.
#[expect(clippy::unnecessary_wraps, reason = "commands end in it")]
pub(crate) fn say(text: &str) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text.as_bytes());
    if !text.ends_with('\n') {
        let _ = out.write_all(b"\n");
    }
    Ok(())
}

/// Writes to standard output at once, as it is. A reader that has gone is no error.
pub(crate) fn write(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text.as_bytes());
    let _ = out.flush();
}

/// The width of the terminal, or a wide one's where there is none or it does not say.
pub(crate) fn width() -> usize {
    const WIDE: usize = 200;
    rustix::termios::tcgetwinsize(std::io::stdout())
        .map_or(WIDE, |size| if size.ws_col == 0 { WIDE } else { usize::from(size.ws_col) })
}

/// The width that tables are fitted to. Where no terminal reads them nothing is cut or wrapped (0): who
/// searches the output, or sends it on, finds each row whole on a line of its own.
pub(crate) fn table_width() -> usize {
    if std::io::stdout().is_terminal() { width() } else { 0 }
}

/// Writes to standard error.
pub(crate) fn complain(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}
