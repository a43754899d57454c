//! What the program says while a model works, and what it hears.

pub(crate) mod answer;
mod interrupt;
mod reading;
pub(crate) mod stalled;

pub(crate) use answer::Reply;
pub(crate) use interrupt::Interrupt;
pub(crate) use reading::read_prompt;

use std::io::{self, Write};

/// An error that was told already, in a form of its own.
#[derive(Debug)]
pub(crate) struct Told;

impl std::fmt::Display for Told {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("what was told already")
    }
}

impl std::error::Error for Told {}

/// Says something about an answer, which is not part of it.
pub(crate) fn note(text: std::fmt::Arguments<'_>) {
    // The answer does not depend on anybody reading this.
    let _ = writeln!(io::stderr(), "{text}");
}
