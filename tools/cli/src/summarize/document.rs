//! Reading what is to be summarized.

use super::pdf;
use anyhow::{Context, Result, bail, ensure};
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// Bytes of the largest file that is read: a hundred times the longest novels.
const LARGEST: u64 = 256 << 20;
/// The name that stands for standard input.
const STANDARD_INPUT: &str = "-";

/// What a text's structure is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    /// Paragraphs with blank lines between them.
    Plain,
    /// CommonMark.
    Markdown,
}

/// A text.
#[derive(Debug)]
pub(super) struct Document {
    /// What messages call it.
    pub(super) name: String,
    /// All of it, with `\n` at the ends of lines.
    pub(super) text: String,
    pub(super) format: Format,
}

impl Document {
    /// Reads a file, or standard input where the path is `-`.
    ///
    /// # Errors
    /// What is neither UTF-8 text nor a PDF file with text in it.
    pub(super) fn open(path: &Path) -> Result<Document> {
        let from_input = path == Path::new(STANDARD_INPUT);
        let name = if from_input { "standard input".to_owned() } else { path.display().to_string() };
        let read = || -> Result<Document> {
            let bytes = if from_input { read(io::stdin().lock())? } else { read(open(path)?)? };
            let (text, format) = match pdf::is_pdf(&bytes) {
                true => (pdf::text(&bytes)?, Format::Plain),
                false => (plain(bytes)?, format_of(path)),
            };
            ensure!(!text.trim().is_empty(), "there is no text in it");
            Ok(Document { name: name.clone(), text, format })
        };
        read().with_context(|| name.clone())
    }
}

fn open(path: &Path) -> Result<File> {
    let file = File::open(path)?;
    ensure!(!file.metadata()?.is_dir(), "found a folder, expected a file");
    Ok(file)
}

fn read(source: impl Read) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    source.take(LARGEST + 1).read_to_end(&mut bytes)?;
    ensure!(bytes.len() as u64 <= LARGEST, "longer than {LARGEST} bytes");
    Ok(bytes)
}

/// The text of a file that is nothing but text.
fn plain(bytes: Vec<u8>) -> Result<String> {
    let text = match String::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => {
            let offset = error.utf8_error().valid_up_to();
            bail!("expected UTF-8 text or a PDF file, byte {offset} is no text")
        }
    };
    if let Some(offset) = text.find('\0') {
        bail!("expected UTF-8 text or a PDF file, byte {offset} is no text");
    }
    // Some editors begin a file with a byte order mark, and some end lines as typewriters did.
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    Ok(text.replace("\r\n", "\n").replace('\r', "\n"))
}

fn format_of(path: &Path) -> Format {
    let extension = path.extension().unwrap_or_default();
    match ["md", "markdown"].iter().any(|known| extension.eq_ignore_ascii_case(known)) {
        true => Format::Markdown,
        false => Format::Plain,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn texts_are_read_as_they_are_but_for_the_ends_of_lines() {
        let folder = tempfile::tempdir().unwrap();
        let open = |name: &str, bytes: &[u8]| {
            let path = folder.path().join(name);
            fs::write(&path, bytes).unwrap();
            Document::open(&path)
        };
        let document = open("a.MD", b"\xef\xbb\xbf# A\r\n\r\nb\rc\n").unwrap();
        assert_eq!((document.text.as_str(), document.format), ("# A\n\nb\nc\n", Format::Markdown));
        assert_eq!(open("md", b"# A").unwrap().format, Format::Plain);
        let refused = |bytes: &[u8]| format!("{:#}", open("a.txt", bytes).unwrap_err());
        assert!(refused(b" \n\t").ends_with("a.txt: there is no text in it"));
        assert!(refused(b"ab\xffc").ends_with("a.txt: expected UTF-8 text or a PDF file, byte 2 is no text"));
        assert!(refused(b"abc\0").ends_with("a.txt: expected UTF-8 text or a PDF file, byte 3 is no text"));
        let folder = format!("{:#}", Document::open(folder.path()).unwrap_err());
        assert!(folder.ends_with("found a folder, expected a file"), "{folder}");
    }
}
