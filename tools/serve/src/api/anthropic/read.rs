//! What a request says.

use crate::api::sampling::sampling;
use crate::api::{content, fields, format};
use crate::ask::{Ask, Chat, Prompt, ToolChoice};
use crate::refusal::Refusal;
use anyhow::{Result, bail};
use siskin::AnswerLimits;
use siskin::template::{Json, Message};
use siskin_kit::json::{Kind, Object};
use siskin_kit::openai;

/// Reads a request, whose answer has at most so many tokens.
pub(super) fn ask(mut fields: Object) -> Result<Ask, Refusal> {
    const TOKENS: &str = "a whole number of at least 1";
    let tokens = fields.whole::<usize>("max_tokens", TOKENS)?.filter(|&tokens| tokens > 0);
    let Some(tokens) = tokens else {
        return Err(Refusal::invalid(format_args!("max_tokens: expected {TOKENS}")));
    };
    let stop =
        fields.take("stop_sequences").map(|stop| openai::stops("stop_sequences", &stop)).transpose()?;
    let model = fields.text("model")?;
    let sampling = sampling(&mut fields)?;
    let format = match fields.take("output_config") {
        Some(output) => {
            format::typed(&mut Object::of("output_config", output)?, "format", "output_config.format")?
        }
        None => format::typed(&mut fields, "output_format", "output_format")?,
    };
    let chat = chat(fields)?;
    Ok(Ask {
        model,
        prompt: Prompt::Chat(chat),
        sampling,
        format,
        limits: AnswerLimits::default().tokens(tokens).stop(stop.unwrap_or_default()),
        ..Ask::default()
    })
}

/// Reads the conversation of a request.
pub(super) fn chat(mut fields: Object) -> Result<Chat, Refusal> {
    fields::refuse(&mut fields, &["container", "mcp_servers"])?;
    let tools = fields::tools(&mut fields, tool)?;
    let (tool_choice, one_call) = tool_choice(&mut fields)?;
    let system = fields.take("system").map(|system| content::text("system", system, &[])).transpose()?;
    let turns = match fields.take("messages") {
        Some(Json::Array(turns)) if !turns.is_empty() => turns,
        _ => return Err(Refusal::invalid("messages: expected an array of one or more")),
    };
    let mut messages: Vec<Message> = system
        .filter(|system| !system.is_empty())
        .map(|text| Message::new("system", text))
        .into_iter()
        .collect();
    for (index, turn) in turns.into_iter().enumerate() {
        messages.extend(turn_of(&format!("messages[{index}]"), turn)?);
    }
    if messages.last().is_some_and(|last| last.role == "assistant") {
        let said = "messages: the last is the assistant's, and going on with it is not supported";
        return Err(Refusal::invalid(said));
    }
    let think = Some(thinking(&mut fields)?);
    Ok(Chat { messages, tools, tool_choice, one_call, think, ..Chat::default() })
}

/// Whether the model calls tools, and whether only one.
fn tool_choice(fields: &mut Object) -> Result<(ToolChoice, bool)> {
    let Some(choice) = fields.take("tool_choice") else { return Ok((ToolChoice::Auto, false)) };
    let mut choice = Object::of("tool_choice", choice)?;
    let one_call = choice.flag("disable_parallel_tool_use")?.unwrap_or(false);
    let choice = match choice.require_text("type")?.as_str() {
        "none" => ToolChoice::None,
        "auto" => ToolChoice::Auto,
        "any" => ToolChoice::Required,
        "tool" => ToolChoice::Named(choice.require_text("name")?),
        other => bail!("tool_choice.type: expected none, auto, any or tool, found {other:?}"),
    };
    Ok((choice, one_call))
}

/// Whether the model is to think first. Who does not say so does not expect it.
fn thinking(fields: &mut Object) -> Result<bool> {
    let Some(thinking) = fields.take("thinking") else { return Ok(false) };
    let mut thinking = Object::of("thinking", thinking)?;
    match thinking.require_text("type")?.as_str() {
        "enabled" | "adaptive" => Ok(true),
        "disabled" => Ok(false),
        other => bail!("thinking.type: expected \"enabled\", \"adaptive\" or \"disabled\", found {other:?}"),
    }
}

/// A tool as OpenAI writes it.
fn tool(name: &str, tool: Json) -> Result<Json> {
    let mut fields = Object::of(name, tool)?;
    match fields.text("type")?.as_deref() {
        None | Some("custom") => {}
        Some(other) => bail!("{name}.type: {other:?} is not supported"),
    }
    let mut function = vec![("name".to_owned(), Json::from(fields.require_text("name")?.as_str()))];
    for (field, called) in [("description", "description"), ("input_schema", "parameters")] {
        function.extend(fields.take(field).map(|value| (called.to_owned(), value)));
    }
    Ok(typed("function", function))
}

/// An object with its type.
fn typed(kind: &str, fields: Vec<(String, Json)>) -> Json {
    Json::Object(vec![("type".to_owned(), Json::from(kind)), (kind.to_owned(), Json::Object(fields))])
}

/// A turn: of the user's with results of tools each of these is a message of its own.
fn turn_of(name: &str, turn: Json) -> Result<Vec<Message>> {
    let mut fields = Object::of(name, turn)?;
    let role = fields.require_text("role")?;
    let Some(said) = fields.take("content") else { bail!("{name}.content is missing, expected a text") };
    let blocks = content::blocks(&format!("{name}.content"), said)?;
    match role.as_str() {
        "user" => user(blocks),
        "assistant" => Ok(vec![assistant(blocks)?]),
        "system" => {
            let text: Result<String> = blocks.into_iter().map(|block| block.text(&[])).collect();
            Ok(vec![Message::new("system", text?)])
        }
        other => bail!("{name}.role: expected \"user\" or \"assistant\", found {}", Kind(&Json::from(other))),
    }
}

fn user(blocks: Vec<content::Block>) -> Result<Vec<Message>> {
    let (mut results, mut texts) = (Vec::new(), Vec::new());
    for mut block in blocks {
        if block.kind == "tool_result" {
            let id = block.fields.require_text("tool_use_id")?;
            let name = block.fields.name("content");
            let said =
                block.fields.take("content").map(|said| content::text(&name, said, &[])).transpose()?;
            let result = Message::new("tool", said.unwrap_or_default());
            results.push(result.with("tool_call_id", id.as_str()));
        } else {
            texts.push(block.text(&[])?);
        }
    }
    if !texts.is_empty() || results.is_empty() {
        results.push(Message::new("user", texts.concat()));
    }
    Ok(results)
}

fn assistant(blocks: Vec<content::Block>) -> Result<Message> {
    let (mut text, mut thoughts, mut calls) = (String::new(), String::new(), Vec::new());
    for mut block in blocks {
        match block.kind.as_str() {
            "thinking" => thoughts.push_str(&block.fields.require_text("thinking")?),
            "redacted_thinking" => {}
            "tool_use" => calls.push(call(&mut block.fields)?),
            _ => text.push_str(&block.text(&[])?),
        }
    }
    let mut message = Message::new("assistant", text);
    if !thoughts.is_empty() {
        message = message.with("reasoning_content", thoughts.as_str());
    }
    if !calls.is_empty() {
        message = message.with("tool_calls", calls);
    }
    Ok(message)
}

/// A call of a tool as templates expect it.
fn call(fields: &mut Object) -> Result<Json> {
    let id = fields.require_text("id")?;
    let name = fields.require_text("name")?;
    let arguments = fields.take("input").unwrap_or(Json::Object(Vec::new()));
    let function = vec![("name".to_owned(), Json::from(name.as_str())), ("arguments".to_owned(), arguments)];
    let Json::Object(mut call) = typed("function", function) else { bail!("a call is an object") };
    call.insert(0, ("id".to_owned(), Json::from(id.as_str())));
    Ok(Json::Object(call))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(messages: &str) -> Result<Vec<Message>, String> {
        let fields = Object::parse(&format!("{{\"messages\": {messages}}}")).unwrap();
        chat(fields).map(|chat| chat.messages).map_err(|refusal| refusal.message)
    }

    #[test]
    fn blocks_become_messages_as_templates_expect_them() {
        let messages = read(
            r#"[{"role": "user", "content": "a"},
                {"role": "assistant", "content": [{"type": "thinking", "thinking": "hm", "signature": ""},
                    {"type": "text", "text": "b"}, {"type": "tool_use", "id": "1", "name": "f", "input": {"x": 1}}]},
                {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "1", "content": "2"},
                    {"type": "text", "text": "c"}, {"type": "text", "text": "d"}]}]"#,
        );
        let call: Json =
            r#"[{"id": "1", "type": "function", "function": {"name": "f", "arguments": {"x": 1}}}]"#.parse().unwrap();
        let expected = vec![
            Message::new("user", "a"),
            Message::new("assistant", "b").with("reasoning_content", "hm").with("tool_calls", call),
            Message::new("tool", "2").with("tool_call_id", "1"),
            Message::new("user", "cd"),
        ];
        assert_eq!(messages, Ok(expected));
    }

    #[test]
    fn tools_become_openai_s() {
        let read =
            tool("tools[0]", r#"{"name": "f", "description": "d", "input_schema": {}}"#.parse().unwrap());
        let expected =
            r#"{"type": "function", "function": {"name": "f", "description": "d", "parameters": {}}}"#;
        assert_eq!(read.unwrap(), expected.parse().unwrap());
    }

    #[test]
    fn what_cannot_be_read_is_said() {
        for (messages, expected) in [
            ("[]", "messages: expected an array of one or more"),
            (r#"[{"role": "user"}]"#, "messages[0].content is missing"),
            (r#"[{"role": "robot", "content": ""}]"#, "messages[0].role: expected \"user\" or \"assistant\""),
            (
                r#"[{"role": "user", "content": [{"type": "image"}]}]"#,
                "messages[0].content[0].type: \"image\"",
            ),
            (r#"[{"role": "assistant", "content": "a"}]"#, "messages: the last is the assistant's"),
        ] {
            let error = read(messages).unwrap_err();
            assert!(error.starts_with(expected), "{messages}: {error}");
        }
    }
}
