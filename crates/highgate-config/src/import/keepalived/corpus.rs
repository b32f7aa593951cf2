//! Whole files in the manner of those that are in use: what is made of them, and that no line of
//! them is passed over in silence.

use std::{fs, path::PathBuf};

use crate::{
    NodeName,
    import::Nothing,
    native::{Input, read_all},
    render::{Secrets, render},
};

/// The files, by their names.
fn corpus() -> Vec<(String, String)> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/keepalived");
    let mut files: Vec<(String, String)> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            (name, fs::read_to_string(path).unwrap())
        })
        .collect();
    files.sort();
    files
}

/// What is said of a file, and what it is in our own form; nothing where it is refused.
fn outcome(name: &str, text: &str) -> (String, Option<String>) {
    let node = NodeName::from("n");
    match read_all(&[Input { name, text }], &node, &Nothing) {
        Ok(parsed) => {
            let told: Vec<String> = parsed.warnings.iter().map(ToString::to_string).collect();
            (told.join("\n"), Some(render(&parsed.config, &node, Secrets::Show)))
        }
        Err(problems) => (problems.to_string(), None),
    }
}

#[test]
fn each_file_is_made_what_it_says_or_refused_line_by_line() {
    for (name, text) in corpus() {
        let (told, made) = outcome(&name, &text);
        let made = made.unwrap_or_else(|| "(refused)\n".to_owned());
        let mut settings = insta::Settings::new();
        settings.set_snapshot_path("../../../tests/golden");
        settings.set_prepend_module_to_snapshot(false);
        settings.set_omit_expression(true);
        let golden = format!("keepalived_{}", name.trim_end_matches(".conf"));
        settings.bind(|| insta::assert_snapshot!(golden, format!("{told}\n----\n{made}")));
    }
}

/// Taking any line out of a file that is accepted changes what it means, or what is said of it.
#[test]
fn no_line_is_passed_over_in_silence() {
    let mut lines_tried = 0;
    for (name, text) in corpus() {
        let (told, made) = outcome(&name, &text);
        if made.is_none() {
            continue;
        }
        // Lines move up when one is taken out.
        let kinds = |told: &str| -> Vec<String> {
            let heads = told.lines().filter(|line| line.starts_with(&name));
            let what = |line: &str| line.splitn(4, ':').nth(3).unwrap_or_default().to_owned();
            heads.map(what).collect()
        };
        let lines: Vec<&str> = text.lines().collect();
        for (number, line) in lines.iter().enumerate() {
            let line = line.trim();
            // The manual says of `state` that it is looked at, not kept; conditions are of other
            // nodes; a block that is left out answers for its lines.
            let known = ["state ", "@other ", "@^n ", "admin@"];
            let is_known = known.iter().any(|known| line.starts_with(known));
            if line.is_empty() || line.starts_with(['!', '#', '}']) || is_known {
                continue;
            }
            let end = number + block_length(&lines[number..]);
            let rest: Vec<&str> = [&lines[..number], &lines[end..]].concat();
            let (other_told, other_made) = outcome(&name, &format!("{}\n", rest.join("\n")));
            let is_same = other_made == made && kinds(&other_told) == kinds(&told);
            assert!(!is_same, "{name}:{}: `{line}` does nothing, and nothing is said", number + 1);
            lines_tried += 1;
        }
    }
    assert!(lines_tried > 150, "{lines_tried}");
}

/// How many lines a statement has, with its block or the lines that it goes on over.
fn block_length(lines: &[&str]) -> usize {
    let mut depth = 0_i32;
    for (number, line) in lines.iter().enumerate() {
        let count = |brace: char| {
            let is_used = line.contains("${");
            if is_used { 0 } else { i32::try_from(line.matches(brace).count()).unwrap() }
        };
        depth += count('{') - count('}');
        if depth <= 0 && !line.ends_with('\\') {
            return number + 1;
        }
    }
    lines.len()
}
