//! JSON whose long arrays are written item by item, as it is read: nothing holds all of it at once.

use axum::response::Response;
use serde_json::Value;
use std::collections::VecDeque;
use std::hash::{BuildHasher, RandomState};

/// The items of an array, each as JSON.
type Items = Box<dyn Iterator<Item = String> + Send>;

/// Arrays that stand in a value by a mark each, until it is written.
pub(crate) struct Written {
    /// What a mark begins with. It is drawn, so that no text spells it.
    mark: String,
    arrays: Vec<Items>,
}

impl Default for Written {
    fn default() -> Self {
        let drawn = || RandomState::new().hash_one(0);
        Self { mark: format!("{:016x}{:016x}-", drawn(), drawn()), arrays: Vec::new() }
    }
}

impl Written {
    /// What stands in a value for the array of these items.
    pub(crate) fn array(&mut self, items: impl Iterator<Item = String> + Send + 'static) -> Value {
        let place = Value::String(format!("{}{}", self.mark, self.arrays.len()));
        self.arrays.push(Box::new(items));
        place
    }

    /// The value as a response, whole where it has none of the arrays.
    pub(crate) fn response(self, value: &Value) -> Response {
        match self.arrays.is_empty() {
            true => super::json(200, value),
            false => super::pieces(self.write(value)),
        }
    }

    /// The value as text, in pieces. An array stands once in it, or not at all.
    pub(crate) fn write(self, value: &Value) -> impl Iterator<Item = String> + Send + 'static {
        let text = value.to_string();
        let mark = format!("\"{}", self.mark);
        let mut parts: VecDeque<String> = text.split(&mark).map(str::to_owned).collect();
        let first = parts.pop_front().into_iter();
        let mut arrays: Vec<Option<Items>> = self.arrays.into_iter().map(Some).collect();
        first.chain(parts.into_iter().flat_map(move |part| {
            // The number of the array, the end of its text, and what follows.
            let (number, rest) = part.split_once('"').unwrap_or_default();
            let array = number.parse().ok().and_then(|at: usize| arrays.get_mut(at)?.take());
            array_of(array, rest.to_owned())
        }))
    }
}

fn array_of(items: Option<Items>, rest: String) -> impl Iterator<Item = String> {
    let items = items.into_iter().flatten().enumerate();
    let items = items.map(|(at, item)| if at == 0 { item } else { format!(",{item}") });
    ["[".to_owned()].into_iter().chain(items).chain([format!("]{rest}")])
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn arrays_stand_where_their_marks_did() {
        let mut written = Written::default();
        let (none, two) = (written.array(std::iter::empty()), written.array((1..3).map(|n| n.to_string())));
        let value = json!({"a": two, "b": {"c": none, "d": "x"}, "e": "]"});
        let text: String = written.write(&value).collect();
        let found: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(found, json!({"a": [1, 2], "b": {"c": [], "d": "x"}, "e": "]"}));
        assert_eq!(Written::default().write(&json!([1])).collect::<String>(), "[1]");
    }
}
