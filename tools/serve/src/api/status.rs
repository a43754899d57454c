//! `GET /siskin/status`: what the page shows of the server, in one JSON object. No other API has these figures together.

use super::routes::Routes;
use crate::http;
use crate::models::Entry;
use crate::server::Server;
use crate::worker::{Client, Figures};
use axum::Extension;
use axum::extract::State;
use axum::response::Response;
use serde_json::{Value, json};
use siskin::machine::{Machine, Memory, Tree};
use siskin_kit::sensors::{clocks, temperatures};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

pub(super) fn routes() -> Routes {
    Routes::new().get("/siskin/status", status)
}

/// Tells how the server does. Sizes are bytes, times seconds, clocks MHz, temperatures degrees Celsius; null is what the
/// system does not tell.
async fn status(State(server): State<Arc<Server>>, Extension(client): Extension<Client>) -> Response {
    let mut models = Vec::new();
    for entry in server.models.entries() {
        models.push(model(&entry).await);
    }
    let own = server.keys.are_wanted().then(|| Arc::clone(client.name()));
    let machine = tokio::task::spawn_blocking(machine).await.unwrap_or_default();
    http::json(
        200,
        &json!({
            "version": env!("CARGO_PKG_VERSION"),
            "created": server.created,
            "machine": machine,
            "memory": memory(&server),
            "models": models,
            "documents": server.options.documents.is_some(),
            "reports": server.options.reports.is_some(),
            "errors": server.refusals.of(own.as_deref()),
        }),
    )
}

async fn model(entry: &Arc<Entry>) -> Value {
    let mut model = json!({"name": entry.name, "figures": figures(&entry.figures), "loaded": null});
    match entry.describe().await {
        Ok(described) => {
            model["family"] = json!(described.family);
            model["parameters"] = json!(described.parameters);
            model["quantization"] = json!(described.quantization);
            model["size"] = json!(described.bytes);
            model["thinks"] = json!(described.thinks);
        }
        Err(refusal) => model["error"] = json!(refusal.message),
    }
    if let Some((loaded, left)) = entry.loaded() {
        let adapters: Vec<&str> = loaded.adapters.iter().map(|(name, _)| name.as_str()).collect();
        model["loaded"] = json!({
            "bytes": loaded.bytes(),
            "context": loaded.context,
            "cache": loaded.cache,
            "places": loaded.worker.places(),
            "threads": loaded.threads,
            "isa": loaded.isa,
            "adapters": adapters,
            "unloads_in": left.map(|left| left.as_secs()),
        });
    }
    model
}

fn figures(figures: &Figures) -> Value {
    let count = |figure: &AtomicU64| figure.load(Ordering::Relaxed);
    let seconds = |figure: &AtomicU64| count(figure) as f64 / 1e6;
    json!({
        "waiting": figures.waiting.load(Ordering::Relaxed),
        "at_work": figures.at_work.load(Ordering::Relaxed),
        "answers": count(&figures.answers),
        "prompt_tokens": count(&figures.prompt_tokens),
        "cached_tokens": count(&figures.reused_tokens),
        "answer_tokens": count(&figures.answer_tokens),
        "changed_prompts": count(&figures.changed_prompts),
        "queue_seconds": seconds(&figures.queue_time),
        "prompt_seconds": seconds(&figures.prompt_time),
        "answer_seconds": seconds(&figures.answer_time),
    })
}

fn memory(server: &Server) -> Value {
    let Memory { total, available, resident, .. } = Memory::here();
    json!({
        "total": total,
        "available": available,
        "limit": server.options.memory,
        "resident": resident,
        "models": server.models.promised.bytes(),
    })
}

/// Heat, clocks and CPUs.
fn machine() -> Value {
    let tree = Tree::here();
    json!({
        "cpus": Machine::of(&tree).cpus().len(),
        "temperatures": temperatures(&tree),
        "clocks": clocks(&tree),
    })
}
