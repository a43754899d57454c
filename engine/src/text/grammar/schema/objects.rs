//! What is counted of an object.

use serde_json::{Map, Value};

/// Refuses a least number of properties that names written twice would seem to reach: those that a schema does not name one by
/// one may come again, and count once.
///
/// # Errors
/// `minProperties`.
pub(super) fn check(fields: &Map<String, Value>) -> Result<(), String> {
    let Some(least) = fields.get("minProperties").and_then(Value::as_u64) else { return Ok(()) };
    let required = match fields.get("required") {
        Some(Value::Array(names)) => names.len() as u64,
        _ => 0,
    };
    let is_closed = fields.get("additionalProperties") == Some(&Value::Bool(false));
    let has_patterns =
        matches!(fields.get("patternProperties"), Some(Value::Object(named)) if !named.is_empty());
    if least <= required + 1 || is_closed && !has_patterns {
        return Ok(());
    }
    Err(format!("minProperties: {least} is supported where all of them, or all but one, are required"))
}
