//! A text cut into parts that are small enough, where its structure allows it best.

use super::outline::{Outline, Seam};
use siskin_documents::Document;
use std::ops::Range;

/// Cuts a text into parts of at most `room` tokens, which `measure` counts: few and even ones, and a weak seam is used
/// only within what has no stronger one. Returns ranges of bytes, in order, without white space around them; together
/// they are all of the text but white space.
///
/// Only a single character that measures more than `room` makes a part that is larger.
pub(super) fn split(document: &Document, measure: &dyn Fn(&str) -> usize, room: usize) -> Vec<Range<usize>> {
    let (text, outline) = (document.text.as_str(), Outline::new(document));
    let mut splitter = Splitter { text, outline, measure, room, parts: Vec::new() };
    splitter.cut(0..text.len(), measure(text), Some(Seam::STRONGEST));
    splitter.parts
}

struct Splitter<'a> {
    text: &'a str,
    outline: Outline<'a>,
    measure: &'a dyn Fn(&str) -> usize,
    room: usize,
    parts: Vec<Range<usize>>,
}

impl Splitter<'_> {
    /// Adds the parts of a range that measures `size`, cut at `seam` and weaker ones; without a seam, at characters.
    fn cut(&mut self, range: Range<usize>, size: usize, seam: Option<Seam>) {
        if size <= self.room {
            return self.push(range);
        }
        let Some(seam) = seam else { return self.cut_characters(range) };
        let pieces = self.outline.pieces(range, seam);
        if let [piece] = pieces.as_slice() {
            return self.cut(piece.clone(), size, seam.weaker());
        }
        let sizes: Vec<usize> = pieces.iter().map(|piece| self.size(piece)).collect();
        for group in pack(&sizes, self.room) {
            self.join(pieces.get(group).unwrap_or_default(), seam);
        }
    }

    /// Adds neighbours that `seam` separates as one part, or as several where they are more tokens together than they
    /// are one by one.
    fn join(&mut self, pieces: &[Range<usize>], seam: Seam) {
        let (Some(first), Some(last)) = (pieces.first(), pieces.last()) else { return };
        let all = first.start..last.end;
        let size = self.size(&all);
        if pieces.len() == 1 {
            self.cut(all, size, seam.weaker());
        } else if size <= self.room {
            self.push(all);
        } else {
            let (front, back) = pieces.split_at(pieces.len() / 2);
            self.join(front, seam);
            self.join(back, seam);
        }
    }

    /// Adds parts that are as long as they may be.
    fn cut_characters(&mut self, mut range: Range<usize>) {
        while !range.is_empty() {
            let end = range.start + self.longest(range.clone());
            self.push(range.start..end);
            range.start = end;
        }
    }

    /// The length in bytes of the longest beginning of a range that fits, of one character at least.
    fn longest(&self, range: Range<usize>) -> usize {
        let text = self.slice(&range);
        let fits =
            |len| (self.measure)(text.get(..text.floor_char_boundary(len)).unwrap_or(text)) <= self.room;
        // Measuring is linear, so the search begins at the small end.
        let (mut fitting, mut above) = (0, self.room.max(1));
        while above < text.len() && fits(above) {
            fitting = above;
            above *= 2;
        }
        if above >= text.len() {
            above = text.len() + 1;
        }
        while above - fitting > 1 {
            let middle = fitting + (above - fitting) / 2;
            if fits(middle) { fitting = middle } else { above = middle }
        }
        let first = text.chars().next().map_or(text.len(), char::len_utf8);
        text.floor_char_boundary(fitting).max(first)
    }

    fn push(&mut self, range: Range<usize>) {
        let text = self.slice(&range);
        let start = range.start + (text.len() - text.trim_start().len());
        let end = start + text.trim().len();
        if start < end {
            self.parts.push(start..end);
        }
    }

    fn size(&self, range: &Range<usize>) -> usize {
        (self.measure)(self.slice(range))
    }

    fn slice(&self, range: &Range<usize>) -> &str {
        self.text.get(range.clone()).unwrap_or_default()
    }
}

/// Groups of neighbours whose sizes add up to at most `room`: as few as can be, and none larger than it must be for
/// that. What is larger than `room` is alone.
pub(super) fn pack(sizes: &[usize], room: usize) -> Vec<Range<usize>> {
    let fewest = fill(sizes, room).len();
    // The smallest room that takes no more groups.
    let (mut too_small, mut enough) = (0, room);
    while enough - too_small > 1 {
        let middle = too_small + (enough - too_small) / 2;
        if fill(sizes, middle).len() <= fewest { enough = middle } else { too_small = middle }
    }
    fill(sizes, enough)
}

/// Groups that are filled up one after the other.
fn fill(sizes: &[usize], room: usize) -> Vec<Range<usize>> {
    let mut groups: Vec<Range<usize>> = Vec::new();
    let mut filled = 0usize;
    for (index, &size) in sizes.iter().enumerate() {
        match groups.last_mut() {
            Some(group) if filled.saturating_add(size) <= room => {
                group.end = index + 1;
                filled += size;
            }
            _ => {
                groups.push(index..index + 1);
                filled = size;
            }
        }
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::super::outline::document;
    use super::*;
    use proptest::prelude::*;

    /// Parts of a text where each word is a token, as are other characters that are no white space.
    fn parts(text: &str, name: &str, room: usize) -> Vec<String> {
        let document = document(text, name);
        split(&document, &words, room).into_iter().map(|range| document.text[range].to_owned()).collect()
    }

    /// A token for every four bytes of a word, and for every other character.
    fn words(text: &str) -> usize {
        let spelled = |word: &str| word.len().div_ceil(4);
        text.split_whitespace().map(spelled).sum()
    }

    #[test]
    fn a_text_that_fits_is_one_part() {
        assert_eq!(parts(" a b\n\nc ", "a.txt", 3), ["a b\n\nc"]);
        assert!(parts(" \n\n ", "a.txt", 3).is_empty());
        assert!(parts("", "a.md", 3).is_empty());
    }

    #[test]
    fn headings_come_before_paragraphs_and_those_before_sentences() {
        let text = "# A\n\na b c. d e.\n\nf\n\n## B\n\ng h\n\n# C\n\ni j";
        assert_eq!(parts(text, "a.md", 13), ["# A\n\na b c. d e.\n\nf\n\n## B\n\ng h", "# C\n\ni j"]);
        assert_eq!(parts(text, "a.md", 8), ["# A\n\na b c. d e.\n\nf", "## B\n\ng h", "# C\n\ni j"]);
        assert_eq!(parts(text, "a.md", 5), ["# A", "a b c. d e.", "f", "## B\n\ng h", "# C\n\ni j"]);
        assert_eq!(parts("a b c. D e. F", "a.txt", 3), ["a b c.", "D e. F"]);
        assert_eq!(parts("a b c d e", "a.txt", 3), ["a b c", "d e"]);
    }

    #[test]
    fn what_has_no_seam_is_cut_between_characters() {
        assert_eq!(parts("aaaaaaaaaaaaaaaaaa", "a.txt", 2), ["aaaaaaaa", "aaaaaaaa", "aa"]);
        assert_eq!(parts("ééééé", "a.txt", 1), ["éé", "éé", "é"]);
        assert_eq!(parts("日本", "a.txt", 0), ["日", "本"]);
    }

    #[test]
    fn groups_are_few_and_even() {
        assert_eq!(pack(&[1, 1, 1, 1, 1, 1], 5), [0..3, 3..6]);
        assert_eq!(pack(&[9, 1, 9, 9, 1, 1], 5), [0..1, 1..2, 2..3, 3..4, 4..6]);
        assert_eq!(pack(&[], 5), []);
        assert_eq!(pack(&[0, 0, 9], 0), [0..2, 2..3]);
    }

    #[test]
    fn a_long_text_of_any_kind_takes_no_long_time() {
        for text in ["a", " ", "\n", ".", "a. ", "# ", "日", "- ", "> ", "[", "*", "`", "a\n\n", "\u{301}"] {
            let text = text.repeat(131_072 / text.len());
            for name in ["a.txt", "a.md"] {
                let parts = parts(&text, name, 1000);
                assert!(parts.iter().all(|part| words(part) <= 1000));
            }
        }
    }

    proptest! {
        #[test]
        fn parts_are_all_of_the_text_and_none_is_too_large(
            text in "([a-cé]{1,6}[ .\n]{0,2}|\n\n|# |\n## ){0,60}",
            room in 2usize..20,
            markdown: bool,
        ) {
            let name = if markdown { "a.md" } else { "a.txt" };
            let parts = parts(&text, name, room);
            prop_assert!(parts.iter().all(|part| words(part) <= room), "{parts:?}");
            let squeezed = |text: &str| text.split_whitespace().collect::<String>();
            prop_assert_eq!(squeezed(&parts.concat()), squeezed(&document(&text, name).text));
        }
    }
}
