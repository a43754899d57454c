//! The chat templates of a model file.

use super::{CHATML, ChatTemplate, TemplateError};
use crate::gguf::{Gguf, GgufError};

/// The key of the template that serves all conversations, and before a dot and a name those of others.
const KEY: &str = "tokenizer.chat_template";
/// The name of the template for conversations with tools.
const WITH_TOOLS: &str = "tool_use";
/// What some files call the template that serves all conversations.
const DEFAULT: &str = "default";

impl ChatTemplate {
    /// The templates of a model file. As in `transformers`, the key `tokenizer.chat_template` serves conversations, and
    /// `tokenizer.chat_template.tool_use`, where there is one, those with tools. A file without any has [`CHATML`]:
    /// [`is_fallback`](Self::is_fallback).
    ///
    /// # Errors
    /// [`TemplateError::File`] for keys of the wrong type. A file that has templates with other names only gives one that
    /// refuses every conversation it has none for, with [`TemplateError::Unnamed`]; one whose template [`ChatTemplate::new`]
    /// does not take gives one that refuses every conversation for that reason, with [`TemplateError::Unusable`]: the model
    /// still continues texts, and [`Model::with_chat_template`](crate::Model::with_chat_template) gives it another.
    pub fn from_gguf(file: &Gguf) -> Result<Self, TemplateError> {
        let names: Vec<String> = names(file).map(str::to_owned).collect();
        let named =
            |name: &str| if names.iter().any(|has| has == name) { Self::named(file, name) } else { Ok(None) };
        let mut template = match (Self::of_key(file, KEY)?, named(DEFAULT)?) {
            (Some(template), _) | (None, Some(template)) => template,
            (None, None) => {
                ChatTemplate { is_fallback: true, unnamed: names.clone(), ..Self::of_source(file, CHATML)? }
            }
        };
        template.with_tools = named(WITH_TOOLS)?.map(Box::new);
        Ok(template)
    }

    /// The template of a model file that has this name: its key `tokenizer.chat_template.NAME`.
    ///
    /// # Errors
    /// As [`ChatTemplate::from_gguf`].
    pub fn named(file: &Gguf, name: &str) -> Result<Option<Self>, TemplateError> {
        Self::of_key(file, &format!("{KEY}.{name}"))
    }

    fn of_key(file: &Gguf, key: &str) -> Result<Option<Self>, TemplateError> {
        file.str(key)?.map(|source| Self::of_source(file, source)).transpose()
    }

    /// The template of this source, with the tokens of a model file.
    ///
    /// # Errors
    /// As [`ChatTemplate::new`], and [`TemplateError::File`] for keys of the wrong type.
    pub fn with_tokens_of(file: &Gguf, source: &str) -> Result<Self, TemplateError> {
        let bos = token_text(file, "tokenizer.ggml.bos_token_id")?;
        let eos = token_text(file, "tokenizer.ggml.eos_token_id")?;
        ChatTemplate::new(source, bos.as_deref(), eos.as_deref())
    }

    fn of_source(file: &Gguf, source: &str) -> Result<Self, TemplateError> {
        match Self::with_tokens_of(file, source) {
            Err(TemplateError::File(error)) => Err(error.into()),
            Err(error) => Ok(ChatTemplate {
                source: source.to_owned(),
                unusable: Some(error.to_string()),
                ..ChatTemplate::new("", None, None)?
            }),
            Ok(template) => Ok(template),
        }
    }
}

/// The names of a file's templates that have one.
fn names(file: &Gguf) -> impl Iterator<Item = &str> {
    file.metadata().filter_map(|(key, _)| key.strip_prefix(KEY)?.strip_prefix('.'))
}

/// The text of the token whose id a key holds.
fn token_text(file: &Gguf, key: &str) -> Result<Option<String>, GgufError> {
    let (Some(id), Some(tokens)) = (file.u32(key)?, file.array("tokenizer.ggml.tokens")?) else {
        return Ok(None);
    };
    let token = tokens.iter().nth(id as usize);
    Ok(token.and_then(|token| token.as_bytes()).map(|text| String::from_utf8_lossy(text).into_owned()))
}
