//! When to tell people again of what keeps happening.

use std::time::{Duration, Instant};

/// Tells at once, then at most once per period, with how often it happened in between: peers can't
/// make us write events without a bound.
#[derive(Debug, Clone, Copy, Default)]
pub struct Telling {
    at: Option<Instant>,
    untold: u64,
}

impl Telling {
    /// It happened. Some: tell it now, and of that many that were not told; none: not yet.
    pub fn happened(&mut self, now: Instant, period: Duration) -> Option<u64> {
        if self.at.is_some_and(|at| now.saturating_duration_since(at) < period) {
            self.untold += 1;
            return None;
        }
        self.at = Some(now);
        Some(std::mem::take(&mut self.untold))
    }
}

/// The end of a sentence about what happened `untold` more times.
#[must_use]
pub fn and_more(untold: u64) -> String {
    match untold {
        0 => String::new(),
        untold => format!(" (and {untold} more since this was told last)"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_is_told_at_once_and_the_rest_are_summed_up_once_per_period() {
        let period = Duration::from_secs(10);
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut telling = Telling::default();
        let told: Vec<_> = [0, 1, 9, 10, 11, 40, 60]
            .into_iter()
            .map(|second| telling.happened(at(second), period))
            .collect();
        assert_eq!(told, [Some(0), None, None, Some(2), None, Some(1), Some(0)]);
    }

    #[test]
    fn nothing_is_added_where_nothing_was_left_out() {
        assert_eq!(and_more(0), "");
        assert_eq!(and_more(3), " (and 3 more since this was told last)");
    }
}
