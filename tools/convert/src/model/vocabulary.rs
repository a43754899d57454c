use super::metadata::{Metadata, floats, integers, strings};
use anyhow::{Result, bail};
use std::collections::BTreeSet;

/// Kinds of tokens, numbered as in `tokenizer.ggml.token_type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TokenType {
    /// Text.
    Normal = 1,
    /// Stands for what the vocabulary cannot spell.
    Unknown = 2,
    /// Never written as text.
    Control = 3,
    /// Added text that is matched before any merging.
    UserDefined = 4,
    /// A number without a token.
    Unused = 5,
    /// One byte, spelt `<0xZZ>`.
    Byte = 6,
}

/// A token as GGUF stores it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Token {
    /// Its spelling.
    pub(crate) text: String,
    /// Its kind.
    pub(crate) kind: TokenType,
    /// SentencePiece's score; what a byte-level vocabulary puts here is not written.
    pub(crate) score: f32,
}

/// What joins the tokens of a vocabulary.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Merging {
    /// Ranked merges over bytes, after a named pre-tokenizer.
    ByteLevel {
        /// `tokenizer.ggml.pre`
        pre: &'static str,
        /// `left right`, best first.
        merges: Vec<String>,
    },
    /// SentencePiece's scores.
    Scores,
}

/// A vocabulary, from whichever file describes it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Vocabulary {
    /// The tokens by id; `None` where an id has no token.
    pub(crate) tokens: Vec<Option<Token>>,
    /// How they are joined.
    pub(crate) merging: Merging,
    /// Whether a text gets a space before it, where the file says so.
    pub(crate) space_prefix: Option<bool>,
    /// Tokens that take the white space before them along, and behind them.
    pub(crate) strips: [BTreeSet<u32>; 2],
}

impl Vocabulary {
    /// Puts `token` at `id`.
    pub(crate) fn set(&mut self, id: usize, token: Token) {
        if self.tokens.len() <= id {
            self.tokens.resize(id + 1, None);
        }
        if let Some(place) = self.tokens.get_mut(id) {
            *place = Some(token);
        }
    }

    /// Says on which sides the token `id` takes white space along: `lstrip` and `rstrip`.
    pub(crate) fn strip(&mut self, id: u32, sides: [bool; 2]) {
        for (ids, strips) in self.strips.iter_mut().zip(sides) {
            match strips {
                true => ids.insert(id),
                false => ids.remove(&id),
            };
        }
    }

    /// The first id whose token is spelt `text`.
    pub(crate) fn find(&self, text: &str) -> Option<u32> {
        let found =
            self.tokens.iter().position(|token| token.as_ref().is_some_and(|token| token.text == text))?;
        u32::try_from(found).ok()
    }

    /// The spelling of the token `id`.
    pub(crate) fn text(&self, id: u32) -> Option<&str> {
        self.tokens.get(usize::try_from(id).ok()?)?.as_ref().map(|token| token.text.as_str())
    }

    /// Fits the vocabulary to the `size` rows of the embedding: ids without a token become `[PADid]`, as llama.cpp
    /// names them.
    ///
    /// # Errors
    /// There are more tokens than rows.
    pub(crate) fn pad(&mut self, size: u32) -> Result<()> {
        let size = size as usize;
        if self.tokens.len() > size {
            let Some(last) = self.tokens.last() else { return Ok(()) };
            let text = last.as_ref().map_or("", |token| token.text.as_str());
            let id = self.tokens.len() - 1;
            bail!("the tokenizer's token {id} (\"{text}\") is past config.json's vocab_size of {size}");
        }
        self.tokens.resize(size, None);
        for (id, token) in self.tokens.iter_mut().enumerate() {
            let unused = || Token { text: format!("[PAD{id}]"), kind: TokenType::Unused, score: -10000.0 };
            token.get_or_insert_with(unused);
        }
        Ok(())
    }

    /// Writes the vocabulary as `tokenizer.ggml.*`.
    pub(crate) fn write(&self, metadata: &mut Metadata) {
        let (model, pre) = match &self.merging {
            Merging::ByteLevel { pre, .. } => ("gpt2", *pre),
            Merging::Scores => ("llama", "default"),
        };
        if let Some(add) = self.space_prefix {
            metadata.set("tokenizer.ggml.add_space_prefix", add);
        }
        metadata.set("tokenizer.ggml.model", model);
        metadata.set("tokenizer.ggml.pre", pre);
        let tokens = || self.tokens.iter().flatten();
        metadata.set("tokenizer.ggml.tokens", strings(tokens().map(|token| token.text.clone())));
        if self.merging == Merging::Scores {
            metadata.set("tokenizer.ggml.scores", floats(tokens().map(|token| token.score)));
        }
        for (key, ids) in
            ["tokenizer.ggml.lstrip_tokens", "tokenizer.ggml.rstrip_tokens"].into_iter().zip(&self.strips)
        {
            if !ids.is_empty() {
                metadata.set(key, integers(ids.iter().map(|&id| id as i32)));
            }
        }
        metadata.set("tokenizer.ggml.token_type", integers(tokens().map(|token| token.kind as i32)));
        if let Merging::ByteLevel { merges, .. } = &self.merging {
            metadata.set("tokenizer.ggml.merges", strings(merges.iter().cloned()));
        }
    }
}

/// The kind of an added token. Some models forget to mark control tokens as special; llama.cpp knows them by their
/// looks.
pub(crate) fn added_kind(text: &str, special: bool) -> TokenType {
    let between = |start, end| text.starts_with(start) && text.ends_with(end);
    let looks_special = matches!(text, "<pad>" | "<mask>" | "<2mass>" | "[@BOS@]")
        || between("<|", "|>")
        || between("<｜", "｜>")
        || between("<unused", ">");
    if special || looks_special { TokenType::Control } else { TokenType::UserDefined }
}

/// An added token, its score the one llama.cpp gives.
pub(crate) fn added(text: &str, special: bool) -> Token {
    let kind = added_kind(text, special);
    // Added text is matched as the user writes it, with plain spaces.
    let text = if kind == TokenType::UserDefined { text.replace('\u{2581}', " ") } else { text.into() };
    Token { text, kind, score: -1000.0 }
}

/// Whether `text` spells a byte token, `<0x00>` to `<0xFF>`.
pub(crate) fn is_byte(text: &str) -> bool {
    let digits = text.strip_prefix("<0x").and_then(|rest| rest.strip_suffix('>'));
    digits.is_some_and(|digits| digits.len() == 2 && digits.bytes().all(|digit| digit.is_ascii_hexdigit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(text: &str) -> Token {
        Token { text: text.into(), kind: TokenType::Normal, score: 0.0 }
    }

    #[test]
    fn ids_without_a_token_are_padded() {
        let mut vocabulary = Vocabulary {
            tokens: Vec::new(),
            merging: Merging::Scores,
            space_prefix: None,
            strips: Default::default(),
        };
        vocabulary.set(2, token("b"));
        vocabulary.set(0, token("a"));
        vocabulary.pad(4).unwrap();
        let texts: Vec<_> =
            vocabulary.tokens.iter().flatten().map(|token| (token.text.as_str(), token.kind)).collect();
        let unused = TokenType::Unused;
        let normal = TokenType::Normal;
        assert_eq!(texts, [("a", normal), ("[PAD1]", unused), ("b", normal), ("[PAD3]", unused)]);
        assert_eq!(vocabulary.find("b"), Some(2));
        assert!(vocabulary.pad(3).unwrap_err().to_string().contains("token 3 (\"[PAD3]\")"));
    }

    #[test]
    fn added_tokens_that_look_special_are_control_tokens() {
        assert_eq!(added_kind("<tool>", true), TokenType::Control);
        assert_eq!(added_kind("<|im_end|>", false), TokenType::Control);
        assert_eq!(added_kind("<tool>", false), TokenType::UserDefined);
        assert_eq!(added("\u{2581}\u{2581}", false).text, "  ");
    }

    #[test]
    fn byte_tokens_are_two_hexadecimal_digits() {
        assert!(is_byte("<0x0A>") && is_byte("<0xff>"));
        assert!(!is_byte("<0x0>") && !is_byte("<0x0G>") && !is_byte("0x0A"));
    }
}
