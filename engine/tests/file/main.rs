//! Files: what is read, written, mapped and refused.

#![allow(clippy::disallowed_methods, reason = "tests make files of their own")]
#![allow(clippy::unwrap_used)] // Helpers of tests may fail as tests do.

#[path = "../again/mod.rs"]
mod again;
mod golden;
mod hostile;
mod mapped;
mod memory;
mod split;
mod support;
mod write;
