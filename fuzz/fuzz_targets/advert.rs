//! `cargo fuzz run advert`; the body is `highgate_vrrp::fuzzing::advert`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| highgate_vrrp::fuzzing::advert(data));
