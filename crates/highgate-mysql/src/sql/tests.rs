//! Claims about SQL texts.

mod classes;
mod digests;
mod hard;
mod properties;
mod sets;

use super::{Flavor, LexMode};

/// MariaDB 10.11 with its default modes.
const MARIADB: LexMode = LexMode {
    ansi_quotes: false,
    no_backslash_escapes: false,
    pipes_as_concat: false,
    ignore_space: false,
    flavor: Flavor::MariaDb,
    server_version: 101_119,
    newest_version: 0,
    unsafe_charset: false,
    high_blank: None,
};

const MYSQL: LexMode = LexMode { flavor: Flavor::MySql, server_version: 80_036, ..MARIADB };
