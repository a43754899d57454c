//! `POST /v1/completions`: texts that are continued as they are.

use super::usage::{Form, finish, usage};
use super::{error, respond};
use crate::answers::{Answers, Delta, Outcome, Whole};
use crate::api::logprobs::{MOST, bytes, finite};
use crate::api::prompts::prompts;
use crate::api::sampling::{logit_bias, sampling};
use crate::api::{fields, format, id};
use crate::ask::{Ask, Part, Prompt};
use crate::http::{self, Told, Written};
use crate::refusal::Refusal;
use crate::server::{Server, now};
use crate::worker::Client;
use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::http::Request;
use axum::response::Response;
use futures_util::{Stream, stream};
use serde_json::{Map, Value, json};
use siskin::tokenizer::Tokenizer;
use siskin::{AnswerLimits, Logprobs, Model};
use siskin_kit::json::Object;
use siskin_kit::openai::{self, Tokens};
use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;

/// Tokens of an answer where a request does not say, as OpenAI has it.
const TOKENS: usize = 16;

/// Continues texts.
pub(super) async fn completions(
    State(server): State<Arc<Server>>,
    Extension(client): Extension<Client>,
    request: Request<Body>,
) -> Response {
    respond(answer(&server, client, request).await)
}

async fn answer(server: &Server, client: Client, request: Request<Body>) -> Result<Response, Refusal> {
    let mut fields = http::read_json(server, request).await?;
    let form = Form::read(&mut fields)?;
    let request = Completions::read(fields, &server.options.adapters)?;
    let (wanted, most) = (request.prompts.len(), server.options.queue + server.options.parallel);
    if wanted > 1 && wanted.saturating_mul(request.ask.answers.max(1)) > most {
        let said =
            format!("prompt: {wanted} prompts have more answers than the {most} that are worked on or wait");
        return Err(Refusal::invalid(said));
    }
    let mut all = Vec::new();
    for prompt in &request.prompts {
        let ask = Ask { prompt: prompt.clone(), ..request.ask.clone() };
        all.push(server.answer(Client::clone(&client), ask).await?);
    }
    let head = Head { id: id("cmpl-"), created: now(), model: all.first().map(|a| a.name.clone()) };
    if let Some(with_usage) = form.stream {
        return Ok(http::events(events(request, all, head, with_usage)));
    }
    let (mut choices, mut counts) = (Vec::new(), Counts::default());
    let mut written = Written::default();
    for (prompt, answers) in request.prompts.iter().zip(&mut all) {
        let mut each = answers.whole().await?;
        let model = &answers.model.model;
        for whole in &mut each {
            choices.push(choice(choices.len(), &request.echoed(prompt), whole, model, &mut written));
        }
        let outcomes = each.into_iter().filter_map(|whole| whole.outcome).collect();
        counts.add(answers.prompt_tokens, outcomes);
    }
    let mut body = head.object(choices);
    body["usage"] = counts.usage();
    Ok(written.response(&body))
}

/// What a request says.
struct Completions {
    prompts: Vec<Prompt>,
    /// All else.
    ask: Ask,
    /// Whether a text stands before its answer.
    echo: bool,
}

impl Completions {
    fn read(mut fields: Object, adapters: &[(String, PathBuf)]) -> Result<Self, Refusal> {
        fields::refuse(&mut fields, &["suffix"])?;
        let prompts = prompts("prompt", fields.take("prompt"))?;
        let answers = fields::answers(&mut fields)?;
        let best = fields.whole::<usize>("best_of", "a whole number")?.unwrap_or(answers);
        if best != answers {
            return Err(Refusal::invalid("best_of: only as many as n are supported"));
        }
        let logprobs = fields.typed("logprobs", "a whole number from 0 to 20", |value| match value {
            siskin::template::Json::Integer(top) => usize::try_from(*top).ok().filter(|top| *top <= MOST),
            _ => None,
        })?;
        let echo = fields.flag("echo")?.unwrap_or(false);
        let is_text = |prompt: &Prompt| matches!(prompt, Prompt::Parts(parts) if !parts.iter().any(|p| matches!(p, Part::Token(_))));
        if echo && logprobs.is_some() {
            return Err(Refusal::invalid(
                "echo: not supported with logprobs, as those of a prompt are not known",
            ));
        }
        if echo && !prompts.iter().all(is_text) {
            return Err(Refusal::invalid("echo: only of prompts that are texts"));
        }
        let stop = fields.take("stop").map(|value| openai::stops("stop", &value)).transpose()?;
        let tokens = match openai::tokens(&mut fields)? {
            Some(Tokens::Most(tokens)) => Some(tokens),
            Some(Tokens::Unlimited) => None,
            None => Some(TOKENS),
        };
        let bias = fields.take("logit_bias").map(|value| logit_bias(&value)).transpose()?;
        let ask = Ask {
            model: fields.text("model")?,
            adapters: fields::adapters(&mut fields, adapters)?,
            sampling: sampling(&mut fields)?.logit_bias(bias),
            limits: AnswerLimits::default().tokens(tokens).stop(stop.unwrap_or_default()),
            format: format::llama_cpp(&mut fields)?,
            logprobs,
            answers,
            ..Ask::default()
        };
        Ok(Self { prompts, ask, echo })
    }

    /// The text that stands before the answer to a prompt.
    fn echoed(&self, prompt: &Prompt) -> String {
        let Prompt::Parts(parts) = prompt else { return String::new() };
        let text = |part: &Part| match part {
            Part::Text(text) if self.echo => Some(text.clone()),
            _ => None,
        };
        parts.iter().filter_map(text).collect()
    }
}

/// What all parts of a response have.
struct Head {
    id: String,
    created: u64,
    model: Option<String>,
}

impl Head {
    fn object(&self, choices: Vec<Value>) -> Value {
        json!({
            "id": self.id,
            "object": "text_completion",
            "created": self.created,
            "model": self.model,
            "system_fingerprint": concat!("siskin-", env!("CARGO_PKG_VERSION")),
            "choices": choices,
        })
    }
}

/// What answers to several prompts took.
#[derive(Default)]
struct Counts(Vec<Value>);

impl Counts {
    fn add(&mut self, prompt_tokens: usize, outcomes: Vec<Outcome>) {
        self.0.push(usage(prompt_tokens, &outcomes.iter().collect::<Vec<_>>()));
    }

    fn usage(&self) -> Value {
        let sum = |path: &str| self.0.iter().filter_map(|value| value.pointer(path)?.as_u64()).sum::<u64>();
        json!({
            "prompt_tokens": sum("/prompt_tokens"),
            "completion_tokens": sum("/completion_tokens"),
            "total_tokens": sum("/total_tokens"),
            "prompt_tokens_details": {"cached_tokens": sum("/prompt_tokens_details/cached_tokens")},
        })
    }
}

fn choice(index: usize, echoed: &str, whole: &mut Whole, model: &Model, written: &mut Written) -> Value {
    // Who has a text continued sees all that the model writes.
    let text = format!("{echoed}{}{}", whole.thoughts, whole.text);
    let logprobs = old_logprobs(std::mem::take(&mut whole.logprobs), model, written);
    let reason = whole.outcome.as_ref().map(|outcome| finish(outcome.finish));
    json!({"index": index, "text": text, "logprobs": logprobs, "finish_reason": reason})
}

/// Probabilities of a whole answer, as [`OldLogprobs`] has them, written one by one.
fn old_logprobs(told: Vec<(u32, Arc<Told>)>, model: &Model, written: &mut Written) -> Value {
    if told.is_empty() {
        return Value::Null;
    }
    let told = Arc::new(told);
    let mut list = |of: fn(OldLogprobs) -> Option<Value>| {
        let (told, model, mut so_far) = (Arc::clone(&told), model.clone(), OldLogprobs::default());
        written.array((0..told.len()).filter_map(move |at| {
            let (token, logprobs) = told.get(at)?;
            so_far.add(*token, logprobs, model.tokenizer());
            let next = OldLogprobs { offset: so_far.offset, ..OldLogprobs::default() };
            Some(of(std::mem::replace(&mut so_far, next))?.to_string())
        }))
    };
    json!({
        "tokens": list(|mut one| one.tokens.pop()),
        "token_logprobs": list(|mut one| one.token_logprobs.pop()),
        "top_logprobs": list(|mut one| one.top_logprobs.pop()),
        "text_offset": list(|mut one| one.text_offset.pop().map(Value::from)),
    })
}

/// Probabilities in the form that completions have: a list for each thing that is told of tokens.
#[derive(Default)]
struct OldLogprobs {
    tokens: Vec<Value>,
    token_logprobs: Vec<Value>,
    top_logprobs: Vec<Value>,
    text_offset: Vec<usize>,
    /// Characters of the tokens so far.
    offset: usize,
}

impl OldLogprobs {
    fn add(&mut self, token: u32, logprobs: &Logprobs, tokenizer: &Tokenizer) {
        let text = |token: u32| String::from_utf8_lossy(bytes(token, tokenizer)).into_owned();
        let top = logprobs.top.iter().map(|&(token, logprob)| (text(token), json!(finite(logprob))));
        let picked = text(token);
        self.text_offset.push(self.offset);
        self.offset += picked.chars().count();
        self.tokens.push(json!(picked));
        self.token_logprobs.push(json!(finite(logprobs.picked)));
        self.top_logprobs.push(Value::Object(top.collect::<Map<_, _>>()));
    }

    /// What was added since the last time, if anything was.
    fn take(&mut self) -> Value {
        if self.tokens.is_empty() {
            return Value::Null;
        }
        let Self { tokens, token_logprobs, top_logprobs, text_offset, offset } = std::mem::take(self);
        self.offset = offset;
        json!({
            "tokens": tokens,
            "token_logprobs": token_logprobs,
            "top_logprobs": top_logprobs,
            "text_offset": text_offset,
        })
    }
}

/// The answers as events, those to one prompt behind those to another. All are worked on meanwhile.
fn events(
    request: Completions,
    all: Vec<Answers>,
    head: Head,
    with_usage: bool,
) -> impl Stream<Item = String> {
    let mut waiting = VecDeque::new();
    let answers = request.ask.answers;
    for (at, prompt) in request.prompts.iter().enumerate() {
        let echoed = request.echoed(prompt);
        let parts = (0..answers).filter(|_| !echoed.is_empty());
        waiting.extend(parts.map(|index| part(at * answers + index, &echoed, Value::Null, None)));
    }
    let logprobs = (0..answers * all.len()).map(|_| OldLogprobs::default()).collect();
    let (all, counts) = (all.into(), Counts::default());
    let state = Streaming {
        all,
        answers,
        first: 0,
        head,
        with_usage,
        waiting,
        logprobs,
        outcomes: Vec::new(),
        counts,
        is_over: false,
    };
    stream::unfold(state, |mut state| async {
        let event = state.next().await?;
        Some((event, state))
    })
}

fn part(index: usize, text: &str, logprobs: Value, reason: Option<&str>) -> Value {
    json!({"index": index, "text": text, "logprobs": logprobs, "finish_reason": reason})
}

/// Answers that are written piece by piece.
struct Streaming {
    /// Answers to prompts that were not written yet.
    all: VecDeque<Answers>,
    /// How many there are to each prompt.
    answers: usize,
    /// The number of the first one that is written now.
    first: usize,
    head: Head,
    with_usage: bool,
    /// What is to be written before anything else.
    waiting: VecDeque<Value>,
    /// Of each answer.
    logprobs: Vec<OldLogprobs>,
    /// Of the answers to this prompt.
    outcomes: Vec<Outcome>,
    counts: Counts,
    is_over: bool,
}

impl Streaming {
    /// The next event; None once the last was written.
    async fn next(&mut self) -> Option<String> {
        loop {
            if let Some(choice) = self.waiting.pop_front() {
                let mut value = self.head.object(vec![choice]);
                if self.with_usage {
                    value["usage"] = Value::Null;
                }
                return Some(format!("data: {value}"));
            }
            if self.is_over {
                return None;
            }
            let Some(answers) = self.all.front_mut() else {
                self.is_over = true;
                if self.with_usage {
                    let mut last = self.head.object(Vec::new());
                    last["usage"] = self.counts.usage();
                    return Some(format!("data: {last}\n\ndata: [DONE]"));
                }
                return Some("data: [DONE]".to_owned());
            };
            match answers.next().await {
                Ok(Some((index, delta))) => self.take_up(index, delta),
                Ok(None) => {
                    let prompt_tokens = answers.prompt_tokens;
                    self.all.pop_front();
                    self.first += self.answers;
                    self.counts.add(prompt_tokens, std::mem::take(&mut self.outcomes));
                }
                Err(refusal) => {
                    self.is_over = true;
                    return Some(format!("data: {}", error(&refusal)));
                }
            }
        }
    }

    fn take_up(&mut self, index: usize, delta: Delta) {
        let index = self.first + index;
        let Some(logprobs) = self.logprobs.get_mut(index) else { return };
        match delta {
            Delta::Text(text) | Delta::Thought(text) => {
                self.waiting.push_back(part(index, &text, logprobs.take(), None));
            }
            // Of conversations alone.
            Delta::Call { .. } | Delta::Arguments(..) => {}
            Delta::Token(token, of) => {
                if let Some(answers) = self.all.front() {
                    logprobs.add(token, &of, answers.model.model.tokenizer());
                }
            }
            Delta::Over(outcome) => {
                let reason = finish(outcome.finish);
                self.outcomes.push(outcome);
                self.waiting.push_back(part(index, "", logprobs.take(), Some(reason)));
            }
        }
    }
}
