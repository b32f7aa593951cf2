//! `cargo fuzz run compress`; the body is `highgate_mysql::fuzzing::compress`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| highgate_mysql::fuzzing::compress(data));
