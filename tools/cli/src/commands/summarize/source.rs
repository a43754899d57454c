//! Reading what is to be summarized.

use anyhow::{Context, Result};
use siskin_documents::{Document, LeftOut, pdf};
use std::io::{self, Write};
use std::path::Path;

/// How this program reads PDF files.
const WORKER: pdf::Worker = pdf::Worker {
    prefix: "siskin: ",
    arguments: &["summarize", "--pdf-worker"],
    most: siskin_documents::LARGEST,
    memory: None,
};

/// A document's prose, and what messages call it.
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
        let (document, left_out) = document.prose();
        if left_out != LeftOut::default() {
            let LeftOut { code, tables, links } = left_out;
            let kinds = [
                (code, "block of code", "blocks of code"),
                (tables, "table", "tables"),
                (links, "list of links", "lists of links"),
            ];
            let counts: Vec<String> = kinds
                .into_iter()
                .filter(|(count, ..)| *count > 0)
                .map(|(count, one, many)| format!("{count} {}", if count == 1 { one } else { many }))
                .collect();
            let _ = writeln!(
                io::stderr(),
                "siskin: {name}: left out, as they are no prose: {}",
                counts.join(", ")
            );
        }
        Ok(Source { name, document })
    }

    /// What it says, its title among it.
    pub(super) fn texts(&self) -> impl Iterator<Item = &str> {
        [self.name.as_str(), self.document.text.as_str()].into_iter().chain(self.document.title.as_deref())
    }
}
