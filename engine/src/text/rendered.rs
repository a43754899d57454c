//! What a template makes of a conversation: text of which each character has an origin.

use std::ops::Range;

/// The text of a rendered conversation, and which of its characters the conversation brought.
///
/// Only what the template spelled itself may become control tokens: see
/// [`Tokenizer::encode_rendered`](super::tokenizer::Tokenizer::encode_rendered).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rendered {
    text: String,
    /// What the conversation brought: ranges of bytes, in order, with something between any two.
    given: Vec<Range<usize>>,
}

impl Rendered {
    /// Appends a character.
    pub(super) fn push(&mut self, c: char, given: bool) {
        let start = self.text.len();
        self.text.push(c);
        if given {
            self.add_given(start..self.text.len());
        }
    }

    /// Marks what follows all that is marked yet.
    fn add_given(&mut self, range: Range<usize>) {
        match self.given.last_mut() {
            Some(last) if last.end == range.start => last.end = range.end,
            _ => self.given.push(range),
        }
    }

    /// All of the text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// All of the text, without the origins.
    pub fn into_text(self) -> String {
        self.text
    }

    /// The text in stretches, each with whether the conversation brought it.
    pub fn stretches(&self) -> impl Iterator<Item = (&str, bool)> {
        let starts = self.given.iter().flat_map(|range| [(range.start, true), (range.end, false)]);
        let ends = self.given.iter().flat_map(|range| [range.start, range.end]).chain([self.text.len()]);
        let bounds = [(0, false)].into_iter().chain(starts).zip(ends);
        bounds
            .filter_map(|((start, given), end)| Some((self.text.get(start..end)?, given)))
            .filter(|(stretch, _)| !stretch.is_empty())
    }

    /// Whether the template spelled all these bytes.
    pub(super) fn is_spelled(&self, bytes: Range<usize>) -> bool {
        let after = self.given.partition_point(|range| range.end <= bytes.start);
        self.given.get(after).is_none_or(|range| bytes.end <= range.start)
    }

    /// The text without the characters that `drop` says, which gets the text and a character's place.
    pub(super) fn without(&self, drop: impl Fn(&str, usize) -> bool) -> Rendered {
        let mut kept = Rendered::default();
        for (at, c) in self.text.char_indices().filter(|(at, _)| !drop(&self.text, *at)) {
            kept.push(c, !self.is_spelled(at..at + c.len_utf8()));
        }
        kept
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rendered(stretches: &[(&str, bool)]) -> Rendered {
        let mut all = Rendered::default();
        stretches.iter().for_each(|(text, given)| text.chars().for_each(|c| all.push(c, *given)));
        all
    }

    #[test]
    fn stretches_are_what_was_pushed() {
        for expected in [
            &[][..],
            &[("a", false)],
            &[("é", true)],
            &[("<s>", false), ("a<s>é", true), ("</s>", false), ("b", true)],
            &[("a", true), ("b", false)],
        ] {
            let all = rendered(expected);
            assert_eq!(all.stretches().collect::<Vec<_>>(), expected);
        }
        let joined = rendered(&[("a", true), ("b", true), ("", false), ("c", true)]);
        assert_eq!(joined.stretches().collect::<Vec<_>>(), [("abc", true)]);
    }

    #[test]
    fn a_range_is_spelled_if_no_byte_of_it_was_given() {
        let all = rendered(&[("ab", false), ("cd", true), ("ef", false), ("g", true)]);
        for start in 0..7 {
            for end in start + 1..=7 {
                let expected = (start..end).all(|at| [true, true, false, false, true, true, false][at]);
                assert_eq!(all.is_spelled(start..end), expected, "{start}..{end}");
            }
        }
    }

    #[test]
    fn what_is_dropped_takes_its_origin_along() {
        let all = rendered(&[("a b", false), ("c d", true), (" ", false), ("e", true)]);
        let kept = all.without(|text, at| text[at..].starts_with(' '));
        assert_eq!(kept, rendered(&[("ab", false), ("cde", true)]));
    }
}
