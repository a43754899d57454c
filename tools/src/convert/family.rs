use super::document::Document;
use super::llama;
use super::metadata::Metadata;
use super::tensor::RowOrder;
use anyhow::{Result, bail};

/// A family of models: how a Hugging Face checkpoint of it becomes a GGUF file.
#[derive(Debug)]
pub(crate) struct Family {
    /// `architectures[0]` of its checkpoints' config.json.
    pub(crate) class: &'static str,
    /// `general.architecture` of its GGUF files.
    pub(crate) architecture: &'static str,
    /// Reads config.json.
    pub(crate) describe: fn(&Document<'_>) -> Result<Description>,
}

/// What config.json says about a model.
#[derive(Debug)]
pub(crate) struct Description {
    /// The architecture's own metadata.
    pub(crate) metadata: Metadata,
    /// Rows of the embedding.
    pub(crate) vocabulary: u32,
    /// Every tensor the checkpoint must have, in the order in which it is used.
    pub(crate) weights: Vec<Weight>,
    /// Tensors that the conversion computes, with their values: names and contents of vectors.
    pub(crate) generated: Vec<(&'static str, Vec<f32>)>,
    /// Ends of the names of tensors that some checkpoints have and no model needs.
    pub(crate) unneeded: &'static [&'static str],
}

/// A tensor of a checkpoint.
#[derive(Debug)]
pub(crate) struct Weight {
    /// Its name in the checkpoint.
    pub(crate) name: String,
    /// Its name in the GGUF file.
    pub(crate) gguf: String,
    /// Its sizes as PyTorch orders them: the row length is last.
    pub(crate) shape: Vec<u32>,
    /// How the GGUF file orders its rows.
    pub(crate) order: RowOrder,
}

/// All families; one file each beside this one.
const FAMILIES: &[&Family] = &[&llama::FAMILY];

impl Family {
    /// The family of the checkpoint that `config` describes.
    pub(crate) fn of_checkpoint(config: &Document<'_>) -> Result<&'static Family> {
        let class = config.array("architectures")?.and_then(|classes| classes.first()?.as_str());
        let Some(class) = class else {
            bail!("{}: architectures: expected a list with the name of a class", config.name());
        };
        // The first LLaMA checkpoints of all spell it so.
        let class = if class == "LLaMAForCausalLM" { "LlamaForCausalLM" } else { class };
        match FAMILIES.iter().find(|family| family.class == class) {
            Some(family) => Ok(family),
            None => {
                let known = names(|family| family.class);
                bail!("{}: architecture {class} is not supported, expected one of {known}", config.name())
            }
        }
    }

    /// Refuses GGUF files whose `general.architecture` belongs to no family: which of their tensors bear quantizing
    /// is not known.
    pub(crate) fn check_architecture(name: &str) -> Result<()> {
        if FAMILIES.iter().any(|family| family.architecture == name) {
            return Ok(());
        }
        let known = names(|family| family.architecture);
        bail!("general.architecture: {name} is not supported, expected one of {known}")
    }
}

fn names(of: impl Fn(&Family) -> &'static str) -> String {
    FAMILIES.iter().map(|family| of(family)).collect::<Vec<_>>().join(", ")
}
