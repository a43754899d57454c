//! Values as Python prints them, where the engine prints them otherwise.

use std::fmt::{self, Write};

use minijinja::value::ValueKind;
use minijinja::{Error, Output, State, Value, escape_formatter};
use unicode_properties::{GeneralCategoryGroup, UnicodeGeneralCategory};

use crate::tokenizer::is_mark;

/// Writes a value as it is printed within a list or mapping, Python's `repr`.
pub(super) fn write(value: &Value, out: &mut fmt::Formatter<'_>) -> fmt::Result {
    match (value.as_str(), as_float(value)) {
        (Some(text), _) => write_text(text, out),
        (_, Some(number)) => out.write_str(&float(number)),
        _ => fmt::Debug::fmt(value, out),
    }
}

fn write_text(text: &str, out: &mut fmt::Formatter<'_>) -> fmt::Result {
    let quote = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
    out.write_char(quote)?;
    for c in text.chars() {
        match (c, u32::from(c)) {
            ('\n', _) => out.write_str("\\n")?,
            ('\r', _) => out.write_str("\\r")?,
            ('\t', _) => out.write_str("\\t")?,
            (c, _) if c == quote || c == '\\' => write!(out, "\\{c}")?,
            (c, _) if is_printable(c) => out.write_char(c)?,
            (_, code @ ..=0xff) => write!(out, "\\x{code:02x}")?,
            (_, code @ ..=0xffff) => write!(out, "\\u{code:04x}")?,
            (_, code) => write!(out, "\\U{code:08x}")?,
        }
    }
    out.write_char(quote)
}

/// As Python's `str.isprintable`. What shields the spelling of control tokens must come through as it is.
fn is_printable(c: char) -> bool {
    let hidden = [GeneralCategoryGroup::Other, GeneralCategoryGroup::Separator];
    c == ' ' || is_mark(c) || !hidden.contains(&c.general_category_group())
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

/// Writes what an expression in a template comes to.
pub(super) fn print(out: &mut Output<'_>, state: &mut State<'_, '_>, value: &Value) -> Result<(), Error> {
    match as_float(value) {
        Some(number) => Ok(out.write_str(&float(number))?),
        None => escape_formatter(out, state, value),
    }
}

/// The filter `string`.
pub(super) fn string(state: &State<'_, '_>, value: &Value) -> Result<Value, Error> {
    match as_float(value) {
        Some(number) => Ok(Value::from(float(number))),
        None => minijinja::filters::string(state, value),
    }
}
