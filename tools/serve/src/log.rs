//! What the server tells whoever looks after it: lines on standard error.

use std::io::{self, Write};

/// Says a line.
pub(crate) fn note(line: &str) {
    // Nobody need read it.
    let _ = writeln!(io::stderr(), "siskin: {line}");
}
