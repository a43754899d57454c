//! JSON schemas as llguidance is given them.

use llguidance::JsonCompileOptions;
use llguidance::api::TopLevelGrammar;
use serde_json::{Map, Number, Value, json};

/// White space between the parts of JSON. Without an end of it, small models write nothing else.
const WHITE_SPACE: &str = r"\x20|\n{1,2}[\x20\t]{0,20}";

/// The grammar of a schema.
///
/// # Errors
/// What is no schema, or has options of the compiler in it.
pub(super) fn grammar(schema: Value) -> Result<TopLevelGrammar, String> {
    let mut schema = match schema {
        // They would have what cannot be kept to be passed over.
        Value::Object(fields) if fields.contains_key("x-guidance") => {
            return Err("x-guidance: options of the compiler are not taken from schemas".to_owned());
        }
        Value::Object(_) => schema,
        Value::Bool(true) => json!({}),
        Value::Bool(false) => return Err("false allows nothing".to_owned()),
        other => return Err(format!("expected an object or a truth value, found {}", kind_of(&other))),
    };
    keep_out_exclusive_bounds(&mut schema);
    let options = JsonCompileOptions {
        whitespace_pattern: Some(WHITE_SPACE.to_owned()),
        ..JsonCompileOptions::default()
    };
    options.apply_to(&mut schema);
    Ok(TopLevelGrammar::from_json_schema(schema))
}

/// Moves exclusive bounds that are whole numbers a little away from 0: llguidance 1.9.1 allows the bound itself where the other
/// one is less than 1 further from 0, be that of this schema or of one that is merged with it. Of whole numbers the same are
/// left.
fn keep_out_exclusive_bounds(schema: &mut Value) {
    const MOVED: f64 = 1e-9;
    // Beyond, the sum would be rounded to the bound.
    const GREATEST: f64 = 1e6;
    let Value::Object(fields) = schema else { return };
    for (bound, inwards) in [("exclusiveMinimum", MOVED), ("exclusiveMaximum", -MOVED)] {
        let Some(value) = fields.get_mut(bound) else { continue };
        let whole = value
            .as_f64()
            .filter(|found| found.fract() == 0.0 && found.abs() < GREATEST && found * inwards >= 0.0);
        if let Some(moved) = whole.and_then(|found| Number::from_f64(found + inwards)) {
            *value = Value::Number(moved);
        }
    }
    each_within(fields, &mut keep_out_exclusive_bounds);
}

/// Calls `each` with the schemas that stand in a schema.
fn each_within(fields: &mut Map<String, Value>, each: &mut impl FnMut(&mut Value)) {
    for (key, value) in fields {
        match (key.as_str(), value) {
            // What these hold is data.
            ("const" | "enum" | "default" | "examples", _) => {}
            ("properties" | "patternProperties" | "$defs" | "definitions", Value::Object(named)) => {
                named.iter_mut().for_each(|(_, schema)| each(schema));
            }
            (_, Value::Array(schemas)) => schemas.iter_mut().for_each(&mut *each),
            (_, value) => each(value),
        }
    }
}

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
