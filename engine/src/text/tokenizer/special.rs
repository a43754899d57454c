//! Tokens that are found in text before anything else is done to it.

use super::error::TokenizerError;
use super::load::TOKENS;
use super::strips::Strips;
use super::vocabulary::{Kind, Vocabulary};

/// The longest text that is looked for, in bytes: it bounds what one byte of input can cost. Real ones are shorter
/// than a tenth of it.
const LONGEST: usize = 1024;

/// The texts of some tokens, to be found in other text: at each place the longest one.
pub(super) struct Matcher {
    /// The tokens in the order of their texts, each text once.
    sorted: Box<[u32]>,
    /// Whether any text starts with this byte.
    starts: Box<[bool; 256]>,
}

/// A stretch of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part<'a> {
    /// A token's text.
    Token(u32),
    /// What is between such tokens; never empty.
    Text(&'a [u8]),
}

impl Matcher {
    /// Finds the tokens of these kinds. Of equal texts the lowest number is meant.
    pub(super) fn new(vocabulary: &Vocabulary, kinds: &[Kind]) -> Result<Matcher, TokenizerError> {
        let is_wanted = |&id: &u32| kinds.contains(&vocabulary.kind(id)) && !vocabulary.text(id).is_empty();
        let mut sorted: Vec<u32> = vocabulary.ids().filter(is_wanted).collect();
        if let Some(&long) = sorted.iter().find(|&&id| vocabulary.text(id).len() > LONGEST) {
            return Err(TokenizerError::Entry {
                key: TOKENS,
                index: long as usize,
                found: format!("a control or user-defined token of {} bytes", vocabulary.text(long).len()),
                expected: format!("at most {LONGEST}"),
            });
        }
        sorted.sort_by_key(|&id| vocabulary.text(id));
        sorted.dedup_by_key(|id| vocabulary.text(*id));
        let mut starts = Box::new([false; 256]);
        for &first in sorted.iter().filter_map(|&id| vocabulary.text(id).first()) {
            starts[usize::from(first)] = true;
        }
        Ok(Matcher { sorted: sorted.into(), starts })
    }

    /// The longest token that a text starts with, of those whose length in bytes is accepted: narrows the sorted texts
    /// byte by byte to those that agree so far.
    pub(super) fn longest_at(
        &self,
        vocabulary: &Vocabulary,
        text: &[u8],
        accepts: impl Fn(usize) -> bool,
    ) -> Option<u32> {
        if !self.starts[usize::from(*text.first()?)] {
            return None;
        }
        let mut agree = &self.sorted[..];
        let mut longest = None;
        for (depth, byte) in text.iter().enumerate() {
            let byte_of = |id: &u32| vocabulary.text(*id).get(depth);
            agree = &agree[agree.partition_point(|id| byte_of(id) < Some(byte))..];
            agree = &agree[..agree.partition_point(|id| byte_of(id) == Some(byte))];
            match agree.first() {
                None => break,
                Some(&first) if vocabulary.text(first).len() == depth + 1 && accepts(depth + 1) => {
                    longest = Some(first);
                }
                Some(_) => {}
            }
        }
        longest
    }
}

/// Cuts a text into tokens, where `find` has one that starts at a byte, and what is between them, and hands each on in
/// order. White space beside a token that takes it along is neither.
pub(super) fn split<'a>(
    vocabulary: &Vocabulary,
    strips: &Strips,
    text: &'a [u8],
    find: impl Fn(usize) -> Option<u32>,
    mut part: impl FnMut(Part<'a>),
) {
    let (mut start, mut at) = (0, 0);
    while at < text.len() {
        let Some(token) = find(at) else {
            at += 1;
            continue;
        };
        let before = strips.before(&text[start..at], token);
        if !before.is_empty() {
            part(Part::Text(before));
        }
        part(Part::Token(token));
        at += vocabulary.text(token).len();
        at += strips.behind(token, &text[at..]);
        start = at;
    }
    if start < text.len() {
        part(Part::Text(&text[start..]));
    }
}
