//! The response as it is written, whole or as far as it is there.

use crate::answers::{Answers, Call, Finish, Outcome, Whole};
use crate::api::id;
use crate::api::logprobs::{items, logprob};
use crate::http::Written;
use crate::server::now;
use serde_json::{Value, json};
use siskin::Model;

/// A response.
pub(super) struct Object {
    value: Value,
    prompt_tokens: usize,
}

impl Object {
    /// One without any item yet.
    pub(super) fn new(answers: &Answers, echoed: Value) -> Self {
        let mut value = json!({
            "id": id("resp_"),
            "object": "response",
            "created_at": now(),
            "status": "in_progress",
            "background": false,
            "error": null,
            "incomplete_details": null,
            "model": answers.name,
            "output": [],
            "parallel_tool_calls": true,
            "previous_response_id": null,
            "reasoning": {"effort": null, "summary": null},
            "store": false,
            "text": {"format": {"type": "text"}},
            "tool_choice": "auto",
            "tools": [],
            "truncation": "disabled",
            "usage": null,
            "user": null,
        });
        if let (Value::Object(fields), Value::Object(echoed)) = (&mut value, echoed) {
            fields.extend(echoed);
        }
        Self { value, prompt_tokens: answers.prompt_tokens }
    }

    pub(super) fn value(&self) -> &Value {
        &self.value
    }

    /// Adds an item.
    pub(super) fn push(&mut self, item: Value) {
        if let Some(output) = self.value["output"].as_array_mut() {
            output.push(item);
        }
    }

    /// Adds what was thought, if anything was, what was said, and calls of tools.
    pub(super) fn add(&mut self, whole: &Whole, written: &mut Written, model: &Model) {
        let Whole { thoughts, text, calls, logprobs, .. } = whole;
        if !thoughts.is_empty() {
            self.push(item(
                Item::Thoughts,
                &id("rs_"),
                "completed",
                Some(Item::Thoughts.part(thoughts, json!([]))),
            ));
        }
        if !text.is_empty() || calls.is_empty() {
            let logprobs = match logprobs.is_empty() {
                true => json!([]),
                false => written.array(items(logprobs.clone(), model, logprob)),
            };
            let part = Item::Message.part(text, logprobs);
            self.push(item(Item::Message, &id("msg_"), "completed", Some(part)));
        }
        for call in calls {
            self.push(function_call(&id("fc_"), "completed", call));
        }
    }

    /// Says how it ended, and what it took.
    pub(super) fn end(&mut self, outcome: &Outcome) {
        match outcome.finish {
            Finish::Stop | Finish::ToolCalls => self.value["status"] = json!("completed"),
            Finish::Length => {
                self.value["status"] = json!("incomplete");
                self.value["incomplete_details"] = json!({"reason": "max_output_tokens"});
            }
        }
        self.value["usage"] = json!({
            "input_tokens": self.prompt_tokens,
            "input_tokens_details": {"cached_tokens": outcome.cached_tokens},
            "output_tokens": outcome.tokens,
            "output_tokens_details": {"reasoning_tokens": outcome.thought_tokens},
            "total_tokens": self.prompt_tokens + outcome.tokens,
        });
    }

    /// Says what went wrong.
    pub(super) fn fail(&mut self, message: &str) {
        self.value["status"] = json!("failed");
        self.value["error"] = json!({"code": "server_error", "message": message});
    }
}

/// An item that is a call of a tool.
pub(super) fn function_call(id: &str, status: &str, call: &Call) -> Value {
    json!({
        "id": id,
        "type": "function_call",
        "status": status,
        "call_id": call.id,
        "name": call.name,
        "arguments": call.arguments,
    })
}

/// What an item is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Item {
    Thoughts,
    Message,
}

impl Item {
    /// What the names of its events begin with.
    pub(super) fn events(self) -> &'static str {
        match self {
            Item::Thoughts => "response.reasoning_text",
            Item::Message => "response.output_text",
        }
    }

    /// Its only part.
    pub(super) fn part(self, text: &str, logprobs: Value) -> Value {
        match self {
            Item::Thoughts => json!({"type": "reasoning_text", "text": text}),
            Item::Message => {
                json!({"type": "output_text", "text": text, "annotations": [], "logprobs": logprobs})
            }
        }
    }
}

/// An item, with its part if that is there.
pub(super) fn item(kind: Item, id: &str, status: &str, part: Option<Value>) -> Value {
    let content: Vec<Value> = part.into_iter().collect();
    match kind {
        Item::Thoughts => {
            json!({"id": id, "type": "reasoning", "summary": [], "content": content, "status": status})
        }
        Item::Message => {
            json!({"id": id, "type": "message", "role": "assistant", "status": status, "content": content})
        }
    }
}
