//! The engine: one thread that owns the SQLite connection and answers statements in turn.
//!
//! Statements come by a channel of a few places; when it is full the askers wait. A statement that
//! costs too much ends by its step limit, so one operator's slip doesn't lock out the others.

use std::{
    borrow::Cow,
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use highgate_io::tasks;
use parking_lot::Mutex;
use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

use super::{
    answer::{Answer, Rows, SqlError},
    authorizer::Refusal,
    bounds::{Limits, bound},
    describe, dialect,
    functions::{self, Session},
    rows::{self, FetchError},
    statement::{self, Statement},
    variables,
    vtab_unsafe::{self, Source},
};
use crate::Tables;

/// The one schema that there is; SQLite's name for it.
pub(super) const SCHEMA: &str = "main";

/// Statements that wait for the owner thread before their askers do.
const WAITING: usize = 16;

/// Who asks.
#[derive(Debug, Clone, Default)]
pub struct Caller {
    /// Admin account.
    pub user: String,
    /// Number of the admin connection.
    pub connection: u32,
}

/// Why the engine could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// SQLite refused its set-up.
    #[error("the SQL engine could not be set up")]
    Sqlite(#[from] rusqlite::Error),
    /// The system has no more threads.
    #[error("the SQL engine's thread could not be started")]
    Thread(#[from] io::Error),
}

/// Answers statements over the tables. Clones ask the same owner thread; it ends with the last one.
#[derive(Debug, Clone)]
pub struct Engine {
    jobs: mpsc::Sender<Job>,
}

#[derive(Debug)]
struct Job {
    caller: Caller,
    text: String,
    answer: oneshot::Sender<Result<Answer, SqlError>>,
}

impl Engine {
    /// Starts the owner thread; `version` is what `SELECT VERSION()` answers.
    ///
    /// # Errors
    /// `Sqlite` or `Thread`, as the system says.
    pub fn start(tables: Tables, version: &str, limits: Limits) -> Result<Self, StartError> {
        let owner = Owner::new(tables, version, limits)?;
        let (jobs, waiting) = mpsc::channel(WAITING);
        // Actions wait for what is stored, in the runtime from where this is called.
        tasks::thread_beside("admin-sql", move || owner.run(waiting))?;
        Ok(Self { jobs })
    }

    /// Answers one statement.
    ///
    /// # Errors
    /// As MySQL would say it: a syntax error, an unknown table or column, a refusal, a limit.
    ///
    /// Cancel safe: yes; but an action that was handed over is carried out.
    pub async fn answer(&self, caller: &Caller, text: &str) -> Result<Answer, SqlError> {
        let (answer, answered) = oneshot::channel();
        let job = Job { caller: caller.clone(), text: text.to_owned(), answer };
        let gone =
            || SqlError::failed("the SQL engine has ended; look for a bug report in the log");
        self.jobs.send(job).await.map_err(|_| gone())?;
        answered.await.unwrap_or_else(|_| Err(gone()))
    }
}

/// Lives on its thread.
pub(super) struct Owner {
    connection: Connection,
    pub(super) tables: Tables,
    pub(super) sources: Vec<Arc<Source>>,
    session: Arc<Mutex<Session>>,
    pub(super) refusal: Refusal,
    pub(super) steps: Arc<AtomicU64>,
    pub(super) limits: Limits,
}

impl Owner {
    fn new(tables: Tables, version: &str, limits: Limits) -> rusqlite::Result<Self> {
        let mut connection = Connection::open_in_memory()?;
        let session = Session { caller: Caller::default(), version: version.to_owned() };
        let session = Arc::new(Mutex::new(session));
        functions::register(&connection, &session)?;
        let sources: Vec<_> = tables.iter().cloned().map(Source::new).collect();
        for source in &sources {
            vtab_unsafe::register(&connection, source)?;
        }
        let refusal = Refusal::default();
        let steps = Arc::new(AtomicU64::new(0));
        bound(&mut connection, &refusal, &steps, limits.steps)?;
        Ok(Self { connection, tables, sources, session, refusal, steps, limits })
    }

    fn run(self, mut waiting: mpsc::Receiver<Job>) {
        while let Some(job) = waiting.blocking_recv() {
            self.session.lock().caller = job.caller;
            // A bug in one table's action must not take the port from the others.
            let answer = catch_unwind(AssertUnwindSafe(|| self.answer(&job.text)));
            let answer = answer.unwrap_or_else(|_| {
                Err(SqlError::failed("the statement ran into a bug; the log has its place"))
            });
            for source in &self.sources {
                source.forget();
            }
            // An asker who went away no longer wants to know.
            let _ = job.answer.send(answer);
        }
    }

    fn answer(&self, text: &str) -> Result<Answer, SqlError> {
        let rows = match statement::recognize(text)? {
            Statement::Call { table, action, arguments } => {
                let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
                let done = self.tables.act(table, action, &arguments);
                return done.map(Answer::Done).map_err(SqlError::failed);
            }
            Statement::Quiet => return Ok(Answer::Done(String::new())),
            Statement::Columns { table } => describe::columns(&**self.table(table)?),
            Statement::CreateTable { table } => describe::create_table(&**self.table(table)?),
            Statement::Databases => Rows::of_text(&["Database"], vec![vec![SCHEMA.into()]]),
            Statement::Empty { columns } => Rows::of_text(columns, Vec::new()),
            Statement::Help => describe::help(&self.tables),
            Statement::Processlist => self.select("SELECT * FROM sessions")?,
            Statement::Select => self.select(text)?,
            Statement::Tables { like, is_full } => {
                describe::tables(&self.tables, like.as_deref(), is_full)
            }
            Statement::Variables { like } => {
                describe::variables(&self.session.lock().version, like.as_deref())
            }
        };
        Ok(Answer::Rows(rows))
    }

    fn table(&self, name: &str) -> Result<&Arc<dyn highgate_config::table::Table>, SqlError> {
        let missing = || SqlError::no_such_table(self.tables.no_such_table(name));
        self.tables.find(name).ok_or_else(missing)
    }

    fn select(&self, text: &str) -> Result<Rows, SqlError> {
        self.steps.store(0, Ordering::Relaxed);
        self.refusal.take();
        if text.trim().eq_ignore_ascii_case("select $$") {
            // The mysql command line asks this to learn whether `$$` quotes; it expects this answer.
            return Err(SqlError::no_such_column("Unknown column '$$' in 'field list'"));
        }
        let text = dialect::for_sqlite(text)?;
        let (prepared, text) = self.prepare(variables::rewrite(&text));
        let fetched = prepared
            .map_err(FetchError::from)
            .and_then(|mut statement| rows::fetch(&mut statement, &self.limits));
        fetched.map_err(|error| self.explain(error, &text))
    }

    /// Quotes columns of our own that are words of SQLite's (`primary`) where it stumbles over them.
    fn prepare<'t>(
        &self,
        mut text: Cow<'t, str>,
    ) -> (rusqlite::Result<rusqlite::Statement<'_>>, Cow<'t, str>) {
        /// More of them are in no statement that anybody writes.
        const MOST: usize = 64;
        let mut prepared = self.connection.prepare(&text);
        for _ in 0..MOST {
            let Err(rusqlite::Error::SqlInputError { offset, .. }) = &prepared else { break };
            let at = usize::try_from(*offset).unwrap_or_default();
            let Some(quoted) = self.with_quoted_column(&text, at) else { break };
            text = Cow::Owned(quoted);
            prepared = self.connection.prepare(&text);
        }
        (prepared, text)
    }

    fn with_quoted_column(&self, text: &str, at: usize) -> Option<String> {
        let (before, rest) = text.split_at_checked(at)?;
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        let (word, after) = rest.split_at(end.unwrap_or(rest.len()));
        let mut columns = self.tables.iter().flat_map(|table| table.columns());
        columns
            .any(|column| column.name.eq_ignore_ascii_case(word))
            .then(|| format!("{before}`{word}`{after}"))
    }
}
