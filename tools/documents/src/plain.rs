//! Files that are nothing but text.

use crate::{Block, BlockKind, Document, DocumentError};

/// Reads a text whose paragraphs have blank lines between them.
pub(crate) fn read(bytes: Vec<u8>) -> Result<Document, DocumentError> {
    Ok(document(text(bytes)?))
}

/// A text with its paragraphs.
pub(crate) fn document(text: String) -> Document {
    Document { blocks: paragraphs(&text), text, ..Document::default() }
}

/// The text in bytes, with `\n` at the ends of lines and U+FFFD for NUL.
pub(crate) fn text(bytes: Vec<u8>) -> Result<String, DocumentError> {
    let text = String::from_utf8(bytes)
        .map_err(|error| DocumentError::NotText { offset: error.utf8_error().valid_up_to() })?;
    Ok(normal(&text))
}

/// A text with `\n` at the ends of lines and U+FFFD for NUL.
pub(crate) fn normal(text: &str) -> String {
    // Some editors begin a file with a byte order mark, and some end lines as typewriters did.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    text.replace("\r\n", "\n").replace('\r', "\n").replace('\0', "\u{fffd}")
}

/// Where paragraphs begin: behind blank lines, and on a new page.
fn paragraphs(text: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let (mut offset, mut blank) = (0, true);
    for line in text.split_inclusive('\n') {
        let is_blank = line.trim().is_empty();
        if !is_blank && (blank || line.starts_with('\u{c}')) {
            blocks.push(Block { start: offset, kind: BlockKind::Prose });
        }
        blank = is_blank;
        offset += line.len();
    }
    blocks
}

#[cfg(test)]
mod tests {
    use crate::{Document, DocumentError};
    use std::path::Path;

    fn parse(bytes: &[u8]) -> Result<Document, String> {
        let no_pdf = |_: &[u8]| Err(DocumentError::Scan);
        Document::parse(bytes.to_vec(), Path::new("a.txt"), no_pdf).map_err(|error| error.to_string())
    }

    #[test]
    fn texts_are_read_as_they_are_but_for_the_ends_of_lines() {
        let document = parse(b"\xef\xbb\xbfA\r\n\r\nb\rc\n").unwrap();
        let starts: Vec<_> = document.blocks.iter().map(|block| block.start).collect();
        assert_eq!((document.text.as_str(), starts), ("A\n\nb\nc\n", vec![0, 3]));
    }

    #[test]
    fn what_is_no_text_is_counted_or_refused() {
        assert_eq!(parse("It costs 5\0 \u{fffd}".as_bytes()).unwrap().unreadable, 2);
        assert_eq!(parse("It costs 5\0".as_bytes()).unwrap().text, "It costs 5\u{fffd}");
        for (bytes, expected) in [
            (&b" \n\t"[..], "there is no text in it"),
            (b"ab\xffc", "expected UTF-8 text, or a PDF, Word (.docx) or HTML file: byte 2 is no text"),
            ("\u{fffd}\u{fffd} a".as_bytes(), "mostly unreadable: 2 of 3 characters are no text"),
            (b"U\0T\0F\0-\x001\x006\0", "mostly unreadable: 6 of 12 characters are no text"),
        ] {
            assert_eq!(parse(bytes).unwrap_err(), expected);
        }
    }
}
