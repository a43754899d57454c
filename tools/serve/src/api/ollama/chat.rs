//! `POST /api/chat`.

use super::answers::{Form, answer, lifecycle};
use super::options::{keep_alive, options, think};
use super::respond;
use crate::api::{fields, format};
use crate::ask::{Ask, Chat, Prompt};
use crate::http;
use crate::refusal::Refusal;
use crate::server::Server;
use crate::worker::Client;
use anyhow::{Result, bail};
use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::http::Request;
use axum::response::Response;
use siskin::template::{Json, Message};
use siskin_kit::json::{Kind, Object};
use std::sync::Arc;

/// Answers a conversation. One without messages loads the model, or unloads it.
pub(super) async fn chat(
    State(server): State<Arc<Server>>,
    Extension(client): Extension<Client>,
    request: Request<Body>,
) -> Response {
    let answer = async {
        let mut fields = http::read_json(&server, request).await?;
        let stream = fields.flag("stream")?.unwrap_or(true);
        let ask = ask(fields)?;
        match &ask.prompt {
            Prompt::Chat(chat) if chat.messages.is_empty() => lifecycle(&server, Form::Chat, ask).await,
            _ => answer(&server, client, Form::Chat, stream, ask).await,
        }
    };
    respond(answer.await)
}

fn ask(mut fields: Object) -> Result<Ask, Refusal> {
    let tools = fields::tools(&mut fields, fields::tool)?;
    let messages = fields.take("messages").map(messages).transpose()?.unwrap_or_default();
    // Ollama has no such fields; they are OpenAI's.
    let (tool_choice, one_call) = (fields::tool_choice(&mut fields)?, fields::one_call(&mut fields)?);
    let think = think(&mut fields)?;
    let forgets = fields.flag("truncate")?.unwrap_or(true);
    let chat = Chat { messages, tools, tool_choice, one_call, think, forgets, ..Chat::default() };
    let (sampling, limits) = options(&mut fields)?;
    Ok(Ask {
        model: fields.text("model")?,
        prompt: Prompt::Chat(chat),
        sampling,
        limits,
        format: format::ollama(&mut fields)?,
        logprobs: fields::logprobs(&mut fields)?,
        keep_alive: keep_alive(&mut fields)?,
        ..Ask::default()
    })
}

/// The turns of a conversation.
fn messages(value: Json) -> Result<Vec<Message>> {
    let Json::Array(turns) = value else { bail!("messages: expected an array, found {}", Kind(&value)) };
    turns.into_iter().enumerate().map(|(index, turn)| message(&format!("messages[{index}]"), turn)).collect()
}

fn message(name: &str, value: Json) -> Result<Message> {
    let mut fields = Object::of(name, value)?;
    let role = fields.require_text("role")?;
    let mut message = Message::new(role, fields.text("content")?.unwrap_or_default());
    no_images(&mut fields)?;
    if let Some(calls) = fields.take("tool_calls") {
        message = message.with("tool_calls", typed(calls));
    }
    // What templates call it.
    if let Some(tool) = fields.text("tool_name")? {
        message = message.with("name", tool);
    }
    message.fields.extend(fields.rest());
    Ok(message)
}

/// Refuses images.
pub(super) fn no_images(fields: &mut Object) -> Result<()> {
    match fields.take("images") {
        Some(Json::Array(images)) if images.is_empty() => Ok(()),
        Some(_) => bail!("{}: only texts are supported", fields.name("images")),
        None => Ok(()),
    }
}

/// Calls of tools as OpenAI writes them, and so what templates expect: with the type that Ollama leaves out.
fn typed(mut calls: Json) -> Json {
    if let Json::Array(calls) = &mut calls {
        for call in calls {
            if let Json::Object(fields) = call
                && fields.iter().all(|(name, _)| name != "type")
            {
                fields.insert(0, ("type".to_owned(), Json::from("function")));
            }
        }
    }
    calls
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_and_results_of_tools_are_as_templates_expect_them() {
        let text = r#"[{"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": {"a": 1}}}]},
            {"role": "tool", "content": "2", "tool_name": "f"}]"#;
        let call: Json =
            r#"[{"type": "function", "function": {"name": "f", "arguments": {"a": 1}}}]"#.parse().unwrap();
        let expected = [
            Message::new("assistant", "").with("tool_calls", call),
            Message::new("tool", "2").with("name", Json::from("f")),
        ];
        assert_eq!(messages(text.parse().unwrap()).unwrap(), expected);
    }

    #[test]
    fn what_is_no_message_is_said() {
        for (text, expected) in [
            ("3", "messages: expected an array, found 3"),
            ("[3]", "messages[0]: expected an object, found 3"),
            ("[{}]", "messages[0].role is missing, expected a text"),
            (r#"[{"role": "user", "content": []}]"#, "messages[0].content: expected a text, found an array"),
            (r#"[{"role": "user", "images": ["x"]}]"#, "messages[0].images: only texts are supported"),
        ] {
            assert_eq!(messages(text.parse().unwrap()).unwrap_err().to_string(), expected, "{text}");
        }
    }
}
