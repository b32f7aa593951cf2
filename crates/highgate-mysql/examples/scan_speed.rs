//! Measures `ReplyScanner::feed`: `cargo run --release -p highgate-mysql --example scan_speed`.

#![expect(clippy::disallowed_methods, clippy::print_stdout, reason = "a measuring program")]

use std::hint::black_box;
use std::time::Instant;

use highgate_mysql::packet::PacketWriter;
use highgate_mysql::scan::{CommandKind, ReplyScanner};
use highgate_mysql::{Capabilities, StatusFlags};

const CHUNK: usize = 16_384;

/// A reply of one column and `rows` rows of `length` bytes.
fn reply(rows: usize, length: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut writer = PacketWriter::new(&mut bytes, 1);
    writer.payload(&[1]);
    writer.payload(b"\x03def\x04shop\x01t\x01t\x01c\x01c\x0c\x3f\0\x14\0\0\0\x08\x81\0\0\0\0");
    for _ in 0..rows {
        writer.payload(&vec![1; length]);
    }
    let status = StatusFlags::AUTOCOMMIT.bits().to_le_bytes();
    writer.payload(&[0xfe, 0, 0, status[0], status[1], 0, 0]);
    bytes
}

fn main() {
    let capabilities = Capabilities::PROTOCOL_41 | Capabilities::DEPRECATE_EOF;
    for (name, rows, length, rounds) in [
        ("one small row", 1, 20, 100_000),
        ("rows of 100 bytes", 10_000, 100, 100),
        ("rows of 1 MiB", 10, 1 << 20, 100),
    ] {
        let bytes = reply(rows, length);
        let mut scanner = ReplyScanner::new(CommandKind::Query, capabilities);
        let mut best = u128::MAX;
        for _ in 0..20 {
            let start = Instant::now();
            for _ in 0..rounds {
                scanner.reset(CommandKind::Query, capabilities);
                for chunk in black_box(&bytes).chunks(CHUNK) {
                    black_box(scanner.feed(chunk));
                }
            }
            best = best.min(start.elapsed().as_nanos() / rounds);
        }
        assert!(scanner.is_done());
        let chunks = bytes.len().div_ceil(CHUNK);
        println!("{name}: {} bytes in {chunks} chunks, {best} ns", bytes.len());
    }
}
