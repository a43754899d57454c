//! CommonMark with tables: its words, without marks, pictures and the addresses of links.

use crate::structure::Builder;
use crate::{BlockKind, Document, DocumentError, plain};
use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd};

/// Reads a Markdown text.
pub(crate) fn read(bytes: Vec<u8>) -> Result<Document, DocumentError> {
    let text = plain::text(bytes)?;
    let mut page = Page::default();
    for event in Parser::new_ext(&text, Options::ENABLE_TABLES | Options::ENABLE_STRIKETHROUGH) {
        page.take(event);
    }
    Ok(page.builder.finish())
}

/// What is known of the place in a text.
#[derive(Default)]
struct Page {
    builder: Builder,
    /// The number of the next item of each list that is open; None where items have none. All of a list is one block.
    lists: Vec<Option<u64>>,
    quotes: usize,
    /// Pictures that are open.
    pictures: usize,
    code: bool,
    /// Whether a cell was in this row.
    cell: bool,
}

impl Page {
    fn take(&mut self, event: Event<'_>) {
        match event {
            Event::Start(tag) => self.start(&tag),
            Event::End(tag) => self.end(tag),
            Event::Text(text) if self.code => self.builder.push_verbatim(&text),
            Event::Text(text) | Event::Code(text) if self.pictures == 0 => self.builder.push(&text),
            Event::SoftBreak => self.builder.push(" "),
            Event::HardBreak => self.builder.end_line(),
            Event::Rule => self.end_block(),
            _ => {}
        }
    }

    fn start(&mut self, tag: &Tag<'_>) {
        match tag {
            Tag::List(first) => {
                self.end_block();
                self.lists.push(*first);
            }
            Tag::Item => {
                self.builder.end_line();
                match self.lists.last_mut() {
                    Some(Some(number)) => {
                        self.builder.push(&format!("{number}. "));
                        *number += 1;
                    }
                    _ => self.builder.push("- "),
                }
            }
            Tag::CodeBlock(_) => {
                self.end_block();
                self.block_is(BlockKind::Code);
                self.code = true;
            }
            Tag::Table(_) => {
                self.end_block();
                self.block_is(BlockKind::Table);
            }
            Tag::TableHead | Tag::TableRow => {
                self.builder.end_line();
                self.cell = false;
            }
            Tag::TableCell => {
                let follows = std::mem::replace(&mut self.cell, true);
                self.builder.push(if follows { " | " } else { "" });
            }
            Tag::BlockQuote(_) => self.quotes += 1,
            Tag::Image { .. } => self.pictures += 1,
            Tag::Link { .. } => self.builder.link(true),
            _ => {}
        }
    }

    fn end(&mut self, tag: TagEnd) {
        match tag {
            // One that is part of a list or a quote is no heading of the text.
            TagEnd::Heading(level) if self.lists.is_empty() && self.quotes == 0 => {
                self.builder.end_heading(level as u8);
            }
            TagEnd::List(_) => {
                self.lists.pop();
                self.end_block();
            }
            TagEnd::CodeBlock => {
                self.code = false;
                self.end_block();
            }
            TagEnd::Image => self.pictures = self.pictures.saturating_sub(1),
            TagEnd::Link => self.builder.link(false),
            TagEnd::BlockQuote(_) => {
                self.quotes = self.quotes.saturating_sub(1);
                self.end_block();
            }
            TagEnd::Paragraph | TagEnd::Heading(_) | TagEnd::Table => self.end_block(),
            TagEnd::Item => self.builder.end_line(),
            _ => {}
        }
    }

    /// Ends a block, which within a list is a line of it.
    fn end_block(&mut self) {
        if self.lists.is_empty() { self.builder.end_block() } else { self.builder.end_line() }
    }

    fn block_is(&mut self, kind: BlockKind) {
        if self.lists.is_empty() {
            self.builder.is(kind);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use BlockKind::{Code, Links, Prose, Table};

    fn document(text: &str) -> Document {
        read(text.into()).unwrap()
    }

    #[test]
    fn a_text_is_its_words() {
        let document = document(
            "# The *finch*\n\nIt `sings`, [they\nsay](http://a.b/c). ![a picture](p.png)\\\nA lot.\n\nFood\n---\n\n1. seeds\n2. \
             worms\n   - small\n\n> so\n> it is\n\n<div>\n\n```sh\nls\n  -l\n```\n\n| a | b |\n|---|---|\n| 1 | **2** |\n",
        );
        assert_eq!(
            document.text,
            "# The finch\n\nIt sings, they say.\nA lot.\n\n## Food\n\n1. seeds\n2. worms\n- small\n\nso it is\n\nls\n  -l\n\n\
             a | b\n1 | 2\n"
        );
        let kinds: Vec<_> = document.blocks.iter().map(|block| block.kind).collect();
        assert_eq!(kinds, [Prose, Prose, Prose, Prose, Prose, Code, Table]);
    }

    #[test]
    fn headings_of_both_kinds_are_found_and_those_in_quotes_are_not() {
        let document = document("# A *b*\n\na\n\nC\n---\n\n> # no\n\n```\n# no\n```\n");
        let found: Vec<_> = document.headings.iter().map(|h| (h.start, h.level, h.title.as_str())).collect();
        assert_eq!(found, [(0, 1, "A b"), (10, 2, "C")]);
        let starts: Vec<_> = document.blocks.iter().map(|block| block.start).collect();
        assert_eq!(starts, [0, 7, 10, 16, 20]);
    }

    #[test]
    fn lists_of_links_are_told_from_texts_with_links() {
        let kind = |text: &str| document(text).blocks[0].kind;
        assert_eq!(kind("- [Home](a)\n- [Contents](b)\n- [Index](c)\n"), Links);
        assert_eq!(kind("[One](a) and [two](b), then we come to [three](c), which is another thing"), Prose);
        assert_eq!(kind("# [a](a) [b](b) [c](c)"), Prose);
    }

    #[test]
    fn prose_is_a_document_without_the_rest_unless_that_is_what_it_is_about() {
        let words = "It sings in the morning.\n\n";
        let code = "```\nls\n```\n\n";
        let (prose, left_out) = document(&format!("# A\n\n{code}{words}## B\n\n{code}{words}")).prose();
        let sung = "It sings in the morning.";
        assert_eq!(prose.text, format!("# A\n\n{sung}\n\n## B\n\n{sung}\n"));
        assert_eq!((left_out.code, left_out.tables, left_out.links), (2, 0, 0));
        for heading in &prose.headings {
            assert!(prose.text[heading.start..].starts_with('#'));
        }
        let long = format!("# A\n\n```\n{}```\n", "ls\n".repeat(100));
        assert_eq!(document(&long).prose(), (document(&long), Default::default()));
    }
}
