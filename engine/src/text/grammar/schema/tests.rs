use super::prepare;
use serde_json::{Value, json};

fn prepared(schema: Value) -> Result<Value, String> {
    let mut schema = schema;
    prepare(&mut schema).map(|()| schema)
}

#[test]
fn what_stays_as_it_is() {
    for schema in [
        json!({"type": "integer", "minimum": -3, "maximum": 9_007_199_254_740_991u64, "multipleOf": 0.25}),
        json!({"const": [1, 2.5, {"minimum": 1e18}], "enum": [{"format": "date", "multipleOf": 1e9, "$ref": "#/a~1b"}]}),
        json!({"$ref": "#/$defs/a", "$defs": {"a": {"format": "uuid"}}, "minProperties": 1}),
        json!({"minProperties": 3, "required": ["a", "b"]}),
        json!({"minProperties": 3, "additionalProperties": false, "properties": {"minProperties": {}}}),
        json!({"exclusiveMinimum": -5, "exclusiveMaximum": 2.5}),
    ] {
        assert_eq!(prepared(schema.clone()), Ok(schema));
    }
}

#[test]
fn what_is_said_in_other_words() {
    for (schema, expected) in [
        (json!({"uniqueItems": false}), json!({})),
        (json!({"minimum": 1, "exclusiveMinimum": false}), json!({"minimum": 1})),
        (json!({"minimum": 0.5, "exclusiveMinimum": true}), json!({"exclusiveMinimum": 0.5})),
        (json!({"maximum": 0, "exclusiveMaximum": true}), json!({"exclusiveMaximum": -1e-9})),
        (json!({"maximum": 9_007_199_254_740_993u64}), json!({"maximum": 9_007_199_254_740_992.0})),
        (json!({"minimum": 9_007_199_254_740_993u64}), json!({"minimum": 9_007_199_254_740_994.0})),
        (json!({"minimum": -9_007_199_254_740_993i64}), json!({"minimum": -9_007_199_254_740_992.0})),
        (json!({"exclusiveMaximum": u64::MAX}), json!({"exclusiveMaximum": 9_223_372_036_854_773_760.0})),
        (json!({"minimum": -1e300}), json!({"minimum": -9_223_372_036_854_774_784.0})),
        (
            json!({"items": {"$ref": "#/$defs/a~1b%20%25~0"}, "$defs": {"a/b %~": {}}}),
            json!({"items": {"$ref": "#/$defs/a\u{2044}b %~"}, "$defs": {"a\u{2044}b %~": {}}}),
        ),
    ] {
        assert_eq!(prepared(schema.clone()), Ok(expected), "{schema}");
    }
    // A pattern beside a format stays.
    let both = prepared(json!({"format": "date", "pattern": "^2", "allOf": [{}]})).unwrap();
    assert_eq!(
        (&both["pattern"], &both["allOf"][0], &both["format"]),
        (&json!("^2"), &json!({}), &Value::Null)
    );
    assert!(both["allOf"][1]["pattern"].is_string());
}

#[test]
fn what_cannot_be_kept_to_is_named() {
    for (schema, expected) in [
        (json!({"const": 9_007_199_254_740_993u64}), "const: 9007199254740993 has"),
        (json!({"enum": ["a", {"b": [123_456_789_012_345_678u64]}]}), "enum: 123456789012345678 has"),
        (json!({"const": 1e21}), "const: 1e+21 has"),
        (json!({"items": {"minimum": 1e19}}), "minimum: 1e+19 is too large"),
        (json!({"exclusiveMaximum": -1e19}), "exclusiveMaximum: -1e+19 is too large"),
        (json!({"multipleOf": 12345}), "multipleOf: 12345 has"),
        (json!({"multipleOf": 0.1234}), ""),
        (json!({"multipleOf": 1e-12}), "multipleOf: 1e-12 has"),
        (json!({"allOf": [{"multipleOf": 1999}, {"multipleOf": 1997}]}), "multipleOf: those of this schema"),
        (json!({"properties": {"a": {"multipleOf": 1999}, "b": {"multipleOf": 1997}}}), ""),
        (json!({"minProperties": 2}), "minProperties: 2 is supported"),
        (
            json!({"minProperties": 2, "additionalProperties": false, "patternProperties": {"a": {}}}),
            "minProperties",
        ),
        (json!({"x-guidance": {}}), "x-guidance"),
    ] {
        let found = prepared(schema.clone()).err().unwrap_or_default();
        assert!(found.starts_with(expected) && found.is_empty() == expected.is_empty(), "{schema}: {found}");
    }
}
