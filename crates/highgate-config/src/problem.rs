//! Mistakes in a file as values, printed as a compiler does.

use std::fmt;

use crate::Severity;

/// One mistake, or one warning, at its place in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Whether the file is refused for it.
    pub severity: Severity,
    /// The file's name as it was given.
    pub file: String,
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// What is wrong.
    pub what: String,
    /// What may be written instead; empty where `what` says it all.
    pub expected: String,
    /// The known word that was probably meant.
    pub nearest: Option<String>,
    /// What to do about it.
    pub hint: Option<String>,
    /// File of the other thing, where it is another one.
    pub other_file: Option<String>,
    /// Line of the other thing, where two do not go together.
    pub other_line: Option<usize>,
    /// The line as it may be shown: secrets are blotted out.
    pub source: String,
    /// How many characters of the line are meant.
    pub width: usize,
}

/// All mistakes of a file; at least one is an error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problems(pub Vec<Problem>);

impl Problems {
    /// How many of them are errors.
    #[must_use]
    pub fn errors(&self) -> usize {
        self.0.iter().filter(|problem| problem.severity == Severity::Error).count()
    }
}

impl std::error::Error for Problems {}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for problem in &self.0 {
            writeln!(f, "{problem}")?;
        }
        match self.errors() {
            1 => f.write_str("1 error; nothing was changed"),
            count => write!(f, "{count} errors; nothing was changed"),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = match self.severity {
            Severity::Error => "error",
            Severity::Note => "note",
            Severity::Warning => "warning",
        };
        writeln!(f, "{}:{}:{}: {word}: {}", self.file, self.line, self.column, self.what)?;
        writeln!(f, "{:5} | {}", self.line, self.source)?;
        let before = self.column.saturating_sub(1);
        write!(f, "      | {:before$}{}", "", "^".repeat(self.width.max(1)))?;
        if !self.expected.is_empty() {
            write!(f, " expected {}", self.expected)?;
        }
        writeln!(f)?;
        if let Some(nearest) = &self.nearest {
            writeln!(f, "      = help: did you mean `{nearest}`?")?;
        }
        if let Some(hint) = &self.hint {
            writeln!(f, "      = help: {hint}")?;
        }
        match (&self.other_file, self.other_line) {
            (Some(file), Some(line)) => {
                writeln!(f, "      = note: the other one is in {file}, line {line}")?;
            }
            (None, Some(line)) => writeln!(f, "      = note: the other one is in line {line}")?,
            _ => {}
        }
        Ok(())
    }
}
