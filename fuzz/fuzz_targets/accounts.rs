//! `cargo fuzz run accounts`; the body is `highgate_core::fuzzing::accounts`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| highgate_core::fuzzing::accounts(data));
