//! `POST /tokenize`, `POST /detokenize` and `POST /apply-template`.

use super::respond;
use crate::api::fields;
use crate::ask::Chat;
use crate::http;
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
use std::sync::Arc;

/// What a request is asked of a model for.
async fn ask<T: Send + 'static>(
    server: &Server,
    request: Request<Body>,
    work: impl FnOnce(&Loaded, Object) -> Result<T, Refusal> + Send + 'static,
) -> Result<T, Refusal> {
    let mut fields = http::read_json(server, request).await?;
    let (model, _) = server.models.open(fields.text("model")?.as_deref(), None).await?;
    // Long texts take a while.
    tokio::task::spawn_blocking(move || work(&model, fields)).await.map_err(Refusal::internal)?
}

/// The tokens of a text.
pub(super) async fn tokenize(State(server): State<Arc<Server>>, request: Request<Body>) -> Response {
    let tokens = ask(&server, request, |model, mut fields| {
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
        Ok(match pieces {
            true => {
                tokens.iter().map(|&token| json!({"id": token, "piece": piece(tokenizer, token)})).collect()
            }
            false => json!(tokens),
        })
    });
    respond(tokens.await.map(|tokens| http::json(200, &json!({"tokens": tokens}))))
}

/// A token's text, or its bytes where these are none.
fn piece(tokenizer: &Tokenizer, token: u32) -> Value {
    let bytes = crate::api::logprobs::bytes(token, tokenizer);
    str::from_utf8(bytes).map_or_else(|_| json!(bytes), |text| json!(text))
}

/// The text of tokens, control tokens by their own.
pub(super) async fn detokenize(State(server): State<Arc<Server>>, request: Request<Body>) -> Response {
    let text = ask(&server, request, |model, mut fields| {
        let tokens = fields.typed("tokens", "an array of tokens", tokens)?;
        let tokens = tokens.ok_or_else(|| Refusal::invalid("tokens: expected an array of tokens"))?;
        let tokenizer = model.model.tokenizer();
        let (mut text, mut detokenizer) = (String::new(), Detokenizer::continuing(tokenizer));
        for token in tokens {
            if tokenizer.is_special(token) {
                text.push_str(detokenizer.finish());
                text.push_str(&String::from_utf8_lossy(tokenizer.text(token)));
            } else {
                text.push_str(detokenizer.push(tokenizer, token));
            }
        }
        text.push_str(detokenizer.finish());
        Ok(text)
    });
    respond(text.await.map(|text| http::json(200, &json!({"content": text}))))
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
    let prompt = ask(&server, request, |model, mut fields| {
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
    respond(prompt.await.map(|prompt| http::json(200, &json!({"prompt": prompt}))))
}
