//! `POST /v1/messages` and `POST /v1/messages/count_tokens`.

use super::{error, read, respond};
use crate::answers::{Answers, Delta, Finish, Outcome};
use crate::api::id;
use crate::ask::Prompt;
use crate::http;
use crate::server::{Server, prompt_tokens};
use crate::worker::Client;
use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::http::Request;
use axum::response::Response;
use futures_util::{Stream, stream};
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

/// Answers a conversation.
pub(super) async fn messages(
    State(server): State<Arc<Server>>,
    Extension(client): Extension<Client>,
    request: Request<Body>,
) -> Response {
    let answer = async {
        let mut fields = http::read_json(&server, request).await?;
        let stream = fields.flag("stream")?.unwrap_or(false);
        let mut answers = server.answer(client, read::ask(fields)?).await?;
        if stream {
            return Ok(http::events(events(answers)));
        }
        let whole = answers.whole().await?.into_iter().next().unwrap_or_default();
        let mut content = Vec::new();
        if !whole.thoughts.is_empty() {
            content.push(json!({"type": "thinking", "thinking": whole.thoughts, "signature": ""}));
        }
        if !whole.text.is_empty() {
            content.push(json!({"type": "text", "text": whole.text}));
        }
        for call in &whole.calls {
            content
                .push(json!({"type": "tool_use", "id": call.id, "name": call.name, "input": call.object()}));
        }
        let mut message = message(&answers);
        message["content"] = Value::Array(content);
        if let Some(outcome) = &whole.outcome {
            (message["stop_reason"], message["stop_sequence"]) = reason(outcome);
            message["usage"] = usage(&answers, outcome);
        }
        Ok(http::json(200, &message))
    };
    respond(answer.await)
}

/// Counts the tokens of a conversation.
pub(super) async fn count_tokens(State(server): State<Arc<Server>>, request: Request<Body>) -> Response {
    let count = async {
        let mut fields = http::read_json(&server, request).await?;
        let name = fields.text("model")?;
        let chat = read::chat(fields)?;
        let (model, _) = server.models.open(name.as_deref(), None).await?;
        let tokens = prompt_tokens(&model, Prompt::Chat(chat)).await?;
        Ok(http::json(200, &json!({"input_tokens": tokens.len()})))
    };
    respond(count.await)
}

/// A message that says nothing yet.
fn message(answers: &Answers) -> Value {
    json!({
        "id": id("msg_"),
        "type": "message",
        "role": "assistant",
        "model": answers.name,
        "content": [],
        "stop_reason": null,
        "stop_sequence": null,
        "usage": {
            "input_tokens": answers.prompt_tokens,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": 0,
            "output_tokens": 0,
        },
    })
}

/// Why an answer ended, and the stop string that did it.
fn reason(outcome: &Outcome) -> (Value, Value) {
    match (outcome.finish, &outcome.stop) {
        (Finish::Length, _) => (json!("max_tokens"), Value::Null),
        (Finish::ToolCalls, _) => (json!("tool_use"), Value::Null),
        (Finish::Stop, Some(stop)) => (json!("stop_sequence"), json!(stop)),
        (Finish::Stop, None) => (json!("end_turn"), Value::Null),
    }
}

/// What an answer took. Tokens that were there already are not among those of the input.
fn usage(answers: &Answers, outcome: &Outcome) -> Value {
    json!({
        "input_tokens": answers.prompt_tokens.saturating_sub(outcome.cached_tokens),
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": outcome.cached_tokens,
        "output_tokens": outcome.tokens,
    })
}

/// An event, which has its name twice.
fn event(value: &Value) -> String {
    format!("event: {}\ndata: {value}", value["type"].as_str().unwrap_or_default())
}

/// The answer as events.
fn events(answers: Answers) -> impl Stream<Item = String> {
    let start = json!({"type": "message_start", "message": message(&answers)});
    let waiting = VecDeque::from([start, json!({"type": "ping"})]);
    let state = Streaming { answers, waiting, open: None, index: 0, is_over: false };
    stream::unfold(state, |mut state| async {
        let value = state.next().await?;
        Some((event(&value), state))
    })
}

/// What a block holds.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Block {
    Thinking,
    Text,
    /// A call of a tool, which each has a block of its own.
    ToolUse,
}

/// An answer that is written piece by piece.
struct Streaming {
    answers: Answers,
    /// What is to be written before anything else.
    waiting: VecDeque<Value>,
    /// The block that is written, and the number of the next one.
    open: Option<Block>,
    index: usize,
    is_over: bool,
}

impl Streaming {
    /// The next event; None once the last was written.
    async fn next(&mut self) -> Option<Value> {
        /// How long nothing is said before it is said that somebody is there.
        const SILENCE: Duration = Duration::from_secs(10);
        loop {
            if let Some(value) = self.waiting.pop_front() {
                return Some(value);
            }
            if self.is_over {
                return None;
            }
            match tokio::time::timeout(SILENCE, self.answers.next()).await {
                Err(_) => self.waiting.push_back(json!({"type": "ping"})),
                Ok(Ok(Some((_, delta)))) => self.take_up(delta),
                Ok(Ok(None)) => self.is_over = true,
                Ok(Err(refusal)) => {
                    self.waiting.push_back(error(&refusal));
                    self.is_over = true;
                }
            }
        }
    }

    fn take_up(&mut self, delta: Delta) {
        match delta {
            Delta::Text(text) => self.write(Block::Text, &json!({"type": "text_delta", "text": text})),
            Delta::Thought(text) => {
                self.write(Block::Thinking, &json!({"type": "thinking_delta", "thinking": text}));
            }
            Delta::Call { id, name, .. } => {
                self.close();
                self.begin(Block::ToolUse, &json!({"type": "tool_use", "id": id, "name": name, "input": {}}));
            }
            Delta::Arguments(_, more) => {
                let delta = json!({"type": "input_json_delta", "partial_json": more});
                self.waiting
                    .push_back(json!({"type": "content_block_delta", "index": self.index, "delta": delta}));
            }
            Delta::Token(..) => {}
            Delta::Over(outcome) => {
                self.close();
                let (reason, sequence) = reason(&outcome);
                let delta = json!({"stop_reason": reason, "stop_sequence": sequence});
                let usage = usage(&self.answers, &outcome);
                self.waiting.push_back(json!({"type": "message_delta", "delta": delta, "usage": usage}));
                self.waiting.push_back(json!({"type": "message_stop"}));
                self.is_over = true;
            }
        }
    }

    /// Adds to the block of this kind, which is begun if another is open.
    fn write(&mut self, block: Block, delta: &Value) {
        if self.open != Some(block) {
            self.close();
            let content = match block {
                Block::Thinking => json!({"type": "thinking", "thinking": "", "signature": ""}),
                Block::Text | Block::ToolUse => json!({"type": "text", "text": ""}),
            };
            self.begin(block, &content);
        }
        self.waiting.push_back(json!({"type": "content_block_delta", "index": self.index, "delta": delta}));
    }

    fn begin(&mut self, block: Block, content: &Value) {
        self.waiting
            .push_back(json!({"type": "content_block_start", "index": self.index, "content_block": content}));
        self.open = Some(block);
    }

    fn close(&mut self) {
        let Some(block) = self.open.take() else { return };
        if block == Block::Thinking {
            // Clients want one. Nothing is signed here, and nothing asks for it when thoughts come back.
            let delta = json!({"type": "signature_delta", "signature": ""});
            self.waiting
                .push_back(json!({"type": "content_block_delta", "index": self.index, "delta": delta}));
        }
        self.waiting.push_back(json!({"type": "content_block_stop", "index": self.index}));
        self.index += 1;
    }
}
