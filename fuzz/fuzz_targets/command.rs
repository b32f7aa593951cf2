//! `cargo fuzz run command`; the body is `highgate_mysql::fuzzing::command`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| highgate_mysql::fuzzing::command(data));
