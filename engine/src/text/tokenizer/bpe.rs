//! Byte-level byte-pair encoding (`tokenizer.ggml.model` = `gpt2`): words of bytes, joined by ranked merges.

use std::borrow::Cow;

use unicode_normalization::{IsNormalized, UnicodeNormalization, is_nfc_quick};

use super::alphabet;
use super::error::TokenizerError;
use super::load::{MERGES, lossy};
use super::merge::{Merge, Merger, NONE};
use super::pretokenizer::PreTokenizer;
use super::vocabulary::{Kind, Vocabulary};

/// The encoder of a byte-level vocabulary.
pub(super) struct Bpe {
    words: PreTokenizer,
    /// The token of each single byte, or [`NONE`].
    bytes: Box<[u32; 256]>,
    merges: Merges,
}

impl Bpe {
    /// An encoder for this vocabulary by these merges, each two tokens' texts with a space between, best first.
    pub(super) fn new(
        vocabulary: &Vocabulary,
        words: PreTokenizer,
        merges: &[&[u8]],
    ) -> Result<Bpe, TokenizerError> {
        let bytes = std::array::from_fn(|byte| {
            let mut spelled = [0; 4];
            let spelled = alphabet::spell(byte as u8).encode_utf8(&mut spelled);
            vocabulary.find_ordinary(spelled.as_bytes()).unwrap_or(NONE)
        });
        Ok(Bpe { words, bytes: Box::new(bytes), merges: Merges::new(vocabulary, merges)? })
    }

    /// Appends the tokens of a stretch of text. A byte the vocabulary has no token for is left out, as Hugging Face
    /// does it.
    pub(super) fn encode(
        &self,
        vocabulary: &Vocabulary,
        text: &[u8],
        merger: &mut Merger,
        out: &mut Vec<u32>,
    ) {
        let mut spelled = Vec::new();
        let text = if self.words.composes { composed(text) } else { Cow::Borrowed(text) };
        self.words.pattern.split(&text, |word| {
            if self.words.whole_words {
                spelled.clear();
                // A word longer than any token is spelled no further than shows that.
                alphabet::spell_into(&word[..word.len().min(vocabulary.longest_text() + 1)], &mut spelled);
                if let Some(id) = vocabulary.find_ordinary(&spelled) {
                    out.push(id);
                    return;
                }
            }
            for part in word.chunks(Merger::LIMIT) {
                self.encode_word(part, merger, out);
            }
        });
    }

    fn encode_word(&self, word: &[u8], merger: &mut Merger, out: &mut Vec<u32>) {
        merger.clear();
        for (start, &byte) in word.iter().enumerate() {
            let token = self.bytes[usize::from(byte)];
            if token != NONE {
                merger.push(token, start, 1);
            }
        }
        merger.run(|left, right| self.merges.find(left.token, right.token));
        out.extend(merger.symbols().map(|symbol| symbol.token));
    }
}

/// The text in Unicode's normalization form C; bytes that are not UTF-8 stay.
fn composed(text: &[u8]) -> Cow<'_, [u8]> {
    let is_composed = |part: &str| is_nfc_quick(part.chars()) == IsNormalized::Yes;
    if text.is_ascii() || text.utf8_chunks().all(|chunk| is_composed(chunk.valid())) {
        return Cow::Borrowed(text);
    }
    let mut composed = Vec::with_capacity(text.len());
    for chunk in text.utf8_chunks() {
        let mut utf8 = [0; 4];
        chunk.valid().nfc().for_each(|c| composed.extend_from_slice(c.encode_utf8(&mut utf8).as_bytes()));
        composed.extend_from_slice(chunk.invalid());
    }
    Cow::Owned(composed)
}

/// Appends the bytes a token of a byte-level vocabulary stands for. User-defined tokens are not spelled in the byte
/// alphabet, and neither is a text with a character outside it: they stand for themselves.
pub(super) fn spell_out(text: &[u8], kind: Kind, piece: &mut Vec<u8>) {
    if kind == Kind::UserDefined || !alphabet::unspell_into(text, piece) {
        piece.extend_from_slice(text);
    }
}

/// The merges: for each left token the right ones it can be joined with, sorted.
struct Merges {
    /// Where each left token's rows start; one more at the end.
    starts: Box<[u32]>,
    rows: Box<[Row]>,
}

struct Row {
    right: u32,
    merge: Merge,
}

impl Merges {
    fn new(vocabulary: &Vocabulary, merges: &[&[u8]]) -> Result<Merges, TokenizerError> {
        let mut joined = Vec::new();
        let mut found = Vec::with_capacity(merges.len());
        for (rank, merge) in merges.iter().enumerate() {
            let malformed = |expected: &str| TokenizerError::Entry {
                key: MERGES,
                index: rank,
                found: lossy(merge),
                expected: expected.into(),
            };
            let (left, right) = halves(merge).ok_or_else(|| malformed("two tokens with a space between"))?;
            joined.clear();
            joined.extend_from_slice(left);
            joined.extend_from_slice(right);
            let [left, right, token] = [left, right, &joined].map(|text| vocabulary.find(text));
            let (Some(left), Some(right), Some(token)) = (left, right, token) else {
                return Err(malformed("two tokens of the vocabulary that together are a third"));
            };
            if vocabulary.kind(token).is_special() {
                continue; // Text never becomes a control token, whatever a file's merges say.
            }
            let priority = u32::try_from(rank).map_err(|_| malformed("at most 2^32 merges"))?;
            found.push((left, right, priority, token));
        }
        Ok(Merges::sorted(vocabulary.len(), found))
    }

    /// Of the same pair twice the better rank counts.
    fn sorted(tokens: usize, mut found: Vec<(u32, u32, u32, u32)>) -> Merges {
        found.sort_unstable();
        found.dedup_by_key(|&mut (left, right, ..)| (left, right));
        let mut starts = vec![0; tokens + 1];
        for &(left, ..) in &found {
            starts[left as usize + 1] += 1;
        }
        for token in 0..tokens {
            starts[token + 1] += starts[token];
        }
        let row = |(_, right, priority, token)| Row { right, merge: Merge { priority, token } };
        Merges { starts: starts.into(), rows: found.into_iter().map(row).collect() }
    }

    fn find(&self, left: u32, right: u32) -> Option<Merge> {
        let left = left as usize;
        let rows = &self.rows[self.starts[left] as usize..self.starts[left + 1] as usize];
        let row = rows.binary_search_by_key(&right, |row| row.right).ok()?;
        Some(rows[row].merge)
    }
}

/// The two halves of a merge, cut at the first space that leaves something on its left.
fn halves(merge: &[u8]) -> Option<(&[u8], &[u8])> {
    let space = 1 + merge.get(1..)?.iter().position(|&byte| byte == b' ')?;
    let (left, right) = (&merge[..space], &merge[space + 1..]);
    (!right.is_empty()).then_some((left, right))
}
