//! Answers as `/api/chat` and `/api/generate` write them, which differ in how a piece of text is told.

use super::{error, time};
use crate::answers::{Answers, Call, Delta, Finish, Outcome};
use crate::api::logprobs::{items, logprob};
use crate::ask::{Ask, KeepAlive};
use crate::http::{self, Written};
use crate::refusal::Refusal;
use crate::server::Server;
use crate::worker::Client;
use axum::response::Response;
use futures_util::{Stream, stream};
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::time::{Duration, Instant, SystemTime};

/// Whose answer it is.
#[derive(Clone, Copy)]
pub(super) enum Form {
    Chat,
    Generate,
}

impl Form {
    /// An answer, or a part of one.
    fn part(self, model: &str, text: &str, thoughts: &str) -> Value {
        let mut part = json!({"model": model, "created_at": time(SystemTime::now()), "done": false});
        match self {
            Form::Chat => {
                part["message"] = json!({"role": "assistant", "content": text});
                if !thoughts.is_empty() {
                    part["message"]["thinking"] = json!(thoughts);
                }
            }
            Form::Generate => {
                part["response"] = json!(text);
                if !thoughts.is_empty() {
                    part["thinking"] = json!(thoughts);
                }
            }
        }
        part
    }
}

/// Answers a prompt.
pub(super) async fn answer(
    server: &Server,
    client: Client,
    form: Form,
    stream: bool,
    ask: Ask,
) -> Result<Response, Refusal> {
    let asked = Instant::now();
    let mut answers = server.answer(client, ask).await?;
    if stream {
        return Ok(http::lines(lines(answers, form, asked)));
    }
    let all = answers.whole().await?;
    let whole = all.into_iter().next().unwrap_or_default();
    let mut value = form.part(&answers.name, &whole.text, &whole.thoughts);
    if !whole.calls.is_empty() {
        value["message"]["tool_calls"] = whole.calls.iter().enumerate().map(tool_call).collect();
    }
    if let Some(outcome) = &whole.outcome {
        end(&mut value, &answers, outcome, asked);
    }
    let mut written = Written::default();
    if !whole.logprobs.is_empty() {
        value["logprobs"] = written.array(items(whole.logprobs, &answers.model.model, logprob));
    }
    Ok(written.response(&value))
}

/// What a request without a prompt is for: loading the model, or unloading it.
pub(super) async fn lifecycle(server: &Server, form: Form, ask: Ask) -> Result<Response, Refusal> {
    let name = match &ask.model {
        Some(name) => name.clone(),
        None => server.models.find(None).await?.name.clone(),
    };
    let reason = if ask.keep_alive == Some(KeepAlive::For(Duration::ZERO)) {
        server.models.unload(&name).await?;
        "unload"
    } else {
        server.models.open(Some(&name), ask.keep_alive).await?;
        "load"
    };
    let mut value = form.part(&name, "", "");
    value["done"] = json!(true);
    value["done_reason"] = json!(reason);
    Ok(http::json(200, &value))
}

/// Says how an answer ended, how much it was and how long it took, in nanoseconds.
fn end(value: &mut Value, answers: &Answers, outcome: &Outcome, asked: Instant) {
    let nanoseconds = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
    value["done"] = json!(true);
    value["done_reason"] = json!(match outcome.finish {
        Finish::Stop | Finish::ToolCalls => "stop",
        Finish::Length => "length",
    });
    value["total_duration"] = json!(nanoseconds(asked.elapsed()));
    value["load_duration"] = json!(nanoseconds(answers.loading));
    value["prompt_eval_count"] = json!(answers.prompt_tokens);
    value["prompt_eval_duration"] = json!(nanoseconds(outcome.times.prompt));
    value["eval_count"] = json!(outcome.tokens);
    value["eval_duration"] = json!(nanoseconds(outcome.times.answer));
    // Ollama does not tell, and its clients do not mind.
    value["cached_tokens"] = json!(outcome.cached_tokens);
}

/// A call of a tool, whose arguments are an object.
fn tool_call((index, call): (usize, &Call)) -> Value {
    json!({"id": call.id, "function": {"index": index, "name": call.name, "arguments": call.object()}})
}

fn tell_logprobs(value: &mut Value, logprobs: Vec<Value>) {
    if !logprobs.is_empty() {
        value["logprobs"] = Value::Array(logprobs);
    }
}

/// The answer as lines.
fn lines(answers: Answers, form: Form, asked: Instant) -> impl Stream<Item = Value> {
    let state = Some(Streaming {
        answers,
        form,
        asked,
        logprobs: Vec::new(),
        calls: Vec::new(),
        ready: VecDeque::new(),
    });
    stream::unfold(state, async |state| {
        let mut streaming = state?;
        let (line, is_last) = streaming.next().await?;
        Some((line, if is_last { None } else { Some(streaming) }))
    })
}

/// An answer that is written piece by piece.
struct Streaming {
    answers: Answers,
    form: Form,
    asked: Instant,
    /// Of tokens whose text is still to come.
    logprobs: Vec<Value>,
    /// Calls of tools, the last of which may not be whole: none is told before it is.
    calls: Vec<Call>,
    /// The last line, which follows that of a call.
    ready: VecDeque<Value>,
}

impl Streaming {
    /// The next line, and whether it is the last.
    async fn next(&mut self) -> Option<(Value, bool)> {
        loop {
            if let Some(last) = self.ready.pop_front() {
                return Some((last, true));
            }
            let news = self.answers.next().await;
            let name = &self.answers.name;
            let (mut line, is_last) = match news {
                Ok(None) => return None,
                Ok(Some((_, Delta::Text(text)))) => (self.form.part(name, &text, ""), false),
                Ok(Some((_, Delta::Thought(text)))) => (self.form.part(name, "", &text), false),
                Ok(Some((_, Delta::Call { id, name, .. }))) => {
                    let line = self.last_call();
                    self.calls.push(Call { id, name, arguments: String::new() });
                    match line {
                        Some(line) => (line, false),
                        None => continue,
                    }
                }
                Ok(Some((_, Delta::Arguments(_, more)))) => {
                    if let Some(call) = self.calls.last_mut() {
                        call.arguments.push_str(&more);
                    }
                    continue;
                }
                Ok(Some((_, Delta::Token(token, logprobs)))) => {
                    let tokenizer = self.answers.model.model.tokenizer();
                    self.logprobs.push(logprob(token, &logprobs, tokenizer));
                    continue;
                }
                Ok(Some((_, Delta::Over(outcome)))) => {
                    let mut line = self.form.part(name, "", "");
                    end(&mut line, &self.answers, &outcome, self.asked);
                    match self.last_call() {
                        Some(call) => {
                            self.ready.push_back(line);
                            (call, false)
                        }
                        None => (line, true),
                    }
                }
                Err(refusal) => return Some((error(&refusal), true)),
            };
            tell_logprobs(&mut line, std::mem::take(&mut self.logprobs));
            return Some((line, is_last));
        }
    }

    /// A line with the last call, which is whole now.
    fn last_call(&self) -> Option<Value> {
        let call = self.calls.last()?;
        let mut line = self.form.part(&self.answers.name, "", "");
        line["message"]["tool_calls"] = json!([tool_call((self.calls.len() - 1, call))]);
        Some(line)
    }
}
