//! JSON values, as templates are given tools, calls of tools and variables.

use std::cell::Cell;
use std::fmt;
use std::str::FromStr;

use serde_core::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_core::ser::{Serialize, Serializer};

use super::TemplateError;
use super::error::one_line;

/// The deepest nesting of arrays and objects in a value.
pub(super) const MAX_DEPTH: usize = 64;
/// The most values within a value, and in all that a rendering is given.
pub(super) const MAX_VALUES: usize = 1 << 17;

/// What stands for a number where serde_json keeps its digits (its feature `arbitrary_precision`): an object with this key.
const NUMBER: &str = "$serde_json::private::Number";

/// A JSON value whose objects keep the order of their keys, as Python's do: templates write tools as they were given.
///
/// It is read from text or by serde, nested at most 64 deep and of at most 131072 values; other values are errors.
#[derive(Debug, Clone, PartialEq)]
pub enum Json {
    /// `null`, Python's `None`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number without fraction and exponent, from -2^63 to 2^64 - 1. Those beyond are read as floats.
    Integer(i128),
    /// Any other number.
    Float(f64),
    /// A text.
    String(String),
    /// A list.
    Array(Vec<Json>),
    /// Keys with their values. Of those with the same key the last counts, in the place of the first.
    Object(Vec<(String, Json)>),
}

impl Json {
    fn number(text: &str) -> Option<Json> {
        if let Ok(integer) = text.parse::<i128>()
            && (i64::MIN.into()..=u64::MAX.into()).contains(&integer)
        {
            return Some(Json::Integer(integer));
        }
        text.parse().ok().filter(|float: &f64| float.is_finite()).map(Json::Float)
    }
}

impl FromStr for Json {
    type Err = TemplateError;

    /// # Errors
    /// [`TemplateError::Json`] for what is not JSON, nests too deep, or holds too many values.
    fn from_str(text: &str) -> Result<Self, TemplateError> {
        serde_json::from_str(text)
            .map_err(|error| TemplateError::Json { problem: one_line(&error.to_string()) })
    }
}

impl Serialize for Json {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Json::Null => serializer.serialize_unit(),
            Json::Bool(truth) => serializer.serialize_bool(*truth),
            Json::Integer(number) => match (i64::try_from(*number), u64::try_from(*number)) {
                (Ok(number), _) => serializer.serialize_i64(number),
                (_, Ok(number)) => serializer.serialize_u64(number),
                _ => serializer.serialize_f64(*number as f64),
            },
            Json::Float(number) => serializer.serialize_f64(*number),
            Json::String(text) => serializer.serialize_str(text),
            Json::Array(items) => serializer.collect_seq(items),
            Json::Object(entries) => serializer.collect_map(entries.iter().map(|(key, value)| (key, value))),
        }
    }
}

impl From<&str> for Json {
    fn from(text: &str) -> Self {
        Json::String(text.to_owned())
    }
}

impl From<String> for Json {
    fn from(text: String) -> Self {
        Json::String(text)
    }
}

impl From<bool> for Json {
    fn from(truth: bool) -> Self {
        Json::Bool(truth)
    }
}

impl From<i64> for Json {
    fn from(number: i64) -> Self {
        Json::Integer(number.into())
    }
}

impl From<Vec<Json>> for Json {
    fn from(items: Vec<Json>) -> Self {
        Json::Array(items)
    }
}

impl<'de> serde_core::Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Reader { depth: 0, values: &Cell::new(0) }.deserialize(deserializer)
    }
}

/// Reads a value, counting.
#[derive(Clone, Copy)]
struct Reader<'c> {
    /// How many arrays and objects hold the value.
    depth: usize,
    /// The values read so far.
    values: &'c Cell<usize>,
}

impl Reader<'_> {
    /// The reader of what a container holds.
    fn within<E: serde_core::de::Error>(self) -> Result<Self, E> {
        if self.depth == MAX_DEPTH {
            return Err(E::custom(format!("arrays and objects nest deeper than {MAX_DEPTH}")));
        }
        Ok(Reader { depth: self.depth + 1, ..self })
    }
}

impl<'de> DeserializeSeed<'de> for Reader<'_> {
    type Value = Json;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Json, D::Error> {
        self.values.set(self.values.get() + 1);
        if self.values.get() > MAX_VALUES {
            return Err(D::Error::custom(format!("more than {MAX_VALUES} values")));
        }
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Reader<'_> {
    type Value = Json;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }

    fn visit_none<E>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Json, D::Error> {
        deserializer.deserialize_any(self)
    }

    fn visit_bool<E>(self, truth: bool) -> Result<Json, E> {
        Ok(Json::Bool(truth))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Json, E> {
        Ok(Json::Integer(number.into()))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Json, E> {
        Ok(Json::Integer(number.into()))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Json, E> {
        Ok(Json::Float(number))
    }

    fn visit_str<E>(self, text: &str) -> Result<Json, E> {
        Ok(Json::String(text.to_owned()))
    }

    fn visit_string<E>(self, text: String) -> Result<Json, E> {
        Ok(Json::String(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Json, A::Error> {
        let within = self.within()?;
        let mut items = Vec::new();
        while let Some(item) = seq.next_element_seed(within)? {
            items.push(item);
        }
        Ok(Json::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Json, A::Error> {
        let mut entries = Vec::new();
        while let Some(key) = map.next_key::<String>()? {
            if key == NUMBER && entries.is_empty() {
                let digits: String = map.next_value()?;
                return Json::number(&digits).ok_or_else(|| A::Error::custom("number out of range"));
            }
            entries.push((key, map.next_value_seed(self.within()?)?));
        }
        // An empty object too takes a place in the nesting.
        self.within::<A::Error>()?;
        Ok(Json::Object(entries))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    fn read(text: &str) -> Json {
        text.parse().unwrap()
    }

    #[test]
    fn objects_keep_their_order() {
        let Json::Object(entries) = read(r#"{"z": 1, "a": [true, null], "m": {"y": "é", "b": -0.5}}"#)
        else {
            panic!("no object");
        };
        let keys: Vec<&str> = entries.iter().map(|(key, _)| key.as_str()).collect();
        assert_eq!(keys, ["z", "a", "m"]);
        let inner = vec![("y".to_owned(), Json::from("é")), ("b".to_owned(), Json::Float(-0.5))];
        assert_eq!(entries.last().map(|(_, value)| value), Some(&Json::Object(inner)));
    }

    #[test]
    fn numbers_are_as_python_reads_them() {
        assert_eq!(read("18446744073709551615"), Json::Integer(u64::MAX.into()));
        assert_eq!(read("-9223372036854775808"), Json::Integer(i64::MIN.into()));
        assert_eq!(read("1.0"), Json::Float(1.0));
        assert_eq!(read("1e2"), Json::Float(100.0));
        assert_eq!(read("18446744073709551616"), Json::Float(18446744073709551616.0));
        assert_eq!(read(r#"{"$serde_json::private::Number": "-12"}"#), Json::Integer(-12));
    }

    #[test]
    fn what_is_read_is_bounded() {
        let nested = |depth| "[".repeat(depth) + &"]".repeat(depth);
        assert!(nested(MAX_DEPTH).parse::<Json>().is_ok());
        let objects = r#"{"a":"#.repeat(MAX_DEPTH) + "{}" + &"}".repeat(MAX_DEPTH);
        for text in [nested(MAX_DEPTH + 1), nested(100_000), objects] {
            let error = text.parse::<Json>().unwrap_err().to_string();
            assert!(error.contains("deeper than 64") && !error.contains('\n'), "{error}");
        }
        let list = |values: usize| format!("[{}0]", "0,".repeat(values - 2));
        assert!(list(MAX_VALUES).parse::<Json>().is_ok());
        let error = list(MAX_VALUES + 1).parse::<Json>().unwrap_err().to_string();
        assert!(error.starts_with("JSON value: more than 131072 values"), "{error}");
        let error = "{\"a\": }".parse::<Json>().unwrap_err().to_string();
        assert_eq!(error, "JSON value: expected value at line 1 column 7");
    }
}
