//! The API of llama.cpp's server, as its own clients speak it (tools/server/README.md there).

mod completion;
mod metrics;
mod read;
mod status;
mod tokens;

use super::routes::Routes;
use super::with_retry;
use crate::http;
use crate::refusal::{Reason, Refusal};
use axum::extract::Query;
use axum::extract::rejection::QueryRejection;
use axum::response::Response;
use serde::Deserialize;
use serde_json::{Value, json};

pub(super) fn routes() -> Routes {
    Routes::new()
        .get("/health", status::health)
        .get("/v1/health", status::health)
        .get("/metrics", metrics::metrics)
        .get("/props", status::props)
        .get("/slots", status::slots)
        .get("/lora-adapters", status::adapters)
        .post("/completion", completion::completion)
        .post("/completions", completion::completion)
        .post("/infill", completion::infill)
        .post("/tokenize", tokens::tokenize)
        .post("/detokenize", tokens::detokenize)
        .post("/apply-template", tokens::apply_template)
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
        if let Some(prompt) = prompt {
            error["n_prompt_tokens"] = json!(prompt);
        }
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

type Asked = Result<Query<Named>, QueryRejection>;

/// Its name, where there is one.
///
/// # Errors
/// What cannot be read, such as two names.
fn named(asked: Asked) -> Result<Option<String>, Refusal> {
    let Query(Named { model }) = asked.map_err(|error| Refusal::invalid(error.body_text()))?;
    Ok(model)
}
