//! Which paragraph styles are headings.

use super::{Part, attribute, val, walk};
use crate::DocumentError;
use std::collections::HashMap;

/// The levels of the styles that are headings, from 1, by the names that paragraphs call them by: Word translates those,
/// but not the names of its own styles.
pub(super) fn headings(xml: &str) -> Result<HashMap<String, u8>, DocumentError> {
    let mut headings = HashMap::new();
    let mut style = None;
    walk(xml, |part| {
        let Part::Start(start) = part else { return };
        let level = match start.local_name().as_ref() {
            "style" => {
                style = attribute(start, "styleId");
                None
            }
            "name" => val(start).and_then(|name| level_of(&name)),
            "outlineLvl" => val(start).and_then(|level| outline_level(&level)),
            _ => None,
        };
        if let (Some(style), Some(level)) = (&style, level) {
            headings.insert(style.clone(), level);
        }
    })?;
    Ok(headings)
}

/// The level that Word's own name of a style says.
fn level_of(name: &str) -> Option<u8> {
    let name = name.to_ascii_lowercase();
    if name == "title" {
        return Some(1);
    }
    name.strip_prefix("heading ")?.parse().ok().filter(|level| (1..=9).contains(level))
}

/// The level of an outline, which counts from 0; 9 is that of text.
pub(super) fn outline_level(value: &str) -> Option<u8> {
    value.parse().ok().filter(|&level: &u8| level < 9).map(|level| level + 1)
}
