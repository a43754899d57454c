//! Reading what is to be summarized.

use anyhow::{Context, Result};
use siskin_documents::{Document, pdf};
use std::io::{self, Write};
use std::path::Path;

/// How this program reads PDF files.
const WORKER: pdf::Worker = pdf::Worker { prefix: "siskin: ", arguments: &["summarize", "--pdf-worker"] };

/// A document, and what messages call it.
pub(super) struct Source {
    pub(super) name: String,
    pub(super) document: Document,
}

impl Source {
    /// Reads a file, or standard input where the path is `-`. What is unreadable in it is said.
    pub(super) fn open(path: &Path) -> Result<Source> {
        let name =
            if path == Path::new("-") { "standard input".to_owned() } else { path.display().to_string() };
        let document = Document::read(path, &WORKER).with_context(|| name.clone())?;
        if document.unreadable > 0 {
            let count = document.unreadable;
            let characters = if count == 1 { "character is" } else { "characters are" };
            // Nothing can be done where it cannot be said.
            let _ = writeln!(io::stderr(), "siskin: {name}: {count} {characters} unreadable");
        }
        Ok(Source { name, document })
    }
}
