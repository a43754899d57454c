//! Streaming an answer, piece by piece.

use crate::numbers::{Limit, limit};
use anyhow::{Context, Result};
use clap::Args;
use clap::builder::NonEmptyStringValueParser;
use siskin::{Answer, AnswerLimits, Ending};
use std::io::{self, Write};

/// The flags that say when an answer ends.
#[derive(Clone, Debug, Args)]
pub(crate) struct AnswerArguments {
    /// Tokens that an answer has at most, -1 for no limit [default: until the model ends it, or the context is full]
    #[arg(short, long, value_name = "N", value_parser = limit)]
    n_predict: Option<Limit>,
    /// End the answer before this text; may be given several times
    #[arg(long, value_name = "TEXT", value_parser = NonEmptyStringValueParser::new())]
    stop: Vec<String>,
}

impl AnswerArguments {
    /// What they say.
    pub(crate) fn limits(&self) -> AnswerLimits {
        AnswerLimits { tokens: self.n_predict.and_then(Limit::tokens), stop: self.stop.clone() }
    }
}

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

/// Says something about an answer, which is not part of it.
pub(crate) fn note(text: std::fmt::Arguments<'_>) {
    // The answer does not depend on anybody reading this.
    let _ = writeln!(io::stderr(), "{text}");
}
