//! JSON objects whose fields are taken one by one. What is wrong with one is said in the words of JSON.

use anyhow::{Result, anyhow, bail};
use siskin::template::Json;
use std::collections::BTreeSet;
use std::fmt;

/// An object's fields that were not taken yet. A field that is null counts as absent.
#[derive(Debug)]
pub struct Object {
    /// What messages call it, with `.` behind; empty for a whole line.
    path: String,
    fields: Vec<(String, Json)>,
}

impl Object {
    /// Reads a text that is one object.
    ///
    /// # Errors
    /// What is no JSON, no object, or has a name twice.
    pub fn parse(text: &str) -> Result<Object> {
        let value = serde_json::from_str(text).map_err(|error| {
            // The line's number is that of the text's own lines, of which there is one.
            let said = error.to_string();
            let problem = said.rsplit_once(" at line ").map_or(said.as_str(), |(problem, _)| problem);
            anyhow!("{problem} at column {}", error.column())
        })?;
        Object::of("", value)
    }

    /// The bytes of its fields' values, as [`bytes`] counts them.
    pub fn bytes(&self) -> usize {
        self.fields.iter().map(|(_, value)| bytes(value)).sum()
    }

    /// The object that `value` is, which messages call `name`.
    ///
    /// # Errors
    /// Another value, and a name that is there twice.
    pub fn of(name: &str, value: Json) -> Result<Object> {
        let path = if name.is_empty() { String::new() } else { format!("{name}.") };
        let fields = match value {
            Json::Object(fields) => fields,
            other if name.is_empty() => bail!("expected an object, found {}", Kind(&other)),
            other => bail!("{name}: expected an object, found {}", Kind(&other)),
        };
        let mut names = BTreeSet::new();
        if let Some((name, _)) = fields.iter().find(|(name, _)| !names.insert(name)) {
            bail!("{path}{name} is there twice");
        }
        Ok(Object { path, fields })
    }

    /// What messages call a field.
    pub fn name(&self, field: &str) -> String {
        format!("{}{field}", self.path)
    }

    /// The field's value, taken out; None where there is none or it is null.
    pub fn take(&mut self, name: &str) -> Option<Json> {
        let index = self.fields.iter().position(|(field, _)| field == name)?;
        Some(self.fields.remove(index).1).filter(|value| *value != Json::Null)
    }

    /// The field as `read` takes it.
    ///
    /// # Errors
    /// A value of which `read` makes nothing: the field is named, and what was `expected`.
    pub fn typed<T>(
        &mut self,
        name: &str,
        expected: &str,
        read: impl Fn(&Json) -> Option<T>,
    ) -> Result<Option<T>> {
        let Some(value) = self.take(name) else { return Ok(None) };
        match read(&value) {
            Some(typed) => Ok(Some(typed)),
            None => bail!("{}{name}: expected {expected}, found {}", self.path, Kind(&value)),
        }
    }

    /// The field's text.
    ///
    /// # Errors
    /// Another value.
    pub fn text(&mut self, name: &str) -> Result<Option<String>> {
        self.typed(name, "a text", |value| match value {
            Json::String(text) => Some(text.clone()),
            _ => None,
        })
    }

    /// The field's true or false.
    ///
    /// # Errors
    /// Another value.
    pub fn flag(&mut self, name: &str) -> Result<Option<bool>> {
        self.typed(name, "true or false", |value| match value {
            Json::Bool(flag) => Some(*flag),
            _ => None,
        })
    }

    /// The same of a field that must be there.
    ///
    /// # Errors
    /// Another value, and none.
    pub fn require_text(&mut self, name: &str) -> Result<String> {
        self.text(name)?.ok_or_else(|| anyhow!("{}{name} is missing, expected a text", self.path))
    }

    /// The field's whole number.
    ///
    /// # Errors
    /// Another value, or a number that `T` has no room for: what was `expected` says which.
    pub fn whole<T: TryFrom<i128>>(&mut self, name: &str, expected: &str) -> Result<Option<T>> {
        self.typed(name, expected, |value| match value {
            Json::Integer(number) => T::try_from(*number).ok(),
            _ => None,
        })
    }

    /// The field's number, as [`single`] rounds it.
    ///
    /// # Errors
    /// Another value.
    pub fn number(&mut self, name: &str) -> Result<Option<f32>> {
        self.typed(name, "a number", single)
    }

    /// What was not taken.
    pub fn rest(self) -> Vec<(String, Json)> {
        self.fields
    }
}

/// The nearest finite f32 to a number. One that is not whole stays so: what is above 1, by however little, is above 1 still, and
/// refused where 1 is the most.
pub fn single(value: &Json) -> Option<f32> {
    let (exact, nearest) = match value {
        Json::Integer(number) => (*number as f64, *number as f32),
        Json::Float(number) => (*number, *number as f32),
        _ => return None,
    };
    let became_whole = exact.fract() != 0.0 && nearest.fract() == 0.0;
    let number = match f64::from(nearest) < exact {
        _ if !became_whole => nearest,
        true => nearest.next_up(),
        false => nearest.next_down(),
    };
    Some(number).filter(|number| number.is_finite())
}

/// A value as messages show it: numbers, texts that are short, true and false as they stand, the rest by its kind.
#[derive(Debug)]
pub struct Kind<'v>(pub &'v Json);

impl fmt::Display for Kind<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHORT: usize = 40;
        match self.0 {
            Json::Null => f.write_str("null"),
            Json::Bool(truth) => write!(f, "{truth}"),
            Json::Integer(number) => write!(f, "{number}"),
            Json::Float(number) => write!(f, "{number:?}"),
            Json::String(text) if text.chars().count() <= SHORT => write!(f, "{text:?}"),
            Json::String(_) => f.write_str("a text"),
            Json::Array(_) => f.write_str("an array"),
            Json::Object(_) => f.write_str("an object"),
        }
    }
}

/// The bytes of a value's names and texts, with 8 for any other value.
pub fn bytes(value: &Json) -> usize {
    match value {
        Json::String(text) => text.len(),
        Json::Array(items) => items.iter().map(bytes).sum(),
        Json::Object(fields) => fields.iter().map(field_bytes).sum(),
        Json::Null | Json::Bool(_) | Json::Integer(_) | Json::Float(_) => 8,
    }
}

/// As [`bytes`], of a field.
pub fn field_bytes((name, value): &(String, Json)) -> usize {
    name.len() + bytes(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(text: &str) -> Object {
        Object::parse(text).unwrap()
    }

    #[test]
    fn fields_are_taken_and_nulls_are_none() {
        let mut object = object(r#"{"a": "x", "b": null, "n": -3, "f": 0.5, "more": [1]}"#);
        assert_eq!(object.text("a").unwrap().as_deref(), Some("x"));
        assert_eq!(object.text("b").unwrap(), None);
        assert_eq!(object.whole::<i32>("n", "a whole number").unwrap(), Some(-3));
        assert_eq!(object.number("f").unwrap(), Some(0.5));
        let rest = object.rest();
        assert_eq!(rest.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["more"]);
    }

    #[test]
    fn what_is_beyond_a_bound_stays_there() {
        let number = |text: &str| object(&format!(r#"{{"a": {text}}}"#)).number("a").unwrap().unwrap();
        assert_eq!(number("1"), 1.0);
        assert_eq!(number("1.0"), 1.0);
        assert_eq!(number("0.1"), 0.1);
        assert!(number("1.0000000000000002") > 1.0);
        assert!(number("0.9999999999999999") < 1.0);
        assert!(number("-1e-300") < 0.0);
        assert!(number("1e-300") > 0.0);
    }

    #[test]
    fn what_is_wrong_is_said_in_words_of_json() {
        let text = |line: &str| object(line).text("a").unwrap_err().to_string();
        assert_eq!(text(r#"{"a": 3}"#), "a: expected a text, found 3");
        assert_eq!(text(r#"{"a": {}}"#), "a: expected a text, found an object");
        assert_eq!(object("{}").require_text("a").unwrap_err().to_string(), "a is missing, expected a text");
        let whole = |line: &str| {
            object(line).whole::<u64>("a", "a whole number of at least 0").unwrap_err().to_string()
        };
        assert_eq!(whole(r#"{"a": -1}"#), "a: expected a whole number of at least 0, found -1");
        assert_eq!(whole(r#"{"a": 1.0}"#), "a: expected a whole number of at least 0, found 1.0");
        assert_eq!(
            object(r#"{"a": 1e300}"#).number("a").unwrap_err().to_string(),
            "a: expected a number, found 1e300"
        );
        for (line, expected) in [
            ("", "EOF while parsing a value at column 0"),
            ("[]", "expected an object, found an array"),
            ("\"x\"", "expected an object, found \"x\""),
            (r#"{"a": 1} {}"#, "trailing characters at column 10"),
            (r#"{"a": 1, "a": 2}"#, "a is there twice"),
        ] {
            assert_eq!(Object::parse(line).unwrap_err().to_string(), expected, "{line}");
        }
        let inner = Object::of("body", object(r#"{"x": 1}"#).take("x").unwrap());
        assert_eq!(inner.unwrap_err().to_string(), "body: expected an object, found 1");
    }
}
