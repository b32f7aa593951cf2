//! GTID positions of MariaDB and MySQL, as far as it takes to tell who lacks something.

use std::collections::BTreeMap;

/// Whether a server at that position lacks what one at the other has, for sure. That it has as many
/// transactions says nothing of which.
pub(super) fn lacks(position: &str, other: &str) -> bool {
    let own = heads(position);
    heads(other).iter().any(|(of, number)| own.get(of).is_none_or(|own| own < number))
}

/// Whether both are the same position, and a known one: then both have the same transactions.
pub(super) fn is_same(position: &str, other: &str) -> bool {
    !position.is_empty() && position == other
}

/// Whether a server at that position has begun anew since it was at the other: of no row of transactions it has
/// half as many. A crash costs the newest ones at most.
pub(super) fn starts_over(position: &str, before: &str) -> bool {
    let (own, before) = (heads(position), heads(before));
    let is_small = |own: u64, before: u64| own < before.div_ceil(2);
    !before.is_empty()
        && before.iter().all(|(of, number)| own.get(of).is_none_or(|own| is_small(*own, *number)))
}

/// The last number of each row of transactions. Those of MariaDB are counted by domain (`0-1-42`), those of
/// MySQL by server and tag (`uuid:1-40:42:tag:1-7`).
fn heads(position: &str) -> BTreeMap<(&str, &str), u64> {
    let mut heads = BTreeMap::new();
    for entry in position.split(',').map(str::trim) {
        let Some((uuid, intervals)) = entry.split_once(':') else {
            if let Some((domain, (_, number))) = entry
                .split_once('-')
                .and_then(|(domain, rest)| Some((domain, rest.split_once('-')?)))
                && let Ok(number) = number.parse()
            {
                raise(&mut heads, (domain, ""), number);
            }
            continue;
        };
        let mut tag = "";
        for part in intervals.split(':').map(str::trim) {
            match part.rsplit('-').next().unwrap_or(part).parse() {
                Ok(last) => raise(&mut heads, (uuid, tag), last),
                Err(_) => tag = part,
            }
        }
    }
    heads
}

fn raise<'a>(heads: &mut BTreeMap<(&'a str, &'a str), u64>, of: (&'a str, &'a str), number: u64) {
    let head = heads.entry(of).or_default();
    *head = number.max(*head);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_fewer_transactions_of_some_row_lacks_some() {
        for (position, other, does) in [
            ("0-1-41", "0-1-42", true),
            ("0-2-42", "0-1-42", false),
            ("0-2-43", "0-1-42", false),
            ("0-1-42", "0-1-42,3-1-7", true),
            ("0-1-42,3-1-8", "0-1-42,3-1-7", false),
            ("", "0-1-1", true),
            ("0-1-42", "", false),
            ("a:1-40", "a:1-40:42", true),
            ("a:1-42,\nb:1-7", "a:1-42,\nb:1-8", true),
            ("a:1-42,\nb:1-8", "b:1-8", false),
            ("a:1-9", "a:1-9:tag:1", true),
            ("nonsense", "nonsense", false),
        ] {
            assert_eq!(lacks(position, other), does, "{position} beside {other}");
        }
    }

    #[test]
    fn who_lost_half_of_all_rows_has_begun_anew() {
        for (position, before, does) in [
            ("", "0-1-1", true),
            ("0-1-49", "0-1-100", true),
            ("0-1-50", "0-1-100", false),
            ("0-1-3,1-1-7", "0-1-100,1-1-7", false),
            ("b:1-90", "a:1-100", true),
            ("", "", false),
        ] {
            assert_eq!(starts_over(position, before), does, "{position} after {before}");
        }
    }
}
