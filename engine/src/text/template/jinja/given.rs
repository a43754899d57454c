//! What a rendering is given, as templates see it.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use minijinja::value::{Enumerator, Kwargs, Object, ObjectExt, ObjectRepr, ValueKind};
use minijinja::{Error, ErrorKind, Value};

use super::provenance::{carried_len, give, give_role, plain};
use super::{Json, MAX_DEPTH, MAX_VALUES, Message, TemplateError, repr};

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
    Mapping(Mapping),
}

/// Keys that are texts, with their values. Each is found by what it says, and keeps its origin.
#[derive(Debug, Default)]
pub(super) struct Mapping {
    /// In the order of the text.
    entries: Vec<(Value, Value)>,
    /// Where each key's entry is, by what the key says.
    places: BTreeMap<String, usize>,
}

impl Mapping {
    /// Adds an entry. Of those with the same key the last counts, in the place of the first.
    fn insert(&mut self, key: Value, value: Value) {
        let says = plain(key.as_str().unwrap_or_default()).into_owned();
        match self.places.get(&says).and_then(|&place| self.entries.get_mut(place)) {
            Some((_, earlier)) => *earlier = value,
            None => {
                self.places.insert(says, self.entries.len());
                self.entries.push((key, value));
            }
        }
    }

    fn get(&self, key: &str) -> Option<Value> {
        self.entries.get(*self.places.get(plain(key).as_ref())?).map(|(_, value)| value.clone())
    }

    fn render(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        repr::write_entries(self.entries.iter().cloned(), out)
    }
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
    fn mapping(given: impl IntoIterator<Item = (Value, Value)>) -> Given {
        let mut mapping = Mapping::default();
        given.into_iter().for_each(|(key, value)| mapping.insert(key, value));
        let values = 1 + mapping.entries.iter().map(|(_, value)| values_of(value)).sum::<usize>();
        Given { contents: Contents::Mapping(mapping), values }
    }

    /// A message, as [`Message`] says.
    pub(super) fn message(message: &Message) -> Value {
        let reasoning = REASONING.iter().find_map(|name| {
            let last = message.fields.iter().rev().find(|(field, _)| field == name);
            last.map(|(_, value)| value).filter(|value| **value != Json::Null)
        });
        let said = [("role", &message.role), ("content", &message.content)];
        let said = said.map(|(name, text)| (name, text_of(name, text)));
        let fields = message.fields.iter().map(|(name, json)| match json {
            Json::String(text) => (name.as_str(), text_of(name, text)),
            json => (name.as_str(), value(json)),
        });
        let reasoning = |name| reasoning.map(|json| (name, value(json)));
        let entries =
            reasoning("thinking").into_iter().chain(said).chain(fields).chain(reasoning("reasoning_content"));
        let mut all = Mapping::default();
        entries.for_each(|(name, value)| all.insert(text(name), value));
        // What comes last decides where a key is left out.
        Value::from_object(Given::mapping(all.entries.into_iter().filter(|(_, value)| !value.is_none())))
    }
}

/// The text of a message's field.
fn text_of(name: &str, text: &str) -> Value {
    Value::from(if name == "role" { give_role(text) } else { give(text) })
}

fn text(text: &str) -> Value {
    Value::from(give(text))
}

/// The function `dict(mapping, **more)`.
pub(super) fn dict(value: Option<Value>, more: Kwargs) -> Result<Value, Error> {
    let mut mapping = Mapping::default();
    if let Some(value) = value.filter(|value| !value.is_undefined()) {
        let pairs = value.as_object().filter(|_| value.kind() == ValueKind::Map);
        let pairs = pairs.ok_or_else(|| Error::from(ErrorKind::InvalidOperation))?.try_iter_pairs();
        for (key, value) in pairs.into_iter().flatten() {
            if key.as_str().is_none() {
                return Err(Error::new(
                    ErrorKind::InvalidOperation,
                    "dict() of a mapping whose keys are no texts",
                ));
            }
            mapping.insert(key, value);
        }
    }
    let names: Vec<String> = more.args().map(str::to_owned).collect();
    for name in names {
        let value = more.get(&name)?;
        mapping.insert(Value::from(name), value);
    }
    Ok(Value::from_object(mapping))
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
        Json::String(said) => text(said),
        Json::Array(items) => Given::list(items.iter().map(value)),
        Json::Object(entries) => {
            Value::from_object(Given::mapping(entries.iter().map(|(key, json)| (text(key), value(json)))))
        }
    }
}

impl Object for Mapping {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        self.get(key.as_str()?)
    }

    fn get_value_by_str(self: &Arc<Self>, key: &str) -> Option<Value> {
        self.get(key)
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        self.mapped_key_value_enumerator(|mapping| Box::new(mapping.entries.iter().cloned()))
    }

    fn render(self: &Arc<Self>, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        Mapping::render(self, out)
    }
}

impl Object for Given {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        match self.contents {
            Contents::List(_) => ObjectRepr::Seq,
            Contents::Mapping(_) => ObjectRepr::Map,
        }
    }

    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        match &self.contents {
            Contents::List(items) => items.get(key.as_usize()?).cloned(),
            Contents::Mapping(mapping) => mapping.get(key.as_str()?),
        }
    }

    fn get_value_by_str(self: &Arc<Self>, key: &str) -> Option<Value> {
        match &self.contents {
            Contents::List(_) => None,
            Contents::Mapping(mapping) => mapping.get(key),
        }
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        match &self.contents {
            Contents::List(items) => Enumerator::Seq(items.len()),
            Contents::Mapping(_) => self.mapped_key_value_enumerator(|given| match &given.contents {
                Contents::List(_) => Box::new(std::iter::empty()),
                Contents::Mapping(mapping) => Box::new(mapping.entries.iter().cloned()),
            }),
        }
    }

    fn render(self: &Arc<Self>, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.contents {
            Contents::List(items) => repr::write_items(items.iter().cloned(), ["[", "]"], out),
            Contents::Mapping(mapping) => mapping.render(out),
        }
    }
}

/// How much a rendering is given.
#[derive(Default)]
pub(super) struct Weight {
    /// Texts, keys and numbers, in bytes, as they are carried.
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
        self.bytes += carried_len(&message.role) + carried_len(&message.content);
        message.fields.iter().try_for_each(|(name, value)| {
            self.bytes += carried_len(name);
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
            Json::String(text) => self.bytes += carried_len(text),
            Json::Array(items) => items.iter().try_for_each(|item| self.add_nested(item, depth + 1))?,
            Json::Object(entries) => entries.iter().try_for_each(|(key, value)| {
                self.bytes += carried_len(key);
                self.add_nested(value, depth + 1)
            })?,
        }
        Ok(())
    }
}
