//! `POST /api/embed` and, older, `POST /api/embeddings`.

use super::options::keep_alive;
use super::respond;
use crate::api::fields;
use crate::ask::Prompt;
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
use serde_json::json;
use siskin::template::Json;
use siskin_kit::json::{Kind, Object};
use std::sync::Arc;
use std::time::Duration;

/// Tells what one text comes to, or several.
pub(super) async fn embed(
    State(server): State<Arc<Server>>,
    Extension(client): Extension<Client>,
    request: Request<Body>,
) -> Response {
    let answer = async {
        let mut fields = http::read_json(&server, request).await?;
        let texts = match fields.take("input") {
            Some(Json::String(text)) => vec![Prompt::Given(text)],
            Some(Json::Array(texts)) => texts.iter().map(text).collect::<Result<_, _>>()?,
            other => {
                let found = other.unwrap_or(Json::Null);
                let said = format!("input: expected a text or an array of texts, found {}", Kind(&found));
                return Err(Refusal::invalid(said));
            }
        };
        let truncate = fields.flag("truncate")?.unwrap_or(true);
        let found = server.embed(client, ask(fields, texts, truncate)?).await?;
        let nanoseconds = |time: Duration| time.as_nanos() as u64;
        let mut written = Written::default();
        let vectors = written.array(found.vectors.into_iter().map(|vector| json!(vector).to_string()));
        let body = json!({
            "model": found.name,
            "embeddings": vectors,
            "total_duration": nanoseconds(found.all),
            "load_duration": nanoseconds(found.loading),
            "prompt_eval_count": found.tokens,
        });
        Ok(written.response(&body))
    };
    respond(answer.await)
}

/// Tells what one text comes to.
pub(super) async fn embeddings(
    State(server): State<Arc<Server>>,
    Extension(client): Extension<Client>,
    request: Request<Body>,
) -> Response {
    let answer = async {
        let mut fields = http::read_json(&server, request).await?;
        let texts = vec![Prompt::Given(fields.require_text("prompt")?)];
        let found = server.embed(client, ask(fields, texts, true)?).await?;
        Ok(http::json(200, &json!({"embedding": found.vectors.first()})))
    };
    respond(answer.await)
}

fn ask(mut fields: Object, texts: Vec<Prompt>, truncate: bool) -> Result<EmbedAsk, Refusal> {
    fields::refuse(&mut fields, &["dimensions"])?;
    Ok(EmbedAsk { model: fields.text("model")?, texts, truncate, keep_alive: keep_alive(&mut fields)? })
}

fn text(value: &Json) -> Result<Prompt, Refusal> {
    match value {
        Json::String(text) => Ok(Prompt::Given(text.clone())),
        other => Err(Refusal::invalid(format_args!("input: expected texts, found {}", Kind(other)))),
    }
}
