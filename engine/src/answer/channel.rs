//! What parts of an answer are: the text that was asked for, and what the model thought before.

use std::fmt;

/// What a piece of an answer is. All pieces one behind the other are the answer as the model wrote it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Channel {
    /// What is said.
    Text,
    /// What the model thought before it said anything.
    Thoughts,
    /// What divides the two: `<think>`, `</think>` and white space around them.
    Mark,
}

/// A piece of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece<'a> {
    /// What it is.
    pub channel: Channel,
    /// Whole characters; never empty.
    pub text: &'a str,
}

impl fmt::Display for Piece<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text)
    }
}

/// What a stretch of text is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Kind {
    pub(super) channel: Channel,
    /// A control token's text that nobody asked for: it ends an answer where a stop string has it, and is not told.
    pub(super) hidden: bool,
}

/// Text in stretches, neighbours of which differ in kind.
#[derive(Debug, Default)]
pub(super) struct Stretches {
    text: String,
    /// Where each ends.
    ends: Vec<(usize, Kind)>,
}

impl Stretches {
    /// Room for so many bytes, in which no stretch is expected to be among more than a few.
    pub(super) fn with_capacity(bytes: usize) -> Self {
        const STRETCHES: usize = 32;
        Stretches { text: String::with_capacity(bytes), ends: Vec::with_capacity(STRETCHES) }
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }

    pub(super) fn push(&mut self, text: &str, kind: Kind) {
        if text.is_empty() {
            return;
        }
        self.text.push_str(text);
        let end = self.text.len();
        match self.ends.last_mut() {
            Some((last, of)) if *of == kind => *last = end,
            _ => self.ends.push((end, kind)),
        }
    }

    /// Each stretch with its kind, from a byte on.
    pub(super) fn iter_from(&self, from: usize) -> impl Iterator<Item = (&str, Kind)> {
        let mut start = from;
        self.ends.iter().filter_map(move |&(end, kind)| {
            let text = self.text.get(start..end).filter(|text| !text.is_empty())?;
            start = end;
            Some((text, kind))
        })
    }

    /// Whether any of it is hidden.
    pub(super) fn hides(&self) -> bool {
        self.ends.iter().any(|(_, kind)| kind.hidden)
    }

    /// Cuts off what is behind the first `len` bytes.
    pub(super) fn truncate(&mut self, len: usize) {
        self.text.truncate(len);
        let kept = self.ends.partition_point(|(end, _)| *end < len);
        self.ends.truncate(kept + 1);
        if let Some((end, _)) = self.ends.last_mut() {
            *end = (*end).min(len);
        }
        if len == 0 {
            self.ends.clear();
        }
    }

    /// Hands on the first `len` bytes.
    pub(super) fn take(&mut self, len: usize, mut each: impl FnMut(&str, Kind)) {
        let mut start = 0;
        for &(end, kind) in &self.ends {
            let end = end.min(len);
            if let Some(text) = self.text.get(start..end).filter(|text| !text.is_empty()) {
                each(text, kind);
            }
            start = end;
        }
        self.text.drain(..len.min(self.text.len()));
        self.ends.retain_mut(|(end, _)| {
            *end = end.saturating_sub(len);
            *end > 0
        });
    }

    pub(super) fn clear(&mut self) {
        self.text.clear();
        self.ends.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: Kind = Kind { channel: Channel::Text, hidden: false };
    const HIDDEN: Kind = Kind { hidden: true, ..TEXT };

    fn all(stretches: &Stretches) -> Vec<(String, Kind)> {
        stretches.iter_from(0).map(|(text, kind)| (text.to_owned(), kind)).collect()
    }

    #[test]
    fn stretches_are_joined_cut_and_taken() {
        let filled = || {
            let mut stretches = Stretches::default();
            for (text, kind) in [("a", TEXT), ("", HIDDEN), ("b", TEXT), ("<c>", HIDDEN), ("d", TEXT)] {
                stretches.push(text, kind);
            }
            stretches
        };
        let whole = [("ab".to_owned(), TEXT), ("<c>".to_owned(), HIDDEN), ("d".to_owned(), TEXT)];
        assert_eq!(all(&filled()), whole);
        assert_eq!(filled().iter_from(1).next(), Some(("b", TEXT)));
        for len in 0..=6 {
            let (mut first, mut rest) = (filled(), filled());
            first.truncate(len);
            assert_eq!(first.text(), &"ab<c>d"[..len]);
            let mut taken = Stretches::default();
            rest.take(len, |text, kind| taken.push(text, kind));
            assert_eq!(all(&taken), all(&first), "{len}");
            assert_eq!(rest.text(), &"ab<c>d"[len..]);
            rest.iter_from(0).for_each(|(text, kind)| taken.push(text, kind));
            assert_eq!(all(&taken), whole, "{len}");
        }
        assert!(filled().hides() && !Stretches::default().hides());
    }
}
