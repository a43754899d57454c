//! Families of models: what their `config.json` means, and how their weights are called in GGUF.

mod bitnet;
mod gemma;
mod granite;
mod keys;
mod lfm2;
mod llama;
mod olmo2;
mod phi3;
mod qwen;
mod rope;
mod sizes;
mod weights;

pub(crate) use weights::Weight;

use super::document::Document;
use super::metadata::Metadata;
use anyhow::{Result, bail};
use keys::Keys;
use rope::Rope;
use sizes::Sizes;

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

impl Description {
    fn new(keys: Keys, sizes: &Sizes, weights: Vec<Weight>) -> Description {
        Description {
            metadata: keys.into_metadata(),
            vocabulary: sizes.vocabulary,
            weights,
            generated: Vec::new(),
            unneeded: &[".rotary_emb.inv_freq"],
        }
    }

    /// The same with the factors of the frequencies, where there are some.
    fn with_rope(self, rope: Rope) -> Description {
        Description { generated: rope.into_tensors(), ..self }
    }
}

/// All families.
const FAMILIES: &[&Family] = &[
    &llama::LLAMA,
    &llama::MISTRAL,
    &llama::MINISTRAL,
    &llama::SMOLLM3,
    &qwen::QWEN2,
    &qwen::QWEN3,
    &qwen::QWEN3_MOE,
    &gemma::GEMMA2,
    &gemma::GEMMA3,
    &phi3::FAMILY,
    &granite::GRANITE,
    &granite::GRANITE_MOE,
    &olmo2::FAMILY,
    &lfm2::FAMILY,
    &bitnet::FAMILY,
];

impl Family {
    /// The family of the checkpoint that `config` describes.
    pub(crate) fn of_checkpoint(config: &Document<'_>) -> Result<&'static Family> {
        let class = config.array("architectures")?.and_then(|classes| classes.first()?.as_str());
        let Some(class) = class else {
            bail!("{}: architectures: expected a list with the name of a class", config.name());
        };
        let class = match class {
            // The first LLaMA checkpoints of all spell it so.
            "LLaMAForCausalLM" => "LlamaForCausalLM",
            "BitnetForCausalLM" => "BitNetForCausalLM",
            class => class,
        };
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

    /// Whether files of this `general.architecture` have the rows of queries and keys in the order in which neighbours
    /// rotate together.
    pub(crate) fn interleaves(name: &str) -> bool {
        [&llama::LLAMA, &llama::SMOLLM3, &granite::GRANITE, &granite::GRANITE_MOE]
            .iter()
            .any(|family| family.architecture == name)
    }

    /// Whether files of this `general.architecture` may have experts.
    pub(crate) fn has_experts(name: &str) -> bool {
        [&qwen::QWEN3_MOE, &granite::GRANITE_MOE].iter().any(|family| family.architecture == name)
    }
}

/// A name of each family, those that several share once.
fn names(of: impl Fn(&Family) -> &'static str) -> String {
    let mut names: Vec<&str> = FAMILIES.iter().map(|family| of(family)).collect();
    names.dedup();
    names.join(", ")
}

/// Which blocks have a window, where config.json says it.
fn windowed_blocks(config: &Document<'_>, sizes: &Sizes) -> Result<Option<Vec<bool>>> {
    let Some(types) = config.array("layer_types")? else { return Ok(None) };
    let windowed = types.iter().map(|kind| match kind.as_str()? {
        "sliding_attention" => Some(true),
        "full_attention" => Some(false),
        _ => None,
    });
    match windowed.collect::<Option<Vec<bool>>>() {
        Some(windowed) if windowed.len() == sizes.layers as usize => Ok(Some(windowed)),
        _ => bail!(
            "{}: layer_types: expected sliding_attention or full_attention for each of {} blocks",
            config.name(),
            sizes.layers
        ),
    }
}

/// Refuses what no family's GGUF files can say: another activation than the family's, and weights that are quantized.
fn refuse_variants(config: &Document<'_>, activation: &str) -> Result<()> {
    let name = config.name();
    // Gemma's newer files have a key of their own, and the old one means nothing then.
    let key = if config.get("hidden_activation").is_some() { "hidden_activation" } else { "hidden_act" };
    if let Some(found) = config.str(key)?
        && found != activation
    {
        bail!("{name}: {key}: expected {activation}, found {found}");
    }
    if let Some(method) = config.object("quantization_config")? {
        let method = method.str("quant_method")?.unwrap_or("unknown").to_string();
        bail!("{name}: quantization_config: a checkpoint quantized by {method} is not supported");
    }
    Ok(())
}

/// Refuses a switch that the family's models leave off and its GGUF files cannot say.
fn refuse_switch(config: &Document<'_>, key: &str) -> Result<()> {
    if config.bool(key)?.unwrap_or(false) {
        bail!("{}: {key}: expected false, found true", config.name());
    }
    Ok(())
}
