//! `cargo fuzz run native`; the body is `highgate_config::fuzzing::native`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| highgate_config::fuzzing::native(data));
