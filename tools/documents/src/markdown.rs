//! CommonMark: its text as it is written, and where its headings and blocks begin.

use crate::{Document, DocumentError, Heading, plain};
use pulldown_cmark::{Event, Parser, Tag, TagEnd};

/// Reads a Markdown text.
pub(crate) fn read(bytes: Vec<u8>) -> Result<Document, DocumentError> {
    let text = plain::text(bytes)?;
    let (headings, blocks) = outline(&text);
    Ok(Document { text, headings, blocks, ..Document::default() })
}

/// Headings that are not part of lists or quotes, and where blocks begin.
fn outline(text: &str) -> (Vec<Heading>, Vec<usize>) {
    let (mut headings, mut blocks) = (Vec::<Heading>::new(), Vec::new());
    // How deep in blocks, and the heading that is being read.
    let (mut depth, mut title) = (0usize, None::<String>);
    for (event, range) in Parser::new(text).into_offset_iter() {
        match event {
            Event::Start(tag) => {
                if depth == 0 {
                    blocks.push(range.start);
                    if let Tag::Heading { level, .. } = tag {
                        let level = level as u8;
                        headings.push(Heading { start: range.start, level, title: String::new() });
                        title = Some(String::new());
                    }
                }
                depth += 1;
            }
            Event::End(tag) => {
                depth = depth.saturating_sub(1);
                if let (TagEnd::Heading(_), 0) = (tag, depth)
                    && let (Some(heading), Some(title)) = (headings.last_mut(), title.take())
                {
                    heading.title = title;
                }
            }
            Event::Text(words) | Event::Code(words) => {
                if let Some(title) = &mut title {
                    title.push_str(&words);
                }
            }
            Event::SoftBreak | Event::HardBreak => {
                if let Some(title) = &mut title {
                    title.push(' ');
                }
            }
            Event::Rule if depth == 0 => blocks.push(range.start),
            _ => {}
        }
    }
    (headings, blocks)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headings_of_both_kinds_are_found_and_those_in_quotes_are_not() {
        let (headings, blocks) = outline("# A *b*\n\na\n\nC\n---\n\n> # no\n\n```\n# no\n```\n");
        let found: Vec<_> = headings.iter().map(|h| (h.start, h.level, h.title.as_str())).collect();
        assert_eq!(found, [(0, 1, "A b"), (12, 2, "C")]);
        assert_eq!(blocks, [0, 9, 12, 19, 27]);
    }
}
