//! `POST /tokenize`, `POST /detokenize` and `POST /apply-template`.

use super::respond;
use crate::api::fields;
use crate::ask::Chat;
use crate::http::{self, Written};
use crate::models::Loaded;
use crate::refusal::Refusal;
use crate::server::{Server, rendering};
use crate::tools;
use axum::body::Body;
use axum::extract::State;
use axum::http::Request;
use axum::response::Response;
use serde_json::{Value, json};
use siskin::template::Json;
use siskin::tokenizer::{Detokenizer, Special, Tokenizer};
use siskin_kit::json::Object;
use siskin_kit::openai;
use std::iter;
use std::sync::Arc;

/// Bytes of a text that are written at a time.
const PART: usize = 8 << 10;

/// What a request is asked of a model for, whose fields have so many bytes of text that becomes tokens.
async fn ask<T: Send + 'static>(
    server: &Server,
    request: Request<Body>,
    bytes: impl FnOnce(&Object) -> usize,
    work: impl FnOnce(&Loaded, Object) -> Result<T, Refusal> + Send + 'static,
) -> Result<T, Refusal> {
    let mut fields = http::read_json(server, request).await?;
    let (model, _) = server.models.open(fields.text("model")?.as_deref(), None).await?;
    let _room = model.texts.take(bytes(&fields)).await?;
    // Long texts take a while.
    tokio::task::spawn_blocking(move || work(&model, fields)).await.map_err(Refusal::internal)?
}

/// The tokens of a text.
pub(super) async fn tokenize(State(server): State<Arc<Server>>, request: Request<Body>) -> Response {
    let tokens = ask(&server, request, Object::bytes, |model, mut fields| {
        let text = fields.require_text("content")?;
        let begins = fields.flag("add_special")?.unwrap_or(false);
        let special = fields.flag("parse_special")?.unwrap_or(true);
        let pieces = fields.flag("with_pieces")?.unwrap_or(false);
        let (mut tokens, tokenizer) = (Vec::new(), model.model.tokenizer());
        let special = if special { Special::Parse } else { Special::Text };
        match begins {
            true => tokenizer.encode_prompt(text.as_bytes(), special, &mut tokens),
            false => tokenizer.encode(text.as_bytes(), special, &mut tokens),
        }
        Ok((model.model.clone(), tokens, pieces))
    });
    respond(tokens.await.map(|(model, tokens, pieces)| {
        let mut written = Written::default();
        let list = written.array(tokens.into_iter().map(move |token| match pieces {
            true => json!({"id": token, "piece": piece(model.tokenizer(), token)}).to_string(),
            false => token.to_string(),
        }));
        http::pieces(written.write(&json!({"tokens": list})))
    }))
}

/// A token's text, or its bytes where these are none.
fn piece(tokenizer: &Tokenizer, token: u32) -> Value {
    let bytes = crate::api::logprobs::bytes(token, tokenizer);
    str::from_utf8(bytes).map_or_else(|_| json!(bytes), |text| json!(text))
}

/// The text of tokens, control tokens by their own.
pub(super) async fn detokenize(State(server): State<Arc<Server>>, request: Request<Body>) -> Response {
    let text = ask(
        &server,
        request,
        |_| 0,
        |model, mut fields| {
            let tokens = fields.typed("tokens", "an array of tokens", tokens)?;
            let tokens = tokens.ok_or_else(|| Refusal::invalid("tokens: expected an array of tokens"))?;
            Ok((model.model.clone(), tokens))
        },
    );
    respond(text.await.map(|(model, tokens)| {
        let mut detokenizer = Detokenizer::continuing(model.tokenizer());
        // Behind the last there may be the beginning of a character.
        let texts = tokens.into_iter().map(Some).chain([None]).map(move |token| {
            let tokenizer = model.tokenizer();
            match token {
                Some(token) if tokenizer.is_special(token) => {
                    let before = detokenizer.finish().to_owned();
                    before + &String::from_utf8_lossy(tokenizer.text(token))
                }
                Some(token) => detokenizer.push(tokenizer, token).to_owned(),
                None => detokenizer.finish().to_owned(),
            }
        });
        let texts = texts.map(|text| escaped(&text));
        let (before, behind) = (iter::once("{\"content\":\"".to_owned()), iter::once("\"}".to_owned()));
        http::pieces(before.chain(texts).chain(behind))
    }))
}

/// A text as it stands between the quotes of JSON.
fn escaped(text: &str) -> String {
    let quoted = Value::from(text).to_string();
    quoted.get(1..quoted.len() - 1).unwrap_or_default().to_owned()
}

fn tokens(value: &Json) -> Option<Vec<u32>> {
    let Json::Array(tokens) = value else { return None };
    let token = |value: &Json| match value {
        Json::Integer(token) => u32::try_from(*token).ok(),
        _ => None,
    };
    tokens.iter().map(token).collect()
}

/// A conversation as the model's template writes it.
pub(super) async fn apply_template(State(server): State<Arc<Server>>, request: Request<Body>) -> Response {
    let prompt = ask(&server, request, Object::bytes, |model, mut fields| {
        let messages =
            fields.take("messages").ok_or_else(|| Refusal::invalid("messages: expected an array"))?;
        let messages = openai::messages(messages)?;
        let tools = fields::tools(&mut fields, fields::tool)?;
        let variables = fields.typed("chat_template_kwargs", "an object", openai::variables)?;
        let chat = Chat { messages, tools, variables: variables.unwrap_or_default(), ..Chat::default() };
        let chat = tools::placed(model.syntax, chat);
        let template = model.model.chat_template();
        let messages = template.with_system_taken(&chat.messages);
        let prompt = template.render_with(&messages, &rendering(&model.model, &chat));
        prompt.map_err(|error| Refusal::invalid(format_args!("messages: {error}")))
    });
    respond(prompt.await.map(|prompt| {
        // A part of it at a time is escaped.
        let mut from = 0;
        let parts = iter::from_fn(move || {
            let rest = prompt.get(from..).filter(|rest| !rest.is_empty())?;
            let part = rest.get(..rest.floor_char_boundary(PART))?;
            from += part.len();
            Some(escaped(part))
        });
        let (before, behind) = (iter::once("{\"prompt\":\"".to_owned()), iter::once("\"}".to_owned()));
        http::pieces(before.chain(parts).chain(behind))
    }))
}
