//! Measures how long `analyze` takes: `cargo run --release -p highgate-mysql --example analyze_speed`.
//!
//! With the name of a text (`point`, `list`, `insert`) it reads that one a thousand times, for tools that
//! count instructions.

#![expect(clippy::disallowed_methods, clippy::print_stdout, reason = "a measuring program")]

use std::hint::black_box;
use std::time::Instant;

use highgate_mysql::sql::{Flavor, LexMode, Scratch, analyze};

fn main() {
    let point = "SELECT id, k, c, pad FROM sbtest1 WHERE id = 4711 AND c = 'a string literal here' ORDER BY k LIMIT 1".to_owned();
    let list = format!("SELECT c FROM sbtest1 WHERE id IN ({})", vec!["12345"; 165].join(", "));
    let columns: Vec<String> = (0..100).map(|i| format!("column_{i}")).collect();
    let values: Vec<String> = (0..100).map(|i| format!("'value {i}'")).collect();
    let insert =
        format!("INSERT INTO wide ({}) VALUES ({})", columns.join(", "), values.join(", "));
    let mode = LexMode { flavor: Flavor::MariaDb, server_version: 101_119, ..LexMode::default() };
    let mut scratch = Scratch::new();
    let only = std::env::args().nth(1);
    for (name, text) in [("point", point), ("list", list), ("insert", insert)] {
        if let Some(only) = &only {
            for _ in 0..if only == name { 1000 } else { 0 } {
                black_box(analyze(black_box(text.as_bytes()), mode, &mut scratch).digest);
            }
            continue;
        }
        let mut best = u128::MAX;
        for _ in 0..20 {
            let start = Instant::now();
            for _ in 0..10_000 {
                black_box(analyze(black_box(text.as_bytes()), mode, &mut scratch).digest);
            }
            best = best.min(start.elapsed().as_nanos() / 10_000);
        }
        println!("{name}: {} bytes, {best} ns", text.len());
    }
}
