use super::chat_template;
use super::document::Document;
use super::metadata::{Metadata, Value};
use super::tokenizer_json::flatten;
use super::vocabulary::Vocabulary;
use anyhow::{Result, bail};
use serde_json::Value as Json;
use std::path::Path;

/// Special tokens: their names in Hugging Face's files and in `tokenizer.ggml.*_token_id`.
const ROLES: [(&str, &str); 4] = [("bos", "bos"), ("eos", "eos"), ("unk", "unknown"), ("pad", "padding")];

/// Tokens that llama.cpp takes for the end of a text by their spelling alone.
const KNOWN_ENDS: &[&str] = &[
    "<|eot_id|>",
    "<|im_end|>",
    "<|end|>",
    "<|return|>",
    "<|call|>",
    "<|flush|>",
    "<|calls|>",
    "<end_of_turn>",
    "<|endoftext|>",
    "</s>",
    "<|eom_id|>",
    "<EOT>",
    "_<EOT>",
    "[EOT]",
    "[EOS]",
    "<|end_of_text|>",
    "<end_of_utterance>",
    "<eos>",
    "<｜end▁of▁sentence｜>",
];

/// The files of a Hugging Face folder that say how its model is talked to.
pub(crate) struct Settings {
    /// `config.json`
    pub(crate) config: Document<'static>,
    /// `tokenizer.json`
    pub(crate) tokenizer: Option<Document<'static>>,
    /// `tokenizer_config.json`
    pub(crate) tokenizer_config: Option<Document<'static>>,
    /// `generation_config.json`
    pub(crate) generation: Option<Document<'static>>,
}

impl Settings {
    /// Reads the files of `folder`; only `config.json` must be there.
    pub(crate) fn open(folder: &Path) -> Result<Settings> {
        Ok(Settings {
            config: Document::open(folder, "config.json")?,
            tokenizer: Document::open_optional(folder, "tokenizer.json")?,
            tokenizer_config: Document::open_optional(folder, "tokenizer_config.json")?,
            generation: Document::open_optional(folder, "generation_config.json")?,
        })
    }

    /// Writes the ids of special tokens, and whether a text starts and ends with them.
    pub(crate) fn write_special_tokens(
        &self,
        vocabulary: &Vocabulary,
        metadata: &mut Metadata,
    ) -> Result<()> {
        for (role, key) in ROLES {
            if let Some(id) = self.special_token(role, vocabulary)? {
                metadata.set(&format!("tokenizer.ggml.{key}_token_id"), id);
            }
        }
        self.write_further_ends(vocabulary, metadata)?;
        for role in ["bos", "eos"] {
            if let Some(add) = self.adds(role)? {
                metadata.set(&format!("tokenizer.ggml.add_{role}_token"), Value::Bool(add));
            }
        }
        Ok(())
    }

    /// The id of a special token: by its text in `tokenizer_config.json`, else its number in `config.json` or
    /// `generation_config.json`, of a list of numbers the first.
    fn special_token(&self, role: &str, vocabulary: &Vocabulary) -> Result<Option<u32>> {
        if let Some(text) = self.special_text(role)
            && let Some(id) = vocabulary.find(text)
        {
            return Ok(Some(id));
        }
        let documents = [Some(&self.config), self.generation.as_ref()];
        for document in documents.into_iter().flatten() {
            if let Some(&id) = ids(document, &format!("{role}_token_id"), vocabulary)?.first() {
                return Ok(Some(id));
            }
        }
        Ok(None)
    }

    fn special_text(&self, role: &str) -> Option<&str> {
        let entry = self.tokenizer_config.as_ref()?.get(&format!("{role}_token"))?;
        entry.as_str().or_else(|| entry.get("content")?.as_str())
    }

    /// `generation_config.json` may list several tokens that end a text. llama.cpp knows most of them by their
    /// spelling; of those it does not know, GGUF has room for two beside `eos`: the ends of a turn and of a message.
    fn write_further_ends(&self, vocabulary: &Vocabulary, metadata: &mut Metadata) -> Result<()> {
        let Some(generation) = &self.generation else { return Ok(()) };
        let eos = self.special_token("eos", vocabulary)?;
        let known = |id: u32| vocabulary.text(id).is_some_and(|text| KNOWN_ENDS.contains(&text));
        let mut ends = ids(generation, "eos_token_id", vocabulary)?;
        ends.retain(|&id| Some(id) != eos && !known(id));
        for (role, id) in ["eot", "eom"].into_iter().zip(ends) {
            metadata.set(&format!("tokenizer.ggml.{role}_token_id"), id);
        }
        Ok(())
    }

    /// Whether a text starts (`bos`) or ends (`eos`) with its special token: what `tokenizer.json`'s post-processor
    /// does, else what `tokenizer_config.json` says.
    fn adds(&self, role: &str) -> Result<Option<bool>> {
        let mut adds = None;
        let processor = self.tokenizer.as_ref().and_then(|file| file.get("post_processor"));
        for step in flatten(processor, "processors") {
            match step.get("type").and_then(Json::as_str) {
                Some("ByteLevel") => adds = adds.or(Some(false)),
                Some("TemplateProcessing") => adds = self.template_adds(step, role).or(adds),
                _ => {}
            }
        }
        match (&self.tokenizer_config, adds) {
            (Some(config), None) => config.bool(&format!("add_{role}_token")),
            _ => Ok(adds),
        }
    }

    /// What a template for one text, such as `<s> $A`, says about its first or last token.
    fn template_adds(&self, step: &Json, role: &str) -> Option<bool> {
        let template = step.get("single")?.as_array()?;
        let place = if role == "bos" { template.first() } else { template.last() };
        let text = place?.get("SpecialToken")?.get("id")?.as_str()?;
        let expected = self.special_text(role);
        Some(template.len() > 1 && expected.is_none_or(|expected| expected == text))
    }

    /// Writes the chat templates that `folder` has.
    pub(crate) fn write_chat_template(&self, folder: &Path, metadata: &mut Metadata) -> Result<()> {
        chat_template::write(folder, self.tokenizer_config.as_ref(), metadata)
    }

    /// Writes how the model wants to be sampled, as `general.sampling.*`, from `generation_config.json`:
    ///
    /// - with `do_sample`, or with none but some sampling value given, the values given;
    /// - otherwise transformers decodes greedily, so a temperature of 0;
    /// - nothing if there is no such file, or transformers made it from config.json (`_from_model_config`).
    ///
    /// A repetition penalty holds in either case.
    pub(crate) fn write_sampling(&self, metadata: &mut Metadata) -> Result<()> {
        let Some(generation) = &self.generation else { return Ok(()) };
        let float = |key: &str| generation.f32(key);
        let values =
            [("top_p", float("top_p")?), ("min_p", float("min_p")?), ("temp", float("temperature")?)];
        let top_k = generation.u32("top_k")?;
        let given = top_k.is_some() || values.iter().any(|(_, value)| value.is_some());
        if generation.bool("do_sample")?.unwrap_or(given) {
            if let Some(top_k) = top_k.and_then(|top_k| i32::try_from(top_k).ok()) {
                metadata.set("general.sampling.top_k", Value::I32(top_k));
            }
            for (key, value) in values {
                if let Some(value) = value {
                    metadata.set(&format!("general.sampling.{key}"), value);
                }
            }
        } else if !generation.bool("_from_model_config")?.unwrap_or(false) {
            metadata.set("general.sampling.temp", 0.0f32);
        }
        if let Some(penalty) = float("repetition_penalty")? {
            metadata.set("general.sampling.penalty_repeat", penalty);
        }
        Ok(())
    }
}

/// The token id or ids at `key`.
fn ids(document: &Document<'_>, key: &str, vocabulary: &Vocabulary) -> Result<Vec<u32>> {
    let values = match document.get(key) {
        None => &[],
        Some(Json::Array(values)) => values.as_slice(),
        Some(value) => std::slice::from_ref(value),
    };
    let size = vocabulary.tokens.len();
    let id = |value: &Json| match value.as_u64().and_then(|id| u32::try_from(id).ok()) {
        Some(id) if (id as usize) < size => Ok(id),
        // -1 is how some files say that there is none.
        _ if value.as_i64() == Some(-1) => Ok(u32::MAX),
        _ => bail!("{}: {key}: expected an id below {size}, found {value}", document.name()),
    };
    let ids: Result<Vec<u32>> = values.iter().map(id).collect();
    Ok(ids?.into_iter().filter(|&id| id != u32::MAX).collect())
}

#[cfg(test)]
mod tests {
    use super::super::vocabulary::{Merging, Token, TokenType};
    use super::*;
    use serde_json::json;

    fn settings(tokenizer: Json, tokenizer_config: Json, generation: Json) -> Settings {
        let document =
            |name: &str, value: Json| (!value.is_null()).then(|| Document::owned(name, value).unwrap());
        Settings {
            config: Document::owned("config.json", json!({"bos_token_id": 1, "eos_token_id": [2, 3]}))
                .unwrap(),
            tokenizer: document("tokenizer.json", tokenizer),
            tokenizer_config: document("tokenizer_config.json", tokenizer_config),
            generation: document("generation_config.json", generation),
        }
    }

    fn vocabulary() -> Vocabulary {
        let texts = ["<unk>", "<s>", "</s>", "<|im_end|>", "<stop>", "<halt>"];
        let token = |text: &&str| Some(Token { text: (*text).into(), kind: TokenType::Control, score: 0.0 });
        Vocabulary {
            tokens: texts.iter().map(token).collect(),
            merging: Merging::Scores,
            space_prefix: None,
            strips: Default::default(),
        }
    }

    fn special(settings: &Settings) -> Vec<(String, Value)> {
        let mut metadata = Metadata::default();
        settings.write_special_tokens(&vocabulary(), &mut metadata).unwrap();
        metadata.into_entries()
    }

    fn sampling(generation: Json) -> Vec<(String, Value)> {
        let mut metadata = Metadata::default();
        settings(Json::Null, Json::Null, generation).write_sampling(&mut metadata).unwrap();
        metadata.into_entries()
    }

    fn entry(key: &str, value: impl Into<Value>) -> (String, Value) {
        (key.into(), value.into())
    }

    #[test]
    fn text_in_tokenizer_config_comes_before_numbers() {
        let plain = special(&settings(Json::Null, Json::Null, Json::Null));
        assert_eq!(
            plain,
            [entry("tokenizer.ggml.bos_token_id", 1u32), entry("tokenizer.ggml.eos_token_id", 2u32)]
        );
        let named =
            json!({"eos_token": {"content": "<|im_end|>"}, "unk_token": "<unk>", "pad_token": "<absent>"});
        assert_eq!(
            special(&settings(Json::Null, named, Json::Null)),
            [
                entry("tokenizer.ggml.bos_token_id", 1u32),
                entry("tokenizer.ggml.eos_token_id", 3u32),
                entry("tokenizer.ggml.unknown_token_id", 0u32)
            ]
        );
    }

    #[test]
    fn only_ends_that_llama_cpp_does_not_know_are_written() {
        let generation = json!({"eos_token_id": [2, 3, 4, 5]});
        let entries = special(&settings(Json::Null, Json::Null, generation));
        assert!(entries.contains(&entry("tokenizer.ggml.eot_token_id", 4u32)));
        assert!(entries.contains(&entry("tokenizer.ggml.eom_token_id", 5u32)));
        let known = special(&settings(Json::Null, Json::Null, json!({"eos_token_id": [2, 3]})));
        assert!(!known.iter().any(|(key, _)| key.contains("eot")));
    }

    #[test]
    fn the_post_processor_decides_before_tokenizer_config() {
        let template = json!({"post_processor": {"type": "Sequence", "processors": [
            {"type": "ByteLevel"},
            {"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "<s>"}}, {"Sequence": {"id": "A"}}]}
        ]}});
        let config = json!({"bos_token": "<s>", "add_bos_token": false});
        let entries = special(&settings(template, config, Json::Null));
        assert!(entries.contains(&entry("tokenizer.ggml.add_bos_token", Value::Bool(true))));
        assert!(entries.contains(&entry("tokenizer.ggml.add_eos_token", Value::Bool(false))));
        let entries = special(&settings(Json::Null, json!({"add_bos_token": true}), Json::Null));
        assert!(entries.contains(&entry("tokenizer.ggml.add_bos_token", Value::Bool(true))));
    }

    #[test]
    fn greedy_models_say_temperature_zero() {
        let greedy = [entry("general.sampling.temp", 0.0f32)];
        assert_eq!(sampling(json!({"eos_token_id": [2, 0]})), greedy);
        assert_eq!(sampling(json!({"do_sample": false, "temperature": 0.7})), greedy);
        assert_eq!(sampling(json!({"_from_model_config": true})), []);
        assert_eq!(
            sampling(json!({"temperature": 0.5, "top_k": 20})),
            [entry("general.sampling.top_k", Value::I32(20)), entry("general.sampling.temp", 0.5f32)]
        );
        assert_eq!(
            sampling(json!({"do_sample": true, "repetition_penalty": 1.5})),
            [entry("general.sampling.penalty_repeat", 1.5f32)]
        );
    }

    #[test]
    fn ids_outside_the_vocabulary_are_refused() {
        let settings = settings(Json::Null, Json::Null, json!({"eos_token_id": 6}));
        let error = settings.write_special_tokens(&vocabulary(), &mut Metadata::default()).unwrap_err();
        assert_eq!(
            error.to_string(),
            "generation_config.json: eos_token_id: expected an id below 6, found 6"
        );
    }
}
