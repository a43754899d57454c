use super::document::{Document, kind};
use super::vocabulary::{Merging, Token, TokenType, Vocabulary, added, is_byte};
use anyhow::{Context, Result, anyhow, bail};
use serde_json::Value;
use siskin::tokenizer::{PreTokenizerStep, pre_tokenizer_for_pattern};
use std::collections::HashMap;

/// Whether `tokenizer.json` describes a SentencePiece vocabulary, which spells bytes as `<0xZZ>` tokens.
pub(crate) fn has_byte_fallback(file: &Document<'_>) -> Result<bool> {
    Ok(model(file)?.bool("byte_fallback")?.unwrap_or(false))
}

/// Reads the vocabulary of a `tokenizer.json`: byte-level BPE, or SentencePiece BPE in its converted form. Its ids must
/// be below `size`, the rows of the embedding.
pub(crate) fn read(file: &Document<'_>, size: u32) -> Result<Vocabulary> {
    let model = model(file)?;
    let merges = merges(&model)?;
    let byte_fallback = has_byte_fallback(file)?;
    let merging = if byte_fallback {
        Merging::Scores
    } else {
        let ignore_merges = model.bool("ignore_merges")?.unwrap_or(false);
        Merging::ByteLevel {
            pre: pre_tokenizer(file, ignore_merges)?,
            merges: merges.iter().map(joined).collect(),
        }
    };
    let mut vocabulary =
        Vocabulary { tokens: Vec::new(), merging, space_prefix: None, strips: Default::default() };
    let texts = model.get("vocab").and_then(Value::as_object);
    let texts =
        texts.ok_or_else(|| anyhow!("{}: expected an object vocab of tokens and ids", model.name()))?;
    for (text, id) in texts {
        let id = token_id(id, size).with_context(|| format!("{}: vocab: \"{text}\"", model.name()))?;
        let kind = if byte_fallback && is_byte(text) { TokenType::Byte } else { TokenType::Normal };
        vocabulary.set(id, Token { text: text.clone(), kind, score: 0.0 });
    }
    add_tokens(file, size, &mut vocabulary)?;
    if byte_fallback {
        score(&mut vocabulary, &merges);
        vocabulary.space_prefix = Some(false).filter(|_| !prepends_space(file));
    }
    if byte_fallback
        && let Some(unknown) = model.str("unk_token")?.and_then(|text| vocabulary.find(text))
        && let Some(Some(token)) = vocabulary.tokens.get_mut(unknown as usize)
    {
        token.kind = TokenType::Unknown;
    }
    Ok(vocabulary)
}

fn model<'a>(file: &'a Document<'_>) -> Result<Document<'a>> {
    let model = file.object("model")?.ok_or_else(|| anyhow!("{}: model is missing", file.name()))?;
    match model.str("type")? {
        Some("BPE") => Ok(model),
        // Files of before tokenizers 0.9 name no type.
        None if model.get("merges").is_some() => Ok(model),
        found => bail!("{}: type: expected BPE, found {}", model.name(), found.unwrap_or("nothing")),
    }
}

fn token_id(value: &Value, size: u32) -> Result<usize> {
    let id = value.as_u64().and_then(|id| u32::try_from(id).ok()).filter(|&id| id < size);
    let id = id.ok_or_else(|| {
        anyhow!("expected an id below config.json's vocab_size {size}, found {}", kind(value))
    })?;
    Ok(usize::try_from(id)?)
}

/// The merges, which old files write as `"a b"` and new ones as `["a", "b"]`.
fn merges<'a>(model: &'a Document<'_>) -> Result<Vec<(&'a str, &'a str)>> {
    let merges = model.array("merges")?.unwrap_or_default();
    let checked = |(index, merge)| {
        let expected =
            || anyhow!("{}: merges[{index}]: expected two tokens, found {}", model.name(), kind(merge));
        pair(merge).ok_or_else(expected)
    };
    merges.iter().enumerate().map(checked).collect()
}

fn pair(merge: &Value) -> Option<(&str, &str)> {
    match merge {
        Value::String(text) => text.split_once(' '),
        Value::Array(pair) => match pair.as_slice() {
            [Value::String(left), Value::String(right)] => Some((left, right)),
            _ => None,
        },
        _ => None,
    }
}

/// A merge as GGUF writes it. A space inside a token is spelt as byte-level alphabets spell it.
fn joined((left, right): &(&str, &str)) -> String {
    format!("{} {}", left.replace(' ', "\u{120}"), right.replace(' ', "\u{120}"))
}

/// Gives each token the score that makes SentencePiece's rule, best score first, follow the merges' order: 0, -1, ...
/// in the order in which the merges first make each token, and what no merge makes after them. Bytes and control
/// tokens keep 0.
///
/// For a vocabulary that was converted from SentencePiece these are its own scores again.
fn score(vocabulary: &mut Vocabulary, merges: &[(&str, &str)]) {
    let mut scores: HashMap<String, f32> = HashMap::with_capacity(merges.len());
    for (left, right) in merges {
        let next = -(scores.len() as f32);
        scores.entry(format!("{left}{right}")).or_insert(next);
    }
    let mut next = -(scores.len() as f32);
    for token in vocabulary.tokens.iter_mut().flatten().filter(|token| token.kind == TokenType::Normal) {
        token.score = *scores.entry(token.text.clone()).or_insert_with(|| {
            next -= 1.0;
            next + 1.0
        });
    }
}

/// Whether a text gets a space before it: a normalizer that prepends one, or a `Metaspace` that does.
fn prepends_space(file: &Document<'_>) -> bool {
    let steps = |key: &str, inner: &str| flatten(file.get(key), inner);
    let prepend =
        steps("normalizer", "normalizers").iter().any(|step| field(step, "type") == Some("Prepend"));
    let metaspace = steps("pre_tokenizer", "pretokenizers").iter().any(|step| {
        field(step, "type") == Some("Metaspace")
            && field(step, "prepend_scheme") != Some("never")
            && step.get("add_prefix_space").and_then(Value::as_bool) != Some(false)
    });
    prepend || metaspace
}

/// The steps of a normalizer, pre-tokenizer or post-processor, whether it is one or a sequence.
pub(crate) fn flatten<'a>(value: Option<&'a Value>, inner: &str) -> Vec<&'a Value> {
    match value {
        None | Some(Value::Null) => Vec::new(),
        Some(value) => match value.get(inner).and_then(Value::as_array) {
            Some(steps) => steps.iter().collect(),
            None => vec![value],
        },
    }
}

fn field<'a>(value: &'a Value, key: &str) -> Option<&'a str> {
    value.get(key)?.as_str()
}

/// llama.cpp's name of the pre-tokenizer, known by what the file says it does.
fn pre_tokenizer(file: &Document<'_>, ignore_merges: bool) -> Result<&'static str> {
    let name = file.name();
    let mut steps = Vec::new();
    for step in flatten(file.get("pre_tokenizer"), "pretokenizers") {
        steps.push(pre_tokenizer_step(step).with_context(|| format!("{name}: pre_tokenizer"))?);
    }
    let normalizers = flatten(file.get("normalizer"), "normalizers");
    let composes = normalizers.iter().any(|step| field(step, "type") == Some("NFC"));
    let known = pre_tokenizer_for_pattern(&steps, ignore_merges, composes);
    known.ok_or_else(|| anyhow!("{name}: pre_tokenizer: no supported tokenizer splits text by {steps:?}"))
}

fn pre_tokenizer_step(step: &Value) -> Result<PreTokenizerStep> {
    let flag = |key: &str, default: bool| step.get(key).and_then(Value::as_bool).unwrap_or(default);
    match field(step, "type") {
        Some("ByteLevel") => Ok(PreTokenizerStep::ByteLevel {
            use_regex: flag("use_regex", true),
            add_prefix_space: flag("add_prefix_space", true),
        }),
        Some("Digits") => Ok(PreTokenizerStep::Digits { individual: flag("individual_digits", false) }),
        Some("Split") => {
            let regex = step.get("pattern").and_then(|pattern| field(pattern, "Regex"));
            let regex = regex.ok_or_else(|| anyhow!("Split: expected a Regex as pattern"))?;
            match (field(step, "behavior"), flag("invert", false)) {
                (Some("Isolated"), false) | (Some("Removed"), true) => {
                    Ok(PreTokenizerStep::Split(regex.into()))
                }
                (behavior, invert) => {
                    bail!(
                        "Split: behavior {} with invert {invert} is not supported",
                        behavior.unwrap_or("(none)")
                    )
                }
            }
        }
        other => bail!("type {} is not supported", other.unwrap_or("(none)")),
    }
}

fn add_tokens(file: &Document<'_>, size: u32, vocabulary: &mut Vocabulary) -> Result<()> {
    for (index, entry) in file.array("added_tokens")?.unwrap_or_default().iter().enumerate() {
        let place = || format!("{}: added_tokens[{index}]", file.name());
        let id = token_id(entry.get("id").unwrap_or(&Value::Null), size).with_context(place)?;
        let text = field(entry, "content").with_context(|| format!("{}: content is missing", place()))?;
        let special = entry.get("special").and_then(Value::as_bool).unwrap_or(false);
        let score = match vocabulary.tokens.get(id) {
            // A token of the model that is also special, as <s> is, keeps its score.
            Some(Some(token)) => token.score,
            _ => -1000.0,
        };
        vocabulary.set(id, Token { score, ..added(text, special) });
        let strips = |side| entry.get(side).and_then(Value::as_bool).unwrap_or(false);
        vocabulary.strip(u32::try_from(id)?, [strips("lstrip"), strips("rstrip")]);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn file(value: &Value) -> Document<'_> {
        Document::of("tokenizer.json", value).unwrap()
    }

    fn bpe(merges: Value) -> Value {
        json!({
            "added_tokens": [{"id": 3, "content": "<|end|>", "special": true}, {"id": 5, "content": "<tool>"}],
            "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false},
            "model": {"type": "BPE", "vocab": {"a": 0, "b": 1, "ab": 2}, "merges": merges}
        })
    }

    #[test]
    fn both_spellings_of_merges_are_read() {
        for merges in [json!(["a b"]), json!([["a", "b"]])] {
            let vocabulary = read(&file(&bpe(merges)), 6).unwrap();
            assert_eq!(vocabulary.merging, Merging::ByteLevel { pre: "gpt-2", merges: vec!["a b".into()] });
        }
        let spaced = read(&file(&bpe(json!([["a", " b"]]))), 6).unwrap();
        assert_eq!(spaced.merging, Merging::ByteLevel { pre: "gpt-2", merges: vec!["a \u{120}b".into()] });
    }

    #[test]
    fn added_tokens_take_their_ids() {
        let vocabulary = read(&file(&bpe(json!([]))), 6).unwrap();
        let kinds: Vec<_> =
            vocabulary.tokens.iter().map(|token| token.as_ref().map(|token| token.kind)).collect();
        let normal = Some(TokenType::Normal);
        assert_eq!(
            kinds,
            [normal, normal, normal, Some(TokenType::Control), None, Some(TokenType::UserDefined)]
        );
    }

    #[test]
    fn scores_follow_the_merges() {
        let vocabulary = read(&file(&json!({
            "added_tokens": [{"id": 0, "content": "<unk>", "special": true}, {"id": 1, "content": "<s>", "special": true}],
            "normalizer": {"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": "\u{2581}"}]},
            "model": {
                "type": "BPE", "byte_fallback": true, "unk_token": "<unk>",
                "vocab": {"<unk>": 0, "<s>": 1, "<0x00>": 2, "ab": 3, "abc": 4, "c": 5, "a": 6, "b": 7},
                "merges": ["a b", "a bc", "ab c"]
            }
        })), 8)
        .unwrap();
        let score = |text: &str| {
            let id = vocabulary.find(text).unwrap() as usize;
            vocabulary.tokens[id].as_ref().unwrap().score
        };
        assert_eq!((score("ab"), score("abc")), (0.0, -1.0));
        assert!(score("c") < -1.0 && score("a") < score("c"));
        let kind = |id: usize| vocabulary.tokens[id].as_ref().unwrap().kind;
        assert_eq!((kind(0), kind(1), kind(2)), (TokenType::Unknown, TokenType::Control, TokenType::Byte));
        assert_eq!(vocabulary.space_prefix, None);
    }

    #[test]
    fn what_cannot_be_converted_is_named() {
        let error = |value: Value| format!("{:#}", read(&file(&value), 6).unwrap_err());
        assert_eq!(
            error(json!({"model": {"type": "WordPiece"}})),
            "tokenizer.json: model: type: expected BPE, found WordPiece"
        );
        assert_eq!(
            error(bpe(json!([["a"]]))),
            "tokenizer.json: model: merges[0]: expected two tokens, found an array"
        );
        let mut unknown = bpe(json!([]));
        unknown["pre_tokenizer"] = json!({"type": "Whitespace"});
        assert_eq!(error(unknown), "tokenizer.json: pre_tokenizer: type Whitespace is not supported");
        let mut far = bpe(json!([]));
        far["model"]["vocab"]["far"] = json!(6);
        assert!(error(far).contains("\"far\": expected an id below config.json's vocab_size 6, found 6"));
    }
}
