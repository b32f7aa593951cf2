//! `cargo fuzz run haproxy`; the body is `highgate_config::fuzzing::haproxy`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| highgate_config::fuzzing::haproxy(data));
