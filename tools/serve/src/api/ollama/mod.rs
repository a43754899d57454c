//! Ollama's API, as its own clients speak it (docs.ollama.com/api).

mod answers;
mod chat;
mod embed;
mod generate;
mod models;
mod options;
mod pull;

use super::routes::Routes;
use super::with_retry;
use crate::http;
use crate::refusal::Refusal;
use axum::response::Response;
use serde_json::{Value, json};
use std::time::SystemTime;

pub(super) fn routes() -> Routes {
    Routes::new()
        .get("/api/version", async || http::json(200, &json!({"version": VERSION})))
        .get("/api/tags", models::tags)
        .get("/api/ps", models::ps)
        .post("/api/show", models::show)
        .post("/api/pull", pull::pull)
        .delete("/api/delete", pull::delete)
        .post("/api/copy", pull::copy)
        .post("/api/chat", chat::chat)
        .post("/api/embed", embed::embed)
        .post("/api/embeddings", embed::embeddings)
        .post("/api/generate", generate::generate)
}

/// Clients look at `/` whether somebody is there, and some of them for these last words.
pub(crate) fn running() -> Response {
    const RUNNING: &str = "Siskin is running. For clients of its API: Ollama is running";
    http::text(200, "text/plain; charset=utf-8", RUNNING)
}

/// The version of Ollama whose API this is, which clients compare with what they need.
const VERSION: &str = concat!("0.13.0+siskin.", env!("CARGO_PKG_VERSION"));

/// A refusal as Ollama's clients expect it.
pub(super) fn refuse(refusal: &Refusal) -> Response {
    with_retry(http::json(refusal.status(), &error(refusal)), refusal)
}

/// The body of a refusal.
fn error(refusal: &Refusal) -> Value {
    json!({"error": refusal.message})
}

/// What a handler comes to: an answer, or a refusal in Ollama's words.
fn respond(done: Result<Response, Refusal>) -> Response {
    done.unwrap_or_else(|refusal| refuse(&refusal))
}

/// A time as Ollama writes it.
fn time(time: SystemTime) -> String {
    humantime::format_rfc3339_nanos(time).to_string()
}

/// A model's name as Ollama writes it: what has no tag has this one.
fn tagged(name: &str) -> String {
    let last = name.rsplit('/').next().unwrap_or_default();
    if last.contains(':') { name.to_owned() } else { format!("{name}:latest") }
}
