//! OpenAI's API, as its own clients and the many that imitate it speak it (platform.openai.com/docs/api-reference).

mod chat;
mod completions;
mod embeddings;
mod models;
mod responses;
mod usage;

use super::routes::Routes;
use super::with_retry;
use crate::http;
use crate::refusal::{Reason, Refusal};
use axum::response::Response;
use serde_json::{Value, json};

pub(super) fn routes() -> Routes {
    Routes::new()
        .get("/v1/models", models::list)
        .get("/v1/models/{*name}", models::one)
        .post("/v1/chat/completions", chat::completions)
        .post("/chat/completions", chat::completions)
        .post("/v1/completions", completions::completions)
        .post("/v1/embeddings", embeddings::embeddings)
        .post("/v1/responses", responses::responses)
}

/// A refusal as OpenAI's clients expect it.
pub(super) fn refuse(refusal: &Refusal) -> Response {
    with_retry(http::json(refusal.status(), &error(refusal)), refusal)
}

/// The body of a refusal.
fn error(refusal: &Refusal) -> Value {
    let (kind, code) = match refusal.reason {
        Reason::Invalid | Reason::Method | Reason::Timeout => ("invalid_request_error", None),
        Reason::ContextExceeded { .. } => ("invalid_request_error", Some("context_length_exceeded")),
        Reason::Unauthorized => ("invalid_request_error", Some("invalid_api_key")),
        Reason::Forbidden => ("invalid_request_error", Some("forbidden")),
        Reason::NotFound => ("invalid_request_error", Some("model_not_found")),
        Reason::TooLarge => ("invalid_request_error", Some("request_too_large")),
        Reason::Busy => ("rate_limit_error", Some("rate_limit_exceeded")),
        Reason::Internal => ("server_error", None),
        Reason::Unsupported => ("server_error", Some("not_supported")),
        Reason::Unavailable => ("server_error", Some("unavailable")),
    };
    let mut error = json!({"message": refusal.message, "type": kind, "param": null, "code": code});
    if let Reason::ContextExceeded { prompt, context } = refusal.reason {
        if let Some(prompt) = prompt {
            error["n_prompt_tokens"] = json!(prompt);
        }
        error["n_ctx"] = json!(context);
    }
    json!({"error": error})
}

/// What a handler comes to: an answer, or a refusal in OpenAI's words.
fn respond(done: Result<Response, Refusal>) -> Response {
    done.unwrap_or_else(|refusal| refuse(&refusal))
}
