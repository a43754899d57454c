//! Streaming an answer, token by token.

use crate::session::count;
use crate::stop::StopFilter;
use anyhow::{Context, Result};
use clap::Args;
use clap::builder::NonEmptyStringValueParser;
use siskin::sampler::Sampler;
use siskin::tokenizer::Detokenizer;
use siskin::{End, Error, Model, Session};
use std::io::{self, Write};

/// The flags that say when an answer ends.
#[derive(Clone, Debug, Args)]
pub(crate) struct AnswerArguments {
    /// Tokens that an answer has at most [default: until the model ends it, or the context is full]
    #[arg(short, long, value_name = "N", value_parser = count)]
    pub(crate) n_predict: Option<usize>,
    /// End the answer before this text; may be given several times
    #[arg(long, value_name = "TEXT", value_parser = NonEmptyStringValueParser::new())]
    pub(crate) stop: Vec<String>,
}

/// Why an answer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// The model ended its turn, or a stop string came.
    Complete,
    /// There were as many tokens as were asked for.
    Limit,
    /// The session has no room for another token.
    ContextFull,
    /// The user interrupted it.
    Interrupted,
}

impl Ending {
    /// Whether the answer is all that was asked for.
    pub(crate) fn is_complete(self) -> bool {
        matches!(self, Ending::Complete | Ending::Limit)
    }
}

/// What the model said.
#[derive(Debug)]
pub(crate) struct Answer {
    /// The text as it was written, without a stop string.
    pub(crate) text: String,
    /// The same in tokens. Of an answer that was broken off, the session does not hold the last.
    pub(crate) tokens: Vec<u32>,
    /// Why there are no more.
    pub(crate) ending: Ending,
}

impl Answer {
    /// No answer at all.
    pub(crate) fn none(ending: Ending) -> Answer {
        Answer { text: String::new(), tokens: Vec::new(), ending }
    }
}

/// Generates an answer from where the session stands and writes it to `out` as it comes, for as long as `go_on` says
/// so.
pub(crate) fn stream(
    model: &Model,
    session: &mut Session,
    sampler: &mut Sampler,
    arguments: &AnswerArguments,
    go_on: impl Fn() -> bool,
    out: &mut impl Write,
) -> Result<Answer> {
    let tokenizer = model.tokenizer();
    let mut detokenizer = Detokenizer::continuing(tokenizer);
    let mut filter = StopFilter::new(&arguments.stop);
    let mut answer = Answer::none(Ending::Complete);
    let mut generation = session.generate(sampler, arguments.n_predict.unwrap_or(usize::MAX))?;
    while !filter.stopped() {
        if !go_on() {
            answer.ending = Ending::Interrupted;
            break;
        }
        match generation.next_token() {
            Ok(Some(token)) => {
                answer.tokens.push(token);
                write(out, filter.push(detokenizer.push(tokenizer, token)), &mut answer.text)?;
            }
            Ok(None) => {
                if generation.end() == Some(End::Limit) {
                    answer.ending = Ending::Limit;
                }
                break;
            }
            Err(Error::ContextFull { .. }) => {
                answer.ending = Ending::ContextFull;
                break;
            }
            Err(Error::Cancelled) => {
                answer.ending = Ending::Interrupted;
                break;
            }
            Err(error) => return Err(error.into()),
        }
    }
    write(out, filter.push(detokenizer.finish()), &mut answer.text)?;
    write(out, filter.finish(), &mut answer.text)?;
    Ok(answer)
}

/// Writes a piece of the answer, at once.
fn write(out: &mut impl Write, piece: &str, text: &mut String) -> Result<()> {
    if piece.is_empty() {
        return Ok(());
    }
    text.push_str(piece);
    out.write_all(piece.as_bytes()).and_then(|()| out.flush()).context("standard output")
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
