//! The flags that say how far a model looks back.

use super::numbers::{count, whole};
use anyhow::{Result, ensure};
use clap::error::ErrorKind;
use clap::{Args, ValueEnum};
use siskin::Model;

/// The context's length, and what becomes of it.
#[derive(Debug, Args)]
pub(crate) struct ContextArguments {
    /// Tokens that the model looks back at, at most [default: what the model was made for, up to 4096]
    #[arg(short, long, visible_alias = "context", value_name = "N", value_parser = count)]
    pub(crate) ctx_size: Option<usize>,
    /// What is done when so many are there [default: stop]
    #[arg(long, value_name = "WHAT")]
    when_full: Option<WhenFull>,
    /// First tokens that shift and window never forget [default: 4]
    #[arg(long, value_name = "N", value_parser = whole::<usize>)]
    keep: Option<usize>,
}

/// [`siskin::WhenFull`] as a flag has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum WhenFull {
    /// The answer ends
    Stop,
    /// The older half is forgotten
    Shift,
    /// The oldest eighth is forgotten, time and again
    Window,
}

/// First tokens that are kept where nobody says how many: attention sinks.
const SINKS: usize = 4;

/// What makes a context of so many tokens larger.
pub(crate) fn larger(context: usize, model: &Model) -> String {
    let longest = model.context_length();
    match longest > context {
        true => format!("-c makes it larger, up to the {longest} that the model was made for"),
        false => format!("the model was made for no more than {longest}"),
    }
}

/// That a prompt of so many tokens does not fit, and what helps.
pub(crate) fn no_room(tokens: usize, context: usize, model: &Model) -> String {
    format!(
        "the prompt has {tokens} tokens, the context has room for {context}, and an answer needs some: {}; \
         siskin summarize reads texts of any length",
        larger(context, model)
    )
}

impl ContextArguments {
    /// Checks that a prompt fits, unless what does not is to be forgotten.
    ///
    /// # Errors
    /// A prompt that leaves no room for an answer.
    pub(crate) fn check(&self, tokens: usize, context: usize, model: &Model) -> Result<()> {
        let fits = tokens <= context || self.when_full.is_some_and(|what| what != WhenFull::Stop);
        ensure!(fits, "{}; --when-full shift forgets the oldest tokens", no_room(tokens, context, model));
        Ok(())
    }

    /// What a session of one prompt is to do.
    ///
    /// # Errors
    /// Tokens that are to be kept where none are forgotten, a [`clap::Error`].
    pub(crate) fn when_full(&self) -> Result<siskin::WhenFull> {
        let what = self.when_full.unwrap_or(WhenFull::Stop);
        if self.keep.is_some() && what == WhenFull::Stop {
            let problem = "--keep means nothing without --when-full shift or window\n";
            return Err(clap::Error::raw(ErrorKind::MissingRequiredArgument, problem).into());
        }
        Ok(what.of(self.keep.unwrap_or(SINKS)))
    }

    /// What a conversation is to do.
    pub(crate) fn policy(&self) -> Policy {
        Policy {
            what: self.when_full.unwrap_or(WhenFull::Shift),
            keep: self.keep,
            is_default: self.when_full.is_none(),
        }
    }
}

impl WhenFull {
    fn of(self, keep: usize) -> siskin::WhenFull {
        match self {
            WhenFull::Stop => siskin::WhenFull::Stop,
            WhenFull::Shift => siskin::WhenFull::Shift { keep },
            WhenFull::Window => siskin::WhenFull::Window { keep },
        }
    }
}

/// What becomes of a conversation whose context is full.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Policy {
    what: WhenFull,
    keep: Option<usize>,
    /// Nobody asked for it: the conversation goes on, but a message that is too long by itself is not cut, and no answer
    /// goes on without end.
    pub(crate) is_default: bool,
}

impl Policy {
    /// A policy that was asked for, or is the default.
    #[cfg(test)]
    pub(crate) fn of(what: WhenFull, is_default: bool) -> Policy {
        Policy { what, keep: None, is_default }
    }

    /// Tokens that are left when the oldest messages are forgotten; None where they never are.
    pub(crate) fn room(self, context: usize) -> Option<usize> {
        match self.what {
            WhenFull::Stop => None,
            WhenFull::Shift => Some(context / 2),
            WhenFull::Window => Some(context / 8 * 7),
        }
    }

    /// What a session with this context is to do in the middle of an answer to a conversation that begins with so many
    /// tokens of a system message.
    pub(crate) fn when_full(self, context: usize, opening: usize) -> siskin::WhenFull {
        match self.keep {
            Some(keep) => self.what.of(keep),
            None if context < 2 => siskin::WhenFull::Stop,
            // At least half of the context is for what is said.
            None => self.what.of(opening.min(context / 2).max(SINKS).min(context - 2)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_system_message_is_kept_up_to_half_of_the_context() {
        let kept = |context, opening| Policy::of(WhenFull::Shift, false).when_full(context, opening);
        assert_eq!(kept(100, 0), siskin::WhenFull::Shift { keep: 4 });
        assert_eq!(kept(100, 30), siskin::WhenFull::Shift { keep: 30 });
        assert_eq!(kept(100, 80), siskin::WhenFull::Shift { keep: 50 });
        assert_eq!(kept(3, 80), siskin::WhenFull::Shift { keep: 1 });
        assert_eq!(kept(1, 80), siskin::WhenFull::Stop);
        let asked = Policy { keep: Some(7), ..Policy::of(WhenFull::Window, false) };
        assert_eq!(asked.when_full(100, 30), siskin::WhenFull::Window { keep: 7 });
        assert_eq!(Policy::of(WhenFull::Stop, false).when_full(100, 30), siskin::WhenFull::Stop);
    }
}
