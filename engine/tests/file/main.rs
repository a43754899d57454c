//! Files: what is read, written, mapped and refused.

#[path = "../again/mod.rs"]
mod again;
mod golden;
mod hostile;
mod mapped;
mod memory;
mod support;
mod write;
