//! `cargo fuzz run scan`; the body is `highgate_mysql::fuzzing::scan`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| highgate_mysql::fuzzing::scan(data));
