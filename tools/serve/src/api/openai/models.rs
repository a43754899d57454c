//! `GET /v1/models` and `GET /v1/models/NAME`.

use super::respond;
use crate::http;
use crate::models::Entry;
use crate::refusal::Refusal;
use crate::server::Server;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::response::Response;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

/// `GET /v1/models`. Anthropic's clients ask at the same address, so that all that they read is there, too.
pub(super) async fn list(State(server): State<Arc<Server>>) -> Response {
    let models: Vec<Value> = server.models.all().await.iter().map(|entry| model(&server, entry)).collect();
    let id = |model: Option<&Value>| model.map_or(Value::Null, |model| model["id"].clone());
    let (first, last) = (id(models.first()), id(models.last()));
    let list =
        json!({"object": "list", "data": models, "has_more": false, "first_id": first, "last_id": last});
    http::json(200, &list)
}

/// `GET /v1/models/NAME`.
pub(super) async fn one(
    State(server): State<Arc<Server>>,
    name: Result<Path<String>, PathRejection>,
) -> Response {
    let one = async {
        let Path(name) = name.map_err(|error| Refusal::invalid(error.body_text()))?;
        let entry = server.models.find(Some(&name)).await?;
        Ok(http::json(200, &model(&server, &entry)))
    };
    respond(one.await)
}

fn model(server: &Server, entry: &Entry) -> Value {
    let created = humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_secs(server.created));
    json!({
        "id": entry.name,
        "object": "model",
        "created": server.created,
        "owned_by": "siskin",
        "type": "model",
        "display_name": entry.name,
        "created_at": created.to_string(),
    })
}
