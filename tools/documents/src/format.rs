use crate::pdf;
use std::path::Path;

/// What a document is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// Paragraphs with blank lines between them.
    Plain,
    /// CommonMark.
    Markdown,
    Pdf,
    /// Office Open XML, as Word writes it.
    Docx,
    Html,
}

impl Format {
    /// The format of a file with these bytes and this name. Bytes count more: what begins as a PDF file is one.
    pub(crate) fn of(bytes: &[u8], name: &Path) -> Format {
        let ends_in = |known: &[&str]| {
            name.extension().is_some_and(|e| known.iter().any(|k| e.eq_ignore_ascii_case(k)))
        };
        if pdf::is_pdf(bytes) {
            Format::Pdf
        } else if bytes.starts_with(b"PK\x03\x04") {
            Format::Docx
        } else if ends_in(&["html", "htm", "xhtml"]) || begins_as_html(bytes) {
            Format::Html
        } else if ends_in(&["md", "markdown"]) {
            Format::Markdown
        } else {
            Format::Plain
        }
    }

    /// What messages call a file of it.
    #[cfg(not(all(feature = "docx", feature = "html")))]
    pub(crate) fn called(self) -> &'static str {
        match self {
            Format::Plain | Format::Markdown => "a text",
            Format::Pdf => "a PDF file",
            Format::Docx => "a Word document",
            Format::Html => "an HTML file",
        }
    }
}

/// Whether a text says at its beginning that it is HTML, as what a browser saved does.
fn begins_as_html(bytes: &[u8]) -> bool {
    /// Bytes of white space that may be before, and of what says so.
    const HEAD: usize = 1024;
    let mut head = bytes.get(..HEAD).unwrap_or(bytes).to_vec();
    let is_utf16 =
        [&b"\xff\xfe"[..], b"\xfe\xff", b"<\0", b"\0<"].iter().any(|start| head.starts_with(start));
    if is_utf16 {
        head.retain(|byte| !matches!(byte, 0 | 0xfe | 0xff));
    }
    let text = head.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&head).trim_ascii_start();
    let begins = |with: &[u8]| text.get(..with.len()).is_some_and(|found| found.eq_ignore_ascii_case(with));
    begins(b"<!doctype html") || begins(b"<html")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_count_more_than_names() {
        for (bytes, name, expected) in [
            (&b"# A"[..], "a.MD", Format::Markdown),
            (b"# A", "md", Format::Plain),
            (b"%PDF-1.7", "a.md", Format::Pdf),
            (b"PK\x03\x04", "a.txt", Format::Docx),
            (b"\xef\xbb\xbf\n<!DOCTYPE HTML>", "-", Format::Html),
            (b"<p>", "a.Htm", Format::Html),
            (b"<p>", "a.txt", Format::Plain),
        ] {
            assert_eq!(Format::of(bytes, Path::new(name)), expected, "{name}");
        }
    }
}
