//! The text of documents: plain text, Markdown, PDF files, Word documents and HTML.
//!
//! [`Document::read`] looks at a file's first bytes, then at the end of its name, and returns its words with the places
//! where headings and blocks begin. Each format is a module of its own; what a build has no feature for is refused by its
//! name. Files may be hostile: each reader is bounded in memory and depth, and a PDF file is read by a process of its own
//! (see [`pdf`]).
#![forbid(unsafe_code)]

#[cfg(feature = "docx")]
pub mod docx;
#[cfg(any(feature = "docx", feature = "html"))]
mod encoding;
mod error;
mod format;
#[cfg(feature = "html")]
mod html;
mod markdown;
pub mod pdf;
mod plain;
pub mod sentences;
mod structure;
pub mod support;

pub use error::DocumentError;
pub use structure::{Block, BlockKind, Document, Heading, LeftOut};

use format::Format;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// Bytes of the largest file that is read: a hundred times the longest novels.
pub const LARGEST: u64 = 256 << 20;
/// The name that stands for standard input.
const STANDARD_INPUT: &str = "-";

impl Document {
    /// Reads a file, or standard input where the path is `-`.
    ///
    /// # Errors
    /// What cannot be read, is no document of a known format, is damaged, or has no text in it.
    pub fn read(path: &Path, worker: &pdf::Worker) -> Result<Document, DocumentError> {
        let bytes =
            if path == Path::new(STANDARD_INPUT) { read(io::stdin().lock())? } else { read(open(path)?)? };
        Document::parse(bytes, path, |bytes| worker.text(bytes))
    }

    /// Reads a document's bytes; the end of `name` tells apart what bytes do not. `pdf` returns the text of a PDF file:
    /// a [`pdf::Worker`] does it safely, [`pdf::extract`] in this process.
    ///
    /// # Errors
    /// As [`Document::read`].
    pub fn parse(
        bytes: Vec<u8>,
        name: &Path,
        pdf: impl FnOnce(&[u8]) -> Result<String, DocumentError>,
    ) -> Result<Document, DocumentError> {
        let document = match Format::of(&bytes, name) {
            Format::Plain => plain::read(bytes)?,
            Format::Markdown => markdown::read(bytes)?,
            Format::Pdf => plain::document(pdf(&bytes)?),
            #[cfg(feature = "docx")]
            Format::Docx => docx::read(&bytes)?,
            #[cfg(feature = "html")]
            Format::Html => html::read(bytes)?,
            #[cfg(not(all(feature = "docx", feature = "html")))]
            format => return Err(DocumentError::NotBuilt(format.called())),
        };
        document.checked()
    }
}

fn open(path: &Path) -> Result<File, DocumentError> {
    let file = File::open(path)?;
    match file.metadata()?.is_dir() {
        true => Err(DocumentError::Folder),
        false => Ok(file),
    }
}

fn read(source: impl Read) -> Result<Vec<u8>, DocumentError> {
    let mut bytes = Vec::new();
    source.take(LARGEST + 1).read_to_end(&mut bytes)?;
    match bytes.len() as u64 <= LARGEST {
        true => Ok(bytes),
        false => Err(DocumentError::TooLong { most: LARGEST }),
    }
}
