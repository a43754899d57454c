//! `POST /v1/chat/completions`.

use super::usage::{Form, finish, usage};
use super::{error, respond};
use crate::answers::{Answers, Call, Delta, Outcome, Whole};
use crate::api::logprobs::{items, logprob};
use crate::api::sampling::{logit_bias, sampling};
use crate::api::{fields, format, id};
use crate::ask::{Ask, Chat, Prompt};
use crate::http::{self, Written};
use crate::refusal::Refusal;
use crate::server::{Server, now};
use crate::worker::Client;
use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::http::Request;
use axum::response::Response;
use futures_util::{Stream, stream};
use serde_json::{Value, json};
use siskin::{AnswerLimits, Model};
use siskin_kit::json::Object;
use siskin_kit::openai::{self, Tokens};
use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;

/// Answers a conversation.
pub(super) async fn completions(
    State(server): State<Arc<Server>>,
    Extension(client): Extension<Client>,
    request: Request<Body>,
) -> Response {
    respond(answer(server, client, request).await)
}

async fn answer(server: Arc<Server>, client: Client, request: Request<Body>) -> Result<Response, Refusal> {
    let mut fields = http::read_json(&server, request).await?;
    let form = Form::read(&mut fields)?;
    let ask = ask(fields, &server.options.adapters)?;
    let mut answers = server.answer(client, ask).await?;
    let head = Head::of(&answers);
    if let Some(with_usage) = form.stream {
        return Ok(http::events(events(answers, head, with_usage)));
    }
    let mut all = answers.whole().await?;
    let (mut written, model) = (Written::default(), &answers.model.model);
    let choices: Vec<Value> =
        all.iter_mut().enumerate().map(|(index, whole)| choice(index, whole, model, &mut written)).collect();
    let outcomes: Vec<&Outcome> = all.iter().filter_map(|whole| whole.outcome.as_ref()).collect();
    let mut body = head.object("chat.completion", choices);
    body["usage"] = usage(answers.prompt_tokens, &outcomes);
    Ok(written.response(&body))
}

/// Reads a request.
fn ask(mut fields: Object, adapters: &[(String, PathBuf)]) -> Result<Ask, Refusal> {
    let messages = fields.take("messages").ok_or_else(|| Refusal::invalid("messages: expected an array"))?;
    let messages = openai::messages(messages)?;
    if messages.is_empty() {
        return Err(Refusal::invalid("messages: expected one or more"));
    }
    fields::refuse(&mut fields, &["functions", "audio", "web_search_options"])?;
    let format = format::of_chat(&mut fields)?;
    let tools = fields::tools(&mut fields, fields::tool)?;
    let variables = fields.typed("chat_template_kwargs", "an object", openai::variables)?;
    let stop = fields.take("stop").map(|value| openai::stops("stop", &value)).transpose()?;
    let tokens = match openai::tokens(&mut fields)? {
        Some(Tokens::Most(tokens)) => Some(tokens),
        Some(Tokens::Unlimited) | None => None,
    };
    let bias = fields.take("logit_bias").map(|value| logit_bias(&value)).transpose()?;
    let think = fields::effort(&mut fields, "reasoning_effort")?;
    let (tool_choice, one_call) = (fields::tool_choice(&mut fields)?, fields::one_call(&mut fields)?);
    let variables = variables.unwrap_or_default();
    let chat = Chat { messages, tools, tool_choice, one_call, think, variables, forgets: false };
    Ok(Ask {
        model: fields.text("model")?,
        prompt: Prompt::Chat(chat),
        adapters: fields::adapters(&mut fields, adapters)?,
        sampling: sampling(&mut fields)?.logit_bias(bias),
        limits: AnswerLimits::default().tokens(tokens).stop(stop.unwrap_or_default()),
        format,
        logprobs: fields::logprobs(&mut fields)?,
        answers: fields::answers(&mut fields)?,
        ..Ask::default()
    })
}

/// What all parts of a response have.
#[derive(Clone)]
struct Head {
    id: String,
    created: u64,
    model: String,
}

impl Head {
    fn of(answers: &Answers) -> Self {
        let created = now();
        Self { id: id("chatcmpl-"), created, model: answers.name.clone() }
    }

    fn object(&self, object: &str, choices: Vec<Value>) -> Value {
        json!({
            "id": self.id,
            "object": object,
            "created": self.created,
            "model": self.model,
            "system_fingerprint": concat!("siskin-", env!("CARGO_PKG_VERSION")),
            "choices": choices,
        })
    }
}

fn choice(index: usize, whole: &mut Whole, model: &Model, written: &mut Written) -> Value {
    let mut message = json!({"role": "assistant", "content": whole.text, "refusal": null});
    if !whole.calls.is_empty() {
        let call = |call: &Call| {
            let function = json!({"name": call.name, "arguments": call.arguments});
            json!({"id": call.id, "type": "function", "function": function})
        };
        message["tool_calls"] = whole.calls.iter().map(call).collect();
        if whole.text.is_empty() {
            message["content"] = Value::Null;
        }
    }
    if !whole.thoughts.is_empty() {
        message["reasoning_content"] = json!(whole.thoughts);
    }
    let told = std::mem::take(&mut whole.logprobs);
    let logprobs = (!told.is_empty())
        .then(|| json!({"content": written.array(items(told, model, logprob)), "refusal": null}));
    let reason = whole.outcome.as_ref().map(|outcome| finish(outcome.finish));
    json!({"index": index, "message": message, "logprobs": logprobs, "finish_reason": reason})
}

/// The answers as events.
fn events(answers: Answers, head: Head, with_usage: bool) -> impl Stream<Item = String> {
    let first = (0..answers.unfinished)
        .map(|index| part(index, &json!({"role": "assistant", "content": ""}), None, None))
        .map(|choice| head.object("chat.completion.chunk", vec![choice]));
    let waiting: VecDeque<Value> = first.collect();
    let state = Streaming { answers, head, with_usage, waiting, outcomes: Vec::new(), is_over: false };
    stream::unfold(state, |mut state| async {
        let event = state.next().await?;
        Some((event, state))
    })
}

/// Answers that are written piece by piece.
struct Streaming {
    answers: Answers,
    head: Head,
    with_usage: bool,
    /// What is to be written before anything else.
    waiting: VecDeque<Value>,
    outcomes: Vec<Outcome>,
    is_over: bool,
}

impl Streaming {
    /// The next event; None once the last was written.
    async fn next(&mut self) -> Option<String> {
        if let Some(value) = self.waiting.pop_front() {
            return Some(format!("data: {value}"));
        }
        if self.is_over {
            return None;
        }
        let choice = match self.answers.next().await {
            Ok(Some((index, delta))) => self.choice(index, delta),
            Ok(None) => {
                self.is_over = true;
                if self.with_usage {
                    let outcomes: Vec<&Outcome> = self.outcomes.iter().collect();
                    let mut last = self.head.object("chat.completion.chunk", Vec::new());
                    last["usage"] = usage(self.answers.prompt_tokens, &outcomes);
                    return Some(format!("data: {last}\n\ndata: [DONE]"));
                }
                return Some("data: [DONE]".to_owned());
            }
            Err(refusal) => {
                self.is_over = true;
                return Some(format!("data: {}", error(&refusal)));
            }
        };
        let mut chunk = self.head.object("chat.completion.chunk", vec![choice]);
        if self.with_usage {
            chunk["usage"] = Value::Null;
        }
        Some(format!("data: {chunk}"))
    }

    fn choice(&mut self, index: usize, delta: Delta) -> Value {
        match delta {
            Delta::Text(text) => part(index, &json!({"content": text}), None, None),
            Delta::Thought(text) => part(index, &json!({"reasoning_content": text}), None, None),
            Delta::Call { number, id, name } => {
                let function = json!({"name": name, "arguments": ""});
                let call = json!({"index": number, "id": id, "type": "function", "function": function});
                part(index, &json!({"tool_calls": [call]}), None, None)
            }
            Delta::Arguments(number, more) => {
                let call = json!({"index": number, "function": {"arguments": more}});
                part(index, &json!({"tool_calls": [call]}), None, None)
            }
            Delta::Token(token, logprobs) => {
                let content = logprob(token, &logprobs, self.answers.model.model.tokenizer());
                let logprobs = json!({"content": [content], "refusal": null});
                part(index, &json!({}), Some(logprobs), None)
            }
            Delta::Over(outcome) => {
                let reason = finish(outcome.finish);
                self.outcomes.push(outcome);
                part(index, &json!({}), None, Some(reason))
            }
        }
    }
}

/// A choice of a part of a response.
fn part(index: usize, delta: &Value, logprobs: Option<Value>, reason: Option<&str>) -> Value {
    json!({"index": index, "delta": delta, "logprobs": logprobs, "finish_reason": reason})
}
