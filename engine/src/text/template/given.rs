//! What a rendering is given, as templates see it.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use minijinja::Value;
use minijinja::value::{Enumerator, Object, ObjectExt, ObjectRepr};

use super::value::{MAX_DEPTH, MAX_VALUES};
use super::{Json, Message, TemplateError, repr};

/// Names that a message's reasoning goes by, best first.
const REASONING: [&str; 3] = ["reasoning_content", "thinking", "reasoning"];

/// A list or mapping that was given to the rendering. Templates can read it and hold it, not change it.
#[derive(Debug)]
pub(super) struct Given {
    contents: Contents,
    /// How many values it holds, at any depth, with itself.
    values: usize,
}

#[derive(Debug)]
enum Contents {
    List(Vec<Value>),
    Mapping {
        /// In the order of the text.
        entries: Vec<(Value, Value)>,
        /// Where each key's entry is.
        places: BTreeMap<String, usize>,
    },
}

impl Given {
    /// How many values it holds, at any depth, with itself.
    pub(super) fn values(&self) -> usize {
        self.values
    }

    /// A list.
    pub(super) fn list(items: impl IntoIterator<Item = Value>) -> Value {
        let items: Vec<Value> = items.into_iter().collect();
        let values = 1 + items.iter().map(values_of).sum::<usize>();
        Value::from_object(Given { contents: Contents::List(items), values })
    }

    /// A mapping. Of entries with the same key the last counts, in the place of the first.
    fn mapping<'a>(given: impl IntoIterator<Item = (&'a str, Value)>) -> Given {
        let mut entries: Vec<(Value, Value)> = Vec::new();
        let mut places = BTreeMap::new();
        for (key, value) in given {
            match places.get(key).and_then(|&place: &usize| entries.get_mut(place)) {
                Some((_, earlier)) => *earlier = value,
                None => {
                    places.insert(key.to_owned(), entries.len());
                    entries.push((Value::from(key), value));
                }
            }
        }
        let values = 1 + entries.iter().map(|(_, value)| values_of(value)).sum::<usize>();
        Given { contents: Contents::Mapping { entries, places }, values }
    }

    /// A message, as [`Message`] says.
    pub(super) fn message(message: &Message) -> Value {
        let reasoning = REASONING.iter().find_map(|name| {
            let last = message.fields.iter().rev().find(|(field, _)| field == name);
            last.map(|(_, value)| value).filter(|value| **value != Json::Null)
        });
        let said = [("role", &message.role), ("content", &message.content)];
        let said = said.map(|(name, text)| (name, Value::from(text.as_str())));
        let fields = message.fields.iter().map(|(name, json)| (name.as_str(), value(json)));
        let reasoning = |name| reasoning.map(|json| (name, value(json)));
        let entries =
            reasoning("thinking").into_iter().chain(said).chain(fields).chain(reasoning("reasoning_content"));
        let all = Given::mapping(entries);
        let Contents::Mapping { entries, .. } = &all.contents else { return Value::from_object(all) };
        if !entries.iter().any(|(_, value)| value.is_none()) {
            return Value::from_object(all);
        }
        let kept = entries.iter().filter(|(_, value)| !value.is_none());
        let kept = kept.filter_map(|(key, value)| Some((key.as_str()?, value.clone())));
        Value::from_object(Given::mapping(kept))
    }
}

fn values_of(value: &Value) -> usize {
    value.downcast_object_ref::<Given>().map_or(1, Given::values)
}

/// A value, within the bounds that [`Weight::add`] asks for.
pub(super) fn value(json: &Json) -> Value {
    match json {
        Json::Null => Value::from(()),
        Json::Bool(truth) => Value::from(*truth),
        Json::Integer(number) => match (i64::try_from(*number), u64::try_from(*number)) {
            (Ok(number), _) => Value::from(number),
            (_, Ok(number)) => Value::from(number),
            _ => Value::from(*number),
        },
        Json::Float(number) => Value::from(*number),
        Json::String(text) => Value::from(text.as_str()),
        Json::Array(items) => Given::list(items.iter().map(value)),
        Json::Object(entries) => {
            Value::from_object(Given::mapping(entries.iter().map(|(key, json)| (key.as_str(), value(json)))))
        }
    }
}

impl Object for Given {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        match self.contents {
            Contents::List(_) => ObjectRepr::Seq,
            Contents::Mapping { .. } => ObjectRepr::Map,
        }
    }

    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        match &self.contents {
            Contents::List(items) => items.get(key.as_usize()?).cloned(),
            Contents::Mapping { .. } => self.get_value_by_str(key.as_str()?),
        }
    }

    fn get_value_by_str(self: &Arc<Self>, key: &str) -> Option<Value> {
        match &self.contents {
            Contents::List(_) => None,
            Contents::Mapping { entries, places } => {
                entries.get(*places.get(key)?).map(|(_, value)| value.clone())
            }
        }
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        match &self.contents {
            Contents::List(items) => Enumerator::Seq(items.len()),
            Contents::Mapping { .. } => self.mapped_key_value_enumerator(|given| match &given.contents {
                Contents::List(_) => Box::new(std::iter::empty()),
                Contents::Mapping { entries, .. } => Box::new(entries.iter().cloned()),
            }),
        }
    }

    fn render(self: &Arc<Self>, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let separator = |index| if index > 0 { ", " } else { "" };
        match &self.contents {
            Contents::List(items) => {
                out.write_str("[")?;
                for (index, item) in items.iter().enumerate() {
                    out.write_str(separator(index))?;
                    repr::write(item, out)?;
                }
                out.write_str("]")
            }
            Contents::Mapping { entries, .. } => {
                out.write_str("{")?;
                for (index, (key, value)) in entries.iter().enumerate() {
                    out.write_str(separator(index))?;
                    repr::write(key, out)?;
                    out.write_str(": ")?;
                    repr::write(value, out)?;
                }
                out.write_str("}")
            }
        }
    }
}

/// How much a rendering is given.
#[derive(Default)]
pub(super) struct Weight {
    /// Texts, keys and numbers, in bytes.
    pub(super) bytes: usize,
    /// Values of fields, tools and variables.
    pub(super) values: usize,
}

impl Weight {
    /// Adds a message.
    ///
    /// # Errors
    /// As [`Weight::add`].
    pub(super) fn add_message(&mut self, message: &Message) -> Result<(), TemplateError> {
        self.bytes += message.role.len() + message.content.len();
        message.fields.iter().try_for_each(|(name, value)| {
            self.bytes += name.len();
            self.add(value)
        })
    }

    /// Adds a value.
    ///
    /// # Errors
    /// [`TemplateError::Json`] for a value that nests too deep, or when all are too many.
    pub(super) fn add(&mut self, json: &Json) -> Result<(), TemplateError> {
        self.add_nested(json, 0)
    }

    fn add_nested(&mut self, json: &Json, depth: usize) -> Result<(), TemplateError> {
        self.values += 1;
        if self.values > MAX_VALUES {
            return Err(TemplateError::Json { problem: format!("more than {MAX_VALUES} values") });
        }
        if depth == MAX_DEPTH && matches!(json, Json::Array(_) | Json::Object(_)) {
            let problem = format!("arrays and objects nest deeper than {MAX_DEPTH}");
            return Err(TemplateError::Json { problem });
        }
        match json {
            Json::Null | Json::Bool(_) | Json::Integer(_) | Json::Float(_) => self.bytes += 8,
            Json::String(text) => self.bytes += text.len(),
            Json::Array(items) => items.iter().try_for_each(|item| self.add_nested(item, depth + 1))?,
            Json::Object(entries) => entries.iter().try_for_each(|(key, value)| {
                self.bytes += key.len();
                self.add_nested(value, depth + 1)
            })?,
        }
        Ok(())
    }
}
