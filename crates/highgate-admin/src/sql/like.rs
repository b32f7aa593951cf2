//! `LIKE` of the SHOW statements; that of SELECT is SQLite's.

/// Whether a name matches a `LIKE` pattern of `%` and `_`, without regard to case.
pub(super) fn is_like(name: &str, pattern: &str) -> bool {
    let name: Vec<char> = name.to_lowercase().chars().collect();
    let pattern: Vec<char> = pattern.to_lowercase().replace('\\', "").chars().collect();
    // Cells say whether the pattern so far matches each prefix of the name.
    let mut matched = vec![false; name.len() + 1];
    if let Some(first) = matched.first_mut() {
        *first = true;
    }
    for sign in pattern {
        let mut so_far = false;
        let mut diagonal = false;
        for (place, cell) in matched.iter_mut().enumerate() {
            let above = *cell;
            let here = place.checked_sub(1).and_then(|place| name.get(place));
            *cell = match sign {
                '%' => {
                    so_far |= above;
                    so_far
                }
                '_' => here.is_some() && diagonal,
                _ => here == Some(&sign) && diagonal,
            };
            diagonal = above;
        }
    }
    matched.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn like_knows_its_two_wildcards() {
        for (name, pattern, matches) in [
            ("servers", "serv%", true),
            ("servers", "%ER%", true),
            ("servers", "server_", true),
            ("servers", "server", false),
            ("servers", "%", true),
            ("", "%", true),
            ("", "_", false),
            ("gtid_mode", "gtid\\_mode", true),
        ] {
            assert_eq!(is_like(name, pattern), matches, "{name} LIKE {pattern}");
        }
    }
}
