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

/// Writes to standard error.
pub(crate) fn complain(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}
