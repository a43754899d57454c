//! What an answer is to be, in the words that APIs have for it.

use crate::ask::Format;
use crate::refusal::Refusal;
use anyhow::{Result, anyhow, bail, ensure};
use siskin::grammar::GrammarSource;
use siskin::template::Json;
use siskin_kit::json::{Kind, Object};
use siskin_kit::openai;

/// The field `response_format` of OpenAI's chats; beside it llama.cpp's own fields.
///
/// # Errors
/// Other formats, and several at a time.
pub(super) fn of_chat(fields: &mut Object) -> Result<Option<Format>, Refusal> {
    let source = fields.take("response_format").map(openai::response_format).transpose()?.flatten();
    let format = source.map(|source| Format::of("response_format", source));
    match (format, llama_cpp(fields)?) {
        (Some(_), Some(other)) => {
            Err(Refusal::invalid(format_args!("response_format and {}: expected one of them", other.field)))
        }
        (one, other) => Ok(one.or(other)),
    }
}

/// llama.cpp's fields `grammar`, which is GBNF, and `json_schema`.
///
/// # Errors
/// Values of another kind, and both at a time.
pub(super) fn llama_cpp(fields: &mut Object) -> Result<Option<Format>> {
    let grammar = fields.text("grammar")?.filter(|grammar| !grammar.is_empty());
    let schema = fields.take("json_schema").map(|schema| json_schema(&schema)).transpose()?;
    ensure!(grammar.is_none() || schema.is_none(), "grammar and json_schema: expected one of them");
    let grammar = grammar.map(|text| Format::of("grammar", GrammarSource::Gbnf(text)));
    Ok(grammar.or(schema.map(|source| Format::of("json_schema", source))))
}

/// Ollama's field `format`: `"json"` or a schema.
///
/// # Errors
/// Other values.
pub(super) fn ollama(fields: &mut Object) -> Result<Option<Format>> {
    let source = match fields.take("format") {
        None => return Ok(None),
        Some(Json::String(text)) if text.is_empty() => return Ok(None),
        Some(Json::String(text)) if text == "json" => GrammarSource::JsonObject,
        Some(schema @ Json::Object(_)) => json_schema(&schema)?,
        Some(other) => bail!("format: expected \"json\" or a schema, found {}", Kind(&other)),
    };
    Ok(Some(Format::of("format", source)))
}

/// A field that is an object with a type, and beside it a schema: `text.format` of OpenAI's responses and
/// `output_config.format` of Anthropic's messages. `field` is its name with what it is in.
///
/// # Errors
/// Other types, and one without its schema.
pub(super) fn typed(fields: &mut Object, name: &str, field: &'static str) -> Result<Option<Format>> {
    let Some(format) = fields.take(name) else { return Ok(None) };
    let mut format = Object::of(field, format)?;
    let source = match format.require_text("type")?.as_str() {
        "text" => return Ok(None),
        "json_object" => GrammarSource::JsonObject,
        "json_schema" => {
            let schema = format.take("schema").ok_or_else(|| anyhow!("{field}.schema is missing"))?;
            json_schema(&schema)?
        }
        other => bail!("{field}.type: expected text, json_object or json_schema, found {other:?}"),
    };
    Ok(Some(Format::of(field, source)))
}

fn json_schema(schema: &Json) -> Result<GrammarSource> {
    Ok(GrammarSource::JsonSchema(serde_json::to_string(schema)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read<E: ToString>(
        text: &str,
        of: impl Fn(&mut Object) -> Result<Option<Format>, E>,
    ) -> Result<Option<(&'static str, GrammarSource)>, String> {
        let mut fields = Object::parse(text).unwrap();
        let format = of(&mut fields).map_err(|error| error.to_string())?;
        Ok(format.map(|format| (format.field, format.source)))
    }

    fn schema(text: &str) -> GrammarSource {
        GrammarSource::JsonSchema(text.to_owned())
    }

    #[test]
    fn formats_have_a_form_in_each_api() {
        let chat = |text: &str| {
            let of = |fields: &mut Object| of_chat(fields).map_err(|refusal| refusal.message);
            read(text, of)
        };
        let response = |text: &str| read(text, |fields| typed(fields, "format", "text.format"));
        let (object, field) = (GrammarSource::JsonObject, "response_format");
        assert_eq!(chat("{}"), Ok(None));
        assert_eq!(chat(r#"{"response_format": {"type": "text"}}"#), Ok(None));
        assert_eq!(
            chat(r#"{"response_format": {"type": "json_object"}}"#),
            Ok(Some((field, object.clone())))
        );
        let strict = r#"{"response_format": {"type": "json_schema", "json_schema": {"name": "n", "strict": true, "schema": {"b": 1, "a": 2}}}}"#;
        assert_eq!(chat(strict), Ok(Some((field, schema(r#"{"b":1,"a":2}"#)))));
        let gbnf = GrammarSource::Gbnf("root ::= \"a\"".to_owned());
        assert_eq!(chat(r#"{"grammar": "root ::= \"a\""}"#), Ok(Some(("grammar", gbnf))));
        assert_eq!(chat(r#"{"json_schema": {}}"#), Ok(Some(("json_schema", schema("{}")))));
        assert_eq!(read(r#"{"format": "json"}"#, ollama), Ok(Some(("format", object.clone()))));
        assert_eq!(read(r#"{"format": ""}"#, ollama), Ok(None));
        assert_eq!(
            read(r#"{"format": {"type": "array"}}"#, ollama).unwrap().unwrap().1,
            schema(r#"{"type":"array"}"#)
        );
        let expected = Ok(Some(("text.format", schema("{}"))));
        assert_eq!(response(r#"{"format": {"type": "json_schema", "name": "n", "schema": {}}}"#), expected);
        assert_eq!(response(r#"{"format": {"type": "json_object"}}"#), Ok(Some(("text.format", object))));
        for (error, expected) in [
            (chat(r#"{"response_format": {"type": "xml"}}"#), "response_format.type: expected text"),
            (
                chat(r#"{"response_format": {"type": "json_object"}, "json_schema": {}}"#),
                "response_format and json_schema: expected one",
            ),
            (chat(r#"{"grammar": "a", "json_schema": {}}"#), "grammar and json_schema: expected one"),
            (read(r#"{"format": "xml"}"#, ollama), "format: expected \"json\" or a schema, found \"xml\""),
            (response(r#"{"format": {"type": "json_schema"}}"#), "text.format.schema is missing"),
        ] {
            let error = error.unwrap_err();
            assert!(error.starts_with(expected), "{error}");
        }
    }
}
