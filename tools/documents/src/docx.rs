//! Word documents (Office Open XML): paragraphs, headings, lists, tables and notes.
//!
//! The files that are read of the archive are bounded together, and elements are read one by one.

mod body;
mod notes;
mod package;
mod styles;

use crate::{Document, DocumentError};
use body::Body;
use notes::Notes;
use package::Package;
use quick_xml::XmlVersion;
use quick_xml::events::{BytesStart, Event};
use styles::Styles;

/// How deep elements may be in each other. Word stays far below.
const DEEPEST: usize = 256;

/// Reads a document.
pub(crate) fn read(bytes: &[u8]) -> Result<Document, DocumentError> {
    let mut package = Package::open(bytes)?;
    let name = package.document()?;
    let mut beside = package.relationships(&name)?;
    let styles = package.beside(&name, &mut beside, "styles")?;
    let styles = Styles::read(&styles.unwrap_or_default())?;
    let mut notes = |part, element| match package.beside(&name, &mut beside, part)? {
        Some(xml) => Notes::read(&xml, element, &styles),
        None => Ok(Notes::default()),
    };
    let (footnotes, endnotes) = (notes("footnotes", "footnote")?, notes("endnotes", "endnote")?);
    let body = package.part(&name)?.ok_or_else(|| damaged(format!("an archive without {name}")))?;
    Body::new(&styles).with_notes(footnotes, endnotes).read(&body)
}

/// The document of the XML in `word/document.xml`, whose styles that in `word/styles.xml` describes.
///
/// # Errors
/// XML that is broken or too deep, and a document without text.
pub fn from_xml(body: &str, styles: &str) -> Result<Document, DocumentError> {
    Body::new(&Styles::read(styles)?).read(body)?.checked()
}

/// Hands over the elements of XML: what begins, with whether it is empty, what ends, and text.
fn walk(xml: &str, mut take: impl FnMut(Part<'_>)) -> Result<(), DocumentError> {
    let mut reader = quick_xml::Reader::from_str(xml.strip_prefix('\u{feff}').unwrap_or(xml));
    let mut depth = 0;
    loop {
        let at = reader.buffer_position();
        let bad = |why: &dyn std::fmt::Display| damaged(format!("XML, byte {at}: {why}"));
        match reader.read_event().map_err(|error| bad(&error))? {
            Event::Start(start) => {
                depth += 1;
                if depth > DEEPEST {
                    return Err(bad(&format!("more than {DEEPEST} elements in each other")));
                }
                take(Part::Start(&start));
            }
            Event::Empty(start) => {
                take(Part::Start(&start));
                take(Part::End(start.local_name().as_ref()));
            }
            Event::End(end) => {
                depth -= 1;
                take(Part::End(end.local_name().as_ref()));
            }
            Event::Text(text) => take(Part::Text(&text)),
            Event::CData(text) => take(Part::Text(&text)),
            Event::GeneralRef(reference) => {
                match reference.resolve_char_ref().map_err(|error| bad(&error))? {
                    Some(character) => take(Part::Text(character.encode_utf8(&mut [0; 4]))),
                    None => match quick_xml::escape::resolve_predefined_entity(&reference) {
                        Some(text) => take(Part::Text(text)),
                        None => return Err(bad(&format!("an entity &{};", &*reference))),
                    },
                }
            }
            Event::Eof if depth > 0 => return Err(bad(&"the end, within an element")),
            Event::Eof => return Ok(()),
            Event::Comment(_) | Event::Decl(_) | Event::PI(_) | Event::DocType(_) => {}
        }
    }
}

/// A part of XML. Names are without what stands for their namespace.
enum Part<'a> {
    Start(&'a BytesStart<'a>),
    End(&'a str),
    Text(&'a str),
}

/// The attribute `val`, which most elements of properties have.
fn val(start: &BytesStart<'_>) -> Option<String> {
    attribute(start, "val")
}

/// Whether a property that is there is on.
fn is_on(start: &BytesStart<'_>) -> bool {
    val(start).is_none_or(|value| !matches!(value.as_str(), "0" | "false" | "off"))
}

fn attribute(start: &BytesStart<'_>, name: &str) -> Option<String> {
    for attribute in start.attributes().with_checks(false).filter_map(Result::ok) {
        if attribute.key.local_name().as_ref() == name {
            return attribute.normalized_value(XmlVersion::Implicit1_0).ok().map(|value| value.into_owned());
        }
    }
    None
}

/// An error whose words may be the file's own: they are kept on one line, and short.
fn damaged(why: impl ToString) -> DocumentError {
    /// Characters of the longest reason.
    const LONGEST: usize = 200;
    let plain = |c: char| if c.is_control() { ' ' } else { c };
    DocumentError::Damaged {
        what: "Word document",
        why: why.to_string().chars().map(plain).take(LONGEST).collect(),
    }
}

#[cfg(test)]
mod tests;
