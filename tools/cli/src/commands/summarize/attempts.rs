//! How a summary comes about that can be used: asked for again where it went wrong, quoted where nothing helped.

use siskin::sampler::SamplerOptions;
use siskin_documents::sentences;
use siskin_documents::support::{Kind, Source};
use std::collections::HashSet;
use unicode_segmentation::UnicodeSegmentation;

/// How a prompt is answered, one after the other until an answer can be used: as is asked for, then with DRY, which weakens
/// the continuation of what was there before, then with other random numbers as well.
pub(super) fn attempts(asked: &SamplerOptions) -> [SamplerOptions; 3] {
    /// llama.cpp's advice for DRY, whose breakers would let a loop of whole lines pass.
    const MULTIPLIER: f32 = 0.8;
    /// Likeliest tokens alone would be the same again.
    const LEAST_TEMPERATURE: f32 = 0.7;
    let dry =
        asked.clone().dry_multiplier(asked.dry_multiplier.max(MULTIPLIER)).dry_sequence_breakers(Vec::new());
    let seed = asked.seed.map(|seed| seed.wrapping_add(1));
    let other = dry.clone().seed(seed).temperature(asked.temperature.max(LEAST_TEMPERATURE));
    [asked.clone(), dry, other]
}

/// A summary as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Summary {
    pub(super) text: String,
    /// Whether it is made of sentences of the text, since the model found none of its own.
    pub(super) quoted: bool,
}

impl Summary {
    /// The sentences of a text that say most of it.
    pub(super) fn quoting(text: &str) -> Summary {
        /// Sentences of a quotation.
        const QUOTED: usize = 3;
        let line = |sentence: &str| sentence.split_whitespace().collect::<Vec<_>>().join(" ");
        let sentences: Vec<String> = sentences::central(text, QUOTED).into_iter().map(line).collect();
        Summary { text: sentences.join(" "), quoted: true }
    }

    /// As it is printed: what is quoted is marked.
    pub(super) fn marked(&self) -> String {
        match self.quoted {
            true => format!("[quoted] {}", self.text),
            false => self.text.clone(),
        }
    }
}

/// Of several attempts the one that is used.
pub(super) struct Choice<'t> {
    /// What summaries name is looked for here, and what is not there makes an attempt fail.
    source: &'t Source,
    /// What is looked for, if anything is.
    kind: Option<Kind>,
    /// The longest of the attempts that went in circles, cut back to whole sentences.
    cut_back: Option<String>,
    /// The longest of those that name what is not in the text, without those sentences.
    dropped: Option<String>,
}

impl<'t> Choice<'t> {
    pub(super) fn new(source: &'t Source, kind: Option<Kind>) -> Choice<'t> {
        Choice { source, kind, cut_back: None, dropped: None }
    }

    /// Looks at an attempt, which may have been broken off or gone in circles. Returns it where it can be used as it is, in
    /// whole sentences.
    pub(super) fn consider(&mut self, text: &str, broken_off: bool, circles: bool) -> Option<String> {
        let whole = if broken_off || circles { whole_sentences(text) } else { text.trim().to_owned() };
        let (text, repeated) = without_repetitions(&whole);
        // What says the same in other words for half of its length goes in circles as well.
        let circles = circles || 2 * repeated >= whole.len().max(1);
        let unsupported = self.kind.filter(|&kind| !self.source.supports(&text).has_all(kind));
        if unsupported.is_none() && !circles {
            return Some(text).filter(|text| !text.is_empty());
        }
        let (text, kept) = match unsupported {
            None => (text, &mut self.cut_back),
            Some(kind) => (self.source.supported(&text, kind).join(" "), &mut self.dropped),
        };
        // A single sentence is seldom all that was to be said.
        const LEAST: usize = 2;
        let is_longest = kept.as_ref().is_none_or(|longest| longest.len() < text.len());
        if is_longest && sentences::of(&text).count() >= LEAST {
            *kept = Some(text);
        }
        None
    }

    /// What is used where no attempt can be used as it is: what is left of one, or else sentences of the text.
    pub(super) fn otherwise(self, text: &str) -> Summary {
        let left = self.cut_back.or(self.dropped);
        left.map_or_else(|| Summary::quoting(text), |text| Summary { text, quoted: false })
    }
}

/// The text without a sentence at its end that was not finished; all of it where none was.
fn whole_sentences(text: &str) -> String {
    let starts: Vec<usize> = sentences::starts(text).chain([text.len()]).collect();
    let ends = starts.iter().copied().rev();
    let end = ends
        .zip(starts.iter().rev().skip(1))
        .find(|&(end, &start)| sentences::is_whole(text.get(start..end).unwrap_or_default()));
    text.get(..end.map_or(text.len(), |(end, _)| end)).unwrap_or_default().trim().to_owned()
}

/// The text without sentences that say what one before them says, in much the same words, and how many bytes those have.
fn without_repetitions(text: &str) -> (String, usize) {
    /// The share of the words of both that both have, in hundredths.
    const ALIKE: usize = 70;
    let starts: Vec<usize> = sentences::starts(text).collect();
    let ends = starts.iter().copied().skip(1).chain([text.len()]);
    let (mut kept, mut before, mut repeated) = (String::new(), Vec::<HashSet<String>>::new(), 0);
    for sentence in starts.iter().zip(ends).filter_map(|(&start, end)| text.get(start..end)) {
        let words: HashSet<String> = sentence.unicode_words().map(str::to_lowercase).collect();
        let alike = |other: &HashSet<String>| {
            !words.is_empty() && 100 * words.intersection(other).count() >= ALIKE * words.union(other).count()
        };
        if before.iter().any(alike) {
            repeated += sentence.len();
        } else {
            kept.push_str(sentence);
            before.push(words);
        }
    }
    (kept.trim().to_owned(), repeated)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str =
        "The pump of Hall 4 broke at noon and the hall was dark. A filter of the pump was full of sand.";

    #[test]
    fn what_can_be_used_is_used() {
        let source = Source::of([TEXT]);
        let choice = || Choice::new(&source, Some(Kind::Numbers));
        let found = choice().consider(" Anna broke a pump in Hall 4. ", false, false);
        assert_eq!(found.unwrap(), "Anna broke a pump in Hall 4.");
        assert_eq!(choice().consider("", false, false), None);
        let mut strict = Choice::new(&source, Some(Kind::NumbersAndNames));
        for text in [
            "Poor Anna broke a pump. It was dark. A filter was full.",
            "A pump broke. It was Anna. It was dark.",
        ] {
            assert_eq!(strict.consider(text, false, false), None);
        }
        assert_eq!(
            strict.otherwise(TEXT),
            Summary { text: "It was dark. A filter was full.".into(), quoted: false }
        );
        let mut numbers = choice();
        assert_eq!(numbers.consider("A pump broke. It was in Hall 5.", false, false), None);
        assert!(numbers.otherwise(TEXT).quoted);
    }

    #[test]
    fn circles_are_cut_back_or_the_text_is_quoted() {
        let source = Source::of([TEXT]);
        let mut choice = Choice::new(&source, Some(Kind::Numbers));
        assert_eq!(choice.consider("A pump broke. It was dark. It was", false, true), None);
        assert_eq!(choice.consider("A pump", false, true), None);
        assert_eq!(choice.consider("", false, false), None);
        assert_eq!(
            choice.otherwise(TEXT),
            Summary { text: "A pump broke. It was dark.".into(), quoted: false }
        );
        let mut nothing = Choice::new(&source, Some(Kind::Numbers));
        assert_eq!(nothing.consider("- - -", false, true), None);
        let quoted = nothing.otherwise(TEXT);
        assert!(quoted.quoted && quoted.marked().starts_with("[quoted] The pump of Hall 4"), "{quoted:?}");
    }

    #[test]
    fn sentences_are_whole_and_say_something_new() {
        let source = Source::of([TEXT]);
        let consider = |text: &str, broken_off| {
            Choice::new(&source, Some(Kind::Numbers)).consider(text, broken_off, false)
        };
        assert_eq!(consider("It broke. It was dark. The", true).unwrap(), "It broke. It was dark.");
        assert_eq!(consider("It broke and", true).unwrap(), "It broke and");
        let twice = "The pump of the hall broke at noon. A filter was full.\n\nAt noon the pump of the hall broke. All ran again.";
        assert_eq!(
            consider(twice, false).unwrap(),
            "The pump of the hall broke at noon. A filter was full.\n\nAll ran again."
        );
        let circles = "The pump of the hall broke at noon. At noon the pump of the hall broke. The pump broke at noon, the hall of.";
        assert_eq!(consider(circles, false), None);
    }

    #[test]
    fn attempts_differ() {
        let asked = SamplerOptions::default().temperature(0.0).seed(Some(3));
        let [first, second, third] = attempts(&asked);
        assert_eq!(first, asked);
        assert!(second.dry_multiplier > 0.0 && second.temperature == 0.0);
        assert!(third.temperature > 0.0 && third.seed == Some(4));
    }
}
