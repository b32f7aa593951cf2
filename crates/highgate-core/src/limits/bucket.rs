//! A token bucket over a clock that is passed in.

use std::time::{Duration, Instant};

/// How many things may begin per second, with a burst.
#[derive(Debug, Clone, Copy)]
pub struct TokenBucket {
    rate: u32,
    /// Time up to which tokens are spent; may lie in the past by at most one burst.
    spent_to: Instant,
    burst: Duration,
}

impl TokenBucket {
    /// A full bucket; `rate` per second (0 = no bound), at most `burst` at once (at least one).
    #[must_use]
    pub fn new(rate: u32, burst: u32, now: Instant) -> Self {
        let burst = Self::cost(rate) * burst.max(1);
        Self { rate, spent_to: now.checked_sub(burst).unwrap_or(now), burst }
    }

    /// Takes a token, or says when there will be one.
    ///
    /// # Errors
    /// None now; the time at which there will be one.
    pub fn take(&mut self, now: Instant) -> Result<(), Instant> {
        if self.rate == 0 {
            return Ok(());
        }
        let floor = now.checked_sub(self.burst).unwrap_or(now);
        let spent = self.spent_to.max(floor) + Self::cost(self.rate);
        if spent > now {
            return Err(now + (spent - now));
        }
        self.spent_to = spent;
        Ok(())
    }

    /// Another rate from now on; what was spent stays spent.
    pub fn set_rate(&mut self, rate: u32, burst: u32) {
        self.rate = rate;
        self.burst = Self::cost(rate) * burst.max(1);
    }

    fn cost(rate: u32) -> Duration {
        Duration::from_secs(1) / rate.max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::origin;

    #[test]
    fn a_burst_passes_and_then_one_per_period() {
        let start = origin();
        let mut bucket = TokenBucket::new(10, 3, start);
        assert_eq!((0..5).filter(|_| bucket.take(start).is_ok()).count(), 3);
        let next = bucket.take(start).unwrap_err();
        assert_eq!(next - start, Duration::from_millis(100));
        assert!(bucket.take(next).is_ok());
        assert!(bucket.take(next).is_err());
    }

    #[test]
    fn a_long_silence_saves_no_more_than_a_burst() {
        let start = origin();
        let mut bucket = TokenBucket::new(100, 5, start);
        let later = start + Duration::from_secs(3600);
        assert_eq!((0..50).filter(|_| bucket.take(later).is_ok()).count(), 5);
    }

    #[test]
    fn a_rate_of_zero_bounds_nothing() {
        let start = origin();
        let mut bucket = TokenBucket::new(0, 1, start);
        assert!((0..10_000).all(|_| bucket.take(start).is_ok()));
    }

    #[test]
    fn ten_thousand_at_once_are_spread_at_the_rate() {
        let start = origin();
        let mut bucket = TokenBucket::new(500, 50, start);
        let (mut now, mut done) = (start, 0);
        while done < 10_000 {
            match bucket.take(now) {
                Ok(()) => done += 1,
                Err(next) => now = next,
            }
        }
        let took = (now - start).as_secs_f64();
        assert!((19.5..20.5).contains(&took), "{took}");
    }
}
