//! Streaming an answer, piece by piece.

use anyhow::{Context, Result};
use siskin::{Answer, Ending};
use std::io::Write;

/// What the model said.
#[derive(Debug)]
pub(crate) struct Reply {
    /// The text as it was written, without a stop string.
    pub(crate) text: String,
    /// The same in tokens. Of an answer that was broken off, the session does not hold the last.
    pub(crate) tokens: Vec<u32>,
    /// Why there are no more.
    pub(crate) ending: Ending,
}

impl Reply {
    /// No answer at all.
    pub(crate) fn none(ending: Ending) -> Reply {
        Reply { text: String::new(), tokens: Vec::new(), ending }
    }
}

/// Writes the answer that was asked for to `out`, as it comes.
pub(crate) fn stream(answer: &mut Answer, out: &mut impl Write) -> Result<Reply> {
    let mut text = String::new();
    while let Some(piece) = answer.next_piece()? {
        text.push_str(piece);
        out.write_all(piece.as_bytes()).and_then(|()| out.flush()).context("standard output")?;
    }
    let ending = answer.ending().unwrap_or(Ending::Failed);
    Ok(Reply { text, tokens: answer.tokens().to_vec(), ending })
}

/// Ends the line that an answer is on.
pub(crate) fn end_line(out: &mut impl Write) -> Result<()> {
    out.write_all(b"\n").and_then(|()| out.flush()).context("standard output")
}
