//! A table as a virtual table of SQLite.
//!
//! Named for its `unsafe`: the two traits ask for structs that begin with SQLite's own. Rows are
//! fetched once per statement, at the first scan, so a join of a table with itself is consistent and
//! an inner loop doesn't collect all sessions again for every outer row.

#![expect(unsafe_code, reason = "rusqlite's virtual table traits are unsafe to implement")]

use std::{
    borrow::Cow,
    ffi::CStr,
    ffi::CString,
    ffi::c_int,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use highgate_config::table::{Kind, Row, Table, Value};
use parking_lot::Mutex;
use rusqlite::{
    Connection, Error, ffi,
    types::Null,
    vtab::{Context, Filters, IndexInfo, Module, VTab, VTabConnection, VTabCursor},
};

use super::mismatch;

/// A table with its rows as the running statement sees them.
pub(super) struct Source {
    table: Arc<dyn Table>,
    rows: Mutex<Option<Arc<Vec<Row>>>>,
    mismatch: Mutex<Option<String>>,
}

impl Source {
    pub(super) fn new(table: Arc<dyn Table>) -> Arc<Self> {
        Arc::new(Self { table, rows: Mutex::default(), mismatch: Mutex::default() })
    }

    /// Ends what the statement saw; the next one fetches anew.
    pub(super) fn forget(&self) {
        self.rows.lock().take();
        self.mismatch.lock().take();
    }

    /// What the statement compares that can't be compared, in words.
    pub(super) fn mismatch(&self) -> Option<String> {
        self.mismatch.lock().take()
    }

    fn rows(&self) -> rusqlite::Result<Arc<Vec<Row>>> {
        let mut fetched = self.rows.lock();
        if let Some(rows) = &*fetched {
            return Ok(Arc::clone(rows));
        }
        // SQLite calls us from C, where a panic would end the process.
        let rows = catch_unwind(AssertUnwindSafe(|| self.table.rows())).map_err(|_| {
            let name = self.table.name();
            Error::ModuleError(format!("table '{name}' could not be read; that is a bug"))
        })?;
        Ok(Arc::clone(fetched.insert(Arc::new(rows))))
    }
}

/// Makes the source readable by its table's name.
pub(super) fn register(connection: &Connection, source: &Arc<Source>) -> rusqlite::Result<()> {
    const MODULE: Module<'static, Tab> = Module::eponymous_only_module();
    connection.create_module(source.table.name(), &MODULE, Some(Arc::clone(source)))
}

#[repr(C)]
struct Tab {
    /// SQLite's part; must be first.
    base: ffi::sqlite3_vtab,
    source: Arc<Source>,
}

// SAFETY: `Tab` is `repr(C)` and begins with `sqlite3_vtab`, which is what the trait asks for: SQLite
// gets a pointer to the whole and uses it as a pointer to its part.
unsafe impl VTab<'_> for Tab {
    type Aux = Arc<Source>;
    type Cursor = Cursor;

    fn connect(
        _: &mut VTabConnection,
        aux: Option<&Self::Aux>,
        _: &[u8],
        _: &[u8],
        _: &[u8],
        _: &[&[u8]],
    ) -> rusqlite::Result<(Cow<'static, CStr>, Self)> {
        let source = aux.ok_or_else(|| Error::ModuleError("no table behind the module".into()))?;
        let definition = CString::new(definition(&*source.table)).map_err(Error::NulError)?;
        let tab = Self { base: ffi::sqlite3_vtab::default(), source: Arc::clone(source) };
        Ok((Cow::Owned(definition), tab))
    }

    fn best_index(&self, info: &mut IndexInfo) -> rusqlite::Result<bool> {
        if let Some(mismatch) = mismatch::find(info, &*self.source.table) {
            *self.source.mismatch.lock() = Some(mismatch.clone());
            return Err(Error::ModuleError(mismatch));
        }
        // Only whole scans are offered, so all that matters is that SQLite knows them as dear.
        info.set_estimated_cost(1_000_000.0);
        Ok(true)
    }

    fn open(&mut self) -> rusqlite::Result<Cursor> {
        Ok(Cursor {
            base: ffi::sqlite3_vtab_cursor::default(),
            source: Arc::clone(&self.source),
            rows: Arc::default(),
            place: 0,
        })
    }
}

#[repr(C)]
struct Cursor {
    /// SQLite's part; must be first.
    base: ffi::sqlite3_vtab_cursor,
    source: Arc<Source>,
    rows: Arc<Vec<Row>>,
    place: usize,
}

// SAFETY: `Cursor` is `repr(C)` and begins with `sqlite3_vtab_cursor`, as the trait asks for.
unsafe impl VTabCursor for Cursor {
    fn filter(&mut self, _: c_int, _: Option<&str>, _: &Filters<'_>) -> rusqlite::Result<()> {
        self.rows = self.source.rows()?;
        self.place = 0;
        Ok(())
    }

    fn next(&mut self) -> rusqlite::Result<()> {
        self.place += 1;
        Ok(())
    }

    fn eof(&self) -> bool {
        self.place >= self.rows.len()
    }

    fn column(&self, context: &mut Context, column: c_int) -> rusqlite::Result<()> {
        let row = self.rows.get(self.place);
        let value = row.and_then(|row| row.get(usize::try_from(column).ok()?));
        match value {
            Some(Value::Integer(number)) => context.set_result(number),
            Some(Value::Real(number)) => context.set_result(number),
            Some(Value::Text(text)) => context.set_result(text.as_ref()),
            Some(Value::Null) | None => context.set_result(Null),
        }
    }

    fn rowid(&self) -> rusqlite::Result<i64> {
        Ok(i64::try_from(self.place).unwrap_or(i64::MAX))
    }
}

fn definition(table: &dyn Table) -> String {
    let columns: Vec<String> = table
        .columns()
        .iter()
        .map(|column| {
            let kind = match column.kind {
                Kind::Integer => "INTEGER",
                Kind::Real => "REAL",
                Kind::Text => "TEXT",
            };
            format!("\"{}\" {kind}", column.name)
        })
        .collect();
    format!("CREATE TABLE x({})", columns.join(", "))
}
