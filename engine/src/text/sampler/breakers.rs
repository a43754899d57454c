//! DRY's sequence breakers, from texts to tokens.

use super::SamplerOptions;
use super::dry;
use super::history::History;

/// DRY's sequence breakers as token sequences: a head, and the tail that must follow it.
///
/// A breaker need not begin where a token begins. Every token that holds the whole text is a breaker by itself; a token
/// that ends in the beginning of the text is the head of one, its tail the tokens of the rest.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Breakers {
    /// Sorted, so that the sequences of one head lie together.
    sequences: Vec<(u32, Vec<u32>)>,
}

impl Breakers {
    /// Longer breakers are cut to this many bytes, as in llama.cpp.
    const MAX_TEXT: usize = 40;
    /// Longer tails are cut to this many tokens, as in llama.cpp; this bounds the search.
    const MAX_TAIL: usize = 20;

    /// Finds the tokens of the options' `dry_sequence_breakers` in a vocabulary of `len` tokens. `text` gives the bytes
    /// that a token stands for, special tokens spelled out; `encode` the tokens of a text, with no special
    /// tokens parsed or added. Neither is called when the options leave DRY off.
    pub fn new<'v>(
        options: &SamplerOptions,
        len: usize,
        text: impl Fn(u32) -> &'v [u8],
        mut encode: impl FnMut(&[u8]) -> Vec<u32>,
    ) -> Self {
        let mut sequences = Vec::new();
        let breakers: &[String] = if dry::is_on(options) { &options.dry_sequence_breakers } else { &[] };
        for breaker in breakers.iter().filter(|breaker| !breaker.is_empty()) {
            let breaker = breaker.as_bytes().get(..Self::MAX_TEXT).unwrap_or(breaker.as_bytes());
            for id in 0..u32::try_from(len).unwrap_or(u32::MAX) {
                for rest in overlaps(text(id), breaker) {
                    let mut tail = if rest.is_empty() { Vec::new() } else { encode(rest) };
                    tail.truncate(Self::MAX_TAIL);
                    sequences.push((id, tail));
                }
            }
        }
        Breakers::from_sequences(sequences)
    }

    /// Breakers given as tokens: the head and the tail of each.
    pub fn from_sequences(mut sequences: Vec<(u32, Vec<u32>)>) -> Self {
        sequences.sort_unstable();
        sequences.dedup();
        Breakers { sequences }
    }

    fn of_head(&self, head: u32) -> impl Iterator<Item = &[u32]> {
        let first = self.sequences.partition_point(|(id, _)| *id < head);
        let from = self.sequences.get(first..).unwrap_or_default();
        from.iter().take_while(move |(id, _)| *id == head).map(|(_, tail)| tail.as_slice())
    }

    /// Whether the token is a breaker by itself.
    pub(super) fn is_breaker(&self, token: u32) -> bool {
        self.of_head(token).any(<[u32]>::is_empty)
    }

    /// The length of the longest tail that follows the token `age` places back, when that is the head of a breaker.
    pub(super) fn longest_at(&self, recent: &History, age: usize) -> Option<usize> {
        let follows = |tail: &&[u32]| {
            tail.len() <= age && tail.iter().enumerate().all(|(i, &t)| recent.back(age - 1 - i) == Some(t))
        };
        self.of_head(recent.back(age)?).filter(follows).map(<[u32]>::len).max()
    }
}

/// What is left of `breaker` after `word`, for every place in `word` where it may begin: nothing when the word holds all
/// of it (which settles the matter), else what runs over the word's end.
fn overlaps<'b>(word: &[u8], breaker: &'b [u8]) -> Vec<&'b [u8]> {
    if word.windows(breaker.len()).any(|window| window == breaker) {
        return vec![&[]];
    }
    let longest = word.len().min(breaker.len().saturating_sub(1));
    let shared = |n: &usize| breaker.get(..*n).is_some_and(|beginning| word.ends_with(beginning));
    (1..=longest).filter(shared).filter_map(|n| breaker.get(n..)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const VOCABULARY: [&str; 8] = ["a", "b", "ab", "xa", "abc", "c", "bc", "aa"];

    fn encode(text: &[u8]) -> Vec<u32> {
        let id = |byte: &u8| VOCABULARY.iter().position(|v| v.as_bytes() == [*byte]).map(|id| id as u32);
        text.iter().filter_map(id).collect()
    }

    fn breakers(text: &str) -> Breakers {
        let options = SamplerOptions {
            dry_multiplier: 1.0,
            dry_sequence_breakers: vec![text.to_owned()],
            ..Default::default()
        };
        Breakers::new(&options, VOCABULARY.len(), |id| VOCABULARY[id as usize].as_bytes(), encode)
    }

    #[test]
    fn a_token_that_holds_the_breaker_breaks_alone() {
        let found = breakers("b");
        assert_eq!(found.sequences, [1, 2, 4, 6].map(|id| (id, vec![])));
    }

    #[test]
    fn a_token_that_ends_in_its_beginning_needs_the_rest() {
        let found = breakers("abc");
        let expected = [(0, vec![1, 5]), (2, vec![5]), (3, vec![1, 5]), (4, vec![]), (7, vec![1, 5])];
        assert_eq!(found.sequences, expected);
    }

    #[test]
    fn a_breaker_may_begin_at_several_places_of_a_token() {
        let mut found = overlaps(b"xaa", b"aab");
        found.sort_unstable();
        assert_eq!(found, [&b"ab"[..], b"b"]);
    }

    #[test]
    fn nothing_is_searched_when_dry_is_off() {
        let options = SamplerOptions::default();
        let none = Breakers::new(&options, 8, |_| panic!("text asked for"), |_| panic!("tokens asked for"));
        assert_eq!(none, Breakers::default());
    }

    #[test]
    fn the_longest_tail_counts() {
        let breakers = Breakers::from_sequences(vec![(1, vec![]), (1, vec![2, 3]), (1, vec![2])]);
        let mut recent = History::new(8);
        for token in [1, 2, 3, 9] {
            recent.push(token);
        }
        assert_eq!(breakers.longest_at(&recent, 3), Some(2));
        assert_eq!(breakers.longest_at(&recent, 2), None);
        recent.push(1);
        assert_eq!(breakers.longest_at(&recent, 0), Some(0));
    }
}
