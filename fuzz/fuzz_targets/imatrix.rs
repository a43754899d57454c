//! The target `imatrix` for libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| siskin_fuzz::targets::imatrix::run(data));
