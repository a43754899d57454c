//! `POST /v1/responses`: answers made of items, of which thoughts are one and what is said another. Nothing is kept here, so a
//! request brings all of its conversation.

mod events;
mod object;
mod read;

use super::respond;
use crate::http::{self, Written};
use crate::refusal::Refusal;
use crate::server::Server;
use crate::worker::Client;
use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::http::Request;
use axum::response::Response;
use object::Object;
use std::sync::Arc;

/// Answers a conversation.
pub(super) async fn responses(
    State(server): State<Arc<Server>>,
    Extension(client): Extension<Client>,
    request: Request<Body>,
) -> Response {
    respond(answer(&server, client, request).await)
}

async fn answer(server: &Server, client: Client, request: Request<Body>) -> Result<Response, Refusal> {
    let mut fields = http::read_json(server, request).await?;
    let stream = fields.flag("stream")?.unwrap_or(false);
    let (ask, echoed) = read::ask(fields)?;
    let mut answers = server.answer(client, ask).await?;
    let mut object = Object::new(&answers, echoed);
    if stream {
        return Ok(http::event_pieces(events::events(answers, object)));
    }
    let whole = answers.whole().await?.into_iter().next().unwrap_or_default();
    let mut written = Written::default();
    object.add(&whole, &mut written, &answers.model.model);
    if let Some(outcome) = &whole.outcome {
        object.end(outcome);
    }
    Ok(written.response(object.value()))
}
