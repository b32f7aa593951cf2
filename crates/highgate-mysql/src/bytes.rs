//! Conversions between lengths and wire integers that cannot lose bits.

/// A length as a wire integer; `usize` is at most 64 bits wide on every platform we build for.
pub(crate) const fn le_uint(len: usize) -> u64 {
    len as u64
}
