//! What a request says in OpenAI's words, and in llama.cpp's where those differ: read alike wherever such requests come from.

use crate::json::{Kind, Object};
use anyhow::{Result, anyhow, bail, ensure};
use siskin::grammar::GrammarSource;
use siskin::sampler::SamplerOverrides;
use siskin::template::{Json, Message};

/// How long the answer may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tokens {
    /// As long as the context has room.
    Unlimited,
    /// As long as this, at most.
    Most(usize),
}

/// A field that has several names, of which a request may have one.
///
/// # Errors
/// Two of them, and what `read` makes nothing of.
pub fn one_of<T>(
    fields: &mut Object,
    names: &[&str],
    expected: &str,
    read: fn(&Json) -> Option<T>,
) -> Result<Option<T>> {
    let mut found: Option<(&str, T)> = None;
    for &name in names {
        match (fields.typed(name, expected, read)?, &found) {
            (Some(_), Some((first, _))) => bail!("{first} and {name}: expected one of them"),
            (Some(value), None) => found = Some((name, value)),
            (None, _) => {}
        }
    }
    Ok(found.map(|(_, value)| value))
}

/// The names of the field that says how long an answer may be.
pub const MAX_TOKENS: [&str; 3] = ["max_tokens", "max_completion_tokens", "n_predict"];
const TOKENS: &str = "a whole number of at least 1, or -1 for no limit";

/// The field that says how long an answer may be, by any of its names.
///
/// # Errors
/// Two of them, and other values.
pub fn tokens(fields: &mut Object) -> Result<Option<Tokens>> {
    one_of(fields, &MAX_TOKENS, TOKENS, most_tokens)
}

fn most_tokens(value: &Json) -> Option<Tokens> {
    match value {
        Json::Integer(-1) => Some(Tokens::Unlimited),
        Json::Integer(number) => usize::try_from(*number).ok().filter(|&number| number > 0).map(Tokens::Most),
        _ => None,
    }
}

/// The texts before which an answer ends: one, or an array of several.
///
/// # Errors
/// Other values, and texts that are empty.
pub fn stops(name: &str, value: &Json) -> Result<Vec<String>> {
    let stop = |name: &str, expected: &str, value: &Json| match value {
        Json::String(text) if !text.is_empty() => Ok(text.clone()),
        other => bail!("{name}: expected {expected}, found {}", Kind(other)),
    };
    match value {
        Json::Array(texts) => (0..)
            .zip(texts)
            .map(|(index, text)| stop(&format!("{name}[{index}]"), "a text that is not empty", text))
            .collect(),
        text => Ok(vec![stop(name, "a text or several that are not empty", text)?]),
    }
}

/// What a chat template is told.
pub fn variables(value: &Json) -> Option<Vec<(String, Json)>> {
    match value {
        Json::Object(variables) => Some(variables.clone()),
        _ => None,
    }
}

/// The fields that say how tokens are picked.
///
/// # Errors
/// Values of another kind.
pub fn sampling(fields: &mut Object) -> Result<SamplerOverrides> {
    Ok(SamplerOverrides::default()
        .seed(fields.whole("seed", "a whole number from 0 to 2^64 - 1")?.map(Some))
        .temperature(fields.number("temperature")?)
        .top_k(fields.whole("top_k", "a whole number below 2^31")?)
        .top_p(fields.number("top_p")?)
        .min_p(fields.number("min_p")?)
        .repeat_penalty(fields.number("repeat_penalty")?)
        .presence_penalty(fields.number("presence_penalty")?)
        .frequency_penalty(fields.number("frequency_penalty")?))
}

/// What an answer is to be, as `response_format` has it: None for text, or any JSON object, or JSON that validates against a
/// schema. `strict` or not makes no difference: there is no looser way of keeping to one.
///
/// # Errors
/// Other formats, and fields that none has.
pub fn response_format(value: Json) -> Result<Option<GrammarSource>> {
    let mut fields = Object::of("response_format", value)?;
    let kind = fields.require_text("type")?;
    let format = match kind.as_str() {
        "text" => None,
        "json_object" => Some(GrammarSource::JsonObject),
        "json_schema" => {
            let name = fields.name("json_schema");
            let described = fields.take("json_schema").ok_or_else(|| anyhow!("{name} is missing"))?;
            let mut described = Object::of(&name, described)?;
            for field in ["name", "description", "strict"] {
                described.take(field);
            }
            let schema = described.take("schema").ok_or_else(|| anyhow!("{name}.schema is missing"))?;
            if let Some((field, _)) = described.rest().first() {
                bail!("{field}: expected name, description, strict or schema");
            }
            Some(GrammarSource::JsonSchema(serde_json::to_string(&schema)?))
        }
        other => bail!("response_format.type: expected text, json_object or json_schema, found {other:?}"),
    };
    match fields.rest().first() {
        Some((field, _)) => bail!("{field}: {kind} has no such field"),
        None => Ok(format),
    }
}

/// The turns of a conversation.
///
/// # Errors
/// What is no array of messages, and parts that are no text.
pub fn messages(value: Json) -> Result<Vec<Message>> {
    let Json::Array(turns) = value else { bail!("messages: expected an array, found {}", Kind(&value)) };
    turns.into_iter().enumerate().map(|(index, turn)| message(&format!("messages[{index}]"), turn)).collect()
}

fn message(name: &str, value: Json) -> Result<Message> {
    let mut fields = Object::of(name, value)?;
    let role = fields.require_text("role")?;
    let calls = fields.take("tool_calls").map(calls);
    let mut message = match (fields.take("content"), &calls) {
        (Some(content), _) => Message::new(role, text(&format!("{name}.content"), content)?),
        // An assistant who only calls tools says nothing. Templates that join texts would fail for a null.
        (None, Some(_)) => Message::new(role, ""),
        (None, None) => bail!("{name}.content is missing, expected a text"),
    };
    if let Some(calls) = calls {
        message = message.with("tool_calls", calls);
    }
    message.fields.extend(fields.rest());
    Ok(message)
}

/// A text, or the texts of its parts, one behind the other.
///
/// # Errors
/// Other values, and parts that are no text.
pub fn text(name: &str, content: Json) -> Result<String> {
    let parts = match content {
        Json::String(text) => return Ok(text),
        Json::Array(parts) => parts,
        other => bail!("{name}: expected a text or an array of parts, found {}", Kind(&other)),
    };
    let part = |(index, part)| {
        let name = format!("{name}[{index}]");
        let mut part = Object::of(&name, part)?;
        let kind = part.require_text("type")?;
        ensure!(kind == "text", "{name}.type: only \"text\" is supported, found {kind:?}");
        part.require_text("text")
    };
    parts.into_iter().enumerate().map(part).collect()
}

/// Calls of tools as templates expect them: OpenAI writes their arguments as a text that is JSON.
fn calls(mut calls: Json) -> Json {
    if let Json::Array(calls) = &mut calls {
        for call in calls {
            let arguments = field(call, "function").and_then(|function| field(function, "arguments"));
            if let Some(arguments) = arguments
                && let Json::String(text) = arguments
                && let Ok(object @ Json::Object(_)) = text.parse()
            {
                *arguments = object;
            }
        }
    }
    calls
}

fn field<'v>(value: &'v mut Json, name: &str) -> Option<&'v mut Json> {
    let Json::Object(fields) = value else { return None };
    fields.iter_mut().find(|(field, _)| field == name).map(|(_, value)| value)
}
