//! `POST /api/generate`.

use super::answers::{Form, answer, lifecycle};
use super::chat::no_images;
use super::options::{keep_alive, options, think};
use super::respond;
use crate::api::{fields, format};
use crate::ask::{Ask, Chat, Infill, Part, Prompt};
use crate::http;
use crate::refusal::Refusal;
use crate::server::Server;
use crate::worker::Client;
use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::http::Request;
use axum::response::Response;
use siskin::template::Message;
use siskin_kit::json::Object;
use std::sync::Arc;

/// Answers a text, as the user's only message or as it is. One that is empty loads the model, or unloads it.
pub(super) async fn generate(
    State(server): State<Arc<Server>>,
    Extension(client): Extension<Client>,
    request: Request<Body>,
) -> Response {
    let answer = async {
        let mut fields = http::read_json(&server, request).await?;
        let stream = fields.flag("stream")?.unwrap_or(true);
        let (ask, is_empty) = ask(fields)?;
        match is_empty {
            true => lifecycle(&server, Form::Generate, ask).await,
            false => answer(&server, client, Form::Generate, stream, ask).await,
        }
    };
    respond(answer.await)
}

/// Reads a request, and whether its prompt is empty.
fn ask(mut fields: Object) -> Result<(Ask, bool), Refusal> {
    fields::refuse(&mut fields, &["template", "context"])?;
    no_images(&mut fields)?;
    let text = fields.text("prompt")?.unwrap_or_default();
    let is_empty = text.is_empty();
    let system = fields.text("system")?.filter(|system| !system.is_empty());
    let suffix = fields.text("suffix")?.filter(|suffix| !suffix.is_empty());
    let think = think(&mut fields)?;
    let prompt = if fields.flag("raw")?.unwrap_or(false) {
        // Who writes the template's part of it may write its control tokens.
        Prompt::Parts(vec![Part::Text(text)])
    } else if let Some(suffix) = suffix {
        Prompt::Infill(Infill { prefix: text, suffix, files: Vec::new() })
    } else {
        let system = system.map(|system| Message::new("system", system));
        let messages = system.into_iter().chain([Message::new("user", text)]).collect();
        Prompt::Chat(Chat { messages, think, ..Chat::default() })
    };
    let (sampling, limits) = options(&mut fields)?;
    let ask = Ask {
        model: fields.text("model")?,
        prompt,
        sampling,
        limits,
        format: format::ollama(&mut fields)?,
        logprobs: fields::logprobs(&mut fields)?,
        keep_alive: keep_alive(&mut fields)?,
        ..Ask::default()
    };
    Ok((ask, is_empty))
}
