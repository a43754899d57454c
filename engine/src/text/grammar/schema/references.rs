//! References within a schema. They are JSON pointers in a fragment of a URI; llguidance takes each part as it is spelled.

use std::convert::Infallible;

use serde_json::{Map, Value};

use super::{each, take};

/// What stands for `/` in the name of a definition, which llguidance would take for the end of it.
const SLASH: &str = "\u{2044}";

/// Spells references by the names that they mean.
pub(super) fn prepare(schema: &mut Value) {
    let Ok(()) = each::<Infallible>(schema, &mut |fields| {
        if let Some(Value::String(reference)) = fields.get_mut("$ref")
            && let Some(plain) = decoded(reference)
        {
            *reference = plain;
        }
        for name in ["$defs", "definitions"] {
            if let Some(Value::Object(named)) = fields.get_mut(name) {
                without_slashes(named);
            }
        }
        Ok(())
    });
}

/// A reference whose parts are as names are spelled, if it is one within the schema.
fn decoded(reference: &str) -> Option<String> {
    let pointer = reference.strip_prefix("#/")?;
    let mut plain = String::from("#");
    for part in pointer.split('/') {
        let name = percent_decoded(part)?.replace("~1", SLASH).replace("~0", "~");
        plain.push('/');
        plain.push_str(&name.replace('/', SLASH));
    }
    Some(plain)
}

fn percent_decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        let byte = match byte {
            b'%' => (hexadecimal(rest.next()?)? << 4) | hexadecimal(rest.next()?)?,
            byte => byte,
        };
        bytes.push(byte);
    }
    String::from_utf8(bytes).ok()
}

fn hexadecimal(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).map(|digit| digit as u8)
}

/// Gives definitions whose names have slashes others, unless those are taken.
fn without_slashes(named: &mut Map<String, Value>) {
    let with: Vec<String> = named.keys().filter(|name| name.contains('/')).cloned().collect();
    for name in with {
        let plain = name.replace('/', SLASH);
        if !named.contains_key(&plain)
            && let Some(schema) = take(named, &name)
        {
            named.insert(plain, schema);
        }
    }
}
