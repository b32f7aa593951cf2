//! A small generator of random numbers: the same seed gives the same run.

/// Xorshift64*.
#[derive(Debug, Clone)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        let mut random = Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        for _ in 0..8 {
            random.next();
        }
        random
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16
    }

    /// A number below `limit`.
    pub(crate) fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next()).unwrap() % limit
    }

    /// True once in `n` times.
    pub(crate) fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    /// One of these.
    pub(crate) fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }
}

/// The seeds of a soak: `count` of the first `all`, which follow one another by the day.
#[allow(dead_code, reason = "not each test binary has a soak")]
pub(crate) fn turn(all: u64, count: u64) -> impl Iterator<Item = u64> {
    let since = std::time::UNIX_EPOCH.elapsed().unwrap_or_default();
    let day = since.as_secs() / 86_400;
    (0..count).map(move |at| 1 + (day * count + at) % all)
}
