//! Streaming an answer, piece by piece.

use anyhow::{Context, Result};
use siskin::{Answer, Channel, Ending, Piece};
use std::io::Write;

/// What the model said.
#[derive(Debug)]
pub(crate) struct Reply {
    /// The text as it was told, without a stop string: with thoughts and the marks around them, unless they are hidden.
    pub(crate) text: String,
    /// What was said, without thoughts.
    pub(crate) said: String,
    /// What was thought, without marks.
    pub(crate) thoughts: String,
    /// All of it in tokens. Of an answer that was broken off, the session does not hold the last.
    pub(crate) tokens: Vec<u32>,
    /// How many of them are thoughts.
    pub(crate) thought_tokens: usize,
    /// Why there are no more.
    pub(crate) ending: Ending,
}

impl Reply {
    /// No answer at all.
    pub(crate) fn none(ending: Ending) -> Reply {
        let [text, said, thoughts] = [const { String::new() }; 3];
        Reply { text, said, thoughts, tokens: Vec::new(), thought_tokens: 0, ending }
    }

    /// Takes up a piece, and returns whether it is told.
    pub(crate) fn push(&mut self, piece: Piece<'_>, hide_thoughts: bool) -> bool {
        match piece.channel {
            Channel::Text => self.said.push_str(piece.text),
            Channel::Thoughts => self.thoughts.push_str(piece.text),
            Channel::Mark => {}
        }
        let is_told = piece.channel == Channel::Text || !hide_thoughts;
        if is_told {
            self.text.push_str(piece.text);
        }
        is_told
    }
}

/// Writes the answer that was asked for to `out`, as it comes.
pub(crate) fn stream(answer: &mut Answer, out: &mut impl Write, hide_thoughts: bool) -> Result<Reply> {
    let mut reply = Reply::none(Ending::Failed);
    while let Some(piece) = answer.next_piece()? {
        if reply.push(piece, hide_thoughts) {
            out.write_all(piece.text.as_bytes()).and_then(|()| out.flush()).context("standard output")?;
        }
    }
    reply.ending = answer.ending().unwrap_or(Ending::Failed);
    reply.tokens = answer.tokens().to_vec();
    reply.thought_tokens = answer.thought_tokens();
    Ok(reply)
}

/// Ends the line that an answer is on.
pub(crate) fn end_line(out: &mut impl Write) -> Result<()> {
    out.write_all(b"\n").and_then(|()| out.flush()).context("standard output")
}

/// Says how many tokens the thoughts took that were hidden, if there were any.
pub(crate) fn tell_hidden(tokens: usize) {
    if tokens > 0 {
        super::note(format_args!("thoughts: {tokens} tokens, hidden"));
    }
}
