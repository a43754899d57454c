//! Comparisons, which see texts as they were given: [`super::provenance`].

use std::cmp::Ordering;

use minijinja::value::{Rest, ValueKind};
use minijinja::{Error, ErrorKind, State, Value};

use super::provenance::{plain, plain_value, read};

/// The deepest nesting that is compared.
const MAX_DEPTH: usize = 128;
const BYTES_PER_FUEL: usize = 64;
/// What looking at an item takes, as the engine counts it.
const ITEMS_PER_FUEL: usize = 2;

/// `a op b op c ...`, which is true where each pair is: operators are texts in between.
pub(super) fn compare(state: &State<'_, '_>, terms: Rest<Value>) -> Result<bool, Error> {
    let mut rest = terms.as_slice();
    while let [left, operator, right, ..] = rest {
        if !holds(state, left, operator.as_str().unwrap_or_default(), right)? {
            return Ok(false);
        }
        rest = rest.get(2..).unwrap_or_default();
    }
    Ok(true)
}

fn holds(state: &State<'_, '_>, left: &Value, operator: &str, right: &Value) -> Result<bool, Error> {
    Ok(match operator {
        "==" => equal(left, right),
        "!=" => !equal(left, right),
        "<" => order(left, right) == Ordering::Less,
        "<=" => order(left, right) != Ordering::Greater,
        ">" => order(left, right) == Ordering::Greater,
        ">=" => order(left, right) != Ordering::Less,
        "in" => contains(state, right, left)?,
        "not in" => !contains(state, right, left)?,
        _ => return Err(invalid("a comparison that is unknown")),
    })
}

fn invalid(problem: &'static str) -> Error {
    Error::new(ErrorKind::InvalidOperation, problem)
}

/// A key as a subscript looks it up: templates' own mappings have keys that they spelled. Nothing but a subscript may see
/// what this gives.
pub(super) fn key(value: &Value) -> Value {
    value.as_str().map_or_else(|| value.clone(), |text| Value::from(plain(text).as_ref()))
}

/// Whether two values are equal, their texts as they were given.
pub(super) fn equal(left: &Value, right: &Value) -> bool {
    equal_within(left, right, MAX_DEPTH)
}

fn equal_within(left: &Value, right: &Value, depth: usize) -> bool {
    if let (Some(left), Some(right)) = (left.as_str(), right.as_str()) {
        return chars(left).eq(chars(right));
    }
    let Some(depth) = depth.checked_sub(1) else { return false };
    let is_list = |value: &Value| matches!(value.kind(), ValueKind::Seq | ValueKind::Iterable);
    let is_mapping = |value: &Value| value.kind() == ValueKind::Map;
    if is_list(left) && is_list(right) {
        let (Ok(mut others), Ok(mut items)) = (right.try_iter(), left.try_iter()) else { return false };
        return left.is_tuple() == right.is_tuple()
            && left.len() == right.len()
            && items.all(|item| others.next().is_some_and(|other| equal_within(&item, &other, depth)))
            && others.next().is_none();
    }
    if is_mapping(left) && is_mapping(right) {
        let Ok(mut keys) = left.try_iter() else { return false };
        return left.len() == right.len()
            && keys.all(|key| {
                let pair = (left.get_item(&key), entry(right, &key));
                matches!(pair, (Ok(one), Some(other)) if equal_within(&one, &other, depth))
            });
    }
    left == right
}

/// What a mapping has under a key, whoever spelled it.
pub(super) fn entry(mapping: &Value, key: &Value) -> Option<Value> {
    let object = mapping.as_object()?;
    object.get_value(key).or_else(|| object.get_value(&plain_value(key)))
}

fn chars(text: &str) -> impl Iterator<Item = char> {
    read(text).map(|(_, origin)| origin.c)
}

/// The order of two values, their texts as they were given.
pub(super) fn order(left: &Value, right: &Value) -> Ordering {
    match (left.as_str(), right.as_str()) {
        (Some(left), Some(right)) => chars(left).cmp(chars(right)),
        _ => plain_value(left).cmp(&plain_value(right)),
    }
}

/// Whether a text, list or mapping holds a value.
pub(super) fn contains(state: &State<'_, '_>, container: &Value, value: &Value) -> Result<bool, Error> {
    if container.is_undefined() {
        return Ok(false);
    }
    if let Some(text) = container.as_str() {
        state.consume_fuel((text.len() / BYTES_PER_FUEL) as u64)?;
        let what = value.as_str().map_or_else(|| value.to_string().into(), plain);
        return Ok(plain(text).contains(what.as_ref()));
    }
    match container.kind() {
        ValueKind::Map => Ok(entry(container, value).is_some()),
        ValueKind::Seq | ValueKind::Iterable => {
            for (index, item) in container.try_iter()?.enumerate() {
                state.consume_fuel(u64::from(index % ITEMS_PER_FUEL == 0))?;
                if equal(&item, value) {
                    return Ok(true);
                }
            }
            Ok(false)
        }
        ValueKind::Plain => Ok(false),
        _ => Err(invalid("cannot perform a containment check on this value")),
    }
}
