//! The filters that divide lists: `batch`, `slice` and `groupby`.

use std::fmt;
use std::sync::Arc;

use minijinja::value::{Enumerator, Kwargs, Object, ObjectRepr};
use minijinja::{Environment, Error, ErrorKind, State, Value};

use super::filters::{SortKey, charge};
use super::{bounds, repr};

pub(super) fn add_to(environment: &mut Environment<'static>) {
    environment.add_filter("batch", batch);
    environment.add_filter("slice", slice);
    environment.add_filter("groupby", groupby);
}

fn invalid(problem: &'static str) -> Error {
    Error::new(ErrorKind::InvalidOperation, problem)
}

/// The items of a list, of which there may be as many as in any value.
fn items_of(state: &State<'_, '_>, value: &Value) -> Result<Vec<Value>, Error> {
    let items: Vec<Value> = value.try_iter()?.take(bounds::MAX_NODES + 1).collect();
    if items.len() > bounds::MAX_NODES {
        return Err(invalid("a list that is too long to be divided"));
    }
    state.consume_fuel(items.len() as u64)?;
    Ok(items)
}

/// A number of parts or items, and what fills up those that have too few.
fn arguments(
    count: Option<usize>,
    fill: Option<Value>,
    name: &str,
    options: &Kwargs,
) -> Result<(usize, Option<Value>), Error> {
    let count = count.map_or_else(|| options.get(name), Ok)?;
    let fill = fill.map_or_else(|| options.get::<Option<Value>>("fill_with"), |fill| Ok(Some(fill)))?;
    options.assert_all_used()?;
    match count {
        1..=bounds::MAX_NODES => Ok((count, fill.filter(|fill| !fill.is_none()))),
        _ => Err(invalid("a number of parts that is 0 or too large")),
    }
}

/// The filter `batch(linecount, fill_with=None)`: lists of so many items.
fn batch(
    state: &State<'_, '_>,
    value: &Value,
    count: Option<usize>,
    fill: Option<Value>,
    options: Kwargs,
) -> Result<Vec<Value>, Error> {
    let (count, fill) = arguments(count, fill, "linecount", &options)?;
    let items = items_of(state, value)?;
    let part = |items: &[Value]| {
        let missing = if fill.is_some() { count - items.len() } else { 0 };
        items.iter().cloned().chain(std::iter::repeat_n(fill.clone().unwrap_or_default(), missing)).collect()
    };
    Ok(items.chunks(count).map(part).collect())
}

/// The filter `slice(slices, fill_with=None)`: so many lists, the first of which have an item more where that is needed.
fn slice(
    state: &State<'_, '_>,
    value: &Value,
    count: Option<usize>,
    fill: Option<Value>,
    options: Kwargs,
) -> Result<Vec<Value>, Error> {
    let (count, fill) = arguments(count, fill, "slices", &options)?;
    let items = items_of(state, value)?;
    state.consume_fuel(count as u64)?;
    let (each, more) = (items.len() / count, items.len() % count);
    let mut rest = items.into_iter();
    let parts = (0..count).map(|part| {
        let is_longer = part < more;
        let taken = rest.by_ref().take(each + usize::from(is_longer));
        let filled: Vec<Value> = taken.chain(fill.clone().filter(|_| !is_longer)).collect();
        Value::from(filled)
    });
    Ok(parts.collect())
}

/// The filter `groupby(attribute, default=None, case_sensitive=False)`: pairs of what items have in common and these items,
/// in the order of the first.
fn groupby(
    state: &State<'_, '_>,
    value: &Value,
    attribute: Option<&str>,
    default: Option<Value>,
    options: Kwargs,
) -> Result<Vec<Value>, Error> {
    let attribute = attribute.map_or_else(|| options.get::<&str>("attribute"), Ok)?;
    let default = default.map_or_else(|| options.get::<Option<Value>>("default"), |value| Ok(Some(value)))?;
    let case_sensitive = options.get::<Option<bool>>("case_sensitive")?.unwrap_or(false);
    options.assert_all_used()?;
    let default = default.unwrap_or_default();
    let key = SortKey::by(attribute, case_sensitive);
    let items = items_of(state, value)?;
    charge(state, items.len())?;
    let mut keyed: Vec<(Vec<Value>, Value, Value)> = items
        .into_iter()
        .map(|item| {
            let found = key.found(&item);
            let found = if found.is_undefined() { default.clone() } else { found };
            (vec![key.fold(&found)], found, item)
        })
        .collect();
    keyed.sort_by(|(one, ..), (other, ..)| one.cmp(other));
    let mut groups: Vec<(Vec<Value>, Group)> = Vec::new();
    for (key, grouper, item) in keyed {
        match groups.last_mut() {
            Some((last, group)) if *last == key => group.items.push(item),
            _ => groups.push((key, Group { grouper, items: vec![item] })),
        }
    }
    Ok(groups.into_iter().map(|(_, group)| Value::from_object(group)).collect())
}

/// A pair of what items have in common and these items, which have names too.
#[derive(Debug)]
struct Group {
    grouper: Value,
    items: Vec<Value>,
}

impl Object for Group {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Seq
    }

    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        match (key.as_usize(), key.as_str()) {
            (Some(0), _) | (_, Some("grouper")) => Some(self.grouper.clone()),
            (Some(1), _) | (_, Some("list")) => Some(Value::from(self.items.clone())),
            _ => None,
        }
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Seq(2)
    }

    fn render(self: &Arc<Self>, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pair = [self.grouper.clone(), Value::from(self.items.clone())];
        repr::write_items(pair.into_iter(), ["(", ")"], out)
    }
}
