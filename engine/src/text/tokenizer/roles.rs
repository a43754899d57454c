//! Which tokens have a part to play: start, end, unknown, padding.

use super::error::TokenizerError;
use super::load::Settings;
use super::marks::{MESSAGE_ENDS, OTHER_ENDS, TURN_ENDS};
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
    /// The roles as the file's settings give them and, where these are silent, as the texts of control tokens do.
    pub(super) fn new(settings: &Settings<'_>, vocabulary: &Vocabulary) -> Result<Roles, TokenizerError> {
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
        let controls = Controls::of(vocabulary);
        roles.eot = roles.eot.or(controls.first_of(TURN_ENDS));
        roles.eom = roles.eom.or(controls.first_of(MESSAGE_ENDS));

        let mut ends = controls.all_of(&[TURN_ENDS, MESSAGE_ENDS, OTHER_ENDS].concat());
        for &(key, texts) in SEPARATORS {
            let named = settings.token(key, vocabulary)?;
            ends.extend(named.filter(|&id| vocabulary.kind(id).is_special()).or(controls.first_of(texts)));
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

/// The control tokens, in ascending order.
struct Controls<'v>(Vec<(u32, &'v [u8])>);

impl<'v> Controls<'v> {
    fn of(vocabulary: &'v Vocabulary) -> Self {
        let controls = vocabulary.ids().filter(|&id| vocabulary.kind(id) == Kind::Control);
        Controls(controls.map(|id| (id, vocabulary.text(id))).collect())
    }

    /// The tokens with one of these texts.
    fn all_of(&self, texts: &[&str]) -> Vec<u32> {
        let is_one = |text: &[u8]| texts.iter().any(|other| other.as_bytes() == text);
        self.0.iter().filter(|(_, text)| is_one(text)).map(|(id, _)| *id).collect()
    }

    /// The token with the first of these texts that there is.
    fn first_of(&self, texts: &[&str]) -> Option<u32> {
        texts.iter().find_map(|text| self.all_of(&[text]).first().copied())
    }
}
