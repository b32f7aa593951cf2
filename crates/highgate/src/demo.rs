//! `highgate demo`: a cluster, Highgate in front, a load, and two scenes in which the primary goes.
//!
//! It plays with the real thing: three MariaDB servers in a scratch folder and this program's own
//! `run`. What clients were told is compared with the rows that are there at the end.

use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use highgate_io::clock;

use crate::cli;

mod client;
mod cluster;
mod database;
mod ledger;
mod load;
mod proxy;
mod pulse;
mod scratch;
mod screen;

use cluster::{Cluster, Return};
use database::Programs;
use ledger::Told;
use load::{Counts, Load};
use proxy::Proxy;
use pulse::Pulse;
use scratch::Scratch;
use screen::{Look, RunningLine, Screen, thousands};

/// How long the cluster is without a primary before the demo, in the operator's place, promotes.
const WITHOUT_PRIMARY: Duration = Duration::from_secs(1);

pub(crate) fn demo(arguments: &cli::Demo) -> anyhow::Result<()> {
    let programs = Programs::find()?;
    let pulse = Pulse::listening()?;
    let screen = Arc::new(Screen::new());
    screen.say(Look::Bold, "Highgate in front of one MariaDB primary and two replicas");
    let scratch = Scratch::new()?;
    screen.note(&format!(
        "starting three MariaDB {} servers in {}, which is removed at the end",
        programs.version(),
        scratch.path().display()
    ));
    let cluster = Cluster::start(programs, &scratch, &pulse)?;
    let proxy = Proxy::start(&cluster, &scratch, &pulse)?;
    proxy.wait_for_servers(2, &pulse)?;
    introduce(&screen, &proxy)?;
    let stage = Stage { screen, pulse, unit: Duration::from_secs(arguments.seconds) / 10 };
    stage.play(cluster, &proxy, &scratch, arguments.keep)
}

fn introduce(screen: &Screen, proxy: &Proxy) -> anyhow::Result<()> {
    screen.note("Highgate runs with this configuration:\n");
    for line in std::fs::read_to_string(&proxy.file)?.trim_end().lines() {
        screen.say(Look::Plain, format!("    {line}").trim_end());
    }
    let (shop, sql) = (proxy.shop.port(), proxy.sql.port());
    let (admin, password) = (proxy::ADMIN, &proxy.password);
    let folder = proxy.file.with_file_name("highgate-data");
    // After `make demo` it is in no folder of programs.
    let program = std::env::current_exe().unwrap_or_else(|_| "highgate".into());
    let (program, folder) = (program.display(), folder.display());
    screen.say(
        Look::Plain,
        &format!(
            "\nLook and try while it plays:\n  \
             applications  mariadb -h 127.0.0.1 -P {shop} -u app -papp shop\n  \
             operators     mariadb -h 127.0.0.1 -P {sql} -u {admin} -p{password}\n  \
             web page      http://{}/  (account {admin}, password {password})\n  \
             command line  {program} ctl --data-dir {folder} status\n  \
             live          {program} top --data-dir {folder}",
            proxy.web
        ),
    );
    Ok(())
}

/// Where the scenes are played.
struct Stage {
    screen: Arc<Screen>,
    pulse: Pulse,
    /// A tenth of the time that the scenes take.
    unit: Duration,
}

/// The counts at the beginning of a scene.
struct Mark {
    at: Instant,
    reads: u64,
    reads_failed: u64,
    reads_wrong: u64,
}

impl Mark {
    fn now(counts: &Counts) -> Self {
        Self {
            at: clock::now(),
            reads: counts.reads.load(Relaxed),
            reads_failed: counts.reads_failed.load(Relaxed),
            reads_wrong: counts.reads_wrong.load(Relaxed),
        }
    }
}

/// When the primary was killed: before, and surely gone.
struct Kill {
    from: Instant,
    to: Instant,
}

impl Stage {
    fn play(
        &self,
        mut cluster: Cluster,
        proxy: &Proxy,
        scratch: &Scratch,
        keep: bool,
    ) -> anyhow::Result<()> {
        let mut load = Load::start(proxy.shop)?;
        let counts = load.counts.clone();
        let line = RunningLine::start(&self.screen, proxy, &counts)?;
        let mut is_kept = self.planned_switchover(&mut cluster, &counts)?;
        is_kept &= self.kill_of_the_primary(&mut cluster, proxy, scratch, &counts)?;
        load.stop();
        drop(line);
        is_kept &= self.count(&cluster, &counts)?;
        for (words, times) in counts.words.lock().iter() {
            self.screen.say(Look::Plain, &format!("          {times} × {words}"));
        }
        if keep {
            self.stay(&cluster, proxy)?;
        }
        if !is_kept {
            bail!("a promise was broken: see the lines with ✘");
        }
        self.screen.say(Look::Bold, "\nEvery promise was kept.");
        if !keep {
            let text = "With `make demo DEMO=--keep` (or `highgate demo --keep`) it goes on until \
                        Enter is pressed, to look around.";
            self.screen.say(Look::Plain, text);
        }
        Ok(())
    }

    fn planned_switchover(&self, cluster: &mut Cluster, counts: &Counts) -> anyhow::Result<bool> {
        let (old, new) = (cluster.node(0)?.name, cluster.node(1)?.name);
        self.screen.heading(&format!("Scene 1: planned switchover, {old} to {new}"));
        self.screen.note(&format!(
            "{} readers and {} writers go through Highgate; {old} is the primary",
            load::READERS,
            load::WRITERS
        ));
        self.pulse.pause(self.unit)?;
        let begin = Mark::now(counts);
        self.screen.note(&format!("{old} becomes read-only; {new} catches up and is promoted"));
        cluster.switch_over(1)?;
        let took = clock::now().saturating_duration_since(begin.at).as_secs_f64();
        self.screen.note(&format!("{new} is the primary, the others follow it: {took:.1} s"));
        self.pulse.pause(self.unit * 2)?;
        let end = Mark::now(counts);
        let is_kept = self.reads(&begin, &end);
        let ledger = counts.ledger.lock();
        let count = |told| ledger.count(told, begin.at, end.at);
        let wrong = count(Told::Refused) + count(Told::Unknown);
        self.screen.verdict(
            wrong == 0,
            &format!(
                "writes: {} done, {wrong} errors; at most {:.2} s without one",
                thousands(count(Told::Done) as u64),
                ledger.longest_pause(begin.at, end.at).as_secs_f64()
            ),
        );
        Ok(is_kept && wrong == 0)
    }

    fn kill_of_the_primary(
        &self,
        cluster: &mut Cluster,
        proxy: &Proxy,
        scratch: &Scratch,
        counts: &Counts,
    ) -> anyhow::Result<bool> {
        let (victim, name) = (cluster.primary, cluster.primary()?.name);
        self.screen.heading(&format!("Scene 2: kill -9 of the primary, {name}"));
        self.pulse.pause(self.unit)?;
        let begin = Mark::now(counts);
        let pid = cluster.primary()?.pid().unwrap_or_default();
        self.screen.note(&format!("kill -9 {pid}: {name} is gone; writes wait, reads go on"));
        let from = clock::now();
        cluster.kill_primary();
        let kill = Kill { from, to: clock::now() };
        self.pulse.pause(WITHOUT_PRIMARY)?;
        let best = cluster.best_replica()?;
        let new = cluster.node(best)?.name;
        self.screen.note(&format!("the demo promotes {new}, which received the most of {name}"));
        cluster.make_primary(best)?;
        self.screen.note(&format!("{new} is the primary"));
        self.pulse.pause(self.unit * 2)?;
        let end = Mark::now(counts);
        self.screen.note(&format!("{name} starts again on its old files, as a replica of {new}"));
        let how = match cluster.bring_back(victim, scratch)? {
            Return::AsItWas => "it follows with what it had",
            Return::Refilled => "it held a write that nobody else had: wiped, and filled anew",
        };
        self.screen.note(&format!("{name} is back: {how}"));
        proxy.wait_for_servers(2, &self.pulse)?;
        self.pulse.pause(self.unit * 2)?;
        self.judge_the_kill(counts, &begin, &end, &kill)
    }

    fn judge_the_kill(
        &self,
        counts: &Counts,
        begin: &Mark,
        back: &Mark,
        kill: &Kill,
    ) -> anyhow::Result<bool> {
        let end = Mark::now(counts);
        let reads = self.reads(begin, &end);
        let ledger = counts.ledger.lock();
        let (refused, unknown) = (
            ledger.count(Told::Refused, begin.at, end.at),
            ledger.count(Told::Unknown, begin.at, end.at),
        );
        let in_flight = ledger.in_flight(kill.from, kill.to);
        self.screen.verdict(
            refused == 0,
            &format!(
                "writes: {} done, {refused} refused; at most {:.2} s without one",
                thousands(ledger.count(Told::Done, begin.at, end.at) as u64),
                ledger.longest_pause(begin.at, back.at).as_secs_f64()
            ),
        );
        self.screen.verdict(
            unknown <= in_flight,
            &format!("outcome unknown: {unknown} writes; {in_flight} were in flight at the kill"),
        );
        Ok(reads && refused == 0 && unknown <= in_flight)
    }

    fn reads(&self, begin: &Mark, end: &Mark) -> bool {
        let (failed, wrong) =
            (end.reads_failed - begin.reads_failed, end.reads_wrong - begin.reads_wrong);
        let done = thousands(end.reads - begin.reads);
        let text = format!("reads: {done} done, {failed} failed, {wrong} with a foreign answer");
        self.screen.verdict(failed + wrong == 0, &text);
        failed + wrong == 0
    }

    /// Counts the rows at the primary, once all replicas have them too.
    fn count(&self, cluster: &Cluster, counts: &Counts) -> anyhow::Result<bool> {
        self.screen.heading("The count: rows in the tables against what clients were told");
        cluster.catch_up()?;
        let mut is_kept = true;
        for node in &cluster.nodes {
            let proof = counts.ledger.lock().prove(rows(node)?);
            is_kept &= proof.holds();
            self.screen.verdict(
                proof.holds(),
                &format!(
                    "{}: {} acknowledged: {} lost, {} doubled; {} unknown: {} are there",
                    node.name,
                    thousands(proof.acknowledged as u64),
                    proof.lost,
                    proof.doubled,
                    proof.unknown,
                    proof.unknown_there,
                ),
            );
            if proof.denied + proof.foreign > 0 {
                let (denied, foreign) = (proof.denied, proof.foreign);
                let text = format!("{denied} refused ones are there, {foreign} that nobody wrote");
                self.screen.verdict(false, &text);
            }
        }
        Ok(is_kept)
    }

    /// Goes on with the load, for people who want to look.
    fn stay(&self, cluster: &Cluster, proxy: &Proxy) -> anyhow::Result<()> {
        self.screen.heading("The load goes on until you press Enter");
        for node in &cluster.nodes {
            let pid = node.pid().unwrap_or_default();
            self.screen
                .say(Look::Plain, &format!("    {}: port {}, pid {pid}", node.name, node.port));
        }
        let load = Load::start(proxy.shop)?;
        let _line = RunningLine::start(&self.screen, proxy, &load.counts)?;
        self.pulse.wait_for_enter()
    }
}

/// How often each write of the load is in the table of a server.
fn rows(node: &database::Database) -> anyhow::Result<BTreeMap<(usize, u64), usize>> {
    let sql = "SELECT writer, number, COUNT(*) FROM shop.orders WHERE writer BETWEEN 0 AND 99 \
               GROUP BY writer, number";
    let rows = node.connect()?.rows(sql)?;
    let rows = rows.into_iter().map(|row| match row.as_slice() {
        [Some(writer), Some(number), Some(count)] => {
            Ok(((writer.parse()?, number.parse()?), count.parse()?))
        }
        _ => bail!("a row of another shape"),
    });
    rows.collect::<anyhow::Result<_>>().context("counting the rows")
}
