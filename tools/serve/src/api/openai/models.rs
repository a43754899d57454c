use super::respond;
use crate::http;
use crate::models::Entry;
use crate::server::Server;
use axum::extract::{Path, State};
use axum::response::Response;
use serde_json::{Value, json};
use std::sync::Arc;

/// `GET /v1/models`.
pub(super) async fn list(State(server): State<Arc<Server>>) -> Response {
    let models: Vec<Value> = server.models.entries().iter().map(|entry| model(&server, entry)).collect();
    http::json(200, &json!({"object": "list", "data": models}))
}

/// `GET /v1/models/NAME`.
pub(super) async fn one(State(server): State<Arc<Server>>, Path(name): Path<String>) -> Response {
    respond(server.models.find(Some(&name)).map(|entry| http::json(200, &model(&server, &entry))))
}

fn model(server: &Server, entry: &Entry) -> Value {
    json!({"id": entry.name, "object": "model", "created": server.created, "owned_by": "siskin"})
}
