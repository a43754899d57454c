//! Reads a vocabulary from a file's metadata and checks it.

use super::error::TokenizerError;
use super::marks;
use super::pretokenizer::PreTokenizer;
use super::strings::Strings;
use super::vocabulary::{Kind, Vocabulary};
use crate::gguf::{Array, Gguf, Value};

pub(super) const MODEL: &str = "tokenizer.ggml.model";
pub(super) const PRE: &str = "tokenizer.ggml.pre";
pub(super) const TOKENS: &str = "tokenizer.ggml.tokens";
pub(super) const SCORES: &str = "tokenizer.ggml.scores";
pub(super) const KINDS: &str = "tokenizer.ggml.token_type";
pub(super) const MERGES: &str = "tokenizer.ggml.merges";
/// Where the keys of chat templates begin.
const TEMPLATES: &str = "tokenizer.chat_template";

/// How text becomes tokens.
#[derive(Clone, Copy, Debug)]
pub(super) enum Method {
    /// Byte-level byte-pair encoding of words.
    Bpe(PreTokenizer),
    /// SentencePiece's byte-pair encoding.
    Spm,
}

/// The metadata of a tokenizer.
pub(super) struct Settings<'a> {
    file: &'a Gguf,
    pub(super) method: Method,
}

impl<'a> Settings<'a> {
    /// The tokenizer settings of a file; refuses models and pre-tokenizers that are not supported.
    pub(super) fn new(file: &'a Gguf) -> Result<Settings<'a>, TokenizerError> {
        let model =
            file.str(MODEL)?.ok_or(TokenizerError::Missing { key: MODEL, expected: "gpt2 or llama" })?;
        let unsupported = |key, found: &str, supported| TokenizerError::Unsupported {
            key,
            found: lossy(found.as_bytes()),
            supported,
        };
        let method = match model {
            "llama" => Method::Spm,
            "gpt2" => {
                let name = file.str(PRE)?.unwrap_or("default");
                let known = PreTokenizer::named(name);
                Method::Bpe(known.ok_or_else(|| unsupported(PRE, name, PreTokenizer::names()))?)
            }
            other => return Err(unsupported(MODEL, other, "gpt2, llama".into())),
        };
        Ok(Settings { file, method })
    }

    pub(super) fn is_sentencepiece(&self) -> bool {
        matches!(self.method, Method::Spm)
    }

    /// Whether text starts with the beginning-of-sequence token.
    pub(super) fn add_bos(&self) -> Result<bool, TokenizerError> {
        let usual = match self.method {
            Method::Bpe(words) => words.add_bos,
            Method::Spm => true,
        };
        Ok(self.file.bool("tokenizer.ggml.add_bos_token")?.unwrap_or(usual))
    }

    /// Whether text ends with the end-of-sequence token.
    pub(super) fn add_eos(&self) -> Result<bool, TokenizerError> {
        Ok(self.file.bool("tokenizer.ggml.add_eos_token")?.unwrap_or(false))
    }

    /// Whether a space goes before text. Byte-level vocabularies have no such thing, whatever the file says.
    pub(super) fn space_first(&self) -> Result<bool, TokenizerError> {
        let stated = self.file.bool("tokenizer.ggml.add_space_prefix")?;
        Ok(self.is_sentencepiece() && stated.unwrap_or(true))
    }

    /// Whether runs of spaces count as one.
    pub(super) fn single_spaces(&self) -> Result<bool, TokenizerError> {
        let stated = self.file.bool("tokenizer.ggml.remove_extra_whitespaces")?;
        Ok(self.is_sentencepiece() && stated.unwrap_or(false))
    }

    /// The token a key names.
    pub(super) fn token(
        &self,
        key: &'static str,
        vocabulary: &Vocabulary,
    ) -> Result<Option<u32>, TokenizerError> {
        let Some(id) = self.file.u32(key)? else { return Ok(None) };
        if (id as usize) < vocabulary.len() {
            return Ok(Some(id));
        }
        Err(TokenizerError::Mismatch {
            key,
            found: id.to_string(),
            expected: format!("a token below {}", vocabulary.len()),
        })
    }

    /// The tokens that a key lists, in ascending order.
    pub(super) fn tokens(
        &self,
        key: &'static str,
        vocabulary: &Vocabulary,
    ) -> Result<Option<Vec<u32>>, TokenizerError> {
        let Some(array) = self.array(key, "an array of tokens")? else { return Ok(None) };
        let below = vocabulary.len();
        let id = |(index, value): (usize, Value<'_>)| {
            let id = value.as_u64().and_then(|id| u32::try_from(id).ok()).filter(|&id| (id as usize) < below);
            id.ok_or_else(|| entry(key, index, &value, &format!("a token below {below}")))
        };
        let mut ids: Vec<u32> = array.iter().enumerate().map(id).collect::<Result<_, _>>()?;
        ids.sort_unstable();
        ids.dedup();
        Ok(Some(ids))
    }

    /// Whether the model's name says that it is one of Phi-3's.
    pub(super) fn is_phi3(&self) -> Result<bool, TokenizerError> {
        let name = self.file.str("general.name")?.unwrap_or_default().to_lowercase();
        Ok(name.contains("phi-3") || name.contains("phi3"))
    }

    /// The padding token. Files of models that never had one give a number past the vocabulary's end, or -1; nothing
    /// here needs it, so they are not refused for that.
    pub(super) fn padding(&self, vocabulary: &Vocabulary) -> Option<u32> {
        let stated = self.file.get("tokenizer.ggml.padding_token_id").and_then(|value| value.as_u32());
        stated.filter(|&id| (id as usize) < vocabulary.len())
    }

    /// The tokens' texts and kinds, and the tokens whose kinds the file has wrong ([`marks`]).
    pub(super) fn vocabulary(&self) -> Result<(Vocabulary, Vec<u32>), TokenizerError> {
        let texts = self.texts()?;
        let mut kinds = self.kinds(texts.len())?.unwrap_or_else(|| vec![Kind::Normal; texts.len()]);
        let corrected = marks::correct(self, &texts, &mut kinds)?;
        Ok((Vocabulary::new(texts, kinds.into()), corrected))
    }

    /// The number that a key holds.
    pub(super) fn number(&self, key: &str) -> Result<Option<u32>, TokenizerError> {
        Ok(self.file.u32(key)?)
    }

    /// The sources of the file's chat templates.
    pub(super) fn templates(&self) -> Vec<&'a str> {
        let templates = self.file.metadata().filter(|(key, _)| key.starts_with(TEMPLATES));
        templates.filter_map(|(_, value)| std::str::from_utf8(value.as_bytes()?).ok()).collect()
    }

    fn texts(&self) -> Result<Strings, TokenizerError> {
        let mut texts = Strings::default();
        for (index, value) in self.require(TOKENS, "an array of strings")?.iter().enumerate() {
            if !texts.push(string(TOKENS, index, &value)?) {
                return Err(mismatch(TOKENS, "4 GiB of text or more", "less"));
            }
        }
        if texts.len() == 0 {
            return Err(mismatch(TOKENS, "no tokens", "at least one"));
        }
        Ok(texts)
    }

    fn kinds(&self, tokens: usize) -> Result<Option<Vec<Kind>>, TokenizerError> {
        let Some(array) = self.array(KINDS, "an array of integers")? else { return Ok(None) };
        let kind = |(index, value): (usize, Value<'_>)| {
            let kind = value.as_u64().and_then(Kind::from_number);
            kind.ok_or_else(|| entry(KINDS, index, &value, "an integer from 0 to 6"))
        };
        let kinds: Vec<Kind> = array.iter().enumerate().map(kind).collect::<Result<_, _>>()?;
        check_count(KINDS, kinds.len(), tokens)?;
        Ok(Some(kinds))
    }

    /// The tokens' scores, if the file has them; checked even where they are not used.
    pub(super) fn scores(&self, tokens: usize) -> Result<Option<Vec<f32>>, TokenizerError> {
        let Some(array) = self.array(SCORES, "an array of f32")? else { return Ok(None) };
        let score = |(index, value): (usize, Value<'_>)| {
            value.as_f32().ok_or_else(|| entry(SCORES, index, &value, "an f32"))
        };
        let scores: Vec<f32> = array.iter().enumerate().map(score).collect::<Result<_, _>>()?;
        check_count(SCORES, scores.len(), tokens)?;
        Ok(Some(scores))
    }

    /// The merges, each two tokens' texts with a space between.
    pub(super) fn merges(&self) -> Result<Vec<&'a [u8]>, TokenizerError> {
        let array = self.require(MERGES, "an array of strings")?;
        array.iter().enumerate().map(|(index, value)| string(MERGES, index, &value)).collect()
    }

    fn require(&self, key: &'static str, expected: &'static str) -> Result<Array<'a>, TokenizerError> {
        self.array(key, expected)?.ok_or(TokenizerError::Missing { key, expected })
    }

    fn array(&self, key: &'static str, expected: &'static str) -> Result<Option<Array<'a>>, TokenizerError> {
        match self.file.get(key) {
            None => Ok(None),
            Some(Value::Array(array)) => Ok(Some(array)),
            Some(other) => Err(mismatch(key, other.kind().name(), expected)),
        }
    }
}

fn string<'a>(key: &'static str, index: usize, value: &Value<'a>) -> Result<&'a [u8], TokenizerError> {
    value.as_bytes().ok_or_else(|| entry(key, index, value, "a string"))
}

fn check_count(key: &'static str, found: usize, tokens: usize) -> Result<(), TokenizerError> {
    match found == tokens {
        true => Ok(()),
        false => Err(mismatch(key, &format!("{found} entries"), &format!("{tokens}, one a token"))),
    }
}

fn mismatch(key: &'static str, found: &str, expected: &str) -> TokenizerError {
    TokenizerError::Mismatch { key, found: found.into(), expected: expected.into() }
}

fn entry(key: &'static str, index: usize, value: &Value<'_>, expected: &str) -> TokenizerError {
    let found = match value.as_integer() {
        Some(integer) => integer.to_string(),
        None => value.kind().name().into(),
    };
    TokenizerError::Entry { key, index, found, expected: expected.into() }
}

/// Bytes of a file for a message: on one line, and not longer than a line.
pub(super) fn lossy(bytes: &[u8]) -> String {
    const LONGEST: usize = 64;
    let shown = bytes[..bytes.len().min(LONGEST)].escape_ascii().to_string();
    if bytes.len() > LONGEST { shown + "..." } else { shown }
}
