//! Footnotes and endnotes.

use super::body::Body;
use super::styles::Styles;
use super::{Part, attribute, walk};
use crate::DocumentError;
use quick_xml::events::BytesStart;
use std::collections::HashMap;

/// The texts of notes, by the numbers that references have. Each is there once, wherever it is referred to.
#[derive(Default)]
pub(super) struct Notes(HashMap<i64, String>);

impl Notes {
    /// Reads the XML of all `footnote` or `endnote`.
    pub(super) fn read(xml: &str, element: &str, styles: &Styles) -> Result<Notes, DocumentError> {
        let mut notes = HashMap::new();
        let mut note: Option<(i64, Body<'_>)> = None;
        walk(xml, |part| match &part {
            Part::Start(start) if start.local_name().as_ref() == element => {
                note = number(start).filter(|_| is_text(start)).map(|number| (number, Body::new(styles)));
            }
            Part::End(name) if *name == element => {
                if let Some((number, body)) = note.take() {
                    let text = body.finish().text;
                    if !text.is_empty() {
                        notes.insert(number, text.trim_end().to_owned());
                    }
                }
            }
            part => {
                if let Some((_, body)) = &mut note {
                    body.take(part);
                }
            }
        })?;
        Ok(Notes(notes))
    }

    /// The note that is referred to, the first time.
    pub(super) fn take(&mut self, reference: &BytesStart<'_>) -> Option<String> {
        self.0.remove(&number(reference)?)
    }
}

fn number(start: &BytesStart<'_>) -> Option<i64> {
    attribute(start, "id")?.parse().ok()
}

/// Whether it is no line between text and notes.
fn is_text(start: &BytesStart<'_>) -> bool {
    attribute(start, "type").is_none_or(|kind| kind == "normal")
}
