use anyhow::{Context, Result, anyhow, bail};
use serde_json::{Map, Value};
use siskin::gguf::foreign;
use std::borrow::Cow;
use std::path::Path;

/// A JSON object read from a file or found inside one; every error names the file and the key.
///
/// A key whose value is null counts as absent, as it does for transformers.
#[derive(Debug)]
pub(crate) struct Document<'a> {
    name: String,
    fields: Cow<'a, Map<String, Value>>,
}

impl Document<'static> {
    /// Reads the JSON object in the file `name` of `folder`.
    pub(crate) fn open(folder: &Path, name: &str) -> Result<Document<'static>> {
        Self::open_optional(folder, name)?
            .ok_or_else(|| anyhow!("{}: no such file", folder.join(name).display()))
    }

    /// As [`open`](Self::open), but `None` if there is no such file.
    pub(crate) fn open_optional(folder: &Path, name: &str) -> Result<Option<Document<'static>>> {
        let path = folder.join(name);
        let text = match siskin_kit::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).with_context(|| path.display().to_string()),
        };
        let value = serde_json::from_slice(&text).map_err(|error| match foreign(&text) {
            Some(found) if !text.starts_with(b"{") => anyhow!("expected JSON, found {found}"),
            _ => error.into(),
        });
        let value = value.with_context(|| path.display().to_string())?;
        Ok(Some(Self::owned(name, value)?))
    }

    /// As [`of`](Document::of), but keeps the value.
    pub(crate) fn owned(name: &str, value: Value) -> Result<Document<'static>> {
        match value {
            Value::Object(fields) => Ok(Document { name: name.into(), fields: Cow::Owned(fields) }),
            other => bail!("{name}: expected an object, found {}", kind(&other)),
        }
    }
}

impl<'a> Document<'a> {
    /// The object `value`, called `name` in messages.
    pub(crate) fn of(name: &str, value: &'a Value) -> Result<Document<'a>> {
        match value {
            Value::Object(fields) => Ok(Document { name: name.into(), fields: Cow::Borrowed(fields) }),
            other => bail!("{name}: expected an object, found {}", kind(other)),
        }
    }

    /// What the document is called in messages.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The value of `key`.
    pub(crate) fn get(&self, key: &str) -> Option<&Value> {
        self.fields.get(key).filter(|value| !value.is_null())
    }

    /// All keys and their values.
    pub(crate) fn entries(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.fields.iter().map(|(key, value)| (key.as_str(), value))
    }

    /// The object at `key`.
    pub(crate) fn object(&self, key: &str) -> Result<Option<Document<'_>>> {
        self.get(key).map(|value| Document::of(&format!("{}: {key}", self.name), value)).transpose()
    }

    /// The array at `key`.
    pub(crate) fn array(&self, key: &str) -> Result<Option<&[Value]>> {
        self.typed(key, "an array", |value| value.as_array().map(Vec::as_slice))
    }

    /// The text at `key`.
    pub(crate) fn str(&self, key: &str) -> Result<Option<&str>> {
        self.typed(key, "a string", Value::as_str)
    }

    /// The truth value at `key`.
    pub(crate) fn bool(&self, key: &str) -> Result<Option<bool>> {
        self.typed(key, "true or false", Value::as_bool)
    }

    /// The whole number at `key`.
    pub(crate) fn u32(&self, key: &str) -> Result<Option<u32>> {
        self.typed(key, "a whole number below 2^32", |value| value.as_u64().and_then(|x| x.try_into().ok()))
    }

    /// As [`u32`](Self::u32), but the key must be there and its value above 0.
    pub(crate) fn size(&self, key: &str) -> Result<u32> {
        match self.u32(key)? {
            Some(0) => bail!("{}: {key}: expected a whole number above 0, found 0", self.name),
            Some(size) => Ok(size),
            None => bail!("{}: {key} is missing, expected a whole number above 0", self.name),
        }
    }

    /// The number at `key`, rounded to the nearest finite f32.
    pub(crate) fn f32(&self, key: &str) -> Result<Option<f32>> {
        self.typed(key, "a number", |value| value.as_f64().map(|x| x as f32).filter(|x| x.is_finite()))
    }

    /// As [`f32`](Self::f32), but the key must be there.
    pub(crate) fn require_f32(&self, key: &str) -> Result<f32> {
        self.f32(key)?.ok_or_else(|| anyhow!("{}: {key} is missing, expected a number", self.name))
    }

    fn typed<'s, T>(
        &'s self,
        key: &str,
        expected: &str,
        read: impl Fn(&'s Value) -> Option<T>,
    ) -> Result<Option<T>> {
        let Some(value) = self.get(key) else { return Ok(None) };
        match read(value) {
            Some(typed) => Ok(Some(typed)),
            None => bail!("{}: {key}: expected {expected}, found {}", self.name, kind(value)),
        }
    }
}

/// How a value is spelt in messages: scalars as they stand, the rest by type.
pub(crate) fn kind(value: &Value) -> String {
    match value {
        Value::Array(_) => "an array".into(),
        Value::Object(_) => "an object".into(),
        scalar => scalar.to_string().chars().take(80).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn message<T: std::fmt::Debug>(result: Result<T>) -> String {
        result.unwrap_err().to_string()
    }

    #[test]
    fn errors_name_the_document_the_key_and_what_was_found() {
        let document =
            Document::owned("config.json", json!({"n": "x", "zero": 0, "big": 4294967296u64, "null": null}))
                .unwrap();
        assert_eq!(
            message(document.u32("n")),
            "config.json: n: expected a whole number below 2^32, found \"x\""
        );
        assert_eq!(
            message(document.u32("big")),
            "config.json: big: expected a whole number below 2^32, found 4294967296"
        );
        assert_eq!(
            message(document.size("zero")),
            "config.json: zero: expected a whole number above 0, found 0"
        );
        assert_eq!(
            message(document.size("null")),
            "config.json: null is missing, expected a whole number above 0"
        );
        assert_eq!(document.u32("null").unwrap(), None);
        assert_eq!(
            message(Document::owned("x.json", json!([1]))),
            "x.json: expected an object, found an array"
        );
    }

    #[test]
    fn numbers_keep_their_value() {
        let document =
            Document::owned("c", json!({"eps": 1e-5, "theta": 500000.0, "whole": 10000, "huge": 1e300}))
                .unwrap();
        assert_eq!(document.f32("eps").unwrap(), Some(1e-5));
        assert_eq!(document.f32("theta").unwrap(), Some(500000.0));
        assert_eq!(document.f32("whole").unwrap(), Some(10000.0));
        assert!(document.f32("huge").is_err());
    }
}
