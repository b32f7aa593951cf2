//! Clients that do nothing wrong beside those that do: their answers are right, all the time.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use anyhow::Context as _;
use highgate_mysql::{Capabilities, packet::Reader};
use highgate_testkit::wait;

use crate::{
    model::PREPARED,
    raw::{self, Param, Part, RawClient},
};

/// What one of them has in its session, and how it asks.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Kind {
    /// Nothing, so that whatever it sees is another's.
    Bare,
    /// A schema and a variable, and transactions now and then.
    Full,
    /// A prepared statement.
    Prepared,
}

/// Those at work until [`Honest::end`].
pub(crate) struct Honest {
    ends: Arc<AtomicBool>,
    clients: Vec<JoinHandle<anyhow::Result<u32>>>,
}

impl Honest {
    pub(crate) fn start(to: SocketAddr, capabilities: Capabilities, kinds: &[Kind]) -> Self {
        let ends = Arc::new(AtomicBool::new(false));
        let start = |kind: &Kind| {
            let (ends, kind) = (ends.clone(), *kind);
            std::thread::spawn(move || {
                let mut client = Client::start(to, capabilities, kind)?;
                while !ends.load(Ordering::Relaxed) {
                    client.ask()?;
                    let _ = wait::wait_until(wait::Deadline::after(PAUSE), || false);
                }
                Ok(client.asked)
            })
        };
        let clients = kinds.iter().map(start).collect();
        Self { ends, clients }
    }

    /// How often they were answered, rightly each time.
    pub(crate) fn end(self) -> u32 {
        self.ends.store(true, Ordering::Relaxed);
        let counts = self.clients.into_iter().map(|client| client.join().unwrap().unwrap());
        counts.sum()
    }
}

const PAUSE: Duration = Duration::from_millis(2);

/// One of them.
#[derive(Debug)]
pub(crate) struct Client {
    raw: RawClient,
    kind: Kind,
    statement: u32,
    asked: u32,
}

impl Client {
    pub(crate) fn start(
        to: SocketAddr,
        capabilities: Capabilities,
        kind: Kind,
    ) -> anyhow::Result<Self> {
        let mut raw = RawClient::connect(to, "app", "app", None, capabilities)?;
        let mut statement = 0;
        match kind {
            Kind::Bare => {}
            Kind::Full => {
                raw.ok("USE shop")?;
                raw.ok("SET @h = 7")?;
            }
            Kind::Prepared => match raw.prepare(PREPARED)? {
                Part::Prepared { id, .. } => statement = id,
                other => anyhow::bail!("{other:?}"),
            },
        }
        Ok(Self { raw, kind, statement, asked: 0 })
    }

    /// Asks for something that nobody else asks for, and looks at the answer.
    pub(crate) fn ask(&mut self) -> anyhow::Result<()> {
        self.asked += 1;
        let word = format!("w{}x{}", self.raw.id, self.asked);
        let has = if matches!(self.kind, Kind::Full) { ("shop", " @h=7") } else { ("", "") };
        let opens = matches!(self.kind, Kind::Full) && self.asked.is_multiple_of(7);
        if opens {
            self.raw.ok("BEGIN")?;
        }
        let told = match self.kind {
            Kind::Bare | Kind::Full => self.raw.value(&format!("SELECT '{word}'")),
            Kind::Prepared => self.execute(&word),
        };
        let expected = format!("{word} schema={} transaction={opens}{}", has.0, has.1);
        let told = told.with_context(|| format!("{:?}, {} answers", self.kind, self.asked))?;
        anyhow::ensure!(told == expected, "{:?} was told `{told}`, not `{expected}`", self.kind);
        if opens {
            self.raw.ok("COMMIT")?;
        }
        Ok(())
    }

    fn execute(&mut self, word: &str) -> anyhow::Result<String> {
        let command = raw::execute(self.statement, 0, &[Param::Text(word.to_owned())], true);
        let parts = self.raw.command(&command)?;
        let [Part::Rows { rows, .. }] = &parts[..] else { anyhow::bail!("{parts:?}") };
        let mut reader = Reader::new(rows.first().context("no row")?);
        reader.skip(2)?;
        Ok(String::from_utf8_lossy(reader.lenenc_bytes()?).into_owned())
    }
}
