//! Which tokens have a part to play: start, end, unknown, padding.

use super::error::TokenizerError;
use super::load::Settings;
use super::vocabulary::{Kind, Vocabulary};

/// The tokens with a part to play, all of them in the vocabulary.
#[derive(Debug, Default)]
pub(super) struct Roles {
    pub(super) bos: Option<u32>,
    pub(super) eos: Option<u32>,
    pub(super) eot: Option<u32>,
    pub(super) eom: Option<u32>,
    pub(super) unknown: Option<u32>,
    pub(super) padding: Option<u32>,
    pub(super) add_bos: bool,
    pub(super) add_eos: bool,
    /// All that end a generation, sorted.
    pub(super) ends: Vec<u32>,
}

/// Texts of tokens that end a turn. Files often do not say which of theirs it is; this is llama.cpp's list.
const TURN_ENDS: &[&str] = &[
    "<|eot_id|>",
    "<|im_end|>",
    "<|end|>",
    "<end_of_turn>",
    "<|endoftext|>",
    "<|end_of_text|>",
    "<EOT>",
    "_<EOT>",
    "[EOT]",
    "<｜end▁of▁sentence｜>",
    "<end_of_utterance>",
];

const MESSAGE_ENDS: &[&str] = &["<|eom_id|>"];

/// Further texts of tokens after which there is nothing more to say.
const OTHER_ENDS: &[&str] = &["</s>", "<eos>", "[EOS]", "<turn|>"];

/// Texts that separate the files and repositories of code models. Where a file does not name its own, the first of
/// each list that is in the vocabulary ends a generation too.
const SEPARATORS: &[(&str, &[&str])] = &[
    ("tokenizer.ggml.fim_pad_token_id", &["<|fim_pad|>", "<fim-pad>", "<fim_pad>", "<PAD>", "[PAD]"]),
    (
        "tokenizer.ggml.fim_rep_token_id",
        &["<|fim_repo|>", "<|repo_name|>", "<fim-repo>", "<REPO>", "<reponame>"],
    ),
    ("tokenizer.ggml.fim_sep_token_id", &["<|file_sep|>"]),
];

impl Roles {
    /// The roles as the file's settings give them and, where these are silent, as the tokens' texts do. Tokens that
    /// end a generation are marked as control tokens, which some files forget.
    pub(super) fn new(settings: &Settings<'_>, vocabulary: &mut Vocabulary) -> Result<Roles, TokenizerError> {
        let mut roles = Roles {
            bos: settings.token("tokenizer.ggml.bos_token_id", vocabulary)?,
            eos: settings.token("tokenizer.ggml.eos_token_id", vocabulary)?,
            eot: settings.token("tokenizer.ggml.eot_token_id", vocabulary)?,
            eom: settings.token("tokenizer.ggml.eom_token_id", vocabulary)?,
            unknown: settings.token("tokenizer.ggml.unknown_token_id", vocabulary)?,
            padding: settings.padding(vocabulary),
            ..Roles::default()
        };
        if settings.is_sentencepiece() {
            // SentencePiece numbers these first.
            let usual = |id, kind| Some(id).filter(|&id| vocabulary.kind(id) == kind);
            roles.unknown = roles.unknown.or(usual(0, Kind::Unknown));
            roles.bos = roles.bos.or(usual(1, Kind::Control));
            roles.eos = roles.eos.or(usual(2, Kind::Control));
        }
        let first_of = |texts: &[&str]| texts.iter().find_map(|text| vocabulary.find(text.as_bytes()));
        roles.eot = roles.eot.or(first_of(TURN_ENDS));
        roles.eom = roles.eom.or(first_of(MESSAGE_ENDS));

        let named = [TURN_ENDS, MESSAGE_ENDS, OTHER_ENDS].concat();
        let mut ends: Vec<u32> = named.iter().filter_map(|text| vocabulary.find(text.as_bytes())).collect();
        for &(key, texts) in SEPARATORS {
            ends.extend(settings.token(key, vocabulary)?.or(first_of(texts)));
        }
        for &end in &ends {
            vocabulary.set_control(end);
        }
        ends.extend([roles.eos, roles.eot, roles.eom].into_iter().flatten());
        ends.sort_unstable();
        ends.dedup();
        roles.ends = ends;

        roles.add_bos = settings.add_bos()? && roles.bos.is_some();
        roles.add_eos = settings.add_eos()? && roles.eos.is_some();
        Ok(roles)
    }
}
