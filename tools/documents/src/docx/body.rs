//! The text of a document.

use super::styles::outline_level;
use super::{Part, val, walk};
use crate::structure::Builder;
use crate::{BlockKind, Document, DocumentError};
use quick_xml::events::BytesStart;
use std::collections::HashMap;

/// Elements that are left out: what was moved away or deleted, and what is there a second time for older programs.
const LEFT_OUT: &[&str] = &["del", "moveFrom", "Fallback"];

/// Reads a document's XML.
pub(super) fn read(xml: &str, headings: &HashMap<String, u8>) -> Result<Document, DocumentError> {
    let mut body = Body::new(headings);
    walk(xml, |part| body.take(&part))?;
    Ok(body.builder.finish())
}

/// What a paragraph says of itself.
#[derive(Default)]
struct Paragraph {
    level: Option<u8>,
    item: bool,
    /// Whether some of its text was read.
    begun: bool,
}

struct Body<'a> {
    headings: &'a HashMap<String, u8>,
    builder: Builder,
    /// Those that are open: text boxes have paragraphs within paragraphs.
    paragraphs: Vec<Paragraph>,
    /// Whether what was written last is a list.
    list: bool,
    tables: usize,
    cell: bool,
    /// Whether text belongs to the document.
    text: bool,
    /// Elements that are open since one that is left out.
    left_out: usize,
}

impl<'a> Body<'a> {
    fn new(headings: &'a HashMap<String, u8>) -> Body<'a> {
        Body {
            headings,
            builder: Builder::default(),
            paragraphs: Vec::new(),
            list: false,
            tables: 0,
            cell: false,
            text: false,
            left_out: 0,
        }
    }

    fn take(&mut self, part: &Part<'_>) {
        match part {
            Part::Start(start) if self.left_out > 0 || LEFT_OUT.contains(&start.local_name().as_ref()) => {
                self.left_out += 1;
            }
            Part::End(_) if self.left_out > 0 => self.left_out -= 1,
            _ if self.left_out > 0 => {}
            Part::Start(start) => self.start(start),
            Part::End(name) => self.end(name),
            Part::Text(text) if self.text => {
                self.begin_text();
                self.builder.push(text);
            }
            Part::Text(_) => {}
        }
    }

    fn start(&mut self, start: &BytesStart<'_>) {
        match start.local_name().as_ref() {
            "p" => {
                if !self.paragraphs.is_empty() && self.tables == 0 {
                    self.end_paragraph();
                }
                self.paragraphs.push(Paragraph::default());
            }
            "pStyle" => {
                let level = val(start).and_then(|style| self.headings.get(&style).copied());
                self.properties(|paragraph| paragraph.level = level);
            }
            "outlineLvl" => {
                let level = val(start).and_then(|level| outline_level(&level));
                self.properties(|paragraph| paragraph.level = level);
            }
            "numPr" => self.properties(|paragraph| paragraph.item = true),
            "tbl" => {
                if self.tables == 0 {
                    self.builder.end_block();
                    self.builder.is(BlockKind::Table);
                    self.list = false;
                }
                self.tables += 1;
            }
            "tr" => {
                self.builder.end_line();
                self.cell = false;
            }
            "tc" => {
                let follows = std::mem::replace(&mut self.cell, true);
                if follows {
                    self.builder.push(" | ");
                }
            }
            "t" => self.text = true,
            "hyperlink" => self.builder.link(true),
            "tab" => self.builder.push(" "),
            "noBreakHyphen" => self.builder.push("-"),
            "br" | "cr" if self.tables > 0 => self.builder.push(" "),
            "br" | "cr" => self.builder.end_line(),
            _ => {}
        }
    }

    fn end(&mut self, name: &str) {
        match name {
            "p" => {
                self.end_paragraph();
                self.paragraphs.pop();
            }
            "hyperlink" => self.builder.link(false),
            "t" => self.text = false,
            "tr" => self.builder.end_line(),
            "tbl" => {
                self.tables = self.tables.saturating_sub(1);
                if self.tables == 0 {
                    self.builder.end_block();
                }
            }
            _ => {}
        }
    }

    fn properties(&mut self, set: impl FnOnce(&mut Paragraph)) {
        if let Some(paragraph) = self.paragraphs.last_mut() {
            set(paragraph);
        }
    }

    /// Begins a paragraph's text, unless it has begun: as an item of a list, or apart from the list before it.
    fn begin_text(&mut self) {
        let Some(paragraph) = self.paragraphs.last_mut() else { return };
        if self.tables > 0 || std::mem::replace(&mut paragraph.begun, true) {
            return;
        }
        let item = paragraph.item && paragraph.level.is_none();
        if std::mem::replace(&mut self.list, item) != item {
            self.builder.end_block();
        }
        if item {
            self.builder.push("- ");
        }
    }

    fn end_paragraph(&mut self) {
        if self.tables > 0 {
            self.builder.push(" ");
            return;
        }
        match self.paragraphs.last().and_then(|paragraph| paragraph.level) {
            Some(level) => self.builder.end_heading(level),
            None if self.list => self.builder.end_line(),
            None => self.builder.end_block(),
        }
    }
}
