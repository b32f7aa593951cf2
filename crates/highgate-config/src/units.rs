//! Durations and sizes as operators write them: a whole number with its unit.

use std::time::Duration;

const DURATIONS: [(&str, u64); 5] =
    [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

const SIZES: [(&str, u64); 5] =
    [("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];

/// Reads `3s`, `500ms`, `5m`, `8h`, `1d`.
#[must_use]
pub fn parse_duration(text: &str) -> Option<Duration> {
    parse(text, &DURATIONS).map(Duration::from_millis)
}

/// Reads `64KiB`, `16MiB`, `1GiB`, `512B`.
#[must_use]
pub fn parse_size(text: &str) -> Option<u64> {
    parse(text, &SIZES)
}

/// Writes a duration so that `parse_duration` reads the same, to the millisecond.
#[must_use]
pub fn duration_text(duration: Duration) -> String {
    text_of(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX), "0s", &DURATIONS)
}

/// Writes a size so that `parse_size` reads the same.
#[must_use]
pub fn size_text(bytes: u64) -> String {
    text_of(bytes, "0B", &SIZES)
}

fn parse(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let end = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at(end);
    let (_, factor) = units.iter().find(|(name, _)| *name == unit.trim_start())?;
    number.parse::<u64>().ok()?.checked_mul(*factor)
}

fn text_of(amount: u64, zero: &str, units: &[(&str, u64)]) -> String {
    if amount == 0 {
        return zero.to_owned();
    }
    units
        .iter()
        .find(|(_, factor)| amount.is_multiple_of(*factor))
        .map_or_else(|| amount.to_string(), |(name, factor)| format!("{}{name}", amount / factor))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_without_its_unit_is_not_a_duration() {
        for text in ["", "3", "s", "-3s", "3.5s", "3sec", "99999999999999999999s", "9999999999999d"]
        {
            assert_eq!(parse_duration(text), None, "{text}");
        }
    }

    #[test]
    fn what_is_written_reads_the_same() {
        for ms in [0, 1, 999, 1000, 1500, 60_000, 90_000, 3_600_000, 86_400_000] {
            let duration = Duration::from_millis(ms);
            assert_eq!(parse_duration(&duration_text(duration)), Some(duration));
        }
        for bytes in [0, 1, 1023, 1024, 1 << 20, (1 << 30) + 1, u64::MAX] {
            assert_eq!(parse_size(&size_text(bytes)), Some(bytes));
        }
    }
}
