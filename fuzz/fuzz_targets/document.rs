//! The target `document` for libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| siskin_fuzz::targets::document::run(data));
