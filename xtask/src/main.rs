//! Repository chores: what a review would check by hand, checked.
//!
//! `cargo xtask check` runs them all; each prints every finding, not only the first.

mod arrows;
mod size;
mod source;
mod spec;
mod words;

use std::{path::Path, process::ExitCode};

use anyhow::Result;

/// Looks at the repository below a root.
type Check = fn(&Path) -> Result<Findings>;

/// Name, what it looks at, and the check itself.
const CHECKS: [(&str, &str, Check); 4] = [
    ("check-arrows", "imports between crates against xtask/arrows.toml", arrows::check),
    ("check-size", "no file past 800 lines but the tables of xtask/size.toml", size::check),
    ("check-spec", "SPECIFICATION.md against the tests and benches it names", spec::check),
    ("check-words", "no identifier with a word of xtask/words.toml", words::check),
];

/// What a check found.
#[derive(Debug, Default)]
struct Findings {
    /// What must be put right, a line each.
    errors: Vec<String>,
    /// What is worth a look, a line each.
    notes: Vec<String>,
    /// What was looked at, for the line that says all is well.
    seen: String,
}

fn main() -> Result<ExitCode> {
    let asked: Vec<String> = std::env::args().skip(1).collect();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let [name] = asked.as_slice() else {
        return Ok(help());
    };
    if name != "check" && !CHECKS.iter().any(|(known, ..)| known == name) {
        return Ok(help());
    }
    let mut is_well = true;
    for (known, _, check) in CHECKS {
        if name == "check" || name == known {
            is_well &= report(known, &check(&root)?);
        }
    }
    Ok(if is_well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn report(name: &str, found: &Findings) -> bool {
    for note in &found.notes {
        println!("{name}: note: {note}");
    }
    for error in &found.errors {
        println!("{name}: {error}");
    }
    if found.errors.is_empty() {
        println!("{name}: ok, {}", found.seen);
    }
    found.errors.is_empty()
}

fn help() -> ExitCode {
    println!("cargo xtask check           all of these:");
    for (name, what, _) in CHECKS {
        println!("cargo xtask {name:<15} {what}");
    }
    ExitCode::from(2)
}
