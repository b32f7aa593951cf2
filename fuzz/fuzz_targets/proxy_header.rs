//! `cargo fuzz run proxy_header`; the body is `highgate_io::fuzzing::proxy_header`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| highgate_io::fuzzing::proxy_header(data));
