//! What operators are told of files that are applied: by `apply` as by a signal, and before by `--dry-run`.

use std::{collections::BTreeMap, sync::Arc};

use highgate_config::{
    Change, Config, ControlPlane as _, Layers as _, describe_beside, merge::Conflict,
    native::Parsed,
};
use highgate_io::clock;

use crate::{applying::Applying, differs::Given, marked};

/// What was in force, and what files said, before some were applied.
pub(crate) struct Before {
    applying: Applying,
    pub(crate) config: Arc<Config>,
    /// All files, as they were last applied.
    applied: BTreeMap<String, Arc<Config>>,
}

impl Before {
    pub(crate) fn of(applying: &Applying) -> Self {
        let (_, config) = applying.alone.current();
        Self { applying: applying.clone(), config, applied: applying.alone.all_applied() }
    }

    /// What changes, a line each; then what is in force otherwise than these files say.
    ///
    /// It compares whole configurations: not for a thread that has to answer within milliseconds.
    pub(crate) fn lines(
        &self,
        (key, parsed): (&str, &Parsed),
        changes: &[Change],
        conflicts: &[Conflict],
        after: Option<&Config>,
    ) -> Vec<String> {
        let started = &self.applying.started;
        let line = |change: &Change| describe_beside(started, change, &self.config);
        let mut lines: Vec<String> = changes.iter().map(line).collect();
        lines.extend(conflicts.iter().map(|conflict| format!("note: {conflict}")));
        if lines.is_empty() {
            lines.push("nothing changes".to_owned());
        }
        if let Some(after) = after {
            let own = &self.applying.own.key;
            lines.extend(Given { key, own, parsed, applied: &self.applied }.notes(after));
            let (marks, now) = (self.applying.alone.overrides(), clock::wall_ms() / 1000);
            lines.extend(marked::notes(&marks, &self.config, after, now));
        }
        lines
    }
}
