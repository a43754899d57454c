//! The structure of a text: where it may be cut, and which headings stand above a place.

use siskin_documents::{Block, Document, Heading, sentences};
use std::ops::Range;
use unicode_segmentation::UnicodeSegmentation;

/// Where a text may be cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Seam {
    /// Before a heading of this level, from 1 to 6, or of a higher one.
    Heading(u8),
    /// Between two paragraphs, or what else a Markdown text is made of.
    Block,
    /// Between two sentences.
    Sentence,
    /// At the end of a line.
    Line,
    /// Between two words.
    Word,
}

impl Seam {
    /// Where a text is cut if need be.
    pub(super) const STRONGEST: Seam = Seam::Heading(1);

    /// Where it is cut if that is not enough.
    pub(super) fn weaker(self) -> Option<Seam> {
        match self {
            Seam::Heading(level @ ..6) => Some(Seam::Heading(level + 1)),
            Seam::Heading(_) => Some(Seam::Block),
            Seam::Block => Some(Seam::Sentence),
            Seam::Sentence => Some(Seam::Line),
            Seam::Line => Some(Seam::Word),
            Seam::Word => None,
        }
    }
}

/// Where a document may be cut: its headings and blocks, and what is between its words.
#[derive(Clone, Copy, Debug)]
pub(super) struct Outline<'d> {
    text: &'d str,
    headings: &'d [Heading],
    blocks: &'d [Block],
}

impl<'d> Outline<'d> {
    /// The outline of a document.
    pub(super) fn new(document: &'d Document) -> Outline<'d> {
        Outline { text: &document.text, headings: &document.headings, blocks: &document.blocks }
    }

    /// Whether there are headings.
    pub(super) fn has_headings(&self) -> bool {
        !self.headings.is_empty()
    }

    /// A range of the text, cut at all seams of one kind; together the pieces are the range.
    pub(super) fn pieces(&self, range: Range<usize>, seam: Seam) -> Vec<Range<usize>> {
        let slice = self.text.get(range.clone()).unwrap_or_default();
        let within = |starts: &mut dyn Iterator<Item = usize>| cut(&range, starts);
        match seam {
            Seam::Heading(level) => {
                within(&mut self.headings.iter().filter(|h| h.level <= level).map(|h| h.start))
            }
            Seam::Block => within(&mut self.blocks.iter().map(|block| block.start)),
            Seam::Sentence => within(&mut sentences::starts(slice).map(|start| range.start + start)),
            Seam::Line => {
                within(&mut slice.match_indices('\n').map(|(newline, _)| range.start + newline + 1))
            }
            Seam::Word => {
                let words = slice.split_word_bound_indices();
                // White space belongs to the word before it.
                let mut starts =
                    words.filter(|(_, word)| !word.trim().is_empty()).map(|(at, _)| range.start + at);
                within(&mut starts)
            }
        }
    }

    /// The titles of the headings that a place is under, the highest first. One that begins there is not among them.
    pub(super) fn headings_above(&self, place: usize) -> Vec<&'d str> {
        let mut above: Vec<&'d Heading> = Vec::new();
        for heading in self.headings.iter().take_while(|heading| heading.start <= place) {
            above.retain(|higher| higher.level < heading.level);
            above.push(heading);
        }
        above.retain(|heading| heading.start < place);
        above.iter().map(|heading| heading.title.as_str()).collect()
    }
}

/// A range cut before those of `starts`, which are in order, that are inside it.
fn cut(range: &Range<usize>, starts: &mut dyn Iterator<Item = usize>) -> Vec<Range<usize>> {
    let mut pieces = Vec::new();
    let mut begun = range.start;
    for start in starts.skip_while(|&start| start <= range.start).take_while(|&start| start < range.end) {
        if start > begun {
            pieces.push(begun..start);
            begun = start;
        }
    }
    pieces.push(begun..range.end);
    pieces
}

/// A text as a file of this name would have it.
#[cfg(test)]
pub(super) fn document(text: &str, name: &str) -> Document {
    let no_pdf = |_: &[u8]| panic!("no PDF file");
    match Document::parse(text.into(), name.as_ref(), no_pdf) {
        Ok(document) => document,
        Err(_) => Document { text: text.to_owned(), ..Document::default() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(text: &str, name: &str, seam: Seam) -> Vec<String> {
        let document = document(text, name);
        let all = Outline::new(&document).pieces(0..document.text.len(), seam);
        let pieces: Vec<String> = all.into_iter().map(|range| document.text[range].to_owned()).collect();
        assert_eq!(pieces.concat(), document.text);
        pieces
    }

    #[test]
    fn markdown_is_cut_at_headings_of_each_level() {
        let text = "Intro\n\n# A\n\na\n\n### B\n\nb\n\nC\n---\n\nc\n";
        assert_eq!(
            pieces(text, "a.md", Seam::Heading(1)),
            ["Intro\n\n", "# A\n\na\n\n### B\n\nb\n\n## C\n\nc\n"]
        );
        assert_eq!(
            pieces(text, "a.md", Seam::Heading(2)),
            ["Intro\n\n", "# A\n\na\n\n### B\n\nb\n\n", "## C\n\nc\n"]
        );
        assert_eq!(pieces(text, "a.md", Seam::Heading(6)).len(), 4);
        assert_eq!(pieces("# A\n\na\n\n# B\n", "a.txt", Seam::Heading(6)).len(), 1);
    }

    #[test]
    fn code_and_lists_are_blocks_and_what_is_in_them_is_no_heading() {
        let text = "```sh\n# no heading\n\nls\n```\n\n- a\n\n- b\n\n> # no heading either\n\nend\n";
        assert_eq!(pieces(text, "a.md", Seam::Heading(6)).len(), 1);
        assert_eq!(
            pieces(text, "a.md", Seam::Block),
            ["# no heading\n\nls\n\n", "- a\n- b\n\n", "no heading either\n\n", "end\n"]
        );
    }

    #[test]
    fn paragraphs_sentences_lines_and_words() {
        assert_eq!(pieces("a\nb\n \n\nc\n\u{c}d", "a.txt", Seam::Block), ["a\nb\n \n\n", "c\n", "\u{c}d"]);
        assert_eq!(
            pieces("Mr. x saw 3.5 of it. He\nleft. “Why?” Why!", "a.txt", Seam::Sentence),
            ["Mr. x saw 3.5 of it. ", "He\nleft. ", "“Why?” ", "Why!"]
        );
        assert_eq!(pieces("11:30 ok\n11:40 ok\n", "a.txt", Seam::Sentence), ["11:30 ok\n", "11:40 ok\n"]);
        assert_eq!(pieces("これは。それは。", "a.txt", Seam::Sentence), ["これは。", "それは。"]);
        assert_eq!(pieces("a b\nc", "a.txt", Seam::Line), ["a b\n", "c"]);
        assert_eq!(pieces(" a  b, c", "a.txt", Seam::Word), [" ", "a  ", "b", ", ", "c"]);
    }

    #[test]
    fn a_place_is_under_the_headings_before_it() {
        let text = "# A *b*\n\na\n\n## `B`\n\nb\n\n# C\n\nc\n";
        let document = document(text, "a.md");
        let outline = Outline::new(&document);
        let at = |found: &str| outline.headings_above(document.text.find(found).unwrap());
        assert_eq!(at("# A"), [""; 0]);
        assert_eq!(at("a\n\n##"), ["A b"]);
        assert_eq!(at("## B"), ["A b"]);
        assert_eq!(at("b\n\n# C"), ["A b", "B"]);
        assert_eq!(at("# C"), [""; 0]);
        assert_eq!(at("c\n"), ["C"]);
    }
}
