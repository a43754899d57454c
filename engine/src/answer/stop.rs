//! Stop strings: an answer ends before the first of these texts.

/// Lets text through as it comes, up to the place where a stop string begins. Text that may be the beginning of one
/// is held back until the next text decides.
///
/// The answer ends as soon as any stop string is complete, and before the longest of those that are complete there.
/// How the text is cut into pieces makes no difference.
#[derive(Debug, Default)]
pub(crate) struct StopFilter {
    stops: Vec<String>,
    /// What was held back, then the newest text.
    pending: String,
    /// Bytes of `pending` that were let through.
    released: usize,
    stopped: bool,
}

impl StopFilter {
    /// A filter for these strings. Empty ones stop nothing.
    pub(crate) fn new(stops: &[String]) -> StopFilter {
        let stops = stops.iter().filter(|stop| !stop.is_empty()).cloned().collect();
        StopFilter { stops, pending: String::with_capacity(1024), released: 0, stopped: false }
    }

    /// Whether a stop string was found. Nothing is let through afterwards.
    pub(crate) fn stopped(&self) -> bool {
        self.stopped
    }

    /// Takes the next text and returns what is certain to belong to the answer.
    pub(crate) fn push(&mut self, text: &str) -> &str {
        self.pending.drain(..self.released);
        if !self.stopped {
            self.pending.push_str(text);
        }
        self.released = match self.first_stop() {
            Some(start) => {
                self.stopped = true;
                self.pending.truncate(start);
                start
            }
            None if self.stopped => 0,
            None => self.pending.len() - self.undecided(),
        };
        &self.pending[..self.released]
    }

    /// Returns what was held back, as no more text comes.
    pub(crate) fn finish(&mut self) -> &str {
        self.pending.drain(..self.released);
        self.released = self.pending.len();
        &self.pending
    }

    /// Where the stop string begins that is complete first.
    fn first_stop(&self) -> Option<usize> {
        let span = |stop: &String| self.pending.find(stop).map(|start| (start + stop.len(), start));
        self.stops.iter().filter_map(span).min().map(|(_, start)| start)
    }

    /// Bytes at the end that may be the beginning of a stop string.
    fn undecided(&self) -> usize {
        let beginning = |stop: &String| {
            let lengths = stop.char_indices().map(|(at, _)| at);
            lengths.rev().find(|&len| self.pending.ends_with(&stop[..len])).unwrap_or(0)
        };
        self.stops.iter().map(beginning).max().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn strings(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|&text| text.to_owned()).collect()
    }

    /// What comes out for each piece, at last what `finish` adds, and whether it stopped.
    fn filtered(stops: &[&str], pieces: &[&str]) -> (Vec<String>, bool) {
        let stops = strings(stops);
        let mut filter = StopFilter::new(&stops);
        let mut out: Vec<String> = pieces.iter().map(|piece| filter.push(piece).to_owned()).collect();
        out.push(filter.finish().to_owned());
        (out, filter.stopped())
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
            let mut out: String = pieces.iter().map(|piece| filter.push(piece).to_owned()).collect();
            out.push_str(filter.finish());
            prop_assert_eq!(out, defined(&stops, &pieces.concat()));
        }
    }
}
