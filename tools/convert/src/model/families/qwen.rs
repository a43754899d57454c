use super::super::document::Document;
use super::super::tensor::RowOrder;
use super::keys::{Keys, epsilon};
use super::rope::Rope;
use super::sizes::{Sizes, experts};
use super::weights::{Biases, Gains, Layer, of_blocks};
use super::{Description, Family, refuse_switch, refuse_variants};
use anyhow::{Result, bail};

/// Qwen 2 and 2.5: Llama with biases on queries, keys and values.
pub(super) const QWEN2: Family = Family { class: "Qwen2ForCausalLM", architecture: "qwen2", describe: qwen2 };
/// Qwen 3: Llama with norms of each query and key.
pub(super) const QWEN3: Family = Family { class: "Qwen3ForCausalLM", architecture: "qwen3", describe: qwen3 };
/// Qwen 3 with experts.
pub(super) const QWEN3_MOE: Family =
    Family { class: "Qwen3MoeForCausalLM", architecture: "qwen3moe", describe: qwen3_moe };

fn qwen2(config: &Document<'_>) -> Result<Description> {
    let (sizes, keys, rope) = common(QWEN2.architecture, config)?;
    let biases = Biases { queries_keys_values: true, output: false };
    let weights = of_blocks(config, &sizes, Gains::Plain, false, |layer| {
        layer.norm("input_layernorm", "attn_norm", sizes.hidden);
        layer.attention(&sizes, RowOrder::Same, biases);
        layer.norm("post_attention_layernorm", "ffn_norm", sizes.hidden);
        layer.feed_forward(&sizes, false);
    })?;
    Ok(Description::new(keys, &sizes, weights).with_rope(rope))
}

fn qwen3(config: &Document<'_>) -> Result<Description> {
    let (sizes, keys, rope) = common(QWEN3.architecture, config)?;
    let biases = Biases::read(config)?;
    let weights = of_blocks(config, &sizes, Gains::Plain, false, |layer| {
        qwen3_attention(layer, &sizes, biases);
        layer.feed_forward(&sizes, false);
    })?;
    Ok(Description::new(keys, &sizes, weights).with_rope(rope))
}

fn qwen3_moe(config: &Document<'_>) -> Result<Description> {
    refuse_dense_layers(config)?;
    let (sizes, mut keys, rope) = common(QWEN3_MOE.architecture, config)?;
    let (experts, used) = experts(config, "num_experts", sizes.layers)?;
    let inner = config.size("moe_intermediate_size")?;
    keys.set("expert_count", experts);
    keys.set("expert_used_count", used);
    keys.set("expert_feed_forward_length", inner);
    let biases = Biases::read(config)?;
    let weights = of_blocks(config, &sizes, Gains::Plain, false, |layer| {
        qwen3_attention(layer, &sizes, biases);
        layer.linear("mlp.gate", "ffn_gate_inp", [experts, sizes.hidden], false);
        let mut matrices = |name: &str, gguf, shape| {
            layer.experts(|expert| format!("mlp.experts.{expert}.{name}"), gguf, experts, shape);
        };
        matrices("gate_proj", "ffn_gate_exps", [inner, sizes.hidden]);
        matrices("up_proj", "ffn_up_exps", [inner, sizes.hidden]);
        matrices("down_proj", "ffn_down_exps", [sizes.hidden, inner]);
    })?;
    Ok(Description::new(keys, &sizes, weights).with_rope(rope))
}

fn common(architecture: &'static str, config: &Document<'_>) -> Result<(Sizes, Keys, Rope)> {
    refuse_variants(config, "silu")?;
    refuse_switch(config, "use_sliding_window")?;
    let sizes = Sizes::read(config)?;
    let rope = Rope::read(config, sizes.head_dim, 10000.0)?;
    let keys = Keys::new(architecture, config, &sizes, &rope, epsilon(config, 1e-6)?)?;
    Ok((sizes, keys, rope))
}

fn qwen3_attention(layer: &mut Layer, sizes: &Sizes, biases: Biases) {
    layer.norm("input_layernorm", "attn_norm", sizes.hidden);
    layer.attention(sizes, RowOrder::Same, biases);
    layer.norm("self_attn.q_norm", "attn_q_norm", sizes.head_dim);
    layer.norm("self_attn.k_norm", "attn_k_norm", sizes.head_dim);
    layer.norm("post_attention_layernorm", "ffn_norm", sizes.hidden);
}

/// Blocks without experts, and weights of experts that do not add up to 1.
fn refuse_dense_layers(config: &Document<'_>) -> Result<()> {
    let name = config.name();
    if config.u32("decoder_sparse_step")?.unwrap_or(1) != 1
        || config.array("mlp_only_layers")?.is_some_and(|layers| !layers.is_empty())
    {
        bail!("{name}: decoder_sparse_step, mlp_only_layers: blocks without experts are not supported");
    }
    if !config.bool("norm_topk_prob")?.unwrap_or(false) {
        bail!("{name}: norm_topk_prob: expected true");
    }
    Ok(())
}
