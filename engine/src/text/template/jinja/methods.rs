//! Python's methods of strings, lists and mappings.

use minijinja::value::{ValueKind, from_args};
use minijinja::{Error, ErrorKind, State, Value};
use minijinja_contrib::pycompat::unknown_method_callback;

use super::provenance::plain;
use super::{MAX_CARRIED, compare, format, repr, strings};

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
        ("format", _) if value.as_str().is_some() => {
            check_format(subject)?;
            return format::format(subject, args);
        }
        // Each piece becomes a value.
        ("split" | "rsplit", [separator, ..]) if !text(separator).is_empty() => {
            state.consume_fuel(plain(subject).matches(plain(text(separator)).as_ref()).count() as u64)?;
        }
        ("split" | "rsplit" | "splitlines", _) => {
            let is_end = |c: char| c.is_whitespace() || c.is_control();
            state.consume_fuel(plain(subject).matches(is_end).count() as u64)?;
        }
        ("join", [items]) if value.as_str().is_some() => return join(state, subject, items),
        ("get", _) if value.kind() == ValueKind::Map => return get(value, args),
        ("count", [what]) if value.kind() == ValueKind::Seq => return count(state, value, what),
        _ => {}
    }
    if let Some(subject) = value.as_str()
        && let Some(result) = strings::method(state, subject, name, args)
    {
        return result;
    }
    unknown_method_callback(state, value, name, args)
}

/// A mapping's `get(key, default=None)`.
fn get(mapping: &Value, args: &[Value]) -> Result<Value, Error> {
    let (key, default): (&Value, Option<Value>) = from_args(args)?;
    Ok(compare::entry(mapping, key).or(default).unwrap_or_else(|| Value::from(())))
}

/// How often a list holds a value.
fn count(state: &State<'_, '_>, list: &Value, what: &Value) -> Result<Value, Error> {
    let mut count = 0;
    for item in list.try_iter()? {
        state.consume_fuel(1)?;
        count += usize::from(compare::equal(&item, what));
    }
    Ok(Value::from(count))
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn too_long() -> Error {
    Error::new(ErrorKind::InvalidOperation, format!("a string of more than {MAX_CARRIED} bytes"))
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
        let item = item.as_str().map_or_else(|| repr::printed(&item), str::to_owned);
        let more = if index > 0 { separator } else { "" };
        if joined.len() + more.len() + item.len() > MAX_CARRIED {
            return Err(too_long());
        }
        state.consume_fuel(1)?;
        joined.push_str(more);
        joined.push_str(&item);
    }
    Ok(Value::from(joined))
}
