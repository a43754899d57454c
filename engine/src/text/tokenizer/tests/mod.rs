//! Vocabularies made for tests, and the tests that use them.

mod decoding;
mod encoding;
mod long;
mod marks;
mod refused;

use super::alphabet::spell_into;
use super::*;
use crate::gguf::write::{Builder, OwnedArray};

pub(super) const NORMAL: i32 = 1;
const UNKNOWN: i32 = 2;
pub(super) const CONTROL: i32 = 3;
const USER_DEFINED: i32 = 4;
const UNUSED: i32 = 5;
const BYTE: i32 = 6;

/// A vocabulary to put in a file.
#[derive(Clone, Default)]
pub(super) struct Draft {
    texts: Vec<Vec<u8>>,
    scores: Vec<f32>,
    kinds: Vec<i32>,
    merges: Vec<Vec<u8>>,
}

impl Draft {
    /// Byte-level, with each byte's token under the byte's own number.
    pub(super) fn byte_level() -> Draft {
        let mut draft = Draft::default();
        for byte in 0..=255 {
            draft.add(&spelled(&[byte]), NORMAL, 0.0);
        }
        draft
    }

    /// SentencePiece's, with byte 0's token under number 3 and so on, and the space under 259.
    fn sentence_piece() -> Draft {
        let mut draft = Draft::default();
        draft.add(b"<unk>", UNKNOWN, 0.0);
        draft.add(b"<s>", CONTROL, 0.0);
        draft.add(b"</s>", CONTROL, 0.0);
        for byte in 0..=255 {
            draft.add(format!("<0x{byte:02X}>").as_bytes(), BYTE, 0.0);
        }
        draft.add("▁".as_bytes(), NORMAL, -1000.0);
        draft
    }

    pub(super) fn add(&mut self, text: &[u8], kind: i32, score: f32) -> u32 {
        self.texts.push(text.to_vec());
        self.scores.push(score);
        self.kinds.push(kind);
        self.texts.len() as u32 - 1
    }

    /// A merge of two byte-level tokens, given their bytes, and the token it makes.
    fn merge(&mut self, left: impl AsRef<[u8]>, right: impl AsRef<[u8]>) -> u32 {
        let (left, right) = (spelled(left.as_ref()), spelled(right.as_ref()));
        self.merges.push([&left[..], b" ", &right].concat());
        self.add(&[left, right].concat(), NORMAL, 0.0)
    }

    /// Merges that double a token's bytes up to a length, from a token that is already there.
    fn double(&mut self, unit: &str, most: usize) -> u32 {
        let mut last = 0;
        let mut text = unit.to_owned();
        while text.len() < most * unit.len() {
            last = self.merge(&text, &text);
            text = text.repeat(2);
        }
        last
    }

    /// A SentencePiece token of these letters, and those that it is joined from.
    fn word(&mut self, letters: &str) -> u32 {
        let ends = letters.char_indices().map(|(at, c)| at + c.len_utf8());
        let ids: Vec<u32> = ends.map(|end| self.add(&letters.as_bytes()[..end], NORMAL, 0.0)).collect();
        for letter in letters.chars().skip(1) {
            self.add(letter.to_string().as_bytes(), NORMAL, 0.0);
        }
        ids.last().copied().unwrap_or_default()
    }

    fn metadata(&self, model: &str) -> Builder {
        let mut file = Builder::new();
        file.set("tokenizer.ggml.model", model).unwrap();
        file.set("tokenizer.ggml.tokens", OwnedArray::Str(self.texts.clone())).unwrap();
        file.set("tokenizer.ggml.scores", OwnedArray::F32(self.scores.clone())).unwrap();
        file.set("tokenizer.ggml.token_type", OwnedArray::I32(self.kinds.clone())).unwrap();
        file.set("tokenizer.ggml.merges", OwnedArray::Str(self.merges.clone())).unwrap();
        file
    }

    pub(super) fn bpe(&self, pre: &str) -> Builder {
        let mut file = self.metadata("gpt2");
        file.set("tokenizer.ggml.pre", pre).unwrap();
        file
    }

    fn spm(&self) -> Builder {
        self.metadata("llama")
    }
}

pub(super) fn spelled(bytes: &[u8]) -> Vec<u8> {
    let mut spelled = Vec::new();
    spell_into(bytes, &mut spelled);
    spelled
}

fn load(file: Builder) -> Result<Tokenizer, TokenizerError> {
    let bytes = file.start(Vec::new()).unwrap().finish().unwrap();
    Tokenizer::from_gguf(&Gguf::from_bytes("test", bytes).unwrap())
}

pub(super) fn made(file: Builder) -> Tokenizer {
    load(file).unwrap()
}

fn error(file: Builder) -> String {
    load(file).err().unwrap().to_string()
}

fn encode(tokenizer: &Tokenizer, text: impl AsRef<[u8]>, special: Special) -> Vec<u32> {
    let mut ids = Vec::new();
    tokenizer.encode(text.as_ref(), special, &mut ids);
    ids
}

fn plain(tokenizer: &Tokenizer, text: impl AsRef<[u8]>) -> Vec<u32> {
    encode(tokenizer, text, Special::Text)
}

fn decode(tokenizer: &Tokenizer, ids: &[u32]) -> Vec<String> {
    let mut detokenizer = Detokenizer::new(tokenizer);
    let mut texts: Vec<String> = ids.iter().map(|&id| detokenizer.push(tokenizer, id).to_owned()).collect();
    texts.push(detokenizer.finish().to_owned());
    texts
}
