//! The APIs, each a module that reads requests and writes answers in the words of its own clients.

mod fields;
mod logprobs;
mod ollama;
mod openai;
mod sampling;

use crate::http;
use crate::refusal::{Reason, Refusal};
use crate::server::Server;
use axum::http::{HeaderValue, Uri, header};
use axum::response::Response;
use axum::routing::get;
use axum::{Router, middleware};
use std::sync::Arc;

/// All addresses.
pub(crate) fn router(server: Arc<Server>) -> Router {
    Router::new()
        .merge(openai::routes())
        .merge(ollama::routes())
        .route("/health", get(async || http::json(200, &serde_json::json!({"status": "ok"}))))
        .fallback(async |uri: Uri| {
            let said = format!("there is nothing at {}", uri.path());
            refuse(uri.path(), &Refusal::new(Reason::NotFound, said))
        })
        .method_not_allowed_fallback(async |uri: Uri| {
            let said = format!("{} takes another method", uri.path());
            refuse(uri.path(), &Refusal::new(Reason::Method, said))
        })
        .layer(middleware::from_fn_with_state(Arc::clone(&server), http::guard))
        .with_state(server)
}

/// A refusal in the words of the API that an address belongs to.
pub(crate) fn refuse(path: &str, refusal: &Refusal) -> Response {
    match path.split('/').nth(1) {
        Some("api") => ollama::refuse(refusal),
        _ => openai::refuse(refusal),
    }
}

/// Says when to try again.
fn with_retry(mut response: Response, refusal: &Refusal) -> Response {
    if let Some(after) = refusal.retry_after {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(after.as_secs().max(1)));
    }
    response
}
