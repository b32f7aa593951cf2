//! The terminal while frames are drawn on it, and as it was when that ends: also by a panic, which
//! unwinds, and by a signal, which ends the loop.

use std::{
    fs::File,
    io::{self, IsTerminal as _},
    os::fd::{AsFd, OwnedFd},
};

use rustix::termios::{
    LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcgetwinsize, tcsetattr,
};
use tokio::io::{Interest, unix::AsyncFd};

use super::{frame::Size, keys::Key};
use crate::output;

/// Another screen than that of the shell, without a cursor.
const ENTER: &str = "\x1b[?1049h\x1b[?25l";
const LEAVE: &str = "\x1b[?25h\x1b[?1049l";

/// A terminal that is drawn on.
pub(super) struct Terminal {
    keyboard: Option<Keyboard>,
}

/// Where keys come from, with how it was set before.
struct Keyboard {
    input: AsyncFd<OwnedFd>,
    before: Termios,
}

impl Terminal {
    /// Takes the screen, and the keys where there is a keyboard.
    ///
    /// # Errors
    /// As the system says.
    pub(super) fn take() -> io::Result<Self> {
        let keyboard = Keyboard::open().ok();
        output::write(ENTER);
        Ok(Self { keyboard })
    }

    pub(super) fn has_keys(&self) -> bool {
        self.keyboard.is_some()
    }

    /// Draws a frame over the one before.
    pub(super) fn draw(&self, lines: &[String]) {
        let text = lines.join("\x1b[K\r\n");
        output::write(&format!("\x1b[H{text}\x1b[K\x1b[J"));
    }

    /// The next key; never where there is no keyboard.
    ///
    /// Cancel safe: yes; a dropped call has consumed nothing.
    pub(super) async fn key(&self) -> Key {
        let Some(keyboard) = &self.keyboard else { return std::future::pending().await };
        loop {
            let Ok(mut ready) = keyboard.input.readable().await else { return Key::Quit };
            let mut bytes = [0; 16];
            let read = rustix::io::read(keyboard.input.get_ref(), &mut bytes);
            ready.clear_ready();
            match read {
                // The terminal has gone.
                Ok(0) | Err(_) => return Key::Quit,
                Ok(count) => {
                    if let Some(key) = bytes.get(..count).and_then(Key::of) {
                        return key;
                    }
                }
            }
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        output::write(LEAVE);
        if let Some(keyboard) = &self.keyboard {
            let _ = tcsetattr(keyboard.input.get_ref(), OptionalActions::Flush, &keyboard.before);
        }
    }
}

impl Keyboard {
    /// Keys as they are pressed, without an echo; ^C is a key like any other.
    fn open() -> io::Result<Self> {
        let input: OwnedFd = if io::stdin().is_terminal() {
            io::stdin().as_fd().try_clone_to_owned()?
        } else {
            File::open("/dev/tty")?.into()
        };
        let before = tcgetattr(&input)?;
        let mut raw = before.clone();
        raw.local_modes.remove(LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG);
        raw.special_codes[SpecialCodeIndex::VMIN] = 1;
        #[expect(
            deprecated,
            reason = "the descriptor is owned here and never lent, so nobody can close it under \
                      epoll; the constructor that replaces this one is unsafe for those that lend"
        )]
        let input = AsyncFd::with_interest(input, Interest::READABLE)?;
        tcsetattr(input.get_ref(), OptionalActions::Flush, &raw)?;
        Ok(Self { input, before })
    }
}

/// The size of the screen on standard output, or a usual one where it does not say.
pub(super) fn size() -> Size {
    let told = tcgetwinsize(io::stdout()).ok().filter(|size| size.ws_col > 0 && size.ws_row > 0);
    told.map_or(Size { columns: 80, rows: Some(24) }, |size| Size {
        columns: usize::from(size.ws_col),
        rows: Some(usize::from(size.ws_row)),
    })
}
