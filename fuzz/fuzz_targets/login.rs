//! `cargo fuzz run login`; the body is `highgate_mysql::fuzzing::login`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| highgate_mysql::fuzzing::login(data));
