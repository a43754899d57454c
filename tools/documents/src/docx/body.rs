//! The text of a document.

use super::notes::Notes;
use super::styles::{Styles, outline_level};
use super::{Part, is_on, val, walk};
use crate::structure::Builder;
use crate::{BlockKind, Document, DocumentError};
use quick_xml::events::BytesStart;

/// Elements that are left out: what was moved away or deleted, what properties were, and what is there a second time for
/// older programs.
const LEFT_OUT: &[&str] = &["del", "moveFrom", "pPrChange", "rPrChange", "Fallback"];

/// What a paragraph says of itself.
#[derive(Default)]
struct Paragraph {
    level: Option<u8>,
    item: bool,
    /// Whether its style hides its text.
    hidden: bool,
    /// Whether some of its text was read.
    begun: bool,
}

pub(super) struct Body<'a> {
    styles: &'a Styles,
    footnotes: Notes,
    endnotes: Notes,
    builder: Builder,
    /// Notes to the block that is being written, which follow it.
    notes: Vec<String>,
    /// Whether each run that is open is hidden: text boxes have runs within runs.
    runs: Vec<bool>,
    /// Whether properties are those of a paragraph, not of a run.
    of_paragraph: bool,
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
    pub(super) fn new(styles: &'a Styles) -> Body<'a> {
        Body {
            styles,
            footnotes: Notes::default(),
            endnotes: Notes::default(),
            builder: Builder::default(),
            notes: Vec::new(),
            runs: Vec::new(),
            of_paragraph: false,
            paragraphs: Vec::new(),
            list: false,
            tables: 0,
            cell: false,
            text: false,
            left_out: 0,
        }
    }

    pub(super) fn with_notes(self, footnotes: Notes, endnotes: Notes) -> Body<'a> {
        Body { footnotes, endnotes, ..self }
    }

    /// Reads a document's XML.
    pub(super) fn read(mut self, xml: &str) -> Result<Document, DocumentError> {
        walk(xml, |part| self.take(&part))?;
        Ok(self.finish())
    }

    pub(super) fn finish(mut self) -> Document {
        self.end_block();
        self.builder.finish()
    }

    pub(super) fn take(&mut self, part: &Part<'_>) {
        match part {
            Part::Start(start) if self.left_out > 0 || LEFT_OUT.contains(&start.local_name().as_ref()) => {
                self.left_out += 1;
            }
            Part::End(_) if self.left_out > 0 => self.left_out -= 1,
            _ if self.left_out > 0 => {}
            Part::Start(start) => self.start(start),
            Part::End(name) => self.end(name),
            Part::Text(text) if self.text && !self.is_hidden() => {
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
            "pPr" => self.of_paragraph = true,
            "pStyle" => {
                let style = val(start).unwrap_or_default();
                let (level, hidden) = (self.styles.level(&style), self.styles.hides(&style));
                self.properties(|paragraph| (paragraph.level, paragraph.hidden) = (level, hidden));
            }
            "r" => self.runs.push(self.paragraphs.last().is_some_and(|paragraph| paragraph.hidden)),
            "rStyle" if val(start).is_some_and(|style| self.styles.hides(&style)) => self.hide_run(true),
            "vanish" => self.hide_run(is_on(start)),
            "outlineLvl" => {
                let level = val(start).and_then(|level| outline_level(&level));
                self.properties(|paragraph| paragraph.level = level);
            }
            "numPr" => self.properties(|paragraph| paragraph.item = true),
            "tbl" => {
                if self.tables == 0 {
                    self.end_block();
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
            _ if self.is_hidden() => {}
            "footnoteReference" => self.notes.extend(self.footnotes.take(start)),
            "endnoteReference" => self.notes.extend(self.endnotes.take(start)),
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
            "pPr" => self.of_paragraph = false,
            "r" => drop(self.runs.pop()),
            "t" => self.text = false,
            "tr" => self.builder.end_line(),
            "tbl" => {
                self.tables = self.tables.saturating_sub(1);
                if self.tables == 0 {
                    self.end_block();
                }
            }
            _ => {}
        }
    }

    /// Whether the run that is open, or one around it, is.
    fn is_hidden(&self) -> bool {
        self.runs.contains(&true)
    }

    /// What the run's own properties say. Those of a paragraph are about its mark alone.
    fn hide_run(&mut self, hidden: bool) {
        if let Some(run) = self.runs.last_mut().filter(|_| !self.of_paragraph) {
            *run = hidden;
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
            self.end_block();
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
            Some(level) => {
                self.builder.end_heading(level);
                self.end_block();
            }
            None if self.list => self.builder.end_line(),
            None => self.end_block(),
        }
    }

    /// Ends a block, and puts its notes behind it.
    fn end_block(&mut self) {
        self.builder.end_block();
        for note in self.notes.drain(..) {
            self.builder.push(&note);
            self.builder.end_block();
        }
    }
}
