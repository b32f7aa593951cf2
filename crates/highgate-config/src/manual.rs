//! The manual's reference of settings, written from their declarations.

use std::fmt::Write as _;

use crate::settings::{
    ADMIN_USER, BACKEND, LISTENER, NODE, PROCESS, RULE, SCRIPT, SERVER, Setting, TableOf, USER,
    VIP, VIP_GROUP, WhenLeftOut,
};

pub use crate::nearest::nearest;

/// The reference of all settings and of other programs' files, in Markdown.
#[must_use]
pub fn whole() -> String {
    format!("{}\n{}", settings(), crate::import::manual())
}

/// The reference of all settings, in Markdown.
#[must_use]
pub fn settings() -> String {
    let mut page = String::from(INTRODUCTION);
    table(&mut page, &NODE);
    table(&mut page, &ADMIN_USER);
    table(&mut page, &LISTENER);
    table(&mut page, &BACKEND);
    table(&mut page, &SERVER);
    table(&mut page, &USER);
    table(&mut page, &RULE);
    table(&mut page, &VIP);
    table(&mut page, &VIP_GROUP);
    table(&mut page, &SCRIPT);
    table(&mut page, &PROCESS);
    page
}

const INTRODUCTION: &str = "# Settings

The native form is TOML. Times and sizes carry a unit (`3s`, `500ms`, `64KiB`); a bare number is
refused. A key that is not known is refused with the nearest one that is. A name with a dot, such
as `tls.mode`, is a key of a table within its thing: `tls = { mode = \"required\" }`.

At a start, by SIGHUP and by `highgate apply`, what changed in the files since they were last applied is
put in force; changes made elsewhere stay. Where both changed one setting, the file's value holds; what
was deleted on one side and edited on the other stays as edited; each such case is an event. A start with
other files than last time (one added, renamed or split) compares them with those of the last start, so
that what is in none of them any more is gone. `apply` compares only with the same files: give it all that
the process runs with. Where such files name something for the first time that is in force already, what
has its default there was not asked for, and stays as it is. `highgate run --initial` sets everything else
aside, also who the primaries were, and begins with the files.

A change is put in force whole or not at all: where a running process can't listen on an address or can't
read a certificate, it is refused before anything is stored, with file, line and setting.
";

fn table<T>(page: &mut String, table: &TableOf<T>) {
    let heading = if table.heading.is_empty() { "The top of the file" } else { table.heading };
    let _ = write!(page, "\n## {heading}\n\n{}\n", table.summary);
    if let Some(key) = table.key {
        let expected = key.kind.expected();
        let _ = write!(page, "\n### `{}`\n\n{} Required: {expected}.\n", key.name, key.summary);
    }
    for it in table.settings() {
        setting(page, it);
    }
    if !table.refused.is_empty() {
        page.push_str("\n### Known, but not honoured\n\n");
        for (name, reason) in table.refused {
            let _ = writeln!(page, "- `{name}`: {reason}.");
        }
    }
}

fn setting<T>(page: &mut String, setting: &Setting<T>) {
    let _ = write!(page, "\n### `{}`\n\n{}", setting.name, setting.summary);
    if !setting.detail.is_empty() {
        let _ = write!(page, " {}", setting.detail);
    }
    let _ = write!(page, "\n\n- Value: {}", setting.kind.expected());
    if !setting.unit.is_empty() {
        let _ = write!(page, " ({})", setting.unit);
    }
    page.push('\n');
    match setting.default {
        WhenLeftOut::Is("") => page.push_str("- Left out: empty\n"),
        WhenLeftOut::Is(text) => {
            let _ = writeln!(page, "- Left out: `{text}`");
        }
        WhenLeftOut::Nothing => page.push_str("- Left out: not set\n"),
        WhenLeftOut::Required => page.push_str("- Required\n"),
    }
    let _ = writeln!(page, "- A change takes effect {}", setting.takes_effect.words());
    let _ = writeln!(page, "- Example: `{}`", setting.example);
    if !setting.also_known_as.is_empty() {
        let names: Vec<String> = setting
            .also_known_as
            .iter()
            .map(|(program, name)| format!("`{name}` ({program})"))
            .collect();
        let _ = writeln!(page, "- Elsewhere: {}", names.join(", "));
    }
}
