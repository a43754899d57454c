//! Anthropic's API, as its own clients speak it (docs.anthropic.com/en/api). They name its version in a header, of which there
//! is one.

mod messages;
mod read;

use super::routes::Routes;
use super::with_retry;
use crate::http;
use crate::refusal::{Reason, Refusal};
use axum::response::Response;
use serde_json::{Value, json};

pub(super) fn routes() -> Routes {
    Routes::new()
        .post("/v1/messages", messages::messages)
        .post("/v1/messages/count_tokens", messages::count_tokens)
}

/// A refusal as Anthropic's clients expect it.
pub(super) fn refuse(refusal: &Refusal) -> Response {
    with_retry(http::json(refusal.status(), &error(refusal)), refusal)
}

/// The body of a refusal.
fn error(refusal: &Refusal) -> Value {
    let kind = match refusal.reason {
        Reason::Invalid | Reason::ContextExceeded { .. } | Reason::Method | Reason::Unsupported => {
            "invalid_request_error"
        }
        Reason::Unauthorized => "authentication_error",
        Reason::Forbidden => "permission_error",
        Reason::NotFound => "not_found_error",
        Reason::TooLarge => "request_too_large",
        Reason::Busy => "rate_limit_error",
        Reason::Timeout => "timeout_error",
        Reason::Internal => "api_error",
        Reason::Unavailable => "overloaded_error",
    };
    json!({"type": "error", "error": {"type": kind, "message": refusal.message}})
}

/// What a handler comes to: an answer, or a refusal in Anthropic's words.
fn respond(done: Result<Response, Refusal>) -> Response {
    done.unwrap_or_else(|refusal| refuse(&refusal))
}
