//! Stop strings: an answer ends before the first of these texts.

use super::channel::{Kind, Stretches};

/// Lets text through as it comes, up to the place where a stop string begins. Text that may be the beginning of one
/// is held back until the next text decides.
///
/// The answer ends as soon as any stop string is complete, and before the longest of those that are complete there.
/// How the text is cut into pieces makes no difference. Hidden text, that of control tokens, may be part of a stop string or
/// lie within one: a stop string is found in the text with it as in the text without.
#[derive(Debug, Default)]
pub(crate) struct StopFilter {
    stops: Vec<String>,
    /// What was held back, then the newest text.
    pending: Stretches,
    /// The same without what is hidden, where something is.
    shown: String,
    /// Which one was found.
    found: Option<usize>,
}

/// Bytes that hold what is held back, unless stop strings are long.
const ROOM: usize = 1024;

impl StopFilter {
    /// A filter for these strings. Empty ones stop nothing.
    pub(super) fn new(stops: &[String]) -> StopFilter {
        let stops = stops.iter().filter(|stop| !stop.is_empty()).cloned().collect();
        let (pending, shown) = (Stretches::with_capacity(ROOM), String::with_capacity(ROOM));
        StopFilter { stops, pending, shown, found: None }
    }

    /// Whether a stop string was found. Nothing is let through afterwards.
    pub(super) fn stopped(&self) -> bool {
        self.found.is_some()
    }

    /// The stop string that was found.
    pub(super) fn found(&self) -> Option<&str> {
        self.stops.get(self.found?).map(String::as_str)
    }

    /// Takes the next text.
    pub(super) fn push(&mut self, text: &str, kind: Kind) {
        if !self.stopped() {
            self.pending.push(text, kind);
        }
    }

    /// Hands on what is certain to belong to the answer.
    pub(super) fn release(&mut self, each: impl FnMut(&str, Kind)) {
        if self.stops.is_empty() {
            return self.hand_on(usize::MAX, each);
        }
        self.shown.clear();
        if self.pending.hides() {
            let shown = self.pending.iter_from(0).filter(|(_, kind)| !kind.hidden);
            shown.for_each(|(text, _)| self.shown.push_str(text));
        }
        let certain = match self.first_stop() {
            Some((start, which)) => {
                self.found = Some(which);
                self.pending.truncate(start);
                start
            }
            None => self.pending.text().len() - self.undecided(),
        };
        self.hand_on(certain, each);
    }

    /// Hands on what was held back, as no more text comes.
    pub(super) fn finish(&mut self, each: impl FnMut(&str, Kind)) {
        self.hand_on(usize::MAX, each);
    }

    fn hand_on(&mut self, len: usize, mut each: impl FnMut(&str, Kind)) {
        self.pending.take(len, |text, kind| {
            if !kind.hidden {
                each(text, kind);
            }
        });
    }

    /// Where the stop string begins that is complete first, and which one it is.
    fn first_stop(&self) -> Option<(usize, usize)> {
        let text = self.pending.text();
        let whole = self.first_stop_in(text);
        if !self.pending.hides() {
            return whole.map(|(_, start, which)| (start, which));
        }
        let within = self.first_stop_in(&self.shown);
        // A stop string that ends with the last byte of a shown stretch ends before what is hidden behind it.
        let within = within.map(|(end, start, which)| (self.place(end - 1) + 1, self.place(start), which));
        whole.into_iter().chain(within).min().map(|(_, start, which)| (start, which))
    }

    /// The end and the beginning of the stop string that is complete first, and which one it is.
    fn first_stop_in(&self, text: &str) -> Option<(usize, usize, usize)> {
        let span =
            |(which, stop): (usize, &String)| text.find(stop).map(|start| (start + stop.len(), start, which));
        self.stops.iter().enumerate().filter_map(span).min()
    }

    /// Bytes at the end that may be the beginning of a stop string.
    fn undecided(&self) -> usize {
        let text = self.pending.text();
        let whole = self.undecided_of(text);
        if !self.pending.hides() {
            return whole;
        }
        match self.undecided_of(&self.shown) {
            0 => whole,
            bytes => whole.max(text.len() - self.place(self.shown.len() - bytes)),
        }
    }

    fn undecided_of(&self, text: &str) -> usize {
        let beginning = |stop: &String| {
            let lengths = stop.char_indices().map(|(at, _)| at);
            lengths.rev().find(|&len| text.ends_with(&stop[..len])).unwrap_or(0)
        };
        self.stops.iter().map(beginning).max().unwrap_or(0)
    }

    /// Where a byte of `shown` is among all of the text.
    fn place(&self, shown: usize) -> usize {
        let (mut before, mut seen) = (0, 0);
        for (text, kind) in self.pending.iter_from(0) {
            if !kind.hidden {
                if shown < seen + text.len() {
                    return before + shown - seen;
                }
                seen += text.len();
            }
            before += text.len();
        }
        before
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    use super::super::channel::Channel;

    fn strings(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|&text| text.to_owned()).collect()
    }

    fn kind(hidden: bool) -> Kind {
        Kind { channel: Channel::Text, hidden }
    }

    /// What comes out for a piece; one that begins with `#` is hidden, without that sign.
    fn pushed(filter: &mut StopFilter, piece: &str) -> String {
        let hidden = piece.strip_prefix('#');
        filter.push(hidden.unwrap_or(piece), kind(hidden.is_some()));
        let mut out = String::new();
        filter.release(|text, _| out.push_str(text));
        out
    }

    fn finished(filter: &mut StopFilter) -> String {
        let mut out = String::new();
        filter.finish(|text, _| out.push_str(text));
        out
    }

    /// What comes out for each piece, at last what `finish` adds, and whether it stopped.
    fn filtered(stops: &[&str], pieces: &[&str]) -> (Vec<String>, bool) {
        let stops = strings(stops);
        let mut filter = StopFilter::new(&stops);
        let mut out: Vec<String> = pieces.iter().map(|piece| pushed(&mut filter, piece)).collect();
        out.push(finished(&mut filter));
        (out, filter.stopped())
    }

    #[test]
    fn hidden_text_ends_an_answer_and_is_never_told() {
        let told = |stops: &[&str], pieces: &[&str]| {
            let (out, stopped) = filtered(stops, pieces);
            (out.concat(), stopped)
        };
        assert_eq!(told(&[], &["a", "#[END]", "b"]), ("ab".to_owned(), false));
        assert_eq!(told(&["[END]"], &["a", "#[END]", "b"]), ("a".to_owned(), true));
        assert_eq!(told(&["x[END]"], &["ax", "#[END]", "b"]), ("a".to_owned(), true));
        assert_eq!(told(&["[END]b"], &["ax", "#[END]", "b"]), ("ax".to_owned(), true));
        assert_eq!(told(&["[END]b"], &["ax", "#[END]", "c"]), ("axc".to_owned(), false));
        assert_eq!(told(&["xb"], &["ax", "#[END]", "bc"]), ("a".to_owned(), true));
        assert_eq!(told(&["xb"], &["a", "#[END]", "x", "#[END]", "#[END]", "c"]), ("axc".to_owned(), false));
        assert_eq!(told(&["x"], &["ax", "#[END]"]), ("a".to_owned(), true));
    }

    #[test]
    fn without_stop_strings_all_passes_at_once() {
        assert_eq!(filtered(&[], &["a", "", "bc"]), (strings(&["a", "", "bc", ""]), false));
    }

    #[test]
    fn a_beginning_is_held_back_until_it_is_decided() {
        assert_eq!(filtered(&["STOP"], &["go S", "T", "AY"]), (strings(&["go ", "", "STAY", ""]), false));
        assert_eq!(filtered(&["STOP"], &["go S", "TOP", "on"]), (strings(&["go ", "", "", ""]), true));
        assert_eq!(filtered(&["STOP"], &["go ST"]), (strings(&["go ", "ST"]), false));
    }

    #[test]
    fn a_beginning_within_a_beginning_is_not_lost() {
        assert_eq!(filtered(&["aab"], &["a", "a", "a", "b"]), (strings(&["", "", "a", "", ""]), true));
    }

    #[test]
    fn of_several_the_first_to_be_complete_counts_and_there_the_longest() {
        assert_eq!(filtered(&["abcd", "c"], &["xabcd"]), (strings(&["xab", ""]), true));
        assert_eq!(filtered(&["c", "bc"], &["abc"]), (strings(&["a", ""]), true));
    }

    #[test]
    fn it_is_known_which_one_was_found() {
        let found = |stops: &[&str], pieces: &[&str]| {
            let mut filter = StopFilter::new(&strings(stops));
            pieces.iter().for_each(|piece| drop(pushed(&mut filter, piece)));
            filter.found().map(str::to_owned)
        };
        assert_eq!(found(&["abcd", "c"], &["xab", "cd"]).as_deref(), Some("c"));
        assert_eq!(found(&["", "c", "bc"], &["abc"]).as_deref(), Some("bc"));
        assert_eq!(found(&["x", "ab"], &["a", "#[END]", "b"]).as_deref(), Some("ab"));
        assert_eq!(found(&["x"], &["ab"]), None);
    }

    #[test]
    fn characters_stay_whole() {
        assert_eq!(filtered(&["é!"], &["né", "e"]), (strings(&["n", "ée", ""]), false));
        assert_eq!(filtered(&["é!"], &["né", "!e"]), (strings(&["n", "", ""]), true));
    }

    /// The definition: the first beginning of the text that ends in a stop string, without the longest such.
    fn defined(stops: &[String], text: &str) -> String {
        let ends = (0..=text.len()).filter(|&end| text.is_char_boundary(end));
        let cut = ends.filter_map(|end| {
            let complete = stops.iter().filter(|stop| text[..end].ends_with(stop.as_str()));
            complete.map(String::len).max().map(|len| &text[..end - len])
        });
        cut.into_iter().next().unwrap_or(text).to_owned()
    }

    proptest! {
        #[test]
        fn pieces_make_no_difference(
            stops in prop::collection::vec("[abé]{1,4}", 0..4),
            pieces in prop::collection::vec("[abé]{0,5}", 0..8),
        ) {
            let mut filter = StopFilter::new(&stops);
            let mut out: String = pieces.iter().map(|piece| pushed(&mut filter, piece)).collect();
            out.push_str(&finished(&mut filter));
            prop_assert_eq!(out, defined(&stops, &pieces.concat()));
        }
    }
}
