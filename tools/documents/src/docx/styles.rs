//! What styles say of the text that has them.

use super::{Part, attribute, is_on, val, walk};
use crate::DocumentError;
use std::collections::{HashMap, HashSet};

/// Styles by the names that paragraphs and runs call them by: Word translates those, but not the names of its own styles.
#[derive(Default)]
pub(super) struct Styles {
    /// The levels of those that are headings, from 1.
    levels: HashMap<String, u8>,
    /// Those of hidden text.
    hidden: HashSet<String>,
}

impl Styles {
    pub(super) fn read(xml: &str) -> Result<Styles, DocumentError> {
        let mut styles = Styles::default();
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
                "vanish" if is_on(start) => {
                    styles.hidden.extend(style.clone());
                    None
                }
                _ => None,
            };
            if let (Some(style), Some(level)) = (&style, level) {
                styles.levels.insert(style.clone(), level);
            }
        })?;
        Ok(styles)
    }

    /// The level of a style that is a heading.
    pub(super) fn level(&self, style: &str) -> Option<u8> {
        self.levels.get(style).copied()
    }

    /// Whether text in a style is hidden.
    pub(super) fn hides(&self, style: &str) -> bool {
        self.hidden.contains(style)
    }
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
