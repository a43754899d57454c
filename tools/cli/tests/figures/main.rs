//! What the program measures, and what it promises before the start.

#![allow(clippy::disallowed_methods, reason = "tests make files of their own")]
#![allow(clippy::unwrap_used, clippy::panic)] // Helpers of tests may fail as tests do.

#[path = "../common/mod.rs"]
mod common;

mod bench;
mod doctor;
mod eval;
mod plan;
mod tune;
