//! Who imports whom, against the table.

use std::{path::Path, process::Command};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use toml_edit::TableLike;

use crate::{Findings, source};

pub fn check(root: &Path) -> Result<Findings> {
    let table = source::table(root, "arrows.toml")?;
    let mut found = Findings::default();
    let mut edges = 0;
    let packages = packages(root)?;
    for package in &packages {
        let name = text(package, "name");
        let Some(rules) = table.get(name).and_then(toml_edit::Item::as_table_like) else {
            found
                .errors
                .push(format!("{name} is not in xtask/arrows.toml; a crate earns its door"));
            continue;
        };
        for edge in package["dependencies"].as_array().into_iter().flatten() {
            edges += usize::from(!edge["path"].is_null());
            found.errors.extend(wrong(name, rules, edge));
        }
    }
    for (name, _) in table.iter() {
        if !packages.iter().any(|package| text(package, "name") == name) {
            found.errors.push(format!("xtask/arrows.toml names {name}, which is no crate"));
        }
    }
    found.seen = format!("{} crates, {edges} arrows", packages.len());
    Ok(found)
}

fn packages(root: &Path) -> Result<Vec<Value>> {
    let done = Command::new("cargo")
        .args(["metadata", "--format-version", "1", "--no-deps"])
        .current_dir(root)
        .output()
        .context("cargo metadata")?;
    ensure!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let metadata: Value = serde_json::from_slice(&done.stdout)?;
    Ok(metadata["packages"].as_array().cloned().unwrap_or_default())
}

/// What is wrong with one edge, if anything.
fn wrong(name: &str, rules: &dyn TableLike, edge: &Value) -> Option<String> {
    let to = text(edge, "name");
    let is_dev = text(edge, "kind") == "dev";
    let has = |key| source::list(rules, key).iter().any(|item| item == to);
    if edge["path"].is_null() {
        return (!is_dev && has("never")).then(|| format!("{name} must never import {to}"));
    }
    let is_allowed = has("imports") || is_dev && has("dev");
    (!is_allowed).then(|| format!("{name} may not import {to}; see xtask/arrows.toml"))
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::wrong;

    fn judge(edge: &serde_json::Value) -> Option<String> {
        let rules: toml_edit::DocumentMut =
            "imports = [\"a\"]\ndev = [\"highgate-testkit\"]\nnever = [\"tokio\"]".parse().unwrap();
        wrong("x", rules.as_table(), edge)
    }

    #[test]
    fn an_arrow_outside_of_the_table_is_found() {
        assert_eq!(judge(&json!({"name": "a", "path": "p", "kind": null})), None);
        assert!(judge(&json!({"name": "b", "path": "p", "kind": null})).is_some());
        assert!(judge(&json!({"name": "b", "path": "p", "kind": "dev"})).is_some());
        assert!(judge(&json!({"name": "b", "path": "p", "kind": "build"})).is_some());
    }

    #[test]
    fn an_arrow_of_tests_is_for_tests_alone() {
        let edge = |kind| json!({"name": "highgate-testkit", "path": "p", "kind": kind});
        assert_eq!(judge(&edge("dev")), None);
        assert!(judge(&edge("build")).is_some());
    }

    #[test]
    fn a_pure_crate_imports_no_runtime_but_its_tests_may() {
        let edge = |kind| json!({"name": "tokio", "path": null, "kind": kind});
        assert!(judge(&edge("normal")).is_some());
        assert_eq!(judge(&edge("dev")), None);
    }
}
