//! JSON schemas as llguidance is given them: what it would not keep to is said in words that it keeps to, or refused.

mod formats;
mod numbers;
mod objects;
mod references;
#[cfg(test)]
mod tests;

#[cfg(feature = "grammar")]
use llguidance::{JsonCompileOptions, api::TopLevelGrammar};
#[cfg(feature = "grammar")]
use serde_json::json;
use serde_json::{Map, Value};

/// White space between the parts of JSON. Without an end of it, small models write nothing else.
#[cfg(feature = "grammar")]
const WHITE_SPACE: &str = r"\x20|\n{1,2}[\x20\t]{0,20}";

/// The key of the compiler's own options in a schema. They would have what cannot be kept to be passed over.
pub(crate) const OPTIONS: &str = "x-guidance";

/// The grammar of a schema.
///
/// # Errors
/// What is no schema, has options of the compiler in it, or cannot be kept to.
#[cfg(feature = "grammar")]
pub(super) fn grammar(schema: Value) -> Result<TopLevelGrammar, String> {
    let mut schema = match schema {
        Value::Object(_) => schema,
        Value::Bool(true) => json!({}),
        Value::Bool(false) => return Err("false allows nothing".to_owned()),
        other => return Err(format!("expected an object or a truth value, found {}", kind_of(&other))),
    };
    prepare(&mut schema)?;
    let options = JsonCompileOptions {
        whitespace_pattern: Some(WHITE_SPACE.to_owned()),
        ..JsonCompileOptions::default()
    };
    options.apply_to(&mut schema);
    Ok(TopLevelGrammar::from_json_schema(schema))
}

/// Makes a schema one that llguidance 1.9.1 keeps to.
///
/// # Errors
/// The keyword that cannot be kept to, and why.
pub(crate) fn prepare(schema: &mut Value) -> Result<(), String> {
    if schema.get(OPTIONS).is_some() {
        return Err(format!("{OPTIONS}: options of the compiler are not taken from schemas"));
    }
    numbers::check_multiples(schema)?;
    references::prepare(schema);
    each(schema, &mut |fields| {
        numbers::prepare(fields)?;
        formats::prepare(fields);
        objects::check(fields)?;
        if fields.get("uniqueItems") == Some(&Value::Bool(false)) {
            take(fields, "uniqueItems");
        }
        Ok(())
    })
}

/// Calls `visit` with a schema that is an object and with all that stand in it.
///
/// # Errors
/// The first of the visit's.
fn each<E>(
    schema: &mut Value,
    visit: &mut impl FnMut(&mut Map<String, Value>) -> Result<(), E>,
) -> Result<(), E> {
    let Value::Object(fields) = schema else { return Ok(()) };
    visit(fields)?;
    for (key, value) in fields {
        match (key.as_str(), value) {
            // What these hold is data.
            ("const" | "enum" | "default" | "examples", _) => {}
            (
                "properties" | "patternProperties" | "$defs" | "definitions" | "dependentSchemas",
                Value::Object(named),
            ) => {
                named.iter_mut().try_for_each(|(_, schema)| each(schema, visit))?;
            }
            (_, Value::Array(schemas)) => schemas.iter_mut().try_for_each(|schema| each(schema, visit))?,
            (_, value) => each(value, visit)?,
        }
    }
    Ok(())
}

/// Removes a field; the others keep their order.
fn take(fields: &mut Map<String, Value>, name: &str) -> Option<Value> {
    let value = fields.get_mut(name).map(Value::take)?;
    fields.retain(|field, _| field != name);
    Some(value)
}

#[cfg(feature = "grammar")]
fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a truth value",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}
