//! What a request says.

use crate::api::logprobs::MOST;
use crate::api::sampling::{logit_bias, sampling};
use crate::api::{content, fields, format};
use crate::ask::{Ask, Chat, Prompt};
use crate::refusal::Refusal;
use anyhow::{Result, bail};
use serde_json::{Value, json};
use siskin::AnswerLimits;
use siskin::template::{Json, Message};
use siskin_kit::json::{Kind, Object};

/// Reads a request, and what of it the response says again.
pub(super) fn ask(mut fields: Object) -> Result<(Ask, Value), Refusal> {
    fields::refuse(&mut fields, &["previous_response_id", "conversation", "background", "prompt"])?;
    let text = fields.take("text").unwrap_or(Json::Object(Vec::new()));
    let shown = match &text {
        Json::Object(fields) if fields.iter().any(|(name, _)| name == "format") => json!(text),
        _ => json!({"format": {"type": "text"}}),
    };
    let format = format::typed(&mut Object::of("text", text)?, "format", "text.format")?;
    let tools = fields::tools(&mut fields, tool)?;
    let (tool_choice, one_call) = (fields::tool_choice(&mut fields)?, fields::one_call(&mut fields)?);
    let instructions = fields.text("instructions")?;
    let system =
        instructions.clone().filter(|text| !text.is_empty()).map(|text| Message::new("system", text));
    let mut messages: Vec<Message> = system.into_iter().collect();
    match fields.take("input") {
        Some(Json::String(text)) => messages.push(Message::new("user", text)),
        Some(Json::Array(items)) => {
            for (index, item) in items.into_iter().enumerate() {
                messages.extend(message(&format!("input[{index}]"), item)?);
            }
        }
        Some(other) => {
            let said = format!("input: expected a text or an array of items, found {}", Kind(&other));
            return Err(Refusal::invalid(said));
        }
        None => {}
    }
    if messages.iter().all(|message| message.role == "system") {
        return Err(Refusal::invalid("input: expected a text or an array of one or more items"));
    }
    const TOKENS: &str = "a whole number of at least 1";
    let tokens = fields.typed("max_output_tokens", TOKENS, |value| match value {
        Json::Integer(tokens) => usize::try_from(*tokens).ok().filter(|&tokens| tokens > 0),
        _ => None,
    })?;
    let think = thinking(&mut fields)?;
    let bias = fields.take("logit_bias").map(|value| logit_bias(&value)).transpose()?;
    let logprobs = logprobs(&mut fields)?;
    let sampling = sampling(&mut fields)?.logit_bias(bias);
    let metadata = fields.take("metadata").unwrap_or(Json::Object(Vec::new()));
    let echoed = json!({
        "instructions": instructions,
        "text": shown,
        "max_output_tokens": tokens,
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "metadata": metadata,
    });
    let ask = Ask {
        model: fields.text("model")?,
        prompt: Prompt::Chat(Chat { messages, tools, tool_choice, one_call, think, ..Chat::default() }),
        sampling,
        limits: AnswerLimits::default().tokens(tokens),
        format,
        logprobs,
        ..Ask::default()
    };
    Ok((ask, echoed))
}

/// Whether the model is to think first, where the request says so.
fn thinking(fields: &mut Object) -> Result<Option<bool>> {
    let Some(reasoning) = fields.take("reasoning") else { return Ok(None) };
    fields::effort(&mut Object::of("reasoning", reasoning)?, "effort")
}

/// Probabilities are asked for by name, among what is to be included.
fn logprobs(fields: &mut Object) -> Result<Option<usize>> {
    const EXPECTED: &str = "a whole number from 0 to 20";
    let top = fields.typed("top_logprobs", EXPECTED, |value| match value {
        Json::Integer(top) => usize::try_from(*top).ok().filter(|top| *top <= MOST),
        _ => None,
    })?;
    let Some(Json::Array(included)) = fields.take("include") else { return Ok(None) };
    let wanted = included.contains(&Json::from("message.output_text.logprobs"));
    Ok(wanted.then_some(top.unwrap_or(0)))
}

/// A tool as chat completions have it: there all but its type is a level deeper.
fn tool(name: &str, tool: Json) -> Result<Json> {
    let mut fields = Object::of(name, tool)?;
    let kind = fields.require_text("type")?;
    if kind != "function" {
        bail!("{name}.type: only \"function\" is supported, found {kind:?}");
    }
    Ok(Json::Object(vec![
        ("type".to_owned(), Json::from("function")),
        ("function".to_owned(), Json::Object(fields.rest())),
    ]))
}

/// The message that an item is; None of thoughts, which models do not want to see again.
fn message(name: &str, item: Json) -> Result<Option<Message>> {
    let mut fields = Object::of(name, item)?;
    match fields.text("type")?.as_deref() {
        None | Some("message") => {}
        Some("reasoning") => return Ok(None),
        Some("function_call") => return call(fields).map(Some),
        Some("function_call_output") => {
            let id = fields.require_text("call_id")?;
            let said = output(&fields.name("output"), fields.take("output"))?;
            return Ok(Some(Message::new("tool", said).with("tool_call_id", id.as_str())));
        }
        Some(other) => bail!("{name}.type: {other:?} is not supported"),
    }
    let role = match fields.require_text("role")?.as_str() {
        "developer" => "system".to_owned(),
        role => role.to_owned(),
    };
    Ok(Some(Message::new(role, output(&fields.name("content"), fields.take("content"))?)))
}

fn output(name: &str, said: Option<Json>) -> Result<String> {
    match said {
        Some(said) => content::text(name, said, &["input_text", "output_text"]),
        None => bail!("{name} is missing, expected a text"),
    }
}

/// A call of a tool as templates expect it.
fn call(mut fields: Object) -> Result<Message> {
    let (id, name) = (fields.require_text("call_id")?, fields.require_text("name")?);
    let arguments = fields.text("arguments")?.unwrap_or_default();
    let arguments = arguments.parse().unwrap_or(Json::String(arguments));
    let function = vec![("name".to_owned(), Json::from(name.as_str())), ("arguments".to_owned(), arguments)];
    let call = Json::Object(vec![
        ("id".to_owned(), Json::from(id.as_str())),
        ("type".to_owned(), Json::from("function")),
        ("function".to_owned(), Json::Object(function)),
    ]);
    Ok(Message::new("assistant", "").with("tool_calls", vec![call]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(input: &str) -> Result<Vec<Message>, String> {
        let fields = Object::parse(&format!("{{\"input\": {input}}}")).unwrap();
        match ask(fields).map_err(|refusal| refusal.message)?.0.prompt {
            Prompt::Chat(chat) => Ok(chat.messages),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn items_become_messages_as_templates_expect_them() {
        let messages = read(
            r#"[{"role": "developer", "content": "s"},
                {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "a"}]},
                {"type": "reasoning", "summary": []},
                {"type": "function_call", "call_id": "1", "name": "f", "arguments": "{\"x\": 1}"},
                {"type": "function_call_output", "call_id": "1", "output": "2"}]"#,
        );
        let calls: Json =
            r#"[{"id": "1", "type": "function", "function": {"name": "f", "arguments": {"x": 1}}}]"#.parse().unwrap();
        let expected = vec![
            Message::new("system", "s"),
            Message::new("user", "a"),
            Message::new("assistant", "").with("tool_calls", calls),
            Message::new("tool", "2").with("tool_call_id", "1"),
        ];
        assert_eq!(messages, Ok(expected));
    }

    #[test]
    fn what_cannot_be_read_is_said() {
        for (input, expected) in [
            ("3", "input: expected a text or an array of items, found 3"),
            ("[]", "input: expected a text or an array of one or more items"),
            (r#"[{"type": "item_reference"}]"#, "input[0].type: \"item_reference\" is not supported"),
            (r#"[{"role": "user"}]"#, "input[0].content is missing, expected a text"),
            (
                r#"[{"role": "user", "content": [{"type": "input_image"}]}]"#,
                "input[0].content[0].type: \"input_image\" is not supported",
            ),
        ] {
            assert_eq!(read(input).unwrap_err(), expected, "{input}");
        }
    }
}
