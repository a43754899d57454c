//! The API of llama.cpp's server, as its own clients speak it (tools/server/README.md there).

mod completion;
mod metrics;
mod read;
mod status;
mod tokens;

use super::with_retry;
use crate::http;
use crate::refusal::{Reason, Refusal};
use crate::server::Server;
use axum::Router;
use axum::extract::Query;
use axum::response::Response;
use axum::routing::{get, post};
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;

pub(super) fn routes() -> Router<Arc<Server>> {
    Router::new()
        .route("/health", get(status::health))
        .route("/v1/health", get(status::health))
        .route("/metrics", get(metrics::metrics))
        .route("/props", get(status::props))
        .route("/slots", get(status::slots))
        .route("/lora-adapters", get(status::adapters))
        .route("/completion", post(completion::completion))
        .route("/completions", post(completion::completion))
        .route("/infill", post(completion::infill))
        .route("/tokenize", post(tokens::tokenize))
        .route("/detokenize", post(tokens::detokenize))
        .route("/apply-template", post(tokens::apply_template))
}

/// A refusal as llama.cpp's clients expect it.
pub(super) fn refuse(refusal: &Refusal) -> Response {
    with_retry(http::json(refusal.status(), &error(refusal)), refusal)
}

/// The body of a refusal.
fn error(refusal: &Refusal) -> Value {
    let kind = match refusal.reason {
        Reason::Invalid | Reason::Method | Reason::Timeout | Reason::TooLarge => "invalid_request_error",
        Reason::ContextExceeded { .. } => "exceed_context_size_error",
        Reason::Unauthorized => "authentication_error",
        Reason::Forbidden => "permission_error",
        Reason::NotFound => "not_found_error",
        Reason::Unsupported => "not_supported_error",
        Reason::Internal => "server_error",
        Reason::Busy | Reason::Unavailable => "unavailable_error",
    };
    let mut error = json!({"code": refusal.status(), "message": refusal.message, "type": kind});
    if let Reason::ContextExceeded { prompt, context } = refusal.reason {
        error["n_prompt_tokens"] = json!(prompt);
        error["n_ctx"] = json!(context);
    }
    json!({"error": error})
}

/// What a handler comes to: an answer, or a refusal in llama.cpp's words.
fn respond(done: Result<Response, Refusal>) -> Response {
    done.unwrap_or_else(|refusal| refuse(&refusal))
}

/// The model that an address without a body names.
#[derive(Deserialize)]
struct Named {
    model: Option<String>,
}

type Asked = Query<Named>;
