//! Tokens that structure a conversation, and are control tokens whatever a file's `token_type` says of them.
//!
//! `</s>`, `<EOT>` or `<|end|>` can be text: Gemma 3 has the first among its HTML tags, and vocabularies of code hold all of
//! them. So a text alone makes no control token. Two things do: a key that names the token as one that begins or ends a text,
//! turn or message; and the file's own chat template, where it spells a token that is known to mark turns.

use super::TokenizerError;
use super::load::Settings;
use super::strings::Strings;
use super::vocabulary::Kind;

/// Texts of tokens that end a turn. Files often do not say which of theirs it is; this is llama.cpp's list.
pub(super) const TURN_ENDS: &[&str] = &[
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

/// Those that end a message, after which a tool is to answer.
pub(super) const MESSAGE_ENDS: &[&str] = &["<|eom_id|>"];

/// Further texts of tokens after which there is nothing more to say.
pub(super) const OTHER_ENDS: &[&str] = &["</s>", "<eos>", "[EOS]", "<turn|>"];

/// Texts of tokens that begin a turn or divide it.
const TURN_MARKS: &[&str] = &[
    "<|im_start|>",
    "<|im_sep|>",
    "<start_of_turn>",
    "<|turn>",
    "<|start_header_id|>",
    "<|end_header_id|>",
    "<|start_of_role|>",
    "<|end_of_role|>",
    "<|system|>",
    "<|user|>",
    "<|assistant|>",
    "<｜User｜>",
    "<｜Assistant｜>",
    "[INST]",
    "[/INST]",
    "[SYSTEM_PROMPT]",
    "[/SYSTEM_PROMPT]",
    "<|begin_of_text|>",
    "<|startoftext|>",
    "<｜begin▁of▁sentence｜>",
    "<bos>",
    "<s>",
];

/// Keys of tokens that begin or end a text, a turn or a message.
const KEYS: [&str; 4] = [
    "tokenizer.ggml.bos_token_id",
    "tokenizer.ggml.eos_token_id",
    "tokenizer.ggml.eot_token_id",
    "tokenizer.ggml.eom_token_id",
];

/// Makes control tokens of those that are named or spelled as such. Returns the second in ascending order: files have them
/// wrong.
pub(super) fn correct(
    settings: &Settings<'_>,
    texts: &Strings,
    kinds: &mut [Kind],
) -> Result<Vec<u32>, TokenizerError> {
    for key in KEYS {
        if let Some(id) = settings.number(key)?
            && let Some(kind) = kinds.get_mut(id as usize)
            && kind.is_ordinary()
            && is_bracketed(texts.get(id))
        {
            *kind = Kind::Control;
        }
    }
    let marks = spelled_in(&settings.templates()).into_iter().map(str::as_bytes);
    let has_control =
        |mark: &&[u8]| texts.iter().zip(&*kinds).any(|(text, kind)| text == *mark && *kind == Kind::Control);
    // Of a text that is there twice, the control token is meant.
    let marks: Vec<&[u8]> = marks.filter(|mark| !has_control(mark)).collect();
    let mut corrected = Vec::new();
    if marks.is_empty() {
        return Ok(corrected);
    }
    for (id, (text, kind)) in (0..).zip(texts.iter().zip(kinds)) {
        if kind.is_ordinary() && marks.contains(&text) {
            *kind = Kind::Control;
            corrected.push(id);
        }
    }
    Ok(corrected)
}

/// The marks of turns that templates spell.
pub(super) fn spelled_in(templates: &[&str]) -> Vec<&'static str> {
    let known = [TURN_ENDS, MESSAGE_ENDS, OTHER_ENDS, TURN_MARKS].concat();
    known.into_iter().filter(|mark| templates.iter().any(|template| template.contains(mark))).collect()
}

/// Whether a text looks like a mark, `<...>` or `[...]`: a key that names an ordinary word is wrong.
fn is_bracketed(text: &[u8]) -> bool {
    let between = |open: &[u8], close: &[u8]| {
        text.strip_prefix(open).and_then(|text| text.strip_suffix(close)).is_some_and(|text| !text.is_empty())
    };
    between(b"<", b">") || between(b"[", b"]")
}
