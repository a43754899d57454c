//! Models on their way into a GGUF file: a Hugging Face checkpoint or another GGUF file becomes a [`Model`], which is
//! metadata and tensors whose rows can be read in any order.

mod changed;
mod chat_template;
mod document;
mod families;
mod gguf;
mod hugging_face;
mod metadata;
pub mod peft;
mod safetensors;
mod sentencepiece;
mod special;
mod tensor;
mod tokenizer_json;
mod vocabulary;

pub(crate) use changed::{Change, Changed};
pub(crate) use document::Document;
pub(crate) use families::{Description, Family};
pub(crate) use metadata::size_label;
pub(crate) use tensor::{RowOrder, Source, Tensor};
pub(crate) use vocabulary::{Merging, Token, TokenType, Vocabulary};

use anyhow::{Context, Result};
use siskin::gguf::Gguf;
use siskin::gguf::write::Builder;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A model to be written.
#[derive(Debug)]
pub struct Model {
    /// The output's metadata; it lacks what depends on the types of the tensors.
    pub(crate) builder: Builder,
    /// The tensors, in the order in which they will be written.
    pub(crate) tensors: Vec<Tensor>,
    /// What chooses the tensors' types.
    pub(crate) shape: Shape,
    /// Files and folders that are read, of which none may be the output.
    pub(crate) inputs: Vec<PathBuf>,
    /// The mapped file, if the input is one.
    pub(crate) mapped: Option<Arc<Gguf>>,
}

/// The numbers that decide how a model is quantized.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shape {
    /// Number of blocks.
    pub(crate) blocks: u32,
    /// Query heads that share a key and value.
    pub(crate) queries_per_value: u32,
    /// Experts that a token is given to; 0 where there are none.
    pub(crate) used_experts: u32,
}

impl Shape {
    /// The shape that a checkpoint's `config` describes.
    pub(crate) fn of_checkpoint(config: &Document<'_>) -> Result<Shape> {
        let heads = config.u32("num_attention_heads")?;
        let kv_heads = config.u32("num_key_value_heads")?;
        Ok(Shape {
            blocks: config.size("num_hidden_layers")?,
            queries_per_value: queries_per_value(heads, kv_heads),
            used_experts: config.u32("num_experts_per_tok")?.unwrap_or(0),
        })
    }
}

/// Query heads that share a key and value; a head without a number of them has its own.
fn queries_per_value(heads: Option<u32>, kv_heads: Option<u32>) -> u32 {
    heads.zip(kv_heads).and_then(|(heads, kv_heads)| heads.checked_div(kv_heads)).unwrap_or(1)
}

impl Model {
    /// Reads a Hugging Face folder or a GGUF file; of the weights, only where they lie.
    ///
    /// # Errors
    /// What is wrong with the folder or the file.
    pub fn open(path: &Path) -> Result<Model> {
        let what = std::fs::metadata(path).with_context(|| path.display().to_string())?;
        if what.is_dir() { hugging_face::open(path) } else { gguf::open(path) }
    }

    /// Files and folders that are read, of which none may be the output.
    pub fn inputs(&self) -> &[PathBuf] {
        &self.inputs
    }
}
