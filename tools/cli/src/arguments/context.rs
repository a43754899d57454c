//! The flags that say how far a model looks back.

use super::numbers::{count, whole};
use anyhow::{Result, ensure};
use clap::{Args, ValueEnum};
use siskin::Model;

/// The context's length, and what becomes of it.
#[derive(Debug, Args)]
pub(crate) struct ContextArguments {
    /// Tokens that the model looks back at, at most [default: what the model was made for, up to 4096]
    #[arg(short, long, visible_alias = "context", value_name = "N", value_parser = count)]
    pub(crate) ctx_size: Option<usize>,
    /// What is done when so many are there
    #[arg(long, value_name = "WHAT", default_value = "stop")]
    when_full: WhenFull,
    /// First tokens that shift and window never forget, such as those of a system prompt
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = whole::<usize>, requires = "when_full")]
    keep: usize,
}

/// [`siskin::WhenFull`] as a flag has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum WhenFull {
    /// The answer ends
    Stop,
    /// The older half is forgotten
    Shift,
    /// The oldest eighth is forgotten, time and again
    Window,
}

/// That a prompt of so many tokens does not fit, and what helps.
pub(crate) fn no_room(tokens: usize, context: usize, model: &Model) -> String {
    let longest = model.context_length();
    let larger = match longest > context {
        true => format!("-c makes it larger, up to the {longest} that the model was made for"),
        false => format!("the model was made for no more than {longest}"),
    };
    format!(
        "the prompt has {tokens} tokens, the context has room for {context}, and an answer needs some: {larger}; \
         siskin summarize reads texts of any length"
    )
}

impl ContextArguments {
    /// Checks that a prompt fits, unless what does not is to be forgotten.
    ///
    /// # Errors
    /// A prompt that leaves no room for an answer.
    pub(crate) fn check(&self, tokens: usize, context: usize, model: &Model) -> Result<()> {
        let fits = tokens <= context || self.when_full != WhenFull::Stop;
        ensure!(fits, "{}; --when-full shift forgets the oldest tokens", no_room(tokens, context, model));
        Ok(())
    }

    /// What a session is to do.
    pub(crate) fn when_full(&self) -> siskin::WhenFull {
        let keep = self.keep;
        match self.when_full {
            WhenFull::Stop => siskin::WhenFull::Stop,
            WhenFull::Shift => siskin::WhenFull::Shift { keep },
            WhenFull::Window => siskin::WhenFull::Window { keep },
        }
    }
}
