//! Products, which repeat texts and lists: bounded by what comes of them.

use minijinja::value::ValueKind;
use minijinja::{Error, ErrorKind, State, Value};

use super::{MAX_CARRIED, bounds};

const BYTES_PER_FUEL: usize = 64;

/// `a * b`: of two numbers, or a text or list as often as a number says.
pub(super) fn product(state: &State<'_, '_>, left: &Value, right: &Value) -> Result<Value, Error> {
    if let (Some(left), Some(right)) = (as_integer(left), as_integer(right)) {
        return left
            .checked_mul(right)
            .map(Value::from)
            .ok_or_else(|| invalid("a product that is too large"));
    }
    let (repeated, times) = match (as_integer(left), as_integer(right)) {
        (_, Some(times)) => (left, times),
        (Some(times), _) => (right, times),
        (None, None) => return floats(left, right),
    };
    let times = usize::try_from(times.max(0)).unwrap_or(usize::MAX);
    if let Some(text) = repeated.as_str() {
        let length = text.len().checked_mul(times).filter(|length| *length <= MAX_CARRIED);
        let length = length.ok_or_else(|| invalid("a repeated text that is too long"))?;
        state.consume_fuel((length / BYTES_PER_FUEL) as u64)?;
        return Ok(Value::from(text.repeat(times)));
    }
    if matches!(repeated.kind(), ValueKind::Seq | ValueKind::Iterable) {
        let items: Vec<Value> = repeated.try_iter()?.take(bounds::MAX_NODES + 1).collect();
        let length = items.len().checked_mul(times).filter(|length| *length <= bounds::MAX_NODES);
        let length = length.ok_or_else(|| invalid("a repeated list that is too long"))?;
        state.consume_fuel(length as u64)?;
        return Ok(std::iter::repeat_n(items, times).flatten().collect());
    }
    floats(left, right)
}

fn invalid(problem: &'static str) -> Error {
    Error::new(ErrorKind::InvalidOperation, problem)
}

/// A number without a fraction, as which Python has truths too.
fn as_integer(value: &Value) -> Option<i128> {
    match value.kind() {
        ValueKind::Bool => Some(i128::from(value.is_true())),
        ValueKind::Number if value.is_integer() => i128::try_from(value.clone()).ok(),
        _ => None,
    }
}

fn floats(left: &Value, right: &Value) -> Result<Value, Error> {
    let float = |value: &Value| match as_integer(value) {
        Some(integer) => Some(integer as f64),
        None => (value.kind() == ValueKind::Number).then(|| f64::try_from(value.clone()).ok())?,
    };
    let pair = float(left).zip(float(right));
    pair.map(|(left, right)| Value::from(left * right))
        .ok_or_else(|| invalid("a product of what is no number"))
}
