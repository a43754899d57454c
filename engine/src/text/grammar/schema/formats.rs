//! Formats of which llguidance allows texts that other validators refuse.

use serde_json::{Map, Value, json};

use super::take;

const DAY: &str = concat!(
    // Days that all years have, from the year 1 on.
    "(?:(?:000[1-9]|00[1-9][0-9]|0[1-9][0-9]{2}|[1-9][0-9]{3})-(?:(?:0[13578]|1[02])-(?:0[1-9]|[12][0-9]|3[01])",
    "|(?:0[469]|11)-(?:0[1-9]|[12][0-9]|30)|02-(?:0[1-9]|1[0-9]|2[0-8]))",
    // And those of leap years.
    "|(?:[0-9]{2}(?:0[48]|[2468][048]|[13579][26])|(?:0[48]|[2468][048]|[13579][26])00)-02-29)",
);

/// Without leap seconds, which are few and which most readers refuse.
const TIME: &str = concat!(
    r"(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:\.[0-9]{1,9})?",
    "(?:[zZ]|[+-](?:[01][0-9]|2[0-3]):[0-5][0-9])",
);

/// At most five labels of up to 49 letters, so that all have no more than 253.
const HOST: &str =
    r"[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,47}[a-zA-Z0-9])?(?:\.[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,47}[a-zA-Z0-9])?){0,4}";

/// Says such a format as a pattern.
pub(super) fn prepare(fields: &mut Map<String, Value>) {
    let Some(Value::String(format)) = fields.get("format") else { return };
    let pattern = match format.as_str() {
        "date" => format!("^{DAY}$"),
        "time" => format!("^{TIME}$"),
        "date-time" => format!("^{DAY}[tT]{TIME}$"),
        "hostname" => format!("^{HOST}$"),
        _ => return,
    };
    take(fields, "format");
    if !fields.contains_key("pattern") {
        fields.insert("pattern".to_owned(), Value::String(pattern));
    } else if let Some(Value::Array(all)) = fields.get_mut("allOf") {
        all.push(json!({ "pattern": pattern }));
    } else {
        fields.insert("allOf".to_owned(), json!([{ "pattern": pattern }]));
    }
}
