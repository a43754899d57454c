//! What a message says, in the blocks that Anthropic and OpenAI's responses have for it.

use anyhow::{Result, bail};
use siskin::template::Json;
use siskin_kit::json::{Kind, Object};

/// A block of a message.
pub(super) struct Block {
    pub(super) kind: String,
    pub(super) fields: Object,
}

/// The blocks of a message; a text alone is one of the type `text`.
///
/// # Errors
/// What is neither a text nor an array of objects with a type.
pub(super) fn blocks(name: &str, content: Json) -> Result<Vec<Block>> {
    let items = match content {
        Json::String(text) => {
            let fields = Json::Object(vec![("text".to_owned(), Json::from(text.as_str()))]);
            return Ok(vec![Block { kind: "text".to_owned(), fields: Object::of(name, fields)? }]);
        }
        Json::Array(items) => items,
        other => bail!("{name}: expected a text or an array of blocks, found {}", Kind(&other)),
    };
    let block = |(index, item)| {
        let mut fields = Object::of(&format!("{name}[{index}]"), item)?;
        Ok(Block { kind: fields.require_text("type")?, fields })
    };
    items.into_iter().enumerate().map(block).collect()
}

/// The text of blocks that are texts, each of a type of `kinds`, one behind the other.
///
/// # Errors
/// As for [`blocks`], and other types.
pub(super) fn text(name: &str, content: Json, kinds: &[&str]) -> Result<String> {
    blocks(name, content)?.into_iter().map(|block| block.text(kinds)).collect()
}

impl Block {
    /// The text of a block of one of these types, or of the type `text`.
    ///
    /// # Errors
    /// Another type.
    pub(super) fn text(mut self, kinds: &[&str]) -> Result<String> {
        if self.kind == "text" || kinds.contains(&self.kind.as_str()) {
            return self.fields.require_text("text");
        }
        Err(self.unsupported())
    }

    /// That nothing here knows how to read such a block.
    pub(super) fn unsupported(&self) -> anyhow::Error {
        anyhow::anyhow!("{}: {:?} is not supported", self.fields.name("type"), self.kind)
    }
}
