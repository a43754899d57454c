use super::super::document::Document;
use super::super::tensor::RowOrder;
use super::keys::{Keys, epsilon};
use super::rope::Rope;
use super::sizes::Sizes;
use super::weights::{Biases, Gains, of_blocks};
use super::{Description, Family, refuse_variants};
use anyhow::Result;

/// Microsoft's BitNet b1.58: weights of three values, norms before each second matrix, the square of ReLU.
///
/// The architecture's name is that of Microsoft's own llama.cpp; llama.cpp's `bitnet` is another model.
pub(super) const FAMILY: Family =
    Family { class: "BitNetForCausalLM", architecture: "bitnet-b1.58", describe };

fn describe(config: &Document<'_>) -> Result<Description> {
    refuse_variants(config, "relu2")?;
    let sizes = Sizes::read(config)?;
    let rope = Rope::read(config, sizes.head_dim, 500000.0)?;
    let keys = Keys::new(FAMILY.architecture, config, &sizes, &rope, epsilon(config, 1e-5)?)?;
    let biases = Biases::read(config)?;
    let weights = of_blocks(config, &sizes, Gains::Plain, false, |layer| {
        layer.norm("input_layernorm", "attn_norm", sizes.hidden);
        layer.attention(&sizes, RowOrder::Same, biases);
        layer.norm("self_attn.attn_sub_norm", "attn_sub_norm", sizes.hidden);
        layer.norm("post_attention_layernorm", "ffn_norm", sizes.hidden);
        layer.feed_forward(&sizes, false);
        layer.norm("mlp.ffn_sub_norm", "ffn_sub_norm", sizes.feed_forward);
    })?;
    Ok(Description::new(keys, &sizes, weights).with_rope(rope))
}
