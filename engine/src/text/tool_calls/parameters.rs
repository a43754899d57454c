//! Arguments that a syntax writes one by one: which there are, and what each may be.

use super::super::template::Json;
use super::arguments::{ESCAPE, TAG};
use super::syntax::Arguments;
use super::{field, written};

/// An argument of a tool.
#[derive(Debug, PartialEq)]
pub(super) struct Parameter {
    pub(super) name: String,
    pub(super) is_required: bool,
    pub(super) value: Value,
}

/// What a value may be.
#[derive(Debug, PartialEq)]
pub(super) enum Value {
    /// A truth value.
    Truth,
    /// JSON that keeps to a schema.
    Json(Vec<(String, Json)>),
    /// One of these, spelled so.
    Exactly(Vec<String>),
    /// One of these texts.
    Texts(Vec<String>),
    /// A text of so many characters.
    Text { least: u64, most: Option<u64> },
    /// One of these.
    OneOf(Vec<Value>),
    /// So many of these.
    Array { items: Box<Value>, least: u64, most: Option<u64> },
    /// Values by name.
    Object(Vec<Parameter>),
}

/// Keywords of an object that arguments one by one do not keep to.
const OF_OBJECTS: [&str; 16] = [
    "$ref",
    "allOf",
    "anyOf",
    "oneOf",
    "not",
    "if",
    "const",
    "enum",
    "minProperties",
    "maxProperties",
    "patternProperties",
    "propertyNames",
    "dependencies",
    "dependentRequired",
    "dependentSchemas",
    "unevaluatedProperties",
];

/// Keywords that a value of [`Arguments::Escapes`] does not keep to.
const OF_VALUES: [&str; 9] =
    ["allOf", "oneOf", "not", "if", "pattern", "format", "prefixItems", "contains", "uniqueItems"];

/// How many references lead from one to the next.
const DEPTH: usize = 16;

impl Parameter {
    /// The arguments that a schema names, in the order in which they are written.
    ///
    /// # Errors
    /// What the syntax has no way to keep to.
    pub(super) fn all(schema: &Json, style: Arguments) -> Result<Vec<Self>, String> {
        Self::within(schema, schema, style, 0)
    }

    fn within(schema: &Json, root: &Json, style: Arguments, depth: usize) -> Result<Vec<Self>, String> {
        refuse(schema, &OF_OBJECTS)?;
        let properties = match field(schema, "properties") {
            Some(Json::Object(properties)) => properties.as_slice(),
            _ => &[],
        };
        let required = match field(schema, "required") {
            Some(Json::Array(names)) => names.as_slice(),
            _ => &[],
        };
        let is_property =
            |name: &&Json| properties.iter().any(|(property, _)| Json::from(property.as_str()) == **name);
        if let Some(name) = required.iter().find(|name| !is_property(name)) {
            return Err(format!("required: {} is no property", written(name)));
        }
        let mut parameters = Vec::with_capacity(properties.len());
        for (name, of) in properties {
            if !can_spell(name, style) {
                return Err(format!("properties: {name:?} cannot be written in the model's syntax of calls"));
            }
            let value = match style {
                Arguments::Tags => text(of).unwrap_or_else(|| plain(of, root, style)),
                Arguments::Escapes => escaped(of, root, depth)?,
                Arguments::Json | Arguments::Python => plain(of, root, style),
            };
            let is_required = required.contains(&Json::from(name.as_str()));
            parameters.push(Self { name: name.clone(), is_required, value });
        }
        if style == Arguments::Escapes {
            // As templates sort them.
            parameters.sort_by_key(|parameter| parameter.name.to_lowercase());
        }
        Ok(parameters)
    }

    /// The arguments whose texts are as they are in [`Arguments::Tags`].
    pub(super) fn texts(schema: &Json) -> Vec<String> {
        let Some(Json::Object(properties)) = field(schema, "properties") else { return Vec::new() };
        let texts = properties.iter().filter(|(_, of)| text(of).is_some());
        texts.map(|(name, _)| name.clone()).collect()
    }

    /// What stands before the value of the first argument, and of one behind others.
    pub(super) fn heads(&self, style: Arguments) -> (String, String) {
        let name = &self.name;
        match style {
            Arguments::Tags => {
                let head = format!("{}{name}{}", TAG.0, TAG.1);
                (head.clone(), head)
            }
            Arguments::Escapes => (format!("{name}:"), format!(",{name}:")),
            Arguments::Json | Arguments::Python => (format!("{name}="), format!(", {name}=")),
        }
    }
}

fn refuse(schema: &Json, keywords: &[&str]) -> Result<(), String> {
    match keywords.iter().find(|keyword| field(schema, keyword).is_some()) {
        Some(keyword) => Err(format!("{keyword}: the model's syntax of calls has no way to keep to it")),
        None => Ok(()),
    }
}

/// Whether a name is told from what stands around it.
fn can_spell(name: &str, style: Arguments) -> bool {
    let marks: &[char] = match style {
        Arguments::Tags => &['>', '\n'],
        Arguments::Escapes => &[':', ',', '{', '}'],
        Arguments::Json | Arguments::Python => &['=', ')', ','],
    };
    !name.is_empty() && !name.contains(marks) && !name.contains(ESCAPE)
}

/// A value that is no text of its own.
fn plain(schema: &Json, root: &Json, style: Arguments) -> Value {
    let is_of = |kind: &str| field(schema, "type") == Some(&Json::from(kind));
    if is_of("boolean") && field(schema, "enum").is_none() && field(schema, "const").is_none() {
        return Value::Truth;
    }
    if is_of("null") && style == Arguments::Tags {
        return Value::Exactly(vec!["None".to_owned()]);
    }
    Value::Json(by_itself(schema, root))
}

/// The schema of a value by itself, with the definitions that it may name.
fn by_itself(schema: &Json, root: &Json) -> Vec<(String, Json)> {
    let mut fields = match schema {
        Json::Object(fields) => fields.clone(),
        _ => Vec::new(),
    };
    for name in ["$defs", "definitions"] {
        let missing = fields.iter().all(|(field, _)| field != name);
        fields.extend(field(root, name).filter(|_| missing).map(|of| (name.to_owned(), of.clone())));
    }
    fields
}

/// The texts that a schema allows, if a text can be told by its length alone or is one of few; texts with a pattern or a format are
/// JSON. Where there may be something else instead, a text is what is written.
fn text(schema: &Json) -> Option<Value> {
    let has = |keyword: &str| field(schema, keyword).is_some();
    if let Some(Json::Array(options)) = field(schema, "anyOf") {
        let is_alone =
            ["type", "enum", "const", "minLength", "maxLength"].iter().all(|keyword| !has(keyword));
        let is_plain = OF_VALUES.iter().all(|keyword| !has(keyword)) && !has("$ref");
        return options.iter().find_map(text).filter(|_| is_alone && is_plain);
    }
    if OF_VALUES.iter().any(|keyword| has(keyword)) || has("$ref") {
        return None;
    }
    let value = texts_of(schema, &types(schema))?;
    let is_told = |text: &String| format!("{text}{}", TAG.2).find(TAG.2) == Some(text.len());
    match &value {
        Value::Texts(texts) if !texts.iter().all(is_told) => None,
        _ => Some(value),
    }
}

/// The types that a schema names.
fn types(schema: &Json) -> Vec<&str> {
    fn name(kind: &Json) -> Option<&str> {
        if let Json::String(kind) = kind { Some(kind) } else { None }
    }
    match field(schema, "type") {
        Some(Json::Array(kinds)) => kinds.iter().filter_map(name).collect(),
        Some(kind) => name(kind).into_iter().collect(),
        None => Vec::new(),
    }
}

/// The texts among what a schema of these types allows.
fn texts_of(schema: &Json, types: &[&str]) -> Option<Value> {
    let length = |name: &str| match field(schema, name) {
        Some(Json::Integer(length)) => u64::try_from(*length).ok(),
        _ => None,
    };
    let (least, most) = (length("minLength").unwrap_or(0), length("maxLength"));
    let fits = |text: &&String| {
        let length = text.chars().count() as u64;
        length >= least && most.is_none_or(|most| length <= most)
    };
    if !types.is_empty() && !types.contains(&"string") {
        return None;
    }
    match choices(schema) {
        Some(choices) => {
            let texts = choices.iter().filter_map(|choice| match choice {
                Json::String(text) => Some(text),
                _ => None,
            });
            let texts: Vec<String> = texts.filter(fits).cloned().collect();
            (!texts.is_empty()).then_some(Value::Texts(texts))
        }
        None if types.contains(&"string") => Some(Value::Text { least, most }),
        None => None,
    }
}

/// The values of `const` or `enum`.
fn choices(schema: &Json) -> Option<&[Json]> {
    match (field(schema, "const"), field(schema, "enum")) {
        (Some(only), _) => Some(std::slice::from_ref(only)),
        (None, Some(Json::Array(choices))) => Some(choices),
        _ => None,
    }
}

/// What a value of [`Arguments::Escapes`] may be.
///
/// # Errors
/// What the syntax has no way to keep to.
fn escaped(schema: &Json, root: &Json, depth: usize) -> Result<Value, String> {
    if depth > DEPTH {
        return Err("$ref: it leads back to itself".to_owned());
    }
    refuse(schema, &OF_VALUES)?;
    if let Some(Json::String(reference)) = field(schema, "$ref") {
        let pointer = reference.strip_prefix("#/").unwrap_or_default();
        let found = pointer.split('/').try_fold(root, |schema, name| field(schema, name));
        let found = found.ok_or_else(|| format!("$ref: {reference:?} is not found"))?;
        return escaped(found, root, depth + 1);
    }
    if let Some(Json::Array(options)) = field(schema, "anyOf") {
        refuse(schema, &["type", "enum", "const", "properties", "items"])?;
        let options: Result<Vec<Value>, String> =
            options.iter().map(|option| escaped(option, root, depth + 1)).collect();
        return options.map(Value::OneOf);
    }
    let types = types(schema);
    if let Some(choices) = choices(schema) {
        return chosen(schema, &types, choices);
    }
    let mut values = Vec::with_capacity(types.len());
    for kind in types {
        values.push(match kind {
            "boolean" => Value::Truth,
            "null" => Value::Exactly(vec!["None".to_owned()]),
            "string" => texts_of(schema, &["string"]).ok_or("enum: none is a text")?,
            "array" => {
                let items = field(schema, "items").ok_or("items: expected a schema")?;
                let count = |name: &str| match field(schema, name) {
                    Some(Json::Integer(count)) => u64::try_from(*count).ok(),
                    _ => None,
                };
                let items = Box::new(escaped(items, root, depth + 1)?);
                Value::Array { items, least: count("minItems").unwrap_or(0), most: count("maxItems") }
            }
            "object" => Value::Object(Parameter::within(schema, root, Arguments::Escapes, depth + 1)?),
            number => {
                let mut fields = by_itself(schema, root);
                fields.retain(|(name, _)| name != "type");
                fields.push(("type".to_owned(), Json::from(number)));
                Value::Json(fields)
            }
        });
    }
    match values.len() {
        0 => Err("type: expected one".to_owned()),
        1 => values.pop().ok_or_else(String::new),
        _ => Ok(Value::OneOf(values)),
    }
}

/// What a value of `const` or `enum` may be.
fn chosen(schema: &Json, types: &[&str], choices: &[Json]) -> Result<Value, String> {
    let allows = |kind: &str| types.is_empty() || types.contains(&kind);
    let spelled = |choice: &Json| match choice {
        Json::Null => Ok(allows("null").then(|| "None".to_owned())),
        Json::Bool(_) => Ok(allows("boolean").then(|| written(choice))),
        Json::Integer(_) => Ok((allows("integer") || allows("number")).then(|| written(choice))),
        Json::Float(_) => Ok(allows("number").then(|| written(choice))),
        Json::String(_) => Ok(None),
        Json::Array(_) | Json::Object(_) => Err("enum: expected texts, numbers or truth values".to_owned()),
    };
    let others: Result<Vec<Option<String>>, String> = choices.iter().map(spelled).collect();
    let others: Vec<String> = others?.into_iter().flatten().collect();
    match (texts_of(schema, types), others.is_empty()) {
        (Some(texts), true) => Ok(texts),
        (Some(texts), false) => Ok(Value::OneOf(vec![texts, Value::Exactly(others)])),
        (None, false) => Ok(Value::Exactly(others)),
        (None, true) => Err("enum: none is of the type".to_owned()),
    }
}
