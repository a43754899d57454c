//! Adapters that learn on the device, from little data that never leaves it. `docs/adapting.md` is its manual.

#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::disallowed_methods, reason = "tests make files of their own"))]
#![deny(clippy::print_stdout, clippy::print_stderr)] // They panic where nobody reads.

pub mod data;
pub mod file;
pub mod journal;
pub mod recipe;
