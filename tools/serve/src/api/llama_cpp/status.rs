//! `GET /health`, `GET /props` and `GET /slots`: what there is.

use super::{Asked, named, respond};
use crate::http;
use crate::models::{Described, Loaded};
use crate::server::Server;
use axum::extract::State;
use axum::response::Response;
use serde_json::{Value, json};
use siskin::sampler::SamplerOptions;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Says that requests are answered. Nobody can connect before the first model is there.
pub(super) async fn health() -> Response {
    http::json(200, &json!({"status": "ok"}))
}

/// Tells of a model.
pub(super) async fn props(State(server): State<Arc<Server>>, asked: Asked) -> Response {
    let props = async {
        let entry = server.models.find(named(asked)?.as_deref()).await?;
        let (model, _) = server.models.open(Some(&entry.name), None).await?;
        Ok(http::json(200, &props_of(&model, entry.describe().await?, &server.sampling(&model))))
    };
    respond(props.await)
}

fn props_of(model: &Loaded, described: &Described, sampling: &SamplerOptions) -> Value {
    let tokenizer = model.model.tokenizer();
    let text = |token: Option<u32>| {
        token.map(|token| String::from_utf8_lossy(tokenizer.text(token)).into_owned()).unwrap_or_default()
    };
    let params: serde_json::Map<String, Value> =
        sampling.to_json().into_iter().map(|(name, value)| (name.to_owned(), json!(value))).collect();
    json!({
        "default_generation_settings": {"n_ctx": model.context, "params": params},
        "total_slots": model.worker.places(),
        "model_alias": model.name,
        "model_path": model.name,
        "modalities": {"vision": false, "audio": false},
        "chat_template": described.template,
        "bos_token": text(tokenizer.bos()),
        "eos_token": text(tokenizer.eos()),
        "build_info": concat!("siskin-", env!("CARGO_PKG_VERSION")),
    })
}

/// Lists the adapters that requests may have. None is on for a request that does not name it.
pub(super) async fn adapters(State(server): State<Arc<Server>>) -> Response {
    let adapter =
        |(id, (name, _)): (usize, &(String, PathBuf))| json!({"id": id, "path": name, "scale": 0.0});
    let adapters: Vec<Value> = server.options.adapters.iter().enumerate().map(adapter).collect();
    http::json(200, &adapters)
}

/// Tells of the places where a model's answers are worked on. A model that is not in memory has none.
pub(super) async fn slots(State(server): State<Arc<Server>>, asked: Asked) -> Response {
    let slots = async {
        let entry = server.models.find(named(asked)?.as_deref()).await?;
        let Some((model, _)) = entry.loaded() else { return Ok(http::json(200, &json!([]))) };
        let at_work = entry.figures.at_work.load(Ordering::Relaxed);
        let slot = |id: usize| json!({"id": id, "n_ctx": model.context, "speculative": false, "is_processing": id < at_work});
        let slots: Vec<Value> = (0..model.worker.places()).map(slot).collect();
        Ok(http::json(200, &slots))
    };
    respond(slots.await)
}
