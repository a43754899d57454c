//! Values as Python prints them, where the engine prints them otherwise.

use std::fmt::{self, Write};

use minijinja::value::ValueKind;
use minijinja::{Error, Output, State, Value, escape_formatter};
use unicode_properties::{GeneralCategoryGroup, UnicodeGeneralCategory};

use super::bounds;
use super::provenance::{Origin, give, read};

/// Writes a value as it is printed within a list or mapping, Python's `repr`.
pub(super) fn write(value: &Value, out: &mut fmt::Formatter<'_>) -> fmt::Result {
    if let Some(text) = value.as_str() {
        return write_text(text, out);
    }
    if let Some(number) = as_float(value) {
        return out.write_str(&float(number));
    }
    let items = || value.try_iter().into_iter().flatten();
    match value.kind() {
        ValueKind::Seq if value.is_tuple() && value.len() == Some(1) => {
            write_items(items(), ["(", ",)"], out)
        }
        ValueKind::Seq if value.is_tuple() => write_items(items(), ["(", ")"], out),
        ValueKind::Seq => write_items(items(), ["[", "]"], out),
        // What `+` makes of two lists.
        ValueKind::Iterable if value.len().is_some() => write_items(items(), ["[", "]"], out),
        ValueKind::Map if !bounds::is_namespace(value) => {
            let pairs = value.as_object().and_then(|object| object.try_iter_pairs());
            write_entries(pairs.into_iter().flatten(), out)
        }
        _ => fmt::Debug::fmt(value, out),
    }
}

/// Writes the values of a list between brackets.
pub(super) fn write_items(
    items: impl Iterator<Item = Value>,
    [open, close]: [&str; 2],
    out: &mut fmt::Formatter<'_>,
) -> fmt::Result {
    out.write_str(open)?;
    for (index, item) in items.enumerate() {
        out.write_str(if index > 0 { ", " } else { "" })?;
        write(&item, out)?;
    }
    out.write_str(close)
}

/// Writes the entries of a mapping between braces.
pub(super) fn write_entries(
    entries: impl Iterator<Item = (Value, Value)>,
    out: &mut fmt::Formatter<'_>,
) -> fmt::Result {
    out.write_str("{")?;
    for (index, (key, value)) in entries.enumerate() {
        out.write_str(if index > 0 { ", " } else { "" })?;
        write(&key, out)?;
        out.write_str(": ")?;
        write(&value, out)?;
    }
    out.write_str("}")
}

/// Quotes are the template's; what stands for a given character is given.
fn write_text(text: &str, out: &mut fmt::Formatter<'_>) -> fmt::Result {
    let says = |what| read(text).any(|(_, origin)| origin.c == what);
    let quote = if says('\'') && !says('"') { '"' } else { '\'' };
    out.write_char(quote)?;
    for (_, Origin { c, given }) in read(text) {
        let escaped = match (c, u32::from(c)) {
            ('\n', _) => "\\n".to_owned(),
            ('\r', _) => "\\r".to_owned(),
            ('\t', _) => "\\t".to_owned(),
            (c, _) if c == quote || c == '\\' => format!("\\{c}"),
            (c, _) if is_printable(c) => c.to_string(),
            (_, code @ ..=0xff) => format!("\\x{code:02x}"),
            (_, code @ ..=0xffff) => format!("\\u{code:04x}"),
            (_, code) => format!("\\U{code:08x}"),
        };
        out.write_str(&if given { give(&escaped) } else { escaped })?;
    }
    out.write_char(quote)
}

/// As Python's `str.isprintable`.
fn is_printable(c: char) -> bool {
    let hidden = [GeneralCategoryGroup::Other, GeneralCategoryGroup::Separator];
    c == ' ' || !hidden.contains(&c.general_category_group())
}

/// The number, if it is none of Python's integers.
pub(super) fn as_float(value: &Value) -> Option<f64> {
    let is_float = value.kind() == ValueKind::Number && !value.is_integer();
    is_float.then(|| f64::try_from(value.clone()).ok())?
}

/// A float's shortest digits. Its exponent has a sign and two digits.
pub(super) fn float(number: f64) -> String {
    if !number.is_finite() {
        return number.to_string().to_lowercase();
    }
    let text = format!("{number:?}");
    match text.split_once('e') {
        Some((digits, exponent)) => {
            let (sign, exponent) = exponent.strip_prefix('-').map_or(('+', exponent), |digits| ('-', digits));
            format!("{digits}e{sign}{exponent:0>2}")
        }
        None => text,
    }
}

/// A value as it is printed on its own, Python's `str`.
pub(super) fn printed(value: &Value) -> String {
    match is_written_here(value) {
        true => quoted(value),
        false => value.to_string(),
    }
}

/// A value as it is printed within a list, Python's `repr`.
pub(super) fn quoted(value: &Value) -> String {
    struct Quoted<'v>(&'v Value);
    impl fmt::Display for Quoted<'_> {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write(self.0, f)
        }
    }
    Quoted(value).to_string()
}

/// Whether the engine prints the value otherwise: floats, and what may hold texts.
fn is_written_here(value: &Value) -> bool {
    let holds_values = matches!(value.kind(), ValueKind::Seq | ValueKind::Iterable | ValueKind::Map);
    holds_values || as_float(value).is_some()
}

/// Writes what an expression in a template comes to.
pub(super) fn print(out: &mut Output<'_>, state: &mut State<'_, '_>, value: &Value) -> Result<(), Error> {
    match is_written_here(value) {
        true => Ok(out.write_str(&printed(value))?),
        false => escape_formatter(out, state, value),
    }
}

/// The filter `string`.
pub(super) fn string(state: &State<'_, '_>, value: &Value) -> Result<Value, Error> {
    match is_written_here(value) {
        true => {
            const BYTES_PER_FUEL: usize = 4;
            let text = printed(value);
            state.consume_fuel((text.len() / BYTES_PER_FUEL) as u64)?;
            Ok(Value::from(text))
        }
        false => minijinja::filters::string(state, value),
    }
}
