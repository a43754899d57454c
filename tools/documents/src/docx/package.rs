//! The parts of a package (ECMA-376, part 2): an archive of XML files that say where the others are.

use super::{Part, attribute, damaged, walk};
use crate::DocumentError;
use crate::encoding::{ByteOrder, utf16};
use quick_xml::events::BytesStart;
use std::io::{Cursor, Read};
use zip::ZipArchive;
use zip::result::ZipError;

/// Bytes of XML that are unpacked, in all parts.
pub(super) const LARGEST_XML: u64 = 64 << 20;
/// Where a document is if nothing says so.
const USUAL: &str = "word/document.xml";

pub(super) struct Package<'a> {
    archive: ZipArchive<Cursor<&'a [u8]>>,
    /// Bytes that may still be unpacked.
    left: u64,
}

/// What a part leads to: the last words of the types, and the names of the parts.
pub(super) struct Relationships(Vec<(String, String)>);

impl<'a> Package<'a> {
    pub(super) fn open(bytes: &'a [u8]) -> Result<Package<'a>, DocumentError> {
        let archive = ZipArchive::new(Cursor::new(bytes)).map_err(damaged)?;
        Ok(Package { archive, left: LARGEST_XML })
    }

    /// The name of the part that is the document: the package leads to it, or its type says so.
    ///
    /// # Errors
    /// A package of something else.
    pub(super) fn document(&mut self) -> Result<String, DocumentError> {
        let led_to = self.relationships("")?.take("officeDocument");
        let mut typed = None;
        let mut of_other_type = false;
        if let Some(types) = self.part("[Content_Types].xml")? {
            each(&types, "Override", |start| {
                let (Some(name), Some(kind)) =
                    (attribute(start, "PartName"), attribute(start, "ContentType"))
                else {
                    return;
                };
                let name = name.trim_start_matches('/').to_owned();
                let is_word = is_word(&kind);
                of_other_type |= !is_word && led_to.as_ref() == Some(&name);
                if is_word {
                    typed.get_or_insert(name);
                }
            })?;
        }
        let name = led_to.filter(|_| !of_other_type).or(typed);
        match name {
            None if of_other_type => Err(damaged("a package of another kind of document")),
            name => Ok(name.unwrap_or_else(|| USUAL.to_owned())),
        }
    }

    /// What a part leads to; the package itself has no name.
    pub(super) fn relationships(&mut self, part: &str) -> Result<Relationships, DocumentError> {
        let (folder, name) = part.rsplit_once('/').map_or(("", part), |(folder, name)| (folder, name));
        let slash = if folder.is_empty() { "" } else { "/" };
        let mut found = Vec::new();
        if let Some(xml) = self.part(&format!("{folder}{slash}_rels/{name}.rels"))? {
            each(&xml, "Relationship", |start| {
                let kind =
                    attribute(start, "Type").and_then(|kind| Some(kind.rsplit_once('/')?.1.to_owned()));
                let inside = attribute(start, "TargetMode").is_none_or(|mode| mode != "External");
                if let (Some(kind), Some(target), true) = (kind, attribute(start, "Target"), inside)
                    && Relationships::KINDS.contains(&kind.as_str())
                {
                    found.push((kind, resolve(folder, &target)));
                }
            })?;
        }
        Ok(Relationships(found))
    }

    /// The XML that a part beside the `document` has: the one that is led to, or else the one of the usual name.
    pub(super) fn beside(
        &mut self,
        document: &str,
        relationships: &mut Relationships,
        kind: &str,
    ) -> Result<Option<String>, DocumentError> {
        let folder = document.rsplit_once('/').map_or("", |(folder, _)| folder);
        let name = relationships.take(kind).unwrap_or_else(|| resolve(folder, &format!("{kind}.xml")));
        self.part(&name)
    }

    /// The XML of a part, if it is there.
    pub(super) fn part(&mut self, name: &str) -> Result<Option<String>, DocumentError> {
        let Some(index) = self.index(name) else { return Ok(None) };
        let bad = |why: &dyn std::fmt::Display| damaged(format!("{name}: {why}"));
        let file = match self.archive.by_index(index) {
            Ok(file) => file,
            Err(ZipError::FileNotFound) => return Ok(None),
            Err(error) => return Err(bad(&error)),
        };
        let mut bytes = Vec::new();
        file.take(self.left + 1).read_to_end(&mut bytes).map_err(|error| bad(&error))?;
        self.left = self
            .left
            .checked_sub(bytes.len() as u64)
            .ok_or_else(|| bad(&format!("more than {LARGEST_XML} bytes of XML in all")))?;
        let text = match ByteOrder::of_markup(&bytes) {
            Some(order) => utf16(&bytes, order),
            None => String::from_utf8(bytes).ok(),
        };
        text.map(Some).ok_or_else(|| bad(&"expected UTF-8 or UTF-16"))
    }

    /// Where a part is in the archive. Capital letters tell no parts apart.
    fn index(&self, name: &str) -> Option<usize> {
        self.archive.index_for_name(name).or_else(|| {
            let mut names = self.archive.file_names().filter_map(Result::ok);
            self.archive.index_for_name(&names.find(|found| found.eq_ignore_ascii_case(name))?)
        })
    }
}

impl Relationships {
    /// Those that anybody asks for.
    const KINDS: [&str; 4] = ["officeDocument", "styles", "footnotes", "endnotes"];

    /// The first part of a type.
    fn take(&mut self, kind: &str) -> Option<String> {
        let index = self.0.iter().position(|(found, _)| found == kind)?;
        Some(self.0.swap_remove(index).1)
    }
}

/// Whether a content type is that of a Word document or template, with macros or without.
fn is_word(kind: &str) -> bool {
    let kind = kind.to_ascii_lowercase();
    kind.ends_with(".main+xml") && (kind.contains("wordprocessingml") || kind.contains("ms-word"))
}

/// Shows `see` each element of a name.
fn each(xml: &str, name: &str, mut see: impl FnMut(&BytesStart<'_>)) -> Result<(), DocumentError> {
    walk(xml, |part| match part {
        Part::Start(start) if start.local_name().as_ref() == name => see(start),
        _ => {}
    })
}

/// The name of the part that `target` is, seen from a folder.
fn resolve(folder: &str, target: &str) -> String {
    let from = if target.starts_with('/') { "" } else { folder };
    let mut names = Vec::new();
    for name in from.split('/').chain(target.split('/')) {
        match name {
            "" | "." => {}
            ".." => drop(names.pop()),
            name => names.push(name),
        }
    }
    names.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_seen_from_their_folder() {
        for (folder, target, expected) in [
            ("", "word/document2.xml", "word/document2.xml"),
            ("word", "styles.xml", "word/styles.xml"),
            ("word", "/word/styles.xml", "word/styles.xml"),
            ("a/b", ".././../../c.xml", "c.xml"),
        ] {
            assert_eq!(resolve(folder, target), expected);
        }
    }
}
