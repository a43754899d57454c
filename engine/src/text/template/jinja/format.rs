//! Python's `str.format` and its `%`, field by field, so that what is filled up is measured by what it says.

use minijinja::formatting::{FormatStyle, format as engine_format};
use minijinja::value::Rest;
use minijinja::{Error, ErrorKind, State, Value};

use super::provenance::{Traced, is_carrier, plain};
use super::{MAX_CARRIED, repr};

/// The widest field.
const MAX_WIDTH: usize = 999;

/// Calls `format` on a template's text. One that was given has no fields.
pub(super) fn format(text: &str, args: &[Value]) -> Result<Value, Error> {
    let mut out = String::new();
    let mut rest = text;
    let mut fields = 0;
    while let Some(at) = rest.find(['{', '}']) {
        let (before, from) = rest.split_at_checked(at).unwrap_or((rest, ""));
        out.push_str(before);
        let doubled = ["{{", "}}"].into_iter().find(|doubled| from.starts_with(doubled));
        let length = match doubled {
            Some(_) => 2,
            None => 1 + from.find('}').ok_or_else(|| invalid("a format with a brace that does not close"))?,
        };
        let (field, behind) = from.split_at_checked(length).unwrap_or((from, ""));
        match doubled {
            Some(_) => out.push_str(field.get(..1).unwrap_or_default()),
            None => out.push_str(&formatted(field, &mut fields, args)?),
        }
        rest = behind;
    }
    out.push_str(rest);
    Ok(Value::from(out))
}

fn invalid(problem: &'static str) -> Error {
    Error::new(ErrorKind::InvalidOperation, problem)
}

/// What stands for a field, such as `{}`, `{0:>8}` or `{name!r}`; `fields` counts those without a name.
fn formatted(field: &str, fields: &mut usize, args: &[Value]) -> Result<String, Error> {
    let inside = field.strip_prefix('{').and_then(|field| field.strip_suffix('}'));
    let inside = inside.ok_or_else(|| invalid("a format with a brace that opens nothing"))?;
    let (name, spec) = inside.split_once(':').unwrap_or((inside, ""));
    let name = if name.is_empty() || name.starts_with('!') {
        *fields += 1;
        format!("{}{name}", *fields - 1)
    } else {
        name.to_owned()
    };
    let by_engine = |field: String| engine_format(FormatStyle::StrFormat, &field, args);
    let text = by_engine(format!("{{{name}}}"))?;
    // The engine measures in bytes.
    match text.is_ascii() && !text.contains(is_carrier) {
        true => by_engine(format!("{{{name}:{spec}}}")),
        false => filled(&text, spec).ok_or_else(|| invalid("a format of a text that is none")),
    }
}

/// The filter `format(*args, **kwargs)`: Python's `%`. A text that was given has no fields.
pub(super) fn filter(state: &State<'_, '_>, text: &str, args: Rest<Value>) -> Result<Value, Error> {
    const BYTES_PER_FUEL: usize = 32;
    let mut out = String::new();
    let mut rest = text;
    let mut used = 0;
    while let Some((before, from)) = rest.split_once('%') {
        out.push_str(before);
        let length = from.find(|c: char| c == '%' || c.is_ascii_alphabetic());
        let length = length.ok_or_else(|| invalid("a format with a % that nothing follows"))?;
        let (spec, behind) = from.split_at_checked(length + 1).unwrap_or((from, ""));
        if spec == "%" {
            out.push('%');
        } else if spec.starts_with('(') {
            return Err(invalid("a format with a name, expected fields in order"));
        } else {
            let argument = args.get(used).ok_or_else(|| invalid("a format of more fields than arguments"))?;
            out.push_str(&converted(spec, argument)?);
            used += 1;
        }
        if out.len() > MAX_CARRIED {
            return Err(invalid("a format of a text that is too long"));
        }
        rest = behind;
    }
    if used < args.len() {
        return Err(invalid("a format of fewer fields than arguments"));
    }
    out.push_str(rest);
    state.consume_fuel((out.len() / BYTES_PER_FUEL) as u64)?;
    Ok(Value::from(out))
}

/// What stands for a field, such as `s`, `-8s`, `03d` or `.2f`.
fn converted(spec: &str, argument: &Value) -> Result<String, Error> {
    let wide = spec.split(|c: char| !c.is_ascii_digit()).any(|digits| digits.len() > 3);
    if wide || spec.contains('*') {
        return Err(invalid("a format with a width too large"));
    }
    let Some(size) = spec.strip_suffix(['s', 'r']) else {
        let argument =
            argument.as_str().map_or_else(|| argument.clone(), |text| Value::from(plain(text).as_ref()));
        return engine_format(FormatStyle::Printf, &format!("%{spec}"), &[argument]);
    };
    let text = match argument.as_str() {
        Some(text) if spec.ends_with('s') => text.to_owned(),
        None if spec.ends_with('s') => repr::printed(argument),
        _ => repr::quoted(argument),
    };
    let (left, size) = (size.contains('-'), size.trim_start_matches(['-', '+', ' ', '#', '0']));
    let spec = format!("{}{size}", if left { '<' } else { '>' });
    filled(&text, &spec).ok_or_else(|| invalid("a format that is none"))
}

/// A text cut and filled up as `[[fill]align][width][.precision][s]` says.
fn filled(text: &str, spec: &str) -> Option<String> {
    let spec = spec.strip_suffix('s').unwrap_or(spec);
    let is_align = |c: &char| matches!(c, '<' | '>' | '^');
    let mut chars = spec.chars();
    let (first, second) = (chars.next(), chars.next());
    let (fill, align, size) = match (first, second.filter(is_align), first.filter(is_align)) {
        (Some(fill), Some(align), _) => (fill, align, spec.get(fill.len_utf8() + 1..)?),
        (_, None, Some(align)) => (' ', align, spec.get(1..)?),
        _ => (' ', '<', spec),
    };
    let (width, precision) = size.split_once('.').map_or((size, None), |(width, most)| (width, Some(most)));
    let width: usize =
        if width.is_empty() { 0 } else { width.parse().ok().filter(|width| *width <= MAX_WIDTH)? };
    let traced = Traced::new(text);
    let says = traced.plain();
    let cut = match precision {
        Some(most) => {
            says.char_indices().nth(most.parse().ok()?).map_or(says, |(at, _)| says.get(..at).unwrap_or(says))
        }
        None => says,
    };
    let missing = width.saturating_sub(cut.chars().count());
    let before = match align {
        '>' => missing,
        '^' => missing / 2,
        _ => 0,
    };
    let filler = |count: usize| std::iter::repeat_n(fill, count).collect::<String>();
    Some(filler(before) + traced.part(cut) + &filler(missing - before))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::template::jinja::provenance::{give, plain};

    #[test]
    fn texts_are_cut_and_filled_by_what_they_say() {
        let args = [Value::from(give("né")), Value::from(7), Value::from("ab")];
        for (text, expected) in [
            ("{}{}{}", "né7ab"),
            ("{{{0}}} {1:>3} {2:*^6}|", "{né}   7 **ab**|"),
            ("{0:<4}|{0:>4}|{0:-^5}|{0:.1}|{0:_>3.1s}|", "né  |  né|-né--|n|__n|"),
        ] {
            let formatted =
                format(text, &args).map(|value| plain(value.as_str().unwrap_or_default()).into_owned());
            assert_eq!(formatted.ok().as_deref(), Some(expected));
        }
        for text in ["{", "}", "{0:d}", "{3}", "{0:>x}"] {
            assert!(format(text, &args).is_err(), "{text}");
        }
    }
}
