//! Python's methods of strings, lists and mappings.

use minijinja::{Error, ErrorKind, State, Value};
use minijinja_contrib::pycompat::unknown_method_callback;

use super::{MAX_OUTPUT, strings};

/// Calls a Python method, once it is known that it will not work or allocate beyond the template's share: the engine
/// charges fuel for the size of a result, but only when it exists.
pub(super) fn call(
    state: &mut State<'_, '_>,
    value: &Value,
    name: &str,
    args: &[Value],
) -> Result<Value, Error> {
    const BYTES_PER_FUEL: usize = 32;
    let subject = value.as_str().unwrap_or_default();
    let read: usize = subject.len() + args.iter().filter_map(|arg| arg.as_str()).map(str::len).sum::<usize>();
    state.consume_fuel((read / BYTES_PER_FUEL) as u64)?;
    match (name, args) {
        ("replace", [old, new, ..]) => check_replace(subject, text(old), text(new))?,
        ("format", _) => check_format(subject)?,
        // Each piece becomes a value.
        ("split" | "rsplit", [separator, ..]) if !text(separator).is_empty() => {
            state.consume_fuel(subject.matches(text(separator)).count() as u64)?;
        }
        ("split" | "rsplit" | "splitlines", _) => {
            state
                .consume_fuel(subject.matches(|c: char| c.is_whitespace() || c.is_control()).count() as u64)?;
        }
        ("join", [items]) if value.as_str().is_some() => return join(state, subject, items),
        _ => {}
    }
    if let Some(result) = value.as_str().and_then(|subject| strings::method(subject, name, args)) {
        return result;
    }
    unknown_method_callback(state, value, name, args)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn too_long() -> Error {
    Error::new(ErrorKind::InvalidOperation, format!("a string of more than {MAX_OUTPUT} bytes"))
}

fn check_replace(subject: &str, old: &str, new: &str) -> Result<(), Error> {
    let places = if old.is_empty() { subject.len() + 1 } else { subject.matches(old).count() };
    let length = places.checked_mul(new.len()).and_then(|more| more.checked_add(subject.len()));
    if length.is_some_and(|length| length <= MAX_OUTPUT) { Ok(()) } else { Err(too_long()) }
}

/// Widths are what a format could blow up: literal ones are kept to three digits, those from arguments refused.
fn check_format(format: &str) -> Result<(), Error> {
    let wide = format.split(|c: char| !c.is_ascii_digit()).any(|digits| digits.len() > 3);
    let mut open = 0usize;
    let nested = format.replace("{{", "").chars().any(|c| {
        open = match c {
            '{' => open + 1,
            '}' => open.saturating_sub(1),
            _ => open,
        };
        open > 1
    });
    if wide || nested {
        Err(Error::new(ErrorKind::InvalidOperation, "a format with a width too large"))
    } else {
        Ok(())
    }
}

fn join(state: &State<'_, '_>, separator: &str, items: &Value) -> Result<Value, Error> {
    let mut joined = String::new();
    for (index, item) in items.try_iter()?.enumerate() {
        let item = item.as_str().map_or_else(|| item.to_string(), str::to_owned);
        let more = if index > 0 { separator } else { "" };
        if joined.len() + more.len() + item.len() > MAX_OUTPUT {
            return Err(too_long());
        }
        state.consume_fuel(1)?;
        joined.push_str(more);
        joined.push_str(&item);
    }
    Ok(Value::from(joined))
}
