//! The flags that say how far a model looks back.

use super::numbers::{count, whole};
use clap::{Args, ValueEnum};

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

impl ContextArguments {
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
