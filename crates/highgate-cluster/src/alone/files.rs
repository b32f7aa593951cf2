//! Files in the state: each as it was last applied, and what that means for its next form.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use highgate_config::{
    Config, NodeName, Version, apply_all,
    merge::{self, Merged},
};

use super::outcome::{Applied, FileRefused};
use crate::state::State;

/// Stands between the paths of files that are kept as one.
pub const BETWEEN_FILES: &str = " + ";

/// What applying a file would change. A further one lies over those that the process was started with; no other
/// lies beneath it: a copy that somebody applied once under another name would keep everything for ever.
pub(super) fn merged(state: &State, node: &NodeName, file: &str, parsed: &Config) -> Merged {
    let nothing = Config::default();
    let files = state.applied.get(node);
    let said = |file: &String| files.and_then(|files| files.get(file)).map(|it| &**it);
    let own = state.started_with.get(node).filter(|own| *own != file);
    let own = own.and_then(said).unwrap_or(&nothing);
    let base = said(&file.to_owned()).unwrap_or(&nothing);
    merge::three_way_over(own, base, parsed, &state.config)
}

pub(super) fn merge_file(
    state: &mut State,
    node: NodeName,
    file: String,
    parsed: Arc<Config>,
) -> Result<Applied, FileRefused> {
    let merged = merged(state, &node, &file, &parsed);
    if !merged.changes.is_empty() {
        let next = apply_all(&state.config, &merged.changes)
            .map_err(|why| FileRefused::Unfit(why.to_string()))?;
        state.config = Arc::new(next);
        state.version += 1;
    }
    state.applied.entry(node).or_default().insert(file, parsed);
    Ok(Applied {
        changes: merged.changes,
        conflicts: merged.conflicts,
        version: Version(state.version),
    })
}

/// Notes the files that a process starts with. What they are compared with is what the files of the last start
/// said, and over that what any of these or those said by itself, as a further file: from now on it is a part of
/// them, or it is none, and applied as a new one if it comes back.
pub(super) fn started_with(state: &mut State, node: &NodeName, file: &str) {
    let before = state.started_with.insert(node.clone(), file.to_owned());
    let Some(files) = state.applied.get_mut(node) else { return };
    // A store of a version that did not note it.
    let only = || files.keys().next().filter(|_| files.len() == 1).cloned();
    let before = before.or_else(only).unwrap_or_else(|| file.to_owned());
    if before != file {
        tracing::info!(files = file, %before, "started with other files than last time");
    }
    let mut base = files.remove(&before);
    for said in take_parts(files, &[&before, file]) {
        base = Some(
            base.map_or_else(|| Arc::clone(&said), |base| Arc::new(merge::layered(&base, &said))),
        );
    }
    if let Some(base) = base {
        files.insert(file.to_owned(), base);
    }
}

/// Takes out all whose every file is one of `wholes`.
fn take_parts(files: &mut BTreeMap<String, Arc<Config>>, wholes: &[&str]) -> Vec<Arc<Config>> {
    let all: BTreeSet<&str> = wholes.iter().flat_map(|it| it.split(BETWEEN_FILES)).collect();
    let is_part = |name: &String| name.split(BETWEEN_FILES).all(|file| all.contains(file));
    files.extract_if(.., |name, _| is_part(name)).map(|(_, said)| said).collect()
}
