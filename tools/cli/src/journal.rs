//! Files in which long work keeps what is finished, so that it goes on where it was interrupted.

mod header;
mod lines;

pub(crate) use header::{Header, Settings};
pub(crate) use lines::Lines;
