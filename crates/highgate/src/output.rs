//! Standard output and standard error: the only place that writes to them.

use std::io::Write;

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

/// Writes to standard error.
pub(crate) fn complain(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}
