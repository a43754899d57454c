//! How large a value may grow that a template gives a name.

use minijinja::value::ValueKind;
use minijinja::{Error, ErrorKind, State, Value};

use super::Turn;

/// The deepest nesting of lists and mappings.
const MAX_DEPTH: usize = 24;
/// The most values in a value, each counted as often as it is reached; also the longest `range`.
pub(super) const MAX_NODES: usize = 4096;
/// The most messages in a value, which are not among those.
const MAX_TURNS: usize = 1 << 16;

/// Returns the value, unless it nests deeper or holds more than a chat template needs.
///
/// A namespace may be given a name, but lie in no other value: it is the only one that could come to hold itself.
pub(super) fn bounded(state: &State<'_, '_>, value: Value) -> Result<Value, Error> {
    let too_large =
        || Error::new(ErrorKind::InvalidOperation, "a value nests too deep or holds too many others");
    let (mut nodes, mut turns) = (1, 0);
    let mut open = vec![(value.clone(), 0)];
    while let Some((outer, depth)) = open.pop() {
        let Some(inner) = contents(&outer) else { continue };
        if depth > 0 && is_namespace(&outer) {
            return Err(Error::new(ErrorKind::InvalidOperation, "a namespace lies within another value"));
        }
        for value in inner {
            if value.downcast_object_ref::<Turn>().is_some() {
                turns += 1;
            } else {
                nodes += 1;
            }
            if nodes > MAX_NODES || turns > MAX_TURNS || depth == MAX_DEPTH {
                return Err(too_large());
            }
            if is_container(&value) {
                open.push((value, depth + 1));
            }
        }
    }
    state.consume_fuel((nodes + turns) as u64 / 8)?;
    Ok(value)
}

fn is_container(value: &Value) -> bool {
    !matches!(
        value.kind(),
        ValueKind::Undefined
            | ValueKind::None
            | ValueKind::Bool
            | ValueKind::Number
            | ValueKind::String
            | ValueKind::Bytes
    ) && value.downcast_object_ref::<Turn>().is_none()
}

/// The values directly in a container: of a mapping, keys and values.
fn contents(value: &Value) -> Option<Box<dyn Iterator<Item = Value>>> {
    if !is_container(value) {
        return None;
    }
    let object = value.as_object()?;
    if value.kind() == ValueKind::Map {
        return Some(Box::new(object.try_iter_pairs()?.flat_map(|(key, value)| [key, value])));
    }
    object.try_iter().map(|items| Box::new(items) as _)
}

/// The engine keeps the type to itself, but not its name.
fn is_namespace(value: &Value) -> bool {
    value.as_object().is_some_and(|object| object.type_name().ends_with("::Namespace"))
}
