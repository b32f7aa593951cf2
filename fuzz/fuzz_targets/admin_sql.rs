//! `cargo fuzz run admin_sql`; the body is `highgate_admin::sql::fuzz`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| highgate_admin::sql::fuzz(data));
