//! `~SEQ(NAME, 1, 3) …` and `~LST(NAME, a, b) …`: the rest of the line for each value of a definition.

use super::lexer::Letter;
use crate::settings::{Mistake, short};

/// Lines that one of them may make.
const MOST: usize = 65_536;

/// What is defined for one of the lines: names with their values.
pub(super) type Round = Vec<(String, String)>;

/// A generator at the beginning of a line: its letters, and what is repeated.
pub(super) fn split(letters: &[Letter]) -> Option<(&[Letter], &[Letter])> {
    let word: String = letters.iter().take(4).map(|it| it.c).collect();
    if !["~SEQ", "~LST"].contains(&word.as_str()) || letters.first().is_some_and(|it| it.is_plain) {
        return None;
    }
    let end = letters.iter().position(|it| it.c == ')').map_or(letters.len(), |at| at + 1);
    Some(letters.split_at(end))
}

/// The rounds that a generator asks for.
///
/// # Errors
/// What is wrong with it.
pub(super) fn rounds(text: &str) -> Result<Vec<Round>, Mistake> {
    let (word, inside) = text
        .strip_suffix(')')
        .and_then(|text| text.split_once('('))
        .ok_or_else(|| mistake(format!("`{}` does not end", short(text)), SEQ_OR_LST))?;
    match word.trim_end() {
        "~SEQ" => sequence(inside, false),
        "~SEQx" => sequence(inside, true),
        "~LST" => list(inside),
        other => Err(mistake(format!("`{}` is not known", short(other)), SEQ_OR_LST)),
    }
}

const SEQ_OR_LST: &str = "~SEQ(NAME, START, STEP, END) or ~LST(NAME, VALUE, VALUE)";
const SEQ: &str = "~SEQ(NAME, START, STEP, END), where START and STEP may be left out";
const LST: &str = "~LST(NAME, VALUE, VALUE) or ~LST({NAME, NAME}, {VALUE, VALUE}, {VALUE, VALUE})";

fn sequence(inside: &str, is_hex: bool) -> Result<Vec<Round>, Mistake> {
    let mut parts = inside.split(',').map(str::trim);
    let name = name(parts.next().unwrap_or_default(), SEQ)?;
    let numbers = parts.map(number).collect::<Result<Vec<i64>, Mistake>>()?;
    let toward = |from: i64, to: i64| if to < from { -1 } else { 1 };
    let (start, step, end) = match *numbers {
        [end] if end < 0 => (-1, -1, end),
        [end] => (1, 1, end),
        [start, end] => (start, toward(start, end), end),
        [start, step, end] => (start, step, end),
        _ => return Err(mistake("it takes a name and one to three numbers".to_owned(), SEQ)),
    };
    if step == 0 || (end - start).signum() == -step.signum() {
        let what = format!("from {start} in steps of {step} there is no way to {end}");
        return Err(mistake(what, SEQ));
    }
    if (end - start) / step >= i64::try_from(MOST).unwrap_or(i64::MAX) {
        return Err(mistake(format!("it makes more than {MOST} lines"), SEQ));
    }
    let mut rounds = Vec::new();
    let mut at = start;
    while (step > 0 && at <= end) || (step < 0 && at >= end) {
        let value = if is_hex { format!("{at:x}") } else { at.to_string() };
        rounds.push(vec![(name.clone(), value)]);
        at += step;
    }
    Ok(rounds)
}

fn list(inside: &str) -> Result<Vec<Round>, Mistake> {
    let mut parts = parts_of(inside).into_iter();
    let names = parts.next().unwrap_or_default();
    let names = members(&names).iter().map(|it| name(it, LST)).collect::<Result<Vec<_>, _>>()?;
    let mut rounds = Vec::new();
    for part in parts {
        let values = members(&part);
        if values.len() != names.len() {
            let what =
                format!("`{}` has {} values for {}", short(&part), values.len(), names.len());
            return Err(mistake(what, LST));
        }
        rounds.push(names.iter().cloned().zip(values).collect());
    }
    if rounds.is_empty() {
        return Err(mistake("there is no value".to_owned(), LST));
    }
    Ok(rounds)
}

/// What stands between commas that are in no braces.
fn parts_of(text: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut is_inside = false;
    for c in text.chars() {
        match c {
            '{' => is_inside = true,
            '}' => is_inside = false,
            _ => {}
        }
        match parts.last_mut() {
            Some(last) if c != ',' || is_inside => last.push(c),
            _ => parts.push(String::new()),
        }
    }
    parts.into_iter().map(|part| part.trim().to_owned()).collect()
}

/// One word, or those within braces.
fn members(part: &str) -> Vec<String> {
    match part.strip_prefix('{').and_then(|part| part.strip_suffix('}')) {
        Some(inside) => inside.split(',').map(|it| it.trim().to_owned()).collect(),
        None => vec![part.to_owned()],
    }
}

fn name(text: &str, expected: &str) -> Result<String, Mistake> {
    let is_name = !text.is_empty()
        && !text.starts_with(|c: char| c.is_ascii_digit())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    if is_name {
        return Ok(text.to_owned());
    }
    Err(mistake(format!("`{}` is no name of a definition", short(text)), expected))
}

fn number(text: &str) -> Result<i64, Mistake> {
    let (sign, digits) = text.strip_prefix('-').map_or((1, text), |digits| (-1, digits));
    let read = match digits.strip_prefix("0x") {
        Some(digits) => i64::from_str_radix(digits, 16),
        None => digits.parse(),
    };
    // Differences of two of them are numbers as well.
    let read = read.ok().filter(|it| (0..=i64::from(u32::MAX)).contains(it));
    read.map(|it| it * sign)
        .ok_or_else(|| mistake(format!("`{}` is not a number", short(text)), SEQ))
}

fn mistake(what: String, expected: &str) -> Mistake {
    Mistake { what, expected: expected.to_owned(), ..Mistake::default() }
}

#[cfg(test)]
mod tests {
    use super::rounds;

    fn values(text: &str) -> Vec<String> {
        let of = |round: super::Round| {
            round.into_iter().map(|(_, value)| value).collect::<Vec<_>>().join("+")
        };
        rounds(text).unwrap().into_iter().map(of).collect()
    }

    #[test]
    fn sequences_and_lists_are_made_as_keepalived_makes_them() {
        for (text, made) in [
            ("~SEQ(N, 101, 103)", "101 102 103"),
            ("~SEQ(N, 3)", "1 2 3"),
            ("~SEQ(N, -2)", "-1 -2"),
            ("~SEQ(N, 5, -2, 1)", "5 3 1"),
            ("~SEQ(N, 3, 1)", "3 2 1"),
            ("~SEQx(N, 0x90, 0x10, 0xb0)", "90 a0 b0"),
            ("~SEQ(N, 1, 2, 4)", "1 3"),
            ("~LST(X, 20, eth1)", "20 eth1"),
            ("~LST({A, B}, {1,2},{3, 4})", "1+2 3+4"),
        ] {
            assert_eq!(values(text).join(" "), made, "{text}");
        }
    }

    #[test]
    fn what_keepalived_calls_invalid_is_refused() {
        for (text, said) in [
            ("~SEQ(N, 101, 103 10.0.0.$N", "does not end"),
            ("~SEQ(N)", "one to three numbers"),
            ("~SEQ(N, 1, 0, 5)", "no way to 5"),
            ("~SEQ(N, 5, 1, 1)", "no way to 1"),
            ("~SEQ(N, x, y)", "`x` is not a number"),
            ("~SEQ(, 1)", "no name of a definition"),
            ("~SEQ(N, 1, 9999999)", "more than 65536 lines"),
            ("~LST(N)", "there is no value"),
            ("~LST({A,B},{1})", "has 1 values for 2"),
        ] {
            let told = rounds(text).unwrap_err().what;
            assert!(told.contains(said), "{text}: {told}");
        }
    }
}
