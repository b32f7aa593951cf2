//! The engine: one thread that owns the SQLite connection and answers statements in turn.
//!
//! Statements come by a channel of a few places; when it is full the askers wait. A statement that
//! costs too much ends by its step limit, so one operator's slip doesn't lock out the others.

use std::{
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use highgate_io::tasks;
use parking_lot::Mutex;
use rusqlite::{Connection, limits::Limit};
use tokio::sync::{mpsc, oneshot};

use super::{
    answer::{Answer, Rows, SqlError},
    authorizer::{READ_ONLY, Refusal},
    describe,
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

/// What one statement may cost.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Rows of an answer.
    pub rows: usize,
    /// Bytes of an answer, about.
    pub bytes: usize,
    /// Steps of SQLite's machine; ten million take about half a second.
    pub steps: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            rows: 100_000,
            bytes: 32 << 20,
            steps: 30_000_000,
        }
    }
}

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
        tasks::thread("admin-sql", move || owner.run(waiting))?;
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
        let job = Job {
            caller: caller.clone(),
            text: text.to_owned(),
            answer,
        };
        let gone =
            || SqlError::failed("the SQL engine has ended; look for a bug report in the log");
        self.jobs.send(job).await.map_err(|_| gone())?;
        answered.await.unwrap_or_else(|_| Err(gone()))
    }
}

/// Lives on its thread.
struct Owner {
    connection: Connection,
    tables: Tables,
    sources: Vec<Arc<Source>>,
    session: Arc<Mutex<Session>>,
    refusal: Refusal,
    steps: Arc<AtomicU64>,
    limits: Limits,
}

impl Owner {
    fn new(tables: Tables, version: &str, limits: Limits) -> rusqlite::Result<Self> {
        let mut connection = Connection::open_in_memory()?;
        let session = Session {
            caller: Caller::default(),
            version: version.to_owned(),
        };
        let session = Arc::new(Mutex::new(session));
        functions::register(&connection, &session)?;
        let sources: Vec<_> = tables.iter().cloned().map(Source::new).collect();
        for source in &sources {
            vtab_unsafe::register(&connection, source)?;
        }
        let refusal = Refusal::default();
        let steps = Arc::new(AtomicU64::new(0));
        bound(&mut connection, &refusal, &steps, limits.steps)?;
        Ok(Self {
            connection,
            tables,
            sources,
            session,
            refusal,
            steps,
            limits,
        })
    }

    fn run(self, mut waiting: mpsc::Receiver<Job>) {
        while let Some(job) = waiting.blocking_recv() {
            self.session.lock().caller = job.caller;
            // A bug in one table's action must not take the port from the others.
            let answer = catch_unwind(AssertUnwindSafe(|| self.answer(&job.text)));
            let answer = answer.unwrap_or_else(|_| {
                Err(SqlError::failed(
                    "the statement ran into a bug; the log has its place",
                ))
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
            Statement::Call {
                table,
                action,
                arguments,
            } => {
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
            return Err(SqlError::no_such_column(
                "Unknown column '$$' in 'field list'",
            ));
        }
        let text = variables::rewrite(text);
        let fetched = self
            .connection
            .prepare(&text)
            .map_err(FetchError::from)
            .and_then(|mut statement| rows::fetch(&mut statement, &self.limits));
        fetched.map_err(|error| self.explain(error, &text))
    }

    /// SQLite's error as MySQL's, with what to do about it.
    fn explain(&self, error: FetchError, text: &str) -> SqlError {
        if let Some(refusal) = self.refusal.take() {
            return SqlError::refused(refusal);
        }
        if self.steps.load(Ordering::Relaxed) > self.limits.steps {
            return SqlError::too_expensive(
                "the statement takes too many steps and was ended; join fewer rows, or put the \
                 larger table into WITH name AS MATERIALIZED (…)",
            );
        }
        let error = match error {
            FetchError::TooLarge => {
                return SqlError::too_expensive(format!(
                    "the answer has more than {} rows or {} MiB; add WHERE or LIMIT",
                    self.limits.rows,
                    self.limits.bytes >> 20
                ));
            }
            FetchError::Sqlite(error) => error,
        };
        match error {
            rusqlite::Error::SqlInputError { msg, offset, .. } => {
                self.input_error(&msg, offset, text)
            }
            rusqlite::Error::SqliteFailure(_, Some(message)) => self.input_error(&message, 0, text),
            other => SqlError::failed(other.to_string()),
        }
    }

    /// SQLite has one code for all of these; its text is the only place that says which it is.
    fn input_error(&self, message: &str, offset: i32, text: &str) -> SqlError {
        if let Some(name) = message.strip_prefix("no such table: ") {
            return SqlError::no_such_table(self.tables.no_such_table(name));
        }
        if let Some(name) = message.strip_prefix("no such column: ") {
            return SqlError::no_such_column(format!(
                "Unknown column '{name}' in 'field list'; DESCRIBE shows a table's columns"
            ));
        }
        if message.ends_with(" may not be modified") {
            return SqlError::refused(READ_ONLY);
        }
        let place = usize::try_from(offset).unwrap_or_default();
        let near: String = text
            .get(place..)
            .unwrap_or_default()
            .chars()
            .take(60)
            .collect();
        SqlError::syntax(format!("{message}; near '{near}'"))
    }
}

/// Sets the connection's limits, and the authorizer last of all.
fn bound(
    connection: &mut Connection,
    refusal: &Refusal,
    steps: &Arc<AtomicU64>,
    most: u64,
) -> rusqlite::Result<()> {
    /// How many steps pass between two looks at the limit.
    const STRIDE: i32 = 1000;
    for (limit, value) in [
        (Limit::SQLITE_LIMIT_LENGTH, 1 << 20),
        (Limit::SQLITE_LIMIT_SQL_LENGTH, 1 << 20),
        (Limit::SQLITE_LIMIT_COLUMN, 500),
        (Limit::SQLITE_LIMIT_EXPR_DEPTH, 100),
        (Limit::SQLITE_LIMIT_COMPOUND_SELECT, 50),
        (Limit::SQLITE_LIMIT_VDBE_OP, 100_000),
        (Limit::SQLITE_LIMIT_ATTACHED, 0),
        (Limit::SQLITE_LIMIT_LIKE_PATTERN_LENGTH, 200),
        (Limit::SQLITE_LIMIT_WORKER_THREADS, 0),
    ] {
        connection.set_limit(limit, value)?;
    }
    let steps = Arc::clone(steps);
    connection.progress_handler(
        STRIDE,
        Some(move || {
            let stride = u64::from(STRIDE.unsigned_abs());
            steps.fetch_add(stride, Ordering::Relaxed) + stride > most
        }),
    )?;
    let refusal = refusal.clone();
    connection.authorizer(Some(move |context: rusqlite::hooks::AuthContext<'_>| {
        refusal.decide(&context)
    }))
}
