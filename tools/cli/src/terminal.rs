//! What the program says while a model works, and what it hears.

pub(crate) mod answer;
mod interrupt;
mod reading;
pub(crate) mod stalled;

pub(crate) use answer::Reply;
pub(crate) use interrupt::Interrupt;
pub(crate) use reading::read_prompt;

use std::io::{self, Write};

/// Says something about an answer, which is not part of it.
pub(crate) fn note(text: std::fmt::Arguments<'_>) {
    // The answer does not depend on anybody reading this.
    let _ = writeln!(io::stderr(), "{text}");
}
