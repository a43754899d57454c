//! How good, how fast and how large models are: evaluation side by side, benchmarks, and the search for better settings.

#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::disallowed_methods, reason = "tests make files of their own"))]
#![deny(clippy::print_stdout, clippy::print_stderr)] // They panic where nobody reads.

pub mod bench;
pub mod eval;
pub mod tune;
