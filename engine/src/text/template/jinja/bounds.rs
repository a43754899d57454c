//! How large a value may grow that a template gives a name.

use minijinja::value::ValueKind;
use minijinja::{Error, ErrorKind, State, Value};

use super::MAX_VALUES;
use super::given::Given;

/// The deepest nesting of lists and mappings.
const MAX_DEPTH: usize = 24;
/// The most values in a value, each counted as often as it is reached; also the longest `range`.
pub(super) const MAX_NODES: usize = 4096;
/// The most values in a value that are the rendering's own, which are not among those: all that it is given, and as much
/// again.
const MAX_GIVEN: usize = 2 * MAX_VALUES;

/// Returns the value, unless it nests deeper or holds more than a chat template needs. A value that is `iterated` is not
/// none either, which the engine takes for an empty list.
///
/// A namespace may be given a name, but lie in no other value: it is the only one that could come to hold itself.
pub(super) fn bounded(state: &State<'_, '_>, value: Value, iterated: Option<bool>) -> Result<Value, Error> {
    if iterated == Some(true) && value.is_none() {
        return Err(Error::new(ErrorKind::InvalidOperation, "none is not iterable"));
    }
    let too_large =
        || Error::new(ErrorKind::InvalidOperation, "a value nests too deep or holds too many others");
    let (mut nodes, mut leaves, mut given) = (1, 0, 0);
    let mut open = vec![(value.clone(), 0)];
    while let Some((outer, depth)) = open.pop() {
        let Some(inner) = contents(&outer) else { continue };
        if depth > 0 && is_namespace(&outer) {
            return Err(Error::new(ErrorKind::InvalidOperation, "a namespace lies within another value"));
        }
        for value in inner {
            if let Some(leaf) = value.downcast_object_ref::<Given>() {
                leaves += 1;
                given += leaf.values();
            } else {
                nodes += 1;
            }
            if nodes > MAX_NODES || given > MAX_GIVEN || depth == MAX_DEPTH {
                return Err(too_large());
            }
            if is_container(&value) {
                open.push((value, depth + 1));
            }
        }
    }
    state.consume_fuel((nodes + leaves) as u64 / 8)?;
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
    ) && value.downcast_object_ref::<Given>().is_none()
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
pub(super) fn is_namespace(value: &Value) -> bool {
    value.as_object().is_some_and(|object| object.type_name().ends_with("::Namespace"))
}
