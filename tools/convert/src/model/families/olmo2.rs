use super::super::document::Document;
use super::super::tensor::RowOrder;
use super::keys::{Keys, epsilon};
use super::rope::Rope;
use super::sizes::Sizes;
use super::weights::{Biases, Gains, of_blocks};
use super::{Description, Family, refuse_variants};
use anyhow::Result;

/// OLMo 2: norms after each part instead of before it, and of all queries and all keys at once.
pub(super) const FAMILY: Family = Family { class: "Olmo2ForCausalLM", architecture: "olmo2", describe };

fn describe(config: &Document<'_>) -> Result<Description> {
    refuse_variants(config, "silu")?;
    let sizes = Sizes::read(config)?;
    let rope = Rope::read(config, sizes.head_dim, 10000.0)?;
    let keys = Keys::new(FAMILY.architecture, config, &sizes, &rope, epsilon(config, 1e-5)?)?;
    let biases = Biases::read(config)?;
    let weights = of_blocks(config, &sizes, Gains::Plain, false, |layer| {
        layer.attention(&sizes, RowOrder::Same, biases);
        layer.norm("self_attn.q_norm", "attn_q_norm", sizes.queries());
        layer.norm("self_attn.k_norm", "attn_k_norm", sizes.keys());
        layer.norm("post_attention_layernorm", "post_attention_norm", sizes.hidden);
        layer.feed_forward(&sizes, false);
        layer.norm("post_feedforward_layernorm", "post_ffw_norm", sizes.hidden);
    })?;
    Ok(Description::new(keys, &sizes, weights).with_rope(rope))
}
