//! Whether what a summary names is in the text: its numbers and names.

use crate::sentences;
use std::collections::HashSet;
use unicode_segmentation::UnicodeSegmentation;

/// What a text names.
#[derive(Debug)]
pub struct Source {
    words: HashSet<String>,
}

/// The numbers and names of a summary, and those that the text has not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Support {
    /// How many numbers there are.
    pub numbers: usize,
    /// How many names there are.
    pub names: usize,
    /// Numbers that are not in the text, in the order of the summary.
    pub unsupported_numbers: Vec<String>,
    /// Names that are not in the text.
    pub unsupported_names: Vec<String>,
}

impl Support {
    /// Whether all that is named is in the text.
    pub fn is_whole(&self) -> bool {
        self.has_all(Kind::NumbersAndNames)
    }

    /// Whether all of a kind is in the text.
    pub fn has_all(&self, kind: Kind) -> bool {
        self.unsupported_numbers.is_empty() && (kind == Kind::Numbers || self.unsupported_names.is_empty())
    }

    /// The share of numbers and names that are in the text, from 0 to 1; 1 where there are none.
    pub fn share(&self) -> f64 {
        let named = self.numbers + self.names;
        let unsupported = self.unsupported_numbers.len() + self.unsupported_names.len();
        if named == 0 { 1.0 } else { (named - unsupported) as f64 / named as f64 }
    }

    /// Adds what another summary names.
    pub fn add(&mut self, other: Support) {
        self.numbers += other.numbers;
        self.names += other.names;
        self.unsupported_numbers.extend(other.unsupported_numbers);
        self.unsupported_names.extend(other.unsupported_names);
    }
}

/// What is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Numbers alone.
    Numbers,
    /// Both.
    NumbersAndNames,
}

/// Words for small numbers, which count as those.
const NUMBERS: [&str; 13] = [
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
];

impl Source {
    /// Reads texts.
    pub fn of<'t>(texts: impl IntoIterator<Item = &'t str>) -> Source {
        let mut words = HashSet::new();
        for word in texts.into_iter().flat_map(|text| text.unicode_words()) {
            let word = normal(word);
            if let Some(number) = NUMBERS.iter().position(|&name| name == word) {
                words.insert(number.to_string());
            }
            // What a name is part of, as `Qwen` of `Qwen2`, is there too.
            words.insert(word.trim_end_matches(|c: char| c.is_ascii_digit()).to_owned());
            words.insert(word);
        }
        Source { words }
    }

    /// Looks for what a summary names. Numbers are all words with a digit, but for those that number a list; names are words
    /// that begin with a capital, but for the first of a sentence, and words of capitals alone.
    pub fn supports(&self, summary: &str) -> Support {
        let mut all = Support::default();
        sentences::of(summary).for_each(|sentence| all.add(self.supports_sentence(sentence)));
        all
    }

    /// The summary without the sentences that name what is not in the text.
    pub fn supported<'s>(&self, summary: &'s str, kind: Kind) -> Vec<&'s str> {
        sentences::of(summary).filter(|sentence| self.supports_sentence(sentence).has_all(kind)).collect()
    }

    fn supports_sentence(&self, sentence: &str) -> Support {
        let mut found = Support::default();
        for (at, word) in sentence.unicode_words().enumerate().skip(usize::from(is_numbered(sentence))) {
            let named = normal(word);
            let is_there = self.words.contains(&named);
            if word.contains(|c: char| c.is_ascii_digit()) {
                found.numbers += 1;
                if !is_there {
                    found.unsupported_numbers.push(word.to_owned());
                }
            } else if is_name(word, at == 0) {
                found.names += 1;
                // A plural or a genitive is the name of the same.
                if !is_there && !named.strip_suffix('s').is_some_and(|stem| self.words.contains(stem)) {
                    found.unsupported_names.push(word.to_owned());
                }
            }
        }
        found
    }
}

/// Lower case, without a genitive's ending; of a number without what stands between thousands and an ordinal's ending.
fn normal(word: &str) -> String {
    let word = word.strip_suffix("'s").or(word.strip_suffix("’s")).unwrap_or(word);
    let word = word.to_lowercase();
    if !word.starts_with(|c: char| c.is_ascii_digit()) {
        return word;
    }
    let digits = word.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let is_ordinal = ["st", "nd", "rd", "th"].contains(&word.get(digits.len()..).unwrap_or_default());
    if is_ordinal { digits } else { &word }.replace(',', "")
}

/// Whether a sentence begins as an entry of a numbered list: `2.` or `2)`.
fn is_numbered(sentence: &str) -> bool {
    let rest = sentence.trim_start_matches(|c: char| c.is_ascii_digit());
    let behind = rest.strip_prefix(['.', ')']).filter(|_| rest.len() < sentence.len());
    behind.is_some_and(|behind| !behind.starts_with(|c: char| c.is_ascii_digit()))
}

fn is_name(word: &str, first: bool) -> bool {
    let (mut characters, rest) = (word.chars(), word.chars().skip(1));
    let capital = characters.next().is_some_and(char::is_uppercase);
    let many = rest.clone().next().is_some();
    let capitals = rest.clone().all(|c| c.is_uppercase() || !c.is_alphabetic());
    // "I" and "A" name nothing.
    capital && many && (capitals || (!first && !is_contraction(word)))
}

/// "I'm" and the like.
fn is_contraction(word: &str) -> bool {
    word.starts_with("I'") || word.starts_with("I’")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_named_is_looked_for() {
        let source =
            Source::of(["In 1897 Anna Meyer sold three of 12,500 pumps in Basel.", "NATO met at 11:30."]);
        let support = source.supports(
            "Anna Meyer's 3 pumps of 12500 were sold in Basel in 1899. Later John of the UN met NATO at 11:45. I think \
             I'm the Meyers.",
        );
        assert_eq!(support.unsupported_numbers, ["1899", "45"]);
        assert_eq!(support.unsupported_names, ["John", "UN"]);
        assert_eq!((support.numbers, support.names), (5, 6));
        assert!((support.share() - 7.0 / 11.0).abs() < 1e-9);
        assert!(source.supports("The pumps were sold.").is_whole());
    }

    #[test]
    fn sentences_with_what_is_not_there_are_left_out() {
        let source = Source::of(["The pump of Hall 4 broke at noon."]);
        assert_eq!(
            source.supported(
                "A pump broke. It was in Hall 5. Hall 4 is closed. Anna came.",
                Kind::NumbersAndNames
            ),
            ["A pump broke.", "Hall 4 is closed.", "Anna came."]
        );
        let text = "A pump of Anna broke. Hall 5 is closed.";
        assert_eq!(source.supported(text, Kind::Numbers), ["A pump of Anna broke."]);
        assert_eq!(source.supported(text, Kind::NumbersAndNames), [""; 0]);
    }

    #[test]
    fn numbers_are_the_same_in_other_clothes() {
        let source = Source::of(["On 10 March 12,500 pumps were sold."]);
        let support = source.supports("1. On the 10th.\n2) They sold 12500.\n3. In 2.5 years.");
        assert_eq!((support.numbers, support.unsupported_numbers), (3, vec!["2.5".to_owned()]));
    }
}
