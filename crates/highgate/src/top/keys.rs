//! What a key that was pressed asks for.

/// A wish.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Key {
    Pause,
    Quit,
    Refresh,
    Sort,
}

impl Key {
    /// The key whose bytes a terminal sent; none for what has no meaning here.
    pub(crate) fn of(bytes: &[u8]) -> Option<Self> {
        match bytes {
            // Alone it is Escape; before other bytes it begins an arrow or a function key.
            b"\x1b" => Some(Self::Quit),
            [b'q' | b'Q' | 0x03 | 0x04, ..] => Some(Self::Quit),
            [b'p' | b'P', ..] => Some(Self::Pause),
            [b's' | b'S', ..] | b"\x1b[C" => Some(Self::Sort),
            [b' ' | b'\r' | b'\n', ..] => Some(Self::Refresh),
            _ => None,
        }
    }
}
