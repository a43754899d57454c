//! What chats and completions have in common: how they are written, why they end, what they took.

use crate::answers::{Finish, Outcome};
use crate::refusal::Refusal;
use serde_json::{Value, json};
use siskin_kit::json::Object;

/// How the answer is written.
pub(super) struct Form {
    /// Piece by piece, and whether its counts come in the end; None: whole.
    pub(super) stream: Option<bool>,
}

impl Form {
    pub(super) fn read(fields: &mut Object) -> Result<Self, Refusal> {
        let stream = fields.flag("stream")?.unwrap_or(false);
        let options = fields.take("stream_options");
        let mut options = options.map(|options| Object::of("stream_options", options)).transpose()?;
        let usage = options.as_mut().map(|options| options.flag("include_usage")).transpose()?.flatten();
        Ok(Self { stream: stream.then_some(usage.unwrap_or(false)) })
    }
}

/// Why an answer ended.
pub(super) fn finish(finish: Finish) -> &'static str {
    match finish {
        Finish::Stop => "stop",
        Finish::ToolCalls => "tool_calls",
        Finish::Length => "length",
    }
}

/// What answers to a prompt took.
pub(super) fn usage(prompt_tokens: usize, outcomes: &[&Outcome]) -> Value {
    let sum = |of: fn(&Outcome) -> usize| outcomes.iter().map(|outcome| of(outcome)).sum::<usize>();
    let tokens = sum(|outcome| outcome.tokens);
    // A prompt that has several answers is read once.
    let cached = outcomes.first().map_or(0, |outcome| outcome.cached_tokens);
    json!({
        "prompt_tokens": prompt_tokens,
        "completion_tokens": tokens,
        "total_tokens": prompt_tokens + tokens,
        "prompt_tokens_details": {"cached_tokens": cached},
        "completion_tokens_details": {"reasoning_tokens": sum(|outcome| outcome.thought_tokens)},
    })
}
