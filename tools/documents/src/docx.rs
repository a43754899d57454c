//! Word documents (Office Open XML): paragraphs, headings, lists and tables of `word/document.xml`.
//!
//! Both files that are read of the archive are bounded, and elements are read one by one.

mod body;
mod styles;

use crate::{Document, DocumentError};
use quick_xml::XmlVersion;
use quick_xml::events::{BytesStart, Event};
use std::io::{Cursor, Read};
use zip::ZipArchive;
use zip::result::ZipError;

/// Bytes of the longest XML that is unpacked.
const LARGEST_XML: u64 = 64 << 20;
/// How deep elements may be in each other. Word stays far below.
const DEEPEST: usize = 256;

/// Reads a document.
pub(crate) fn read(bytes: &[u8]) -> Result<Document, DocumentError> {
    let mut archive = ZipArchive::new(Cursor::new(bytes)).map_err(damaged)?;
    let styles = part(&mut archive, "word/styles.xml")?.unwrap_or_default();
    let body = part(&mut archive, "word/document.xml")?
        .ok_or_else(|| damaged("an archive without word/document.xml"))?;
    body::read(&body, &styles::headings(&styles)?)
}

/// The document of the XML in `word/document.xml`, whose styles that in `word/styles.xml` describes.
///
/// # Errors
/// XML that is broken or too deep, and a document without text.
pub fn from_xml(body: &str, styles: &str) -> Result<Document, DocumentError> {
    body::read(body, &styles::headings(styles)?)?.checked()
}

/// A file of the archive, if it is there.
fn part(archive: &mut ZipArchive<Cursor<&[u8]>>, name: &str) -> Result<Option<String>, DocumentError> {
    let file = match archive.by_name(name) {
        Ok(file) => file,
        Err(ZipError::FileNotFound) => return Ok(None),
        Err(error) => return Err(damaged(format!("{name}: {error}"))),
    };
    let mut bytes = Vec::new();
    file.take(LARGEST_XML + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| damaged(format!("{name}: {error}")))?;
    if bytes.len() as u64 > LARGEST_XML {
        return Err(damaged(format!("{name} is longer than {LARGEST_XML} bytes")));
    }
    let text = String::from_utf8(bytes).map_err(|_| damaged(format!("{name}: expected UTF-8")))?;
    Ok(Some(text))
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
