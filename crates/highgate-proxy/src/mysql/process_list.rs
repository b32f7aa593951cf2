//! `SHOW PROCESSLIST`: the sessions of the asking account, by the numbers that `KILL` takes.
//!
//! A server's own list would tell the numbers of its connections, which serve many sessions, and which
//! `KILL` would take for somebody else's session.

use highgate_core::digests::Heaviest;
use highgate_io::clock;
use highgate_mysql::{
    Answer,
    reply::{Column, ResultSetWriter, column_type},
    sql::Flavor,
};

use crate::{
    mysql::session::Session,
    session_info::{Activity, SessionInfo},
};

/// Bytes of a row, about, without the statement.
const ROW: usize = 160;
/// Without `FULL`, so much of a statement is shown.
const SHORT: usize = 100;
/// The first column that tells what a session does.
const AS_IT_ASKS: usize = 4;

const COLUMNS: [Column<'static>; 8] = [
    Column { flags: 1, ..Column::integer("Id") },
    Column { flags: 1, ..Column::text("User") },
    Column { flags: 1, ..Column::text("Host") },
    Column::text("db"),
    Column { flags: 1, ..Column::text("Command") },
    Column { length: 7, ..Column::of("Time", column_type::LONG) },
    Column::text("State"),
    Column::text("Info"),
];
/// MariaDB's ninth.
const PROGRESS: Column<'static> = Column::of("Progress", column_type::DOUBLE);

impl Session<'_> {
    /// The whole answer, from sequence id `seq` on. `asked` is the statement that asks, if it is one.
    pub(super) fn process_list(
        &mut self,
        asked: Option<Box<[u8]>>,
        full: bool,
        seq: u8,
    ) -> Result<Vec<u8>, Answer> {
        let shared = &self.context.worker.shared;
        let (own, account) = (self.context.presence.info.id, &*self.state.user);
        let sessions: Vec<_> =
            shared.sessions().into_iter().filter(|info| info.identity().user == account).collect();
        let size = sessions.len() * ROW + asked.as_ref().map_or(0, |text| text.len());
        if shared.is_short_of(size) {
            return Err(self.no_memory());
        }
        self.context.worker.tell_digests();
        let now = shared.age_ms(clock::now());
        let has_progress = self.lex.flavor == Flavor::MariaDb;
        let mut columns = COLUMNS.to_vec();
        columns.extend(has_progress.then_some(PROGRESS));
        let mut packet = Vec::with_capacity(size);
        let (caps, status) = (self.capabilities, self.status());
        let mut writer = ResultSetWriter::begin(&mut packet, seq, caps, status, &columns);
        let forms = shared.digests.lock();
        for info in &sessions {
            let mut row = row(info, &forms, full, now);
            if info.id == own {
                let asks = asking(asked.as_deref(), full, self.lex.flavor);
                row.iter_mut().skip(AS_IT_ASKS).zip(asks).for_each(|(cell, asks)| *cell = asks);
            }
            let progress = has_progress.then_some(Some("0.000"));
            let cells = row.iter().map(Option::as_deref).chain(progress);
            writer.row(cells.map(|cell| cell.map(str::as_bytes)));
        }
        drop(forms);
        writer.finish();
        self.state.found_rows = u64::try_from(sessions.len()).ok();
        Ok(packet)
    }
}

fn row(info: &SessionInfo, forms: &Heaviest, full: bool, now: u64) -> [Option<String>; 8] {
    let identity = info.identity();
    let (command, state) = match info.activity() {
        Activity::Login => ("Connect", "login"),
        Activity::Idle => ("Sleep", ""),
        Activity::Waiting => ("Query", "Waiting for a server connection"),
        Activity::Preparing => ("Query", "Preparing a server connection"),
        Activity::Running => ("Query", "Executing"),
        Activity::Ending => ("Killed", "Ending"),
    };
    let text = info.running_form().and_then(|form| forms.text(form));
    let shown =
        |text: &str| if full { text.to_owned() } else { text.chars().take(SHORT).collect() };
    let seconds = now.saturating_sub(info.since_ms()) / 1000;
    [
        Some(info.id.to_string()),
        Some(identity.user),
        Some(info.client().map_or_else(|| "localhost".to_owned(), |client| client.to_string())),
        Some(identity.schema).filter(|schema| !schema.is_empty()),
        Some(command.to_owned()),
        Some(seconds.to_string()),
        Some(state.to_owned()),
        text.map(shown),
    ]
}

/// The asker's own columns from `Command` on, as servers have them: it runs the statement that asks, of
/// which a session knows nothing, since no server gets it.
fn asking(text: Option<&[u8]>, full: bool, flavor: Flavor) -> [Option<String>; 4] {
    let state = if flavor == Flavor::MariaDb { "starting" } else { "init" };
    let command = if text.is_some() { "Query" } else { "Processlist" };
    let shown = |text: &[u8]| {
        let text = String::from_utf8_lossy(text);
        // A server leaves these out as well.
        let text = text.trim().trim_end_matches(|end: char| end == ';' || end.is_whitespace());
        if full { text.to_owned() } else { text.chars().take(SHORT).collect() }
    };
    [Some(command.to_owned()), Some("0".to_owned()), Some(state.to_owned()), text.map(shown)]
}
