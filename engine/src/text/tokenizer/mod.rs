//! Text to tokens and back, from the vocabulary in a GGUF file's metadata.
//!
//! Two kinds of vocabulary are read: byte-level byte-pair encoding (`gpt2`), which gives the same tokens as Hugging
//! Face's `tokenizers`, and SentencePiece's byte-pair encoding (`llama`), which gives the same as `sentencepiece`.
//! Encoding takes time linear in the text, but for the logarithm of its longest word, and no recursion.
//!
//! What a GGUF file does not hold cannot be followed: Unicode normalization, but for the pre-tokenizers whose name
//! implies it (`qwen2`), and the `single_word` of added tokens. Their `lstrip` and `rstrip` are in the files that `siskin
//! quantize` writes (`strips`).

mod alphabet;
mod bpe;
mod class;
mod detokenizer;
mod error;
mod load;
mod marks;
mod merge;
mod pretokenizer;
mod roles;
mod special;
mod spm;
mod strings;
mod strips;
#[cfg(test)]
mod tests;
mod vocabulary;

use std::borrow::Cow;

use super::rendered::Rendered;
use crate::gguf::Gguf;

pub use detokenizer::Detokenizer;
pub use error::TokenizerError;
pub use pretokenizer::{PreTokenizerStep, pre_tokenizer_for_pattern};

use bpe::Bpe;
use load::Settings;
use merge::Merger;
use roles::Roles;
use special::{Matcher, Part, split};
use spm::Spm;
use strips::Strips;
use vocabulary::{Kind, Vocabulary};

/// What becomes of a control token's text within a text, such as `<|im_end|>`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Special {
    /// It becomes the token: for texts whose writer may use them. What a chat template made of a conversation goes to
    /// [`Tokenizer::encode_rendered`].
    Parse,
    /// It is text like any other: for what users wrote.
    Text,
}

/// A vocabulary and how it encodes. Never changes once made.
pub struct Tokenizer {
    vocabulary: Vocabulary,
    /// Tokens that the file wrongly has as text.
    corrected: Vec<u32>,
    roles: Roles,
    method: Method,
    /// Finds the tokens that are always cut out of text.
    user_defined: Matcher,
    /// Finds these and the control tokens.
    all_special: Matcher,
    strips: Strips,
}

enum Method {
    Bpe(Bpe),
    Spm { spm: Spm, space_first: bool, single_spaces: bool },
}

impl Tokenizer {
    /// Reads the tokenizer of a GGUF file, which need hold nothing else.
    pub fn from_gguf(file: &Gguf) -> Result<Tokenizer, TokenizerError> {
        let settings = Settings::new(file)?;
        let (mut vocabulary, corrected) = settings.vocabulary()?;
        let roles = Roles::new(&settings, &vocabulary)?;
        let scores = settings.scores(vocabulary.len())?;
        let method = match settings.method {
            load::Method::Bpe(words) => {
                vocabulary.spell_out(bpe::spell_out);
                Method::Bpe(Bpe::new(&vocabulary, words, &settings.merges()?)?)
            }
            load::Method::Spm => {
                vocabulary.spell_out(spm::spell_out);
                let (key, expected) = (load::SCORES, "an array of f32, one a token");
                let scores = scores.ok_or(TokenizerError::Missing { key, expected })?;
                let space_first = settings.space_first()?;
                let spm = Spm::new(&vocabulary, &scores, roles.unknown, space_first)?;
                Method::Spm { spm, space_first, single_spaces: settings.single_spaces()? }
            }
        };
        let user_defined = Matcher::new(&vocabulary, &[Kind::UserDefined])?;
        let all_special = Matcher::new(&vocabulary, &[Kind::UserDefined, Kind::Control, Kind::Unknown])?;
        let strips = Strips::new(&settings, &vocabulary)?;
        Ok(Tokenizer { vocabulary, corrected, roles, method, user_defined, all_special, strips })
    }

    /// Appends the tokens of a text. The text need not be UTF-8: each byte that is not becomes its own byte's token.
    ///
    /// User-defined tokens are cut out of the text first, and with [`Special::Parse`] control tokens too, at each
    /// place the longest. No beginning- or end-of-sequence token is added. A SentencePiece vocabulary's space before
    /// text is put, with [`Special::Text`], once before all of it, as SentencePiece does; with [`Special::Parse`],
    /// before each stretch between tokens that were cut out, as llama.cpp does.
    pub fn encode(&self, text: &[u8], special: Special, out: &mut Vec<u32>) {
        let matcher = match special {
            Special::Parse => &self.all_special,
            Special::Text => &self.user_defined,
        };
        let text = match self.method {
            Method::Spm { single_spaces: true, .. } => Cow::Owned(spm::single_spaces(text)),
            _ => Cow::Borrowed(text),
        };
        self.encode_cut(&text, special, true, out, |at| {
            matcher.longest_at(&self.vocabulary, &text[at..], |_| true)
        });
    }

    /// Appends the tokens of a text that goes on from other text, as an answer does: as [`Tokenizer::encode`], but no space
    /// is put before it and none is left out.
    pub(crate) fn encode_continuing(&self, text: &[u8], special: Special, out: &mut Vec<u32>) {
        let matcher = match special {
            Special::Parse => &self.all_special,
            Special::Text => &self.user_defined,
        };
        self.encode_cut(text, special, false, out, |at| {
            matcher.longest_at(&self.vocabulary, &text[at..], |_| true)
        });
    }

    /// Appends the tokens of a rendered conversation: as [`Tokenizer::encode`] with [`Special::Parse`], but only what the
    /// template spelled, from end to end, becomes a control token. What the conversation brought is text like any other,
    /// and one text with what stands beside it.
    pub fn encode_rendered(&self, rendered: &Rendered, out: &mut Vec<u32>) {
        let rendered = match self.method {
            Method::Spm { single_spaces: true, .. } => Cow::Owned(rendered.without(spm::is_spare_space)),
            _ => Cow::Borrowed(rendered),
        };
        let text = rendered.text().as_bytes();
        let find = |at: usize| {
            let is_spelled = |length: usize| rendered.is_spelled(at..at + length);
            let any = self.all_special.longest_at(&self.vocabulary, &text[at..], is_spelled);
            let user_defined = self.user_defined.longest_at(&self.vocabulary, &text[at..], |_| true);
            let length = |id: &u32| self.vocabulary.text(*id).len();
            user_defined.into_iter().chain(any).max_by_key(length)
        };
        self.encode_cut(text, Special::Parse, true, out, find);
    }

    /// Appends the tokens of a text, cut where `find` has a token that starts at a byte; `starts` says that it is not the
    /// continuation of other text.
    fn encode_cut(
        &self,
        text: &[u8],
        special: Special,
        mut starts: bool,
        out: &mut Vec<u32>,
        find: impl Fn(usize) -> Option<u32>,
    ) {
        let mut merger = Merger::default();
        let mut encode = |text: &[u8], starts, out: &mut Vec<u32>| match &self.method {
            Method::Bpe(bpe) => bpe.encode(&self.vocabulary, text, &mut merger, out),
            Method::Spm { spm, .. } => spm.encode(&self.vocabulary, text, starts, &mut merger, out),
        };
        split(&self.vocabulary, &self.strips, text, find, |part| {
            match part {
                Part::Text(text) => encode(text, starts, out),
                Part::Token(id) => {
                    if starts && special == Special::Text {
                        encode(b"", starts, out);
                    }
                    out.push(id);
                }
            }
            starts = special == Special::Parse && matches!(part, Part::Token(_));
        });
    }

    /// Appends the tokens of a whole prompt: as [`Tokenizer::encode`], with the beginning-of-sequence token before
    /// and the end-of-sequence token behind it if the vocabulary asks for them. A prompt whose text already starts
    /// with the former does not get a second.
    pub fn encode_prompt(&self, text: &[u8], special: Special, out: &mut Vec<u32>) {
        let start = out.len();
        let bos = self.bos().filter(|_| self.add_bos());
        out.extend(bos);
        self.encode(text, special, out);
        if bos.is_some() && out.get(start) == out.get(start + 1) {
            out.remove(start);
        }
        out.extend(self.eos().filter(|_| self.add_eos()));
    }

    /// How many tokens there are.
    #[expect(clippy::len_without_is_empty, reason = "a vocabulary is never empty")]
    pub fn len(&self) -> usize {
        self.vocabulary.len()
    }

    /// The bytes a token stands for; empty for control tokens and for numbers that are no token's. They need not be
    /// whole characters: see [`Detokenizer`].
    pub fn piece(&self, id: u32) -> &[u8] {
        self.vocabulary.piece(id)
    }

    /// A token's own text, as the vocabulary spells it; empty for a number that is no token's.
    pub fn text(&self, id: u32) -> &[u8] {
        self.vocabulary.text(id)
    }

    /// The token whose own text this is. Where several are the same, one that is ordinary text comes before one that
    /// is not, then the lowest.
    pub fn find(&self, text: &[u8]) -> Option<u32> {
        self.vocabulary.find(text)
    }

    /// Whether a token is a control token, or the unknown token, and so stands for no text.
    pub fn is_special(&self, id: u32) -> bool {
        self.vocabulary.kind(id).is_special()
    }

    /// Whether a token stands for a single byte, in a vocabulary of characters.
    pub fn is_byte(&self, id: u32) -> bool {
        self.vocabulary.kind(id) == Kind::Byte
    }

    /// Tokens that the file has as text, and that are control tokens nevertheless: its own chat template spells them to mark
    /// turns. In ascending order.
    pub fn corrected(&self) -> &[u32] {
        &self.corrected
    }

    /// Tokens that are text, and that a chat template spells to mark turns: one that is not the file's own, which makes them
    /// control tokens ([`corrected`](Self::corrected)). In ascending order.
    pub fn text_marks(&self, template: &str) -> Vec<u32> {
        let marks = marks::spelled_in(&[template]);
        let found = marks.iter().filter_map(|mark| self.vocabulary.find_ordinary(mark.as_bytes()));
        let has_control = |id: &u32| {
            self.vocabulary.ids().any(|other| self.is_special(other) && self.text(other) == self.text(*id))
        };
        let mut found: Vec<u32> = found.filter(|id| !has_control(id)).collect();
        found.sort_unstable();
        found
    }

    /// Whether a generation ends with this token: one that the file names as the end of a sequence, of a turn or of a
    /// message, or a control token whose text is known for that. What is text ends nothing, whatever it says.
    pub fn is_end(&self, id: u32) -> bool {
        self.roles.ends.binary_search(&id).is_ok()
    }

    /// All tokens with which a generation ends, in ascending order.
    pub fn ends(&self) -> &[u32] {
        &self.roles.ends
    }

    /// The beginning-of-sequence token.
    pub fn bos(&self) -> Option<u32> {
        self.roles.bos
    }

    /// The end-of-sequence token.
    pub fn eos(&self) -> Option<u32> {
        self.roles.eos
    }

    /// The end-of-turn token.
    pub fn eot(&self) -> Option<u32> {
        self.roles.eot
    }

    /// The end-of-message token.
    pub fn eom(&self) -> Option<u32> {
        self.roles.eom
    }

    /// The unknown token.
    pub fn unk(&self) -> Option<u32> {
        self.roles.unknown
    }

    /// The padding token.
    pub fn pad(&self) -> Option<u32> {
        self.roles.padding
    }

    /// Whether prompts start with the beginning-of-sequence token. Never without there being one.
    pub fn add_bos(&self) -> bool {
        self.roles.add_bos
    }

    /// Whether prompts end with the end-of-sequence token. Never without there being one.
    pub fn add_eos(&self) -> bool {
        self.roles.add_eos
    }

    /// Whether encoding puts a space before text.
    fn puts_space_first(&self) -> bool {
        matches!(self.method, Method::Spm { space_first: true, .. })
    }
}
