//! What requests of several APIs have in common.

use crate::api::logprobs::MOST;
use crate::ask::ToolChoice;
use crate::refusal::Refusal;
use anyhow::{Context, Result, anyhow, bail};
use siskin::template::Json;
use siskin::tool_calls::Tool;
use siskin_kit::json::{Kind, Object};
use std::path::PathBuf;

/// Refuses fields that would change the answer, and of which nothing here knows how. What says nothing, such as false, 0 or
/// an empty array, is as if it was not there.
pub(super) fn refuse(fields: &mut Object, names: &[&str]) -> Result<(), Refusal> {
    for &name in names {
        let value = fields.take(name);
        if value.is_some_and(|value| !says_nothing(&value)) {
            return Err(Refusal::invalid(format_args!("{}: not supported", fields.name(name))));
        }
    }
    Ok(())
}

fn says_nothing(value: &Json) -> bool {
    match value {
        Json::Null | Json::Bool(false) | Json::Integer(0) => true,
        Json::String(text) => text.is_empty(),
        Json::Array(items) => items.is_empty(),
        Json::Object(fields) => fields.is_empty(),
        _ => false,
    }
}

/// Tools that the model may call, each as OpenAI writes them once `read` made that of it.
///
/// # Errors
/// What is no array, and no tool.
pub(super) fn tools(
    fields: &mut Object,
    read: impl Fn(&str, Json) -> Result<Json>,
) -> Result<Option<Vec<Json>>, Refusal> {
    let tools = fields.typed("tools", "an array", |value| match value {
        Json::Array(tools) => Some(tools.clone()),
        _ => None,
    })?;
    let name = |index: usize| format!("{}[{index}]", fields.name("tools"));
    let read = |(index, tool)| {
        let tool = read(&name(index), tool)?;
        // One that is none is refused, whatever it is asked for.
        Tool::read(&tool).map_err(|error| anyhow!("{}: {error}", name(index)))?;
        Ok(tool)
    };
    let read = |tools: Vec<Json>| tools.into_iter().enumerate().map(read).collect::<Result<Vec<_>>>();
    let tools = tools.map(read).transpose()?;
    Ok(tools.filter(|tools| !tools.is_empty()))
}

/// Whether the model calls tools, as OpenAI has it: a word, or the tool that it is to call.
///
/// # Errors
/// Other values.
pub(super) fn tool_choice(fields: &mut Object) -> Result<ToolChoice> {
    let path = fields.name("tool_choice");
    match fields.take("tool_choice") {
        None => Ok(ToolChoice::Auto),
        Some(Json::String(word)) => match word.as_str() {
            "none" => Ok(ToolChoice::None),
            "auto" => Ok(ToolChoice::Auto),
            "required" => Ok(ToolChoice::Required),
            other => bail!("{path}: expected none, auto, required or a function, found {other:?}"),
        },
        Some(choice) => {
            let mut choice = Object::of(&path, choice)?;
            let kind = choice.require_text("type")?;
            if kind != "function" {
                bail!("{path}.type: expected \"function\", found {kind:?}");
            }
            // Responses have the name a level higher than chats.
            let name = match choice.take("function") {
                Some(function) => Object::of(&choice.name("function"), function)?.require_text("name")?,
                None => choice.require_text("name")?,
            };
            Ok(ToolChoice::Named(name))
        }
    }
}

/// Whether only one tool may be called: `parallel_tool_calls` that is false.
///
/// # Errors
/// Other values.
pub(super) fn one_call(fields: &mut Object) -> Result<bool> {
    Ok(fields.flag("parallel_tool_calls")? == Some(false))
}

/// A tool that is written as OpenAI's chat completions have it, and Ollama.
pub(super) fn tool(_name: &str, tool: Json) -> Result<Json> {
    Ok(tool)
}

/// Whether the model is to think first, in OpenAI's words for how much.
///
/// # Errors
/// Another value than a text.
pub(super) fn effort(fields: &mut Object, name: &str) -> Result<Option<bool>> {
    let effort = fields.text(name)?;
    Ok(effort.map(|effort| effort != "none" && effort != "minimal"))
}

/// Adapters of the request, in llama.cpp's field `lora`: each by its number among those of the server or by its name, and what
/// its changes are multiplied by.
///
/// # Errors
/// Values of another kind, and numbers that none has.
pub(super) fn adapters(
    fields: &mut Object,
    known: &[(String, PathBuf)],
) -> Result<Vec<(String, f32)>, Refusal> {
    let path = fields.name("lora");
    let entries = match fields.take("lora") {
        Some(Json::Array(entries)) => entries,
        None => return Ok(Vec::new()),
        Some(other) => {
            return Err(Refusal::invalid(format_args!("{path}: expected an array, found {}", Kind(&other))));
        }
    };
    let adapter = |(index, entry)| {
        let path = format!("{path}[{index}]");
        let mut entry = Object::of(&path, entry)?;
        let id = entry.whole::<usize>("id", "the number of an adapter")?;
        let scale = entry.number("scale")?.unwrap_or(1.0);
        let name = match (id, entry.text("name")?) {
            (Some(id), _) => known.get(id).map(|(name, _)| name.clone()),
            (None, name) => name,
        };
        let name = name.with_context(|| format!("{path}: expected the id or the name of an adapter"))?;
        Ok((name, scale))
    };
    Ok(entries.into_iter().enumerate().map(adapter).collect::<Result<_>>()?)
}

/// How many answers there are to be.
///
/// # Errors
/// Another number than 1 to 16.
pub(super) fn answers(fields: &mut Object) -> Result<usize, Refusal> {
    const EXPECTED: &str = "a whole number from 1 to 16";
    let answers = fields.typed("n", EXPECTED, |value| match value {
        Json::Integer(answers) => usize::try_from(*answers).ok().filter(|answers| (1..=16).contains(answers)),
        _ => None,
    })?;
    Ok(answers.unwrap_or(1))
}

/// How many of the most probable tokens are told with each token, where any are.
///
/// # Errors
/// Values of another kind, more than 20.
pub(super) fn logprobs(fields: &mut Object) -> Result<Option<usize>, Refusal> {
    const EXPECTED: &str = "a whole number from 0 to 20";
    let wanted = fields.flag("logprobs")?.unwrap_or(false);
    let top = fields.typed("top_logprobs", EXPECTED, |value| match value {
        Json::Integer(top) => usize::try_from(*top).ok().filter(|top| *top <= MOST),
        _ => None,
    })?;
    Ok(wanted.then_some(top.unwrap_or(0)))
}
