//! The files that the process was started with, and what counts as one of them.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::Arc,
};

use highgate_config::native::Parsed;
use parking_lot::Mutex;

use crate::{applying::refused, files};

/// The files that the process was started with.
#[derive(Debug, Clone)]
pub(crate) struct OwnFiles {
    /// Their absolute paths. Links stay links: what they lead to is swapped by those who deploy.
    list: Vec<PathBuf>,
    /// The name under which they are kept.
    pub(crate) key: String,
    /// Those in which something was written when they were last in force.
    filled: Arc<Mutex<BTreeSet<PathBuf>>>,
}

impl OwnFiles {
    /// Those that a process starts with, as they were read.
    pub(crate) fn new(list: &[PathBuf], parsed: &Parsed) -> Self {
        let list: Vec<PathBuf> = list.iter().map(|file| files::absolute(file)).collect();
        let key = files::key(&list);
        let own = Self { list, key, filled: Arc::default() };
        own.are_in_force(&parsed.empty);
        own
    }

    /// What is read for files that an operator gives: these, where he means them by whatever names.
    ///
    /// # Errors
    /// A sentence for the operator.
    pub(crate) fn meant_by(&self, given: &[PathBuf]) -> Result<Vec<PathBuf>, String> {
        files::twice(given).map_err(|error| error.to_string())?;
        let own = self.list.iter().cloned().collect();
        let meant: BTreeSet<PathBuf> = given.iter().map(|file| self.named(file)).collect();
        together(&own, &meant)?;
        let is_own = own == meant;
        Ok(if is_own {
            self.list.clone()
        } else {
            given.iter().map(|it| files::absolute(it)).collect()
        })
    }

    /// The one of them that a path means, else that path.
    fn named(&self, file: &Path) -> PathBuf {
        let whole = files::absolute(file);
        // Before what it leads to, which may be swapped at this moment.
        if self.list.contains(&whole) {
            return whole;
        }
        let own = self.list.iter().find(|own| files::is_same(own, &whole));
        own.cloned().unwrap_or(whole)
    }

    fn all_named(&self, names: &BTreeSet<String>) -> BTreeSet<PathBuf> {
        names.iter().map(|name| self.named(Path::new(name))).collect()
    }

    /// Notes that they are in force, nothing being written in some.
    pub(crate) fn are_in_force(&self, empty: &BTreeSet<String>) {
        let empty = self.all_named(empty);
        let filled = self.list.iter().filter(|file| !empty.contains(*file)).cloned();
        self.filled.lock().extend(filled);
    }

    /// Those in which something was written when they were last in force.
    pub(crate) fn filled(&self) -> BTreeSet<String> {
        self.filled.lock().iter().map(|file| file.display().to_string()).collect()
    }

    /// Refuses one of several in which nothing is written any more: what the others say would hide that.
    /// One alone is told by what it had.
    ///
    /// # Errors
    /// A sentence for the operator.
    pub(crate) fn none_is_emptied(&self, key: &str, parsed: &Parsed) -> Result<(), String> {
        if key == self.key { self.none_is_emptied_since(&self.filled(), parsed) } else { Ok(()) }
    }

    /// As [`Self::none_is_emptied`], where a process that had these `filled` is to be replaced.
    ///
    /// # Errors
    /// A sentence for the operator.
    pub(crate) fn none_is_emptied_since(
        &self,
        filled: &BTreeSet<String>,
        parsed: &Parsed,
    ) -> Result<(), String> {
        if self.list.len() < 2 {
            return Ok(());
        }
        let empty = self.all_named(&parsed.empty).into_iter();
        let mut empty = empty.map(|file| file.display().to_string());
        match empty.find(|file| filled.contains(file)) {
            Some(file) => Err(refused(&format!(
                "nothing is in {file}, and there was when it was last applied"
            ))),
            None => Ok(()),
        }
    }
}

/// Files that are read together are one configuration: a part of them alone would read as one in
/// which the rest was never written, and no further one becomes a part of it while the process runs.
fn together(own: &BTreeSet<PathBuf>, given: &BTreeSet<PathBuf>) -> Result<(), String> {
    if own == given || own.is_disjoint(given) {
        return Ok(());
    }
    let names = |files: &mut dyn Iterator<Item = &PathBuf>| {
        files.map(|file| file.display().to_string()).collect::<Vec<_>>().join(" ")
    };
    let further = names(&mut given.difference(own));
    let how_many = if own.len() == 1 { "alone" } else { "together" };
    let own = names(&mut own.iter());
    Err(if further.is_empty() {
        format!("this process runs with these files together, so give them together: {own}")
    } else {
        format!(
            "this process was started with {own} {how_many}, and `apply` adds no file to that. For what is in \
             the others to be added, apply them by themselves: {further}. For all of them to be read as one \
             configuration, start the process with all, as `highgate run --replace` does"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_of_files_that_are_read_together_is_not_applied_alone() {
        let set = |names: &[&str]| names.iter().map(PathBuf::from).collect();
        let own = set(&["/a", "/b"]);
        assert!(together(&own, &set(&["/b", "/a"])).is_ok());
        assert!(together(&own, &set(&["/other"])).is_ok());
        assert!(together(&own, &set(&["/a"])).unwrap_err().ends_with("together: /a /b"));
    }

    /// Of one file it was said that it runs "with these files together, so give them together", which was done.
    #[test]
    fn who_gives_a_further_file_is_told_with_which_the_process_runs_and_the_way_to_add_one() {
        let set = |names: &[&str]| names.iter().map(PathBuf::from).collect();
        for (own, given, runs, added) in [
            (&["/a"][..], &["/a", "/c"][..], "started with /a alone,", "by themselves: /c. For"),
            (&["/a", "/b"], &["/a", "/b", "/c"], "with /a /b together,", "by themselves: /c. For"),
            (
                &["/a", "/b"],
                &["/c", "/b", "/d"],
                "with /a /b together,",
                "by themselves: /c /d. For",
            ),
        ] {
            let told = together(&set(own), &set(given)).unwrap_err();
            assert!(told.contains(runs) && told.contains(added), "{told}");
        }
    }
}
