//! `cargo fuzz run reply`; the body is `highgate_mysql::fuzzing::reply`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| highgate_mysql::fuzzing::reply(data));
