//! `cargo fuzz run passthrough`; the body is `highgate_mysql::fuzzing::passthrough`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| highgate_mysql::fuzzing::passthrough(data));
