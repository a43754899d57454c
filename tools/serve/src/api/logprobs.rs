//! How probable tokens were, as most APIs write it.

use crate::http::Told;
use serde_json::{Value, json};
use siskin::tokenizer::Tokenizer;
use siskin::{Logprobs, Model};
use std::sync::Arc;

/// The most probable tokens that are told with each one, at most, as OpenAI has it and as llama.cpp's clients ask for.
pub(super) const MOST: usize = 20;
pub(super) const MOST_OF_LLAMA_CPP: usize = 100;

/// Tokens with their probabilities, as JSON, one by one.
pub(super) fn items(
    told: impl IntoIterator<Item = (u32, Arc<Told>), IntoIter: Send + 'static>,
    model: &Model,
    write: impl Fn(u32, &Logprobs, &Tokenizer) -> Value + Send + 'static,
) -> impl Iterator<Item = String> + Send + 'static {
    let model = model.clone();
    // Each gives its room back once it is written.
    told.into_iter().map(move |(token, of)| write(token, &of, model.tokenizer()).to_string())
}

/// A token with its probability, and the most probable ones.
pub(super) fn logprob(token: u32, logprobs: &Logprobs, tokenizer: &Tokenizer) -> Value {
    let top = logprobs.top.iter().map(|&(token, logprob)| entry(token, logprob, tokenizer));
    let top: Vec<Value> = top.collect();
    let mut picked = entry(token, logprobs.picked, tokenizer);
    picked["top_logprobs"] = json!(top);
    picked
}

/// The same with the numbers of the tokens.
pub(super) fn logprob_with_ids(token: u32, logprobs: &Logprobs, tokenizer: &Tokenizer) -> Value {
    let mut picked = logprob(token, logprobs, tokenizer);
    picked["id"] = json!(token);
    if let Some(top) = picked["top_logprobs"].as_array_mut() {
        for (value, (token, _)) in top.iter_mut().zip(&logprobs.top) {
            value["id"] = json!(token);
        }
    }
    picked
}

fn entry(token: u32, logprob: f32, tokenizer: &Tokenizer) -> Value {
    let bytes = bytes(token, tokenizer);
    json!({"token": String::from_utf8_lossy(bytes), "logprob": finite(logprob), "bytes": bytes})
}

/// The bytes that a token stands for; a control token's own text.
pub(super) fn bytes(token: u32, tokenizer: &Tokenizer) -> &[u8] {
    match tokenizer.piece(token) {
        [] => tokenizer.text(token),
        piece => piece,
    }
}

/// JSON has no infinities. OpenAI's least is this.
pub(super) fn finite(logprob: f32) -> f32 {
    logprob.max(-9999.0)
}
