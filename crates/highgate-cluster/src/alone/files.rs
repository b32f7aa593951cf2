//! Files in the state: each as it was last applied, and what that means for its next form.

use std::sync::Arc;

use highgate_config::{
    Config, NodeName, Version, apply_all,
    merge::{self, Merged},
};

use super::outcome::{Applied, FileRefused};
use crate::state::State;

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

/// Notes the files that a process starts with. Where they are others than at the last start, what those
/// said is what these are compared with.
pub(super) fn started_with(state: &mut State, node: &NodeName, file: &str) {
    let before = state.started_with.insert(node.clone(), file.to_owned());
    let Some(files) = state.applied.get_mut(node) else { return };
    // A store of a version that did not note it.
    let only = || files.keys().next().filter(|_| files.len() == 1).cloned();
    let Some(before) = before.or_else(only).filter(|before| before != file) else { return };
    if let Some(base) = files.remove(&before) {
        tracing::info!(files = file, %before, "started with other files than last time");
        files.insert(file.to_owned(), base);
    }
}
