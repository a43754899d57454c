//! What a grammar may take: sources come from whoever asks for an answer.

use llguidance::api::ParserLimits;
use serde_json::{Map, Value};

use super::{GrammarError, GrammarSource};

/// Bytes of a schema, and of any other source.
const BYTES_OF_SCHEMA: usize = 256 << 10;
const BYTES: usize = 64 << 10;

/// How deeply the brackets of a source nest.
pub(super) const DEPTH: usize = 64;

/// The stack of the thread that compiles: what reads a source recurses as deeply as it nests, and as rules name each other,
/// of which a source has as many as there is room for.
pub(super) const STACK: usize = 256 << 20;

/// The largest vocabulary's mask stays below some hundredths of a second, and lexer states below some tens of MiB.
pub(super) fn of_parser() -> ParserLimits {
    ParserLimits {
        max_items_in_row: 2000,
        // Some tens of milliseconds on a desktop.
        initial_lexer_fuel: 500_000,
        // Some 15 ms there.
        step_lexer_fuel: 200_000,
        step_max_items: 100_000,
        // Of 1 to 2 KiB each.
        max_lexer_states: 20_000,
        max_grammar_size: 200_000,
        precompute_large_lexemes: true,
        verbose_errors: false,
    }
}

/// Whether a source is worth reading.
pub(super) fn check(source: &GrammarSource) -> Result<(), GrammarError> {
    let kind = source.kind();
    let (text, quotes) = match source {
        GrammarSource::JsonObject => return Ok(()),
        GrammarSource::Regex(text) => (text, false),
        GrammarSource::JsonSchema(text) | GrammarSource::Lark(text) | GrammarSource::Gbnf(text) => {
            (text, true)
        }
    };
    let most = if matches!(source, GrammarSource::JsonSchema(_)) { BYTES_OF_SCHEMA } else { BYTES };
    if text.len() > most {
        return Err(GrammarError::TooLong { kind, bytes: text.len(), most });
    }
    match depth(text.as_bytes(), quotes) > DEPTH {
        true => Err(GrammarError::TooDeep { kind, most: DEPTH }),
        false => Ok(()),
    }
}

/// Properties of an object, at most: what they take to compile grows faster than they do.
const PROPERTIES: usize = 1000;

/// Whether no object of a schema has more properties than may be.
pub(super) fn check_properties(schema: &Value) -> Result<(), String> {
    match schema {
        Value::Object(fields) => {
            let properties = fields.get("properties").and_then(Value::as_object).map_or(0, Map::len);
            if properties > PROPERTIES {
                return Err(format!("an object has {properties} properties, expected at most {PROPERTIES}"));
            }
            fields.values().try_for_each(check_properties)
        }
        Value::Array(items) => items.iter().try_for_each(check_properties),
        _ => Ok(()),
    }
}

/// How deeply brackets nest, those behind a backslash and, where `quotes`, those in quotes aside.
fn depth(text: &[u8], quotes: bool) -> usize {
    let (mut now, mut most, mut quoted, mut escaped) = (0usize, 0, false, false);
    for byte in text {
        match byte {
            _ if std::mem::take(&mut escaped) => {}
            b'\\' => escaped = true,
            b'"' if quotes => quoted = !quoted,
            // Lark's and GBNF's texts end with their line.
            b'\n' => quoted = false,
            b'(' | b'[' | b'{' if !quoted => now += 1,
            b')' | b']' | b'}' if !quoted => now = now.saturating_sub(1),
            _ => {}
        }
        most = most.max(now);
    }
    most
}

#[cfg(test)]
mod tests {
    use super::depth;

    #[test]
    fn brackets_are_counted_where_they_are_none_of_the_text() {
        for (text, quotes, expected) in [
            ("", true, 0),
            ("(([{}]))", true, 4),
            ("()()()", true, 1),
            (r#"{"((((": [1]}"#, true, 2),
            (r#"{"\"((((": [1]}"#, true, 2),
            (r"\(\(\((a)", false, 1),
            (r#""((""#, false, 2),
            ("\"((\n(", true, 1),
            (")))(", true, 1),
        ] {
            assert_eq!(depth(text.as_bytes(), quotes), expected, "{text}");
        }
    }
}
