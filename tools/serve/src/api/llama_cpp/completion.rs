//! `POST /completion` and `POST /infill`.

use super::{error, read, respond};
use crate::answers::{Answers, Delta, Finish, Outcome};
use crate::api::logprobs;
use crate::ask::Prompt;
use crate::http::{self, Written};
use crate::refusal::Refusal;
use crate::server::Server;
use crate::worker::Client;
use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::http::Request;
use axum::response::Response;
use futures_util::{Stream, stream};
use serde_json::{Value, json};
use siskin_kit::json::Object;
use std::sync::Arc;
use std::time::Duration;

/// Continues a text.
pub(super) async fn completion(
    State(server): State<Arc<Server>>,
    Extension(client): Extension<Client>,
    request: Request<Body>,
) -> Response {
    respond(answer(&server, client, request, read::prompt).await)
}

/// Fills in what is missing in the middle of a text.
pub(super) async fn infill(
    State(server): State<Arc<Server>>,
    Extension(client): Extension<Client>,
    request: Request<Body>,
) -> Response {
    respond(answer(&server, client, request, read::infill).await)
}

async fn answer(
    server: &Server,
    client: Client,
    request: Request<Body>,
    prompt: fn(&mut Object) -> Result<Prompt, Refusal>,
) -> Result<Response, Refusal> {
    let mut fields = http::read_json(server, request).await?;
    let stream = fields.flag("stream")?.unwrap_or(false);
    let name = fields.text("model")?;
    let prompt = prompt(&mut fields)?;
    let text = read::text_of(&prompt);
    let mut ask = {
        let (model, _) = server.models.open(name.as_deref(), None).await?;
        read::ask(&mut fields, prompt, model.model.tokenizer(), &server.options.adapters)?
    };
    ask.model = name;
    let settings = json!({
        "n_predict": ask.limits.tokens.map_or(-1, |tokens| i64::try_from(tokens).unwrap_or(i64::MAX)),
        "stop": ask.limits.stop,
        "n_probs": ask.logprobs.unwrap_or(0),
        "stream": stream,
    });
    let mut answers = server.answer(client, ask).await?;
    let mut end = End { settings, prompt: text, content: String::new() };
    end.settings["seed"] = json!(answers.seed);
    if stream {
        return Ok(http::events(events(answers, end)));
    }
    let whole = answers.whole().await?.into_iter().next().unwrap_or_default();
    end.content = whole.thoughts + &whole.text;
    let mut value = match &whole.outcome {
        Some(outcome) => end.value(&answers, outcome),
        None => json!({}),
    };
    value["content"] = json!(end.content);
    let tokens: Vec<u32> = whole.logprobs.iter().map(|(token, _)| *token).collect();
    value["tokens"] = json!(tokens);
    let mut told = whole.logprobs;
    told.retain(|(_, logprobs)| !logprobs.top.is_empty());
    let mut written = Written::default();
    if !told.is_empty() {
        let items = logprobs::items(told, &answers.model.model, logprobs::logprob_with_ids);
        value["completion_probabilities"] = written.array(items);
    }
    Ok(written.response(&value))
}

/// What is told in the end.
struct End {
    settings: Value,
    prompt: String,
    /// All of the answer.
    content: String,
}

impl End {
    fn value(&self, answers: &Answers, outcome: &Outcome) -> Value {
        let kind = match (outcome.finish, &outcome.stop) {
            (Finish::Length, _) => "limit",
            (Finish::Stop | Finish::ToolCalls, Some(_)) => "word",
            (Finish::Stop | Finish::ToolCalls, None) => "eos",
        };
        json!({
            "index": 0,
            "content": "",
            "tokens": [],
            "id_slot": 0,
            "stop": true,
            "model": answers.name,
            "tokens_predicted": outcome.tokens,
            "tokens_evaluated": answers.prompt_tokens,
            "generation_settings": self.settings,
            "prompt": self.prompt,
            "has_new_line": self.content.contains('\n'),
            "truncated": false,
            "stop_type": kind,
            "stopping_word": outcome.stop.as_deref().unwrap_or_default(),
            "tokens_cached": outcome.cached_tokens,
            "timings": timings(answers, outcome),
        })
    }
}

/// How long it took, as llama.cpp tells it.
fn timings(answers: &Answers, outcome: &Outcome) -> Value {
    let (read, told) = (answers.prompt_tokens.saturating_sub(outcome.cached_tokens), outcome.tokens);
    let milliseconds = |time: Duration| time.as_secs_f64() * 1e3;
    let (prompt, answer) = (milliseconds(outcome.times.prompt), milliseconds(outcome.times.answer));
    let each = |time: f64, count: usize| time / count.max(1) as f64;
    let rate = |time: f64, count: usize| if time > 0.0 { count as f64 / time * 1e3 } else { 0.0 };
    json!({
        "cache_n": outcome.cached_tokens,
        "prompt_n": read,
        "prompt_ms": prompt,
        "prompt_per_token_ms": each(prompt, read),
        "prompt_per_second": rate(prompt, read),
        "predicted_n": told,
        "predicted_ms": answer,
        "predicted_per_token_ms": each(answer, told),
        "predicted_per_second": rate(answer, told),
    })
}

/// The answer as events.
fn events(answers: Answers, end: End) -> impl Stream<Item = String> {
    let state = Some(Streaming { answers, end, tokens: Vec::new(), probabilities: Vec::new() });
    stream::unfold(state, async |state| {
        let mut streaming = state?;
        let (value, is_last) = streaming.next().await?;
        Some((format!("data: {value}"), if is_last { None } else { Some(streaming) }))
    })
}

/// An answer that is written piece by piece.
struct Streaming {
    answers: Answers,
    end: End,
    /// Of tokens whose text is still to come.
    tokens: Vec<u32>,
    probabilities: Vec<Value>,
}

impl Streaming {
    /// The next event, and whether it is the last.
    async fn next(&mut self) -> Option<(Value, bool)> {
        loop {
            let (mut value, is_last) = match self.answers.next().await {
                Ok(None) => return None,
                // Who has a text continued sees all that the model writes.
                Ok(Some((_, Delta::Text(text) | Delta::Thought(text)))) => {
                    self.end.content.push_str(&text);
                    (json!({"index": 0, "content": text, "stop": false, "id_slot": 0}), false)
                }
                Ok(Some((_, Delta::Token(token, of)))) => {
                    self.tokens.push(token);
                    if !of.top.is_empty() {
                        let tokenizer = self.answers.model.model.tokenizer();
                        self.probabilities.push(logprobs::logprob_with_ids(token, &of, tokenizer));
                    }
                    continue;
                }
                // Of conversations alone.
                Ok(Some((_, Delta::Call { .. } | Delta::Arguments(..)))) => continue,
                Ok(Some((_, Delta::Over(outcome)))) => (self.end.value(&self.answers, &outcome), true),
                Err(refusal) => return Some((error(&refusal), true)),
            };
            value["tokens"] = json!(std::mem::take(&mut self.tokens));
            if !self.probabilities.is_empty() {
                value["completion_probabilities"] = Value::Array(std::mem::take(&mut self.probabilities));
            }
            return Some((value, is_last));
        }
    }
}
