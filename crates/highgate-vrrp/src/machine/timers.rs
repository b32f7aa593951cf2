//! The intervals of the RFCs, from the settings and what was learned.

use std::time::Duration;

use crate::advert::Version;

/// Skew_Time: who ranks higher waits less (RFC 3768 §6.1, RFC 9568 §6.1).
pub(super) fn skew(version: Version, priority: u8, active_interval: Duration) -> Duration {
    let part = 256 - u32::from(priority);
    match version {
        Version::V2 => Duration::from_secs(1) * part / 256,
        Version::V3 => active_interval * part / 256,
    }
}

/// Active_Down_Interval: how long nothing may be heard before a backup takes over.
pub(super) fn down(
    version: Version,
    priority: u8,
    active_interval: Duration,
    adverts: u8,
) -> Duration {
    active_interval * u32::from(adverts.max(1)) + skew(version, priority, active_interval)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_two_skews_by_a_part_of_a_second() {
        assert_eq!(
            down(Version::V2, 101, Duration::from_secs(1), 3),
            Duration::from_secs(3) + Duration::from_secs(155) / 256
        );
    }

    #[test]
    fn version_three_skews_by_a_part_of_the_active_routers_interval() {
        let half = Duration::from_millis(500);
        assert_eq!(down(Version::V3, 200, half, 3), half * 3 + half * 56 / 256);
    }

    #[test]
    fn who_ranks_higher_waits_less() {
        for version in [Version::V2, Version::V3] {
            let waits: Vec<_> =
                (1..=254).map(|rank| skew(version, rank, Duration::from_millis(10))).collect();
            assert!(waits.is_sorted_by(|lower, higher| lower > higher), "{version}");
        }
    }
}
