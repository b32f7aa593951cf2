//! What a run found: the same figures as tables for people and as JSON for programs.

use std::fmt::Write as _;

use serde_json::{Map, Value, json};

/// One line of a table.
#[derive(Debug, Clone)]
pub(crate) struct Line {
    pub(crate) work: String,
    pub(crate) contender: String,
    /// Column name and what it holds, in the order of the table.
    pub(crate) cells: Vec<(&'static str, Cell)>,
}

/// One figure.
#[derive(Debug, Clone)]
pub(crate) enum Cell {
    /// A number, shown with so many decimals.
    Number(f64, usize),
    None,
}

impl Cell {
    fn shown(&self) -> String {
        match self {
            Self::Number(value, decimals) => format!("{value:.decimals$}"),
            Self::None => "–".to_owned(),
        }
    }

    fn json(&self) -> Value {
        match self {
            Self::Number(value, _) => json!(value),
            Self::None => Value::Null,
        }
    }
}

/// Everything that a run found.
#[derive(Debug, Default)]
pub(crate) struct Report {
    lines: Vec<Line>,
    notes: Vec<String>,
}

impl Report {
    pub(crate) fn add(&mut self, lines: Vec<Line>) {
        self.lines.extend(lines);
    }

    /// Says why something is not in the tables.
    pub(crate) fn note(&mut self, note: String) {
        self.notes.push(note);
    }

    /// Whether something is missing.
    pub(crate) fn has_notes(&self) -> bool {
        !self.notes.is_empty()
    }

    /// Tables, one per set of columns.
    pub(crate) fn markdown(&self, when: &str, machine: &str) -> String {
        let mut out = format!(
            "{when}, {machine}.\n\nProxies alone on one processor with one thread each, servers and load on another. \
             Medians of interleaved rounds; ± is half the 95% interval of the median ratio. Every contender has the \
             same servers; `highgate-split` has a replica beside the primary.\n"
        );
        let mut columns: Vec<&str> = Vec::new();
        for line in &self.lines {
            let own: Vec<&str> = line.cells.iter().map(|(name, _)| *name).collect();
            if own != columns {
                let _ = write!(out, "\n| work | contender | {} |\n|---|---|", own.join(" | "));
                let _ = writeln!(out, "{}", "---:|".repeat(own.len()));
                columns = own;
            }
            let cells: Vec<String> = line.cells.iter().map(|(_, cell)| cell.shown()).collect();
            let _ = writeln!(out, "| {} | {} | {} |", line.work, line.contender, cells.join(" | "));
        }
        for note in &self.notes {
            let _ = write!(out, "\n- {note}");
        }
        out.push('\n');
        out
    }

    /// The same as JSON.
    pub(crate) fn json(&self, when: &str, machine: &str) -> String {
        let lines: Vec<Value> = self.lines.iter().map(line).collect();
        let all = json!({"date": when, "machine": machine, "lines": lines, "notes": self.notes});
        format!("{all:#}\n")
    }
}

fn line(line: &Line) -> Value {
    let mut all = Map::new();
    all.insert("work".to_owned(), json!(line.work));
    all.insert("contender".to_owned(), json!(line.contender));
    for (name, cell) in &line.cells {
        all.insert((*name).to_owned(), cell.json());
    }
    Value::Object(all)
}

/// The date, from the system's own program: the bench has no calendar.
pub(crate) fn date() -> String {
    output("date", &["-u", "+%Y-%m-%d %H:%M UTC"])
}

/// Processor, cores, memory and kernel.
pub(crate) fn machine() -> String {
    let file = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let field = |text: &str, name: &str| {
        let line = text.lines().find(|line| line.starts_with(name));
        let value = line.and_then(|line| line.split_once(':'));
        value.map_or_else(|| "?".to_owned(), |(_, value)| value.trim().to_owned())
    };
    let processor = file("/proc/cpuinfo");
    let cores = processor.lines().filter(|line| line.starts_with("processor")).count();
    format!(
        "{} × {cores}, {} memory, Linux {}",
        field(&processor, "model name"),
        field(&file("/proc/meminfo"), "MemTotal"),
        file("/proc/sys/kernel/osrelease").trim()
    )
}

fn output(program: &str, args: &[&str]) -> String {
    let output = std::process::Command::new(program).args(args).output();
    output.map_or_else(
        |_| "date unknown".to_owned(),
        |output| String::from_utf8_lossy(&output.stdout).trim().to_owned(),
    )
}
