//! The rules of the merge, once for maps of things and once for the fields of a thing.

use std::collections::{BTreeMap, BTreeSet};

use super::{Conflict, Decided};
use crate::{Place, settings::TableOf};

/// The three sides of a merge.
pub(super) struct Three<'a, T> {
    pub(super) base: &'a T,
    pub(super) file: &'a T,
    pub(super) current: &'a T,
}

pub(super) struct Merge {
    pub(super) conflicts: Vec<Conflict>,
}

impl Merge {
    /// Merges things by name; what `both` sides have is merged by it.
    pub(super) fn map<K: Ord + Clone, V: Clone + PartialEq>(
        &mut self,
        Three { base, file, current }: Three<'_, BTreeMap<K, V>>,
        place: impl Fn(&K) -> Place,
        both: impl Fn(&mut Self, &Place, Option<&V>, &V, &V) -> V,
    ) -> BTreeMap<K, V> {
        let keys: BTreeSet<&K> = file.keys().chain(current.keys()).collect();
        let mut merged = BTreeMap::new();
        for key in keys {
            let place = place(key);
            let before = base.get(key);
            let value = match (file.get(key), current.get(key)) {
                (Some(file), Some(current)) => Some(both(self, &place, before, file, current)),
                (file, current) => self.one_sided(&place, None, before, file, current),
            };
            if let Some(value) = value {
                merged.insert(key.clone(), value);
            }
        }
        merged
    }

    /// Merges the fields of a thing. Where the file did not have it when it was last applied, what has
    /// its default in the file was not asked for by it, and stays as it is in force.
    pub(super) fn fields<T: Clone>(
        &mut self,
        table: &TableOf<T>,
        place: &Place,
        base: Option<&T>,
        file: &T,
        current: &T,
    ) -> T {
        self.fields_since(table, place, (base, &table.defaults()), [file, current])
    }

    /// As [`Self::fields`], where some fields that a file leaves out follow from others.
    pub(super) fn fields_since<T: Clone>(
        &mut self,
        table: &TableOf<T>,
        place: &Place,
        (base, left_out): (Option<&T>, &T),
        [file, current]: [&T; 2],
    ) -> T {
        let decided = base.map_or(Decided::NewInFile, |_| Decided::FileWins);
        let base = base.unwrap_or(left_out);
        let mut merged = current.clone();
        for setting in table.settings() {
            let before = (setting.get)(base);
            let (in_file, in_force) = ((setting.get)(file), (setting.get)(current));
            if before == in_file || in_file == in_force {
                continue;
            }
            if before != in_force || decided == Decided::NewInFile {
                self.conflict(place, Some(setting.name), decided);
            }
            (setting.put)(&mut merged, in_file);
        }
        merged
    }

    /// Merges a value that has no fields.
    pub(super) fn whole<V: Clone + PartialEq>(
        &mut self,
        place: &Place,
        field: &'static str,
        base: Option<&V>,
        file: Option<&V>,
        current: Option<&V>,
    ) -> Option<V> {
        let (Some(in_file), Some(in_force)) = (file, current) else {
            return self.one_sided(place, Some(field), base, file, current);
        };
        if base == file || in_file == in_force {
            return current.cloned();
        }
        if base != current {
            let decided = base.map_or(Decided::NewInFile, |_| Decided::FileWins);
            self.conflict(place, Some(field), decided);
        }
        file.cloned()
    }

    /// What only one side has: it was added there, or deleted on the other side.
    fn one_sided<V: Clone + PartialEq>(
        &mut self,
        place: &Place,
        field: Option<&'static str>,
        base: Option<&V>,
        file: Option<&V>,
        current: Option<&V>,
    ) -> Option<V> {
        let there = file.or(current)?;
        match base {
            None => Some(there.clone()),
            Some(base) if base == there => None,
            Some(_) => {
                let decided = match file {
                    Some(_) => Decided::EditInFileWins,
                    None => Decided::EditInForceWins,
                };
                self.conflict(place, field, decided);
                Some(there.clone())
            }
        }
    }

    fn conflict(&mut self, place: &Place, field: Option<&'static str>, decided: Decided) {
        self.conflicts.push(Conflict { place: place.clone(), field, decided });
    }
}
