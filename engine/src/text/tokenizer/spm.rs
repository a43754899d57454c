//! SentencePiece's byte-pair encoding (`tokenizer.ggml.model` = `llama`): characters, joined by the best-scored piece
//! that two neighbours make, with a fall-back to bytes.

use super::class::char_len_at;
use super::error::TokenizerError;
use super::load::{TOKENS, lossy};
use super::merge::{Merge, Merger, NONE};
use super::vocabulary::{Kind, Vocabulary};

/// U+2581, which SentencePiece writes for a space.
const SPACE: &[u8] = "▁".as_bytes();

/// The encoder of a SentencePiece vocabulary.
pub(super) struct Spm {
    /// The priority of joining two neighbours into each token: the better its score, the lower.
    priorities: Box<[u32]>,
    /// The token of each single byte, or [`NONE`].
    bytes: Box<[u32; 256]>,
    /// What stands for a byte without a token, or [`NONE`].
    unknown: u32,
    /// A space goes before text (`add_space_prefix`).
    space_first: bool,
}

impl Spm {
    /// An encoder for this vocabulary with a score for each token.
    pub(super) fn new(
        vocabulary: &Vocabulary,
        scores: &[f32],
        unknown: Option<u32>,
        space_first: bool,
    ) -> Result<Spm, TokenizerError> {
        let mut bytes = Box::new([NONE; 256]);
        for id in vocabulary.ids().rev().filter(|&id| vocabulary.kind(id) == Kind::Byte) {
            let byte = byte_of(vocabulary.text(id)).ok_or_else(|| TokenizerError::Entry {
                key: TOKENS,
                index: id as usize,
                found: lossy(vocabulary.text(id)),
                expected: "a byte token, <0x00> to <0xFF>".into(),
            })?;
            bytes[usize::from(byte)] = id;
        }
        let priorities = scores.iter().copied().map(priority).collect();
        Ok(Spm { priorities, bytes, unknown: unknown.unwrap_or(NONE), space_first })
    }

    /// Appends the tokens of a stretch of text; `starts` says that it is not the continuation of other text.
    ///
    /// A character without a token becomes the tokens of its bytes. Bytes that are not UTF-8 take that way too. A
    /// byte without a token is unknown, and a run of unknown is one token, as SentencePiece does it.
    pub(super) fn encode(
        &self,
        vocabulary: &Vocabulary,
        text: &[u8],
        starts: bool,
        merger: &mut Merger,
        out: &mut Vec<u32>,
    ) {
        let escaped = self.escape(text, starts);
        for part in escaped.chunks(Merger::LIMIT) {
            self.encode_part(vocabulary, part, merger, out);
        }
    }

    fn encode_part(&self, vocabulary: &Vocabulary, text: &[u8], merger: &mut Merger, out: &mut Vec<u32>) {
        merger.clear();
        let mut at = 0;
        while let Some(len) = char_len_at(text, at) {
            merger.push(vocabulary.find_ordinary(&text[at..at + len]).unwrap_or(NONE), at, len);
            at += len;
        }
        merger.run(|left, right| {
            let joined = &text[left.start as usize..(right.start + right.len) as usize];
            let token = vocabulary.find_ordinary(joined)?;
            Some(Merge { priority: self.priorities.get(token as usize).copied()?, token })
        });
        let first = out.len();
        for symbol in merger.symbols() {
            if symbol.token != NONE {
                out.push(symbol.token);
                continue;
            }
            for &byte in &text[symbol.start as usize..(symbol.start + symbol.len) as usize] {
                match self.bytes[usize::from(byte)] {
                    NONE if self.unknown == NONE || out[first..].last() == Some(&self.unknown) => {}
                    NONE => out.push(self.unknown),
                    token => out.push(token),
                }
            }
        }
    }

    /// The text as the vocabulary spells it.
    fn escape(&self, text: &[u8], starts: bool) -> Vec<u8> {
        let mut escaped = Vec::with_capacity(text.len() + text.len() / 2 + SPACE.len());
        if starts && self.space_first {
            escaped.extend_from_slice(SPACE);
        }
        for &byte in text {
            match byte {
                b' ' => escaped.extend_from_slice(SPACE),
                _ => escaped.push(byte),
            }
        }
        escaped
    }
}

/// The text with one space for each run of them, and none at its ends.
pub(super) fn single_spaces(text: &[u8]) -> Vec<u8> {
    let words = text.split(|&byte| byte == b' ').filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join(&b' ')
}

/// Whether the character at a byte is a space that [`single_spaces`] leaves out.
pub(super) fn is_spare_space(text: &str, at: usize) -> bool {
    let (before, from) = text.split_at_checked(at).unwrap_or((text, ""));
    let Some(behind) = from.strip_prefix(' ') else { return false };
    behind.is_empty() || behind.starts_with(' ') || before.bytes().all(|byte| byte == b' ')
}

/// A number that is the lower, the higher the score. Scores of 0 and -0 are equal; NaN is put last or first by its
/// sign, so that any file's scores have an order.
fn priority(score: f32) -> u32 {
    const SIGN: u32 = 1 << 31;
    let bits = (score + 0.0).to_bits();
    let ascending = if bits & SIGN == 0 { bits | SIGN } else { !bits };
    !ascending
}

/// The byte of a byte token's text, `<0x00>` to `<0xFF>`.
pub(super) fn byte_of(text: &[u8]) -> Option<u8> {
    let [b'<', b'0', b'x', high, low, b'>'] = *text else { return None };
    let digit = |digit: u8| char::from(digit).to_digit(16);
    u8::try_from(digit(high)? * 16 + digit(low)?).ok()
}

/// Appends the bytes a token of a SentencePiece vocabulary stands for.
pub(super) fn spell_out(text: &[u8], kind: Kind, piece: &mut Vec<u8>) {
    match (kind, byte_of(text)) {
        (Kind::Byte, Some(byte)) => piece.push(byte),
        _ => unescape(text, piece),
    }
}

fn unescape(mut text: &[u8], piece: &mut Vec<u8>) {
    while let Some((&first, rest)) = text.split_first() {
        (text, _) = match text.strip_prefix(SPACE) {
            Some(rest) => (rest, piece.push(b' ')),
            None => (rest, piece.push(first)),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn priorities_fall_as_scores_rise() {
        let rising = [f32::NEG_INFINITY, -1e9, -2.0, -1.5, -1e-40, 0.0, 1e-40, 1.0, f32::INFINITY];
        for pair in rising.windows(2) {
            assert!(priority(pair[0]) > priority(pair[1]), "{pair:?}");
        }
        assert_eq!(priority(0.0), priority(-0.0));
    }

    #[test]
    fn byte_tokens_are_read_strictly() {
        assert_eq!(byte_of(b"<0x00>"), Some(0));
        assert_eq!(byte_of(b"<0xfF>"), Some(255));
        for bad in ["<0xZZ>", "<0x0>", "<0x000>", "<0X00>", "0x00", "", "<0x+1>"] {
            assert_eq!(byte_of(bad.as_bytes()), None, "{bad}");
        }
    }
}
