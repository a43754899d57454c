//! `POST /v1/embeddings`.

use super::respond;
use crate::ask::{Part, Prompt};
use crate::embeddings::EmbedAsk;
use crate::http::{self, Written};
use crate::refusal::Refusal;
use crate::server::Server;
use crate::worker::Client;
use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::http::Request;
use axum::response::Response;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::json;
use siskin::template::Json;
use siskin_kit::json::{Kind, Object};
use std::sync::Arc;

/// Tells what texts come to.
pub(super) async fn embeddings(
    State(server): State<Arc<Server>>,
    Extension(client): Extension<Client>,
    request: Request<Body>,
) -> Response {
    respond(answer(&server, client, request).await)
}

async fn answer(server: &Server, client: Client, request: Request<Body>) -> Result<Response, Refusal> {
    let mut fields = http::read_json(server, request).await?;
    let is_base64 = match fields.text("encoding_format")?.as_deref() {
        None | Some("float") => false,
        Some("base64") => true,
        Some(other) => {
            let said = format!("encoding_format: expected \"float\" or \"base64\", found {other:?}");
            return Err(Refusal::invalid(said));
        }
    };
    let dimensions = fields.whole::<usize>("dimensions", "a whole number")?;
    let found = server.embed(client, ask(fields)?).await?;
    let width = found.vectors.first().map_or(0, Vec::len);
    if let Some(dimensions) = dimensions.filter(|&dimensions| dimensions != width) {
        let said = format!("dimensions: the model's embeddings have {width} numbers, not {dimensions}");
        return Err(Refusal::invalid(said));
    }
    let mut written = Written::default();
    let data = written.array(found.vectors.into_iter().enumerate().map(move |(index, vector)| {
        let embedding = match is_base64 {
            true => {
                let bytes: Vec<u8> = vector.iter().flat_map(|x| x.to_le_bytes()).collect();
                json!(BASE64_STANDARD.encode(&bytes))
            }
            false => json!(vector),
        };
        json!({"object": "embedding", "index": index, "embedding": embedding}).to_string()
    }));
    let usage = json!({"prompt_tokens": found.tokens, "total_tokens": found.tokens});
    let body = json!({"object": "list", "data": data, "model": found.name, "usage": usage});
    Ok(written.response(&body))
}

fn ask(mut fields: Object) -> Result<EmbedAsk, Refusal> {
    let input = fields.take("input").ok_or_else(|| Refusal::invalid("input is missing"))?;
    Ok(EmbedAsk { model: fields.text("model")?, texts: texts(&input)?, truncate: false, keep_alive: None })
}

/// A text, tokens, or an array of either.
fn texts(input: &Json) -> Result<Vec<Prompt>, Refusal> {
    const MOST: usize = 2048;
    let one = |value: &Json| match value {
        Json::String(text) => Some(Prompt::Given(text.clone())),
        Json::Array(tokens) => tokens_of(tokens).map(Prompt::Parts),
        _ => None,
    };
    let several = match input {
        Json::Array(items) if items.iter().any(|item| !matches!(item, Json::Integer(_))) => {
            items.iter().map(one).collect()
        }
        other => one(other).map(|one| vec![one]),
    };
    match several {
        Some(texts) if (1..=MOST).contains(&texts.len()) => Ok(texts),
        Some(texts) => {
            Err(Refusal::invalid(format_args!("input: expected 1 to {MOST} texts, found {}", texts.len())))
        }
        None => {
            let said =
                format!("input: expected a text, tokens, or an array of either, found {}", Kind(input));
            Err(Refusal::invalid(said))
        }
    }
}

fn tokens_of(tokens: &[Json]) -> Option<Vec<Part>> {
    let token = |token: &Json| match token {
        Json::Integer(token) => u32::try_from(*token).ok().map(Part::Token),
        _ => None,
    };
    tokens.iter().map(token).collect()
}
