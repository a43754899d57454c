use super::super::document::Document;
use super::super::tensor::RowOrder;
use super::keys::{Keys, epsilon};
use super::rope::Rope;
use super::sizes::{Sizes, experts};
use super::weights::{Biases, Gains, Layer, interleaved, of_blocks};
use super::{Description, Family, refuse_variants};
use anyhow::Result;

/// Granite 3: Llama with four scales.
pub(super) const GRANITE: Family =
    Family { class: "GraniteForCausalLM", architecture: "granite", describe: granite };
/// Granite 3 with experts.
pub(super) const GRANITE_MOE: Family =
    Family { class: "GraniteMoeForCausalLM", architecture: "granitemoe", describe: granite_moe };

fn granite(config: &Document<'_>) -> Result<Description> {
    let (sizes, keys, rope) = common(GRANITE.architecture, config)?;
    let mlp_bias = config.bool("mlp_bias")?.unwrap_or(false);
    describe(config, &sizes, keys, rope, |layer| layer.feed_forward(&sizes, mlp_bias))
}

fn granite_moe(config: &Document<'_>) -> Result<Description> {
    let (sizes, mut keys, rope) = common(GRANITE_MOE.architecture, config)?;
    let (experts, used) = experts(config, "num_local_experts", sizes.layers)?;
    keys.set("expert_count", experts);
    keys.set("expert_used_count", used);
    let (hidden, inner) = (sizes.hidden, sizes.feed_forward);
    describe(config, &sizes, keys, rope, |layer| {
        layer.linear("block_sparse_moe.router.layer", "ffn_gate_inp", [experts, hidden], false);
        // Each expert's gate rows, then its rows for the other factor.
        let (both, rows) = (2 * inner, u64::from(inner));
        for (gguf, first) in [("ffn_gate_exps", 0), ("ffn_up_exps", rows)] {
            let order = RowOrder::Part { first, rows, of: both.into() };
            let stored = [experts, both, hidden];
            layer.reshaped("block_sparse_moe.input_linear", gguf, &stored, &[experts, inner, hidden], order);
        }
        let down = [experts, hidden, inner];
        layer.reshaped("block_sparse_moe.output_linear", "ffn_down_exps", &down, &down, RowOrder::Same);
    })
}

fn common(architecture: &'static str, config: &Document<'_>) -> Result<(Sizes, Keys, Rope)> {
    refuse_variants(config, "silu")?;
    let sizes = Sizes::read(config)?;
    let rope = Rope::read(config, sizes.head_dim, 10000.0)?;
    let mut keys = Keys::new(architecture, config, &sizes, &rope, epsilon(config, 1e-6)?)?;
    keys.set("vocab_size", sizes.vocabulary);
    keys.set("rope.dimension_count", sizes.head_dim);
    // The logits' scale must be there for llama.cpp.
    keys.set("logit_scale", config.f32("logits_scaling")?.unwrap_or(1.0));
    keys.set("attention.scale", config.f32("attention_multiplier")?.unwrap_or(1.0));
    keys.set_number("embedding_scale", config, "embedding_multiplier")?;
    keys.set_number("residual_scale", config, "residual_multiplier")?;
    Ok((sizes, keys, rope))
}

fn describe(
    config: &Document<'_>,
    sizes: &Sizes,
    keys: Keys,
    rope: Rope,
    feed_forward: impl Fn(&mut Layer),
) -> Result<Description> {
    let biases = Biases::read(config)?;
    let weights = of_blocks(config, sizes, Gains::Plain, false, |layer| {
        layer.norm("input_layernorm", "attn_norm", sizes.hidden);
        layer.attention(sizes, interleaved(sizes), biases);
        layer.norm("post_attention_layernorm", "ffn_norm", sizes.hidden);
        feed_forward(layer);
    })?;
    Ok(Description::new(keys, sizes, weights).with_rope(rope))
}
