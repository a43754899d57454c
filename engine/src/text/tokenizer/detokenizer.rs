//! From tokens back to text, one token at a time.

use super::Tokenizer;

/// Turns tokens into text as they come. A character whose bytes are spread over several tokens is held back until it
/// is whole; bytes that cannot become one give U+FFFD, as [`String::from_utf8_lossy`] has it. Control tokens, and
/// numbers that are no token's, give nothing.
///
/// Nothing is allocated after [`Detokenizer::new`], as long as it is used with the tokenizer it was made for.
#[derive(Clone, Debug)]
pub struct Detokenizer {
    /// The bytes of a character that is not whole yet, then the newest token's.
    bytes: Vec<u8>,
    text: String,
    /// The text begins with the space that the tokenizer put before it.
    at_start: bool,
}

/// The bytes of a character that may be held back.
const UNFINISHED: usize = 3;

impl Detokenizer {
    /// For a text of its own: the space that [`Tokenizer::encode`] put before it is left out again.
    pub fn new(tokenizer: &Tokenizer) -> Detokenizer {
        Detokenizer { at_start: tokenizer.puts_space_first(), ..Detokenizer::continuing(tokenizer) }
    }

    /// For text that goes on from other text: every space is kept.
    pub fn continuing(tokenizer: &Tokenizer) -> Detokenizer {
        let longest = tokenizer.vocabulary.longest_piece() + UNFINISHED;
        let replaced = longest * char::REPLACEMENT_CHARACTER.len_utf8();
        Detokenizer {
            bytes: Vec::with_capacity(longest),
            text: String::with_capacity(replaced),
            at_start: false,
        }
    }

    /// The text that this token completes; often empty, and not more than the token's own bytes and a character
    /// held back before.
    pub fn push(&mut self, tokenizer: &Tokenizer, id: u32) -> &str {
        let mut piece = tokenizer.piece(id);
        if self.at_start && !piece.is_empty() {
            self.at_start = false;
            piece = piece.strip_prefix(b" ").unwrap_or(piece);
        }
        self.bytes.extend_from_slice(piece);
        self.take_whole_characters();
        &self.text
    }

    /// The end of the text: U+FFFD for a character that never became whole. What is pushed afterwards continues.
    pub fn finish(&mut self) -> &str {
        self.text.clear();
        if !self.bytes.is_empty() {
            self.bytes.clear();
            self.text.push(char::REPLACEMENT_CHARACTER);
        }
        &self.text
    }

    /// Moves all that is certain from the bytes to the text.
    fn take_whole_characters(&mut self) {
        self.text.clear();
        let mut taken = 0;
        for chunk in self.bytes.utf8_chunks() {
            self.text.push_str(chunk.valid());
            taken += chunk.valid().len();
            let rest = &self.bytes[taken..];
            if rest.len() == chunk.invalid().len() && may_become_whole(rest) {
                break;
            }
            if !chunk.invalid().is_empty() {
                self.text.push(char::REPLACEMENT_CHARACTER);
                taken += chunk.invalid().len();
            }
        }
        self.bytes.drain(..taken);
    }
}

/// Whether these are the first bytes of a character, and not all of them.
fn may_become_whole(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).is_err_and(|error| error.error_len().is_none())
}

#[cfg(test)]
mod tests {
    use super::super::tests::{Draft, NORMAL, made, spelled};
    use super::*;

    #[test]
    fn all_memory_is_reserved_at_first() {
        let mut draft = Draft::byte_level();
        let worst = draft.add(&spelled(&[0xFF; 40]), NORMAL, 0.0);
        let tokenizer = made(draft.bpe("gpt-2"));
        let mut detokenizer = Detokenizer::new(&tokenizer);
        let memory = |detokenizer: &Detokenizer| (detokenizer.bytes.as_ptr(), detokenizer.text.as_ptr());
        let before = memory(&detokenizer);
        for _ in 0..3 {
            for id in [0xF0, 0x9F, 0x98] {
                assert_eq!(detokenizer.push(&tokenizer, id), "");
            }
            assert_eq!(detokenizer.push(&tokenizer, worst), "\u{FFFD}".repeat(41));
        }
        assert_eq!(memory(&detokenizer), before);
    }
}
