//! Families of models: what their files' keys and tensors mean. Names are llama.cpp's.

mod bitnet;
mod gemma;
mod granite;
mod lfm;
mod llama;
mod olmo;
mod phi;
mod qwen;
mod smollm;

use super::config::{Config, Keys};
use super::experts::Experts;
use super::layer::{Branch, FeedForward, Gated, Layer, Mixer, QueryKeyNorms, SelfAttention};
use super::network::Design;
use super::rope::Rope;
use super::weights::Loader;
use crate::kernels::Activation;
use crate::kernels::attention::Scoring;
use crate::model::LoadError;

/// A family of models.
pub(super) struct Family {
    /// What `general.architecture` says.
    pub(super) architecture: &'static str,
    /// Reads the keys, and takes the layers' tensors out of the file.
    pub(super) design: fn(&Keys<'_>, &mut Loader<'_>, Config) -> Result<Design, LoadError>,
}

const FAMILIES: [Family; 13] = [
    llama::LLAMA,
    qwen::QWEN2,
    qwen::QWEN3,
    qwen::QWEN3_MOE,
    gemma::GEMMA2,
    gemma::GEMMA3,
    phi::PHI3,
    smollm::SMOLLM3,
    granite::GRANITE,
    granite::GRANITE_MOE,
    olmo::OLMO2,
    bitnet::BITNET,
    lfm::LFM2,
];

/// The family of this architecture.
pub(super) fn named(architecture: &str) -> Option<&'static Family> {
    const { &FAMILIES }.iter().find(|family| family.architecture == architecture)
}

/// All architectures, separated by commas.
pub(super) fn names() -> String {
    FAMILIES.map(|family| family.architecture).join(", ")
}

impl Design {
    /// Layers between an embedding and logits that are used as they are.
    fn plain(config: Config, ropes: Vec<Rope>, layers: Vec<Layer>) -> Self {
        Self {
            config,
            ropes,
            layers,
            norm: "output_norm.weight",
            embedding_scale: 1.0,
            logit_scale: 1.0,
            logit_cap: None,
        }
    }
}

/// As many layers as the model has, each made from its number.
fn layers(
    config: &Config,
    layer: impl FnMut(usize) -> Result<Layer, LoadError>,
) -> Result<Vec<Layer>, LoadError> {
    (0..config.layers).map(layer).collect()
}

/// The name of a layer's tensor.
fn named_in(layer: usize, part: &str) -> String {
    format!("blk.{layer}.{part}")
}

/// LLaMA's layer, which most others are like: a norm before each branch, RoPE in all heads, SwiGLU.
fn llama_layer(
    loader: &mut Loader<'_>,
    config: &Config,
    layer: usize,
    attention: SelfAttention,
) -> Result<Layer, LoadError> {
    let feed_forward = FeedForward::Gated(gated(loader, config, layer, Activation::Silu)?);
    layer_of(loader, config, layer, Mixer::Attention(attention), feed_forward)
}

/// A [`llama_layer`] whose feed-forward network is several experts'.
fn layer_of_experts(
    keys: &Keys<'_>,
    loader: &mut Loader<'_>,
    config: &Config,
    layer: usize,
    attention: SelfAttention,
) -> Result<Layer, LoadError> {
    let feed_forward = FeedForward::Experts(experts(keys, loader, config, layer)?);
    layer_of(loader, config, layer, Mixer::Attention(attention), feed_forward)
}

/// A layer of these two parts, a norm before each.
fn layer_of(
    loader: &mut Loader<'_>,
    config: &Config,
    layer: usize,
    mixer: Mixer,
    feed_forward: FeedForward,
) -> Result<Layer, LoadError> {
    let mut branch = |norm: &str| {
        let norm = loader.vector(&named_in(layer, norm), config.width)?;
        Ok::<_, LoadError>(Branch::normed_before(norm))
    };
    Ok(Layer {
        mixer_branch: branch("attn_norm.weight")?,
        feed_forward_branch: branch("ffn_norm.weight")?,
        mixer,
        feed_forward,
    })
}

/// Attention to all positions, with a matrix for each of queries, keys and values.
fn attention(loader: &mut Loader<'_>, config: &Config, layer: usize) -> Result<SelfAttention, LoadError> {
    let (width, queries, keys) = (config.width, config.queries(), config.keys());
    Ok(SelfAttention {
        query: loader.rows(&named_in(layer, "attn_q"), queries, width)?,
        key: loader.rows(&named_in(layer, "attn_k"), keys, width)?,
        value: loader.rows(&named_in(layer, "attn_v"), keys, width)?,
        output: loader.linear(&named_in(layer, "attn_output"), width, queries)?,
        norms: None,
        rope: Some(0),
        scoring: everywhere(config),
        inner_norm: None,
    })
}

fn everywhere(config: &Config) -> Scoring {
    Scoring { scale: config.score_scale(), cap: None, window: usize::MAX }
}

/// A norm for each head of queries and keys, all heads of a layer with the same weights.
fn head_norms(loader: &mut Loader<'_>, config: &Config, layer: usize) -> Result<QueryKeyNorms, LoadError> {
    Ok(QueryKeyNorms {
        query: loader.vector(&named_in(layer, "attn_q_norm.weight"), config.head_dim)?,
        key: loader.vector(&named_in(layer, "attn_k_norm.weight"), config.head_dim)?,
        each_head: true,
    })
}

/// A gated feed-forward network with a matrix for each of its three products.
fn gated(
    loader: &mut Loader<'_>,
    config: &Config,
    layer: usize,
    activation: Activation,
) -> Result<Gated, LoadError> {
    let &Config { width, feed_forward, .. } = config;
    Ok(Gated {
        gate: loader.rows(&named_in(layer, "ffn_gate"), feed_forward, width)?,
        up: loader.rows(&named_in(layer, "ffn_up"), feed_forward, width)?,
        down: loader.linear(&named_in(layer, "ffn_down"), width, feed_forward)?,
        activation,
        inner_norm: None,
    })
}

fn experts(
    keys: &Keys<'_>,
    loader: &mut Loader<'_>,
    config: &Config,
    layer: usize,
) -> Result<Experts, LoadError> {
    let &Config { width, feed_forward, .. } = config;
    let count = keys.size("expert_count", None)?;
    let used = keys.size("expert_used_count", None)?;
    if used > count {
        return Err(keys.refuse("expert_used_count", used, format!("at most the {count} experts")));
    }
    let share = (used, count);
    Ok(Experts {
        router: loader.linear(&named_in(layer, "ffn_gate_inp"), count, width)?,
        gates: loader.experts(&named_in(layer, "ffn_gate_exps"), share, feed_forward, width)?,
        ups: loader.experts(&named_in(layer, "ffn_up_exps"), share, feed_forward, width)?,
        downs: loader.experts(&named_in(layer, "ffn_down_exps"), share, width, feed_forward)?,
        used,
        activation: Activation::Silu,
    })
}
