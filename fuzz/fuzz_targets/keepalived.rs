//! `cargo fuzz run keepalived`; the body is `highgate_config::fuzzing::keepalived`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| highgate_config::fuzzing::keepalived(data));
