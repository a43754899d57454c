//! The flags that say when an answer ends.

use super::numbers::{Limit, limit};
use clap::Args;
use clap::builder::NonEmptyStringValueParser;
use siskin::AnswerLimits;

/// When an answer ends.
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
    /// Whether they say how many tokens an answer has, be it without a limit.
    pub(crate) fn say_how_long(&self) -> bool {
        self.n_predict.is_some()
    }

    /// What they say of an answer's end.
    pub(crate) fn limits(&self) -> AnswerLimits {
        AnswerLimits::default().tokens(self.n_predict.and_then(Limit::tokens)).stop(self.stop.clone())
    }
}
