//! Tokens that take the white space beside them along, as Hugging Face's `lstrip` and `rstrip` have it.

use super::TokenizerError;
use super::class::class_at;
use super::load::Settings;
use super::vocabulary::{Kind, Vocabulary};

/// The tokens that take white space on one side or the other.
#[derive(Debug, Default)]
pub(super) struct Strips {
    /// Before them, in ascending order.
    left: Vec<u32>,
    /// Behind them.
    right: Vec<u32>,
}

const LEFT: &str = "tokenizer.ggml.lstrip_tokens";
const RIGHT: &str = "tokenizer.ggml.rstrip_tokens";

/// Tokens of Phi-3 that take none, of all that are no text.
const PHI3_OTHERS: [&[u8]; 3] = [b"<unk>", b"<s>", b"<|endoftext|>"];

impl Strips {
    /// Those that the file names. Files that llama.cpp's converter made do not: as in llama.cpp, Phi-3 is known by the
    /// model's name.
    pub(super) fn new(settings: &Settings<'_>, vocabulary: &Vocabulary) -> Result<Strips, TokenizerError> {
        let left = settings.tokens(LEFT, vocabulary)?;
        let right = settings.tokens(RIGHT, vocabulary)?;
        if left.is_some() || right.is_some() || !settings.is_phi3()? {
            return Ok(Strips { left: left.unwrap_or_default(), right: right.unwrap_or_default() });
        }
        let is_cut_out = |kind| matches!(kind, Kind::Control | Kind::UserDefined | Kind::Unknown);
        let takes = |&id: &u32| {
            let text = vocabulary.text(id);
            is_cut_out(vocabulary.kind(id)) && !PHI3_OTHERS.contains(&text)
        };
        Ok(Strips { left: Vec::new(), right: vocabulary.ids().filter(takes).collect() })
    }

    /// What is left of a text that stands before a token.
    pub(super) fn before<'t>(&self, text: &'t [u8], token: u32) -> &'t [u8] {
        const LONGEST: usize = 4;
        let mut end = text.len();
        if self.left.binary_search(&token).is_err() {
            return text;
        }
        let is_white = |start: &usize, end: usize| {
            class_at(text, *start).is_some_and(|(class, length)| start + length == end && class.is_white())
        };
        while let Some(start) = (end.saturating_sub(LONGEST)..end).rev().find(|start| is_white(start, end)) {
            end = start;
        }
        text.get(..end).unwrap_or_default()
    }

    /// The bytes of white space behind a token that it takes along.
    pub(super) fn behind(&self, token: u32, text: &[u8]) -> usize {
        let mut at = 0;
        if self.right.binary_search(&token).is_ok() {
            while let Some((_, length)) = class_at(text, at).filter(|(class, _)| class.is_white()) {
                at += length;
            }
        }
        at
    }
}
