//! `cargo fuzz run sql`; the body is `highgate_mysql::fuzzing::sql`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| highgate_mysql::fuzzing::sql(data));
