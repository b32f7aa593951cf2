//! A thing of the desired state while it is read from another program's file.

use crate::{
    Place, Severity,
    piece::{At, Found, Piece},
    settings::{Mistake, TableOf, Value},
};

/// A draft with its place; its settings are checked against their declarations.
pub(super) struct Thing<T: 'static> {
    pub(super) place: Place,
    pub(super) draft: T,
}

impl<T> Thing<T> {
    /// With each setting as it is when left out in our own form.
    pub(super) fn new(table: &TableOf<T>, place: Place) -> Self {
        Self { place, draft: table.defaults() }
    }

    pub(super) fn is_set(&self, piece: &Piece, field: &'static str) -> bool {
        piece.places.contains_key(&(self.place.clone(), field))
            || piece.failed.contains(&(self.place.clone(), field))
    }

    /// Sets a setting that may be written once.
    pub(super) fn set(
        &mut self,
        piece: &mut Piece,
        table: &TableOf<T>,
        field: &'static str,
        value: Result<Value, Mistake>,
        at: &At,
    ) {
        let key = (self.place.clone(), field);
        if let Some(first) = piece.places.get(&key).cloned() {
            let what = "it is written twice here".to_owned();
            let mistake = Mistake { what, ..Mistake::default() };
            let (severity, at, other) = (Severity::Error, at.clone(), Some(first));
            piece.found.push(Found { severity, at, mistake, other });
            return;
        }
        self.put(piece, table, field, value, at);
    }

    /// Sets a setting, in place of what it was.
    pub(super) fn put(
        &mut self,
        piece: &mut Piece,
        table: &TableOf<T>,
        field: &'static str,
        value: Result<Value, Mistake>,
        at: &At,
    ) {
        let key = (self.place.clone(), field);
        debug_assert!(table.setting(field).is_some(), "{field} is no setting");
        let Some(setting) = table.setting(field) else { return };
        match value.and_then(|value| setting.kind.in_range(value)) {
            Ok(value) => (setting.put)(&mut self.draft, value),
            Err(mistake) => {
                piece.failed.insert(key.clone());
                piece.error(at.clone(), mistake);
            }
        }
        piece.places.insert(key, at.clone());
    }
}
