//! `cargo fuzz run certificate`; the body is `highgate_io::fuzzing::certificate`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| highgate_io::fuzzing::certificate(data));
