//! Importers: other programs' files to the desired state.
//!
//! Each dialect has a lexer, a table of all its words with the answer to each (`keywords`), and
//! a reader that turns what is honoured into drafts of our settings. A word that is not in the
//! table is a mistake. Nothing here opens a file: what a file includes is asked of [`Surroundings`].

pub(crate) mod haproxy;
pub(crate) mod keepalived;
pub(crate) mod keywords;
mod thing;

use std::net::IpAddr;

/// The pages of the manual that tell which words of other programs' files are honoured.
#[must_use]
pub fn manual() -> String {
    let haproxy = keywords::page("haproxy.cfg", HAPROXY, haproxy::keywords::TABLE);
    let keepalived = keywords::page("keepalived.conf", KEEPALIVED, keepalived::keywords::TABLE);
    let others = haproxy::sections_left_out();
    format!("{INTRODUCTION}\n{haproxy}\n{others}\n{keepalived}")
}

const INTRODUCTION: &str = "# Files of other programs

`highgate run haproxy.cfg keepalived.conf` reads these files as they are, together with files of
Highgate's own, as one configuration; `highgate check` tells all their mistakes and what becomes of
each word. The form of a file is known by its content. A word that is not listed here is a mistake,
and so is a value that the program itself would quietly replace by a default.
";

const HAPROXY: &str = "Sections `global`, `defaults`, `frontend`, `backend` and `listen`, for tcp mode. `\"${NAME}\"` and
`\"${NAME-default}\"` are read from the environment. A number without a unit is in milliseconds.";

const KEEPALIVED: &str =
    "Where this process has listeners, a script that asks whether HAProxy runs is not run: Highgate
knows by itself whether it serves, and gives the address away at once when it does not.
`@NAME` conditions compare with `--node`. Included files are looked up beside the file that
includes them.";

/// What a file asks for beyond its own text.
pub trait Surroundings {
    /// The files that `pattern`, written in the file `from`, stands for: names and texts.
    ///
    /// # Errors
    /// Why one can't be read, as a sentence. No match is no error here.
    fn include(&self, from: &str, pattern: &str) -> Result<Vec<(String, String)>, String>;

    /// A variable of the environment.
    fn variable(&self, name: &str) -> Option<String>;

    /// The interfaces of this machine; none where they are not known.
    fn interfaces(&self) -> Vec<String> {
        Vec::new()
    }

    /// The addresses of an interface of this machine, with the lengths of their prefixes; none where
    /// there is no such interface.
    fn networks(&self, _interface: &str) -> Vec<(IpAddr, u8)> {
        Vec::new()
    }
}

/// No files and no environment.
#[derive(Debug, Clone, Copy, Default)]
pub struct Nothing;

impl Surroundings for Nothing {
    fn include(&self, _from: &str, _pattern: &str) -> Result<Vec<(String, String)>, String> {
        Err("files can't be included here".to_owned())
    }

    fn variable(&self, _name: &str) -> Option<String> {
        None
    }
}
