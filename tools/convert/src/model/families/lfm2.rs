use super::super::document::Document;
use super::super::metadata::integers;
use super::super::tensor::RowOrder;
use super::keys::Keys;
use super::rope::Rope;
use super::sizes::Sizes;
use super::weights::{Gains, of_blocks};
use super::{Description, Family, refuse_switch, refuse_variants};
use anyhow::{Result, bail};

/// LFM2: most blocks have a short convolution in the place of attention.
pub(super) const FAMILY: Family = Family { class: "Lfm2ForCausalLM", architecture: "lfm2", describe };

fn describe(config: &Document<'_>) -> Result<Description> {
    refuse_variants(config, "silu")?;
    refuse_switch(config, "conv_bias")?;
    let sizes = Sizes::with_feed_forward(config, feed_forward(config)?)?;
    let attends = attends(config, sizes.layers)?;
    let kernel = config.u32("conv_L_cache")?.unwrap_or(3);
    if kernel < 2 {
        bail!("{}: conv_L_cache: expected a whole number above 1, found {kernel}", config.name());
    }
    let rope = Rope::read(config, sizes.head_dim, 1e6)?;
    let epsilon = config.f32("norm_eps")?.unwrap_or(1e-5);
    let mut keys = Keys::new(FAMILY.architecture, config, &sizes, &rope, epsilon)?;
    // A block without keys and values is a convolution.
    let kv_heads = i32::try_from(sizes.kv_heads)?;
    keys.set("attention.head_count_kv", integers(attends.iter().map(|&it| if it { kv_heads } else { 0 })));
    keys.set("vocab_size", sizes.vocabulary);
    keys.set("shortconv.l_cache", kernel);

    let (hidden, inner) = (sizes.hidden, sizes.feed_forward);
    let tied = config.bool("tie_embedding")?.unwrap_or(true);
    let mut weights = of_blocks(config, &sizes, Gains::Plain, tied, |layer| {
        layer.norm("operator_norm", "attn_norm", hidden);
        if attends.get(layer.index as usize).copied().unwrap_or(false) {
            layer.linear("self_attn.q_proj", "attn_q", [sizes.queries(), hidden], false);
            layer.linear("self_attn.k_proj", "attn_k", [sizes.keys(), hidden], false);
            layer.linear("self_attn.v_proj", "attn_v", [sizes.keys(), hidden], false);
            layer.norm("self_attn.q_layernorm", "attn_q_norm", sizes.head_dim);
            layer.norm("self_attn.k_layernorm", "attn_k_norm", sizes.head_dim);
            layer.linear("self_attn.out_proj", "attn_output", [hidden, sizes.queries()], false);
        } else {
            layer.linear("conv.in_proj", "shortconv.in_proj", [3 * hidden, hidden], false);
            let stored = [hidden, 1, kernel];
            layer.reshaped("conv.conv", "shortconv.conv", &stored, &[hidden, kernel], RowOrder::Same);
            layer.linear("conv.out_proj", "shortconv.out_proj", [hidden, hidden], false);
        }
        layer.norm("ffn_norm", "ffn_norm", hidden);
        layer.linear("feed_forward.w1", "ffn_gate", [inner, hidden], false);
        layer.linear("feed_forward.w3", "ffn_up", [inner, hidden], false);
        layer.linear("feed_forward.w2", "ffn_down", [hidden, inner], false);
    })?;
    // The last norm has names of its own, in both formats.
    for weight in weights.iter_mut().filter(|weight| weight.gguf == "output_norm.weight") {
        weight.names = vec!["model.embedding_norm.weight".into()];
        weight.gguf = "token_embd_norm.weight".into();
    }
    Ok(Description::new(keys, &sizes, weights).with_rope(rope))
}

/// The size that the feed-forward part is adjusted to: two thirds of what the file says, rounded up to a multiple.
fn feed_forward(config: &Document<'_>) -> Result<u32> {
    let name = config.name();
    let given = match config.u32("block_ff_dim")? {
        Some(given) => given,
        None => config.size("intermediate_size")?,
    };
    if !config.bool("block_auto_adjust_ff_dim")?.unwrap_or(true) {
        return Ok(given);
    }
    let multiple = config.u32("block_multiple_of")?.unwrap_or(256);
    let multiplier = config.f32("block_ffn_dim_multiplier")?.unwrap_or(1.0);
    let size = (f64::from(multiplier) * (2.0 * f64::from(given) / 3.0).trunc()) as u32;
    match size.checked_next_multiple_of(multiple) {
        Some(size) if size > 0 => Ok(size),
        _ => bail!("{name}: block_ff_dim {given} cannot be adjusted to a multiple of {multiple}"),
    }
}

/// Which blocks have attention.
fn attends(config: &Document<'_>, layers: u32) -> Result<Vec<bool>> {
    let name = config.name();
    if let Some(types) = config.array("layer_types")? {
        let attends = types.iter().map(|kind| match kind.as_str() {
            Some("full_attention") => Ok(true),
            Some("conv") => Ok(false),
            _ => bail!("{name}: layer_types: expected full_attention or conv, found {kind}"),
        });
        let attends: Vec<bool> = attends.collect::<Result<_>>()?;
        if attends.len() != layers as usize {
            bail!("{name}: layer_types: expected {layers} entries, found {}", attends.len());
        }
        return Ok(attends);
    }
    let Some(indices) = config.array("full_attn_idxs")? else { return Ok(vec![true; layers as usize]) };
    let mut attends = vec![false; layers as usize];
    for index in indices {
        let place = index.as_u64().and_then(|index| attends.get_mut(usize::try_from(index).ok()?));
        match place {
            Some(place) => *place = true,
            None => bail!("{name}: full_attn_idxs: expected numbers below {layers}, found {index}"),
        }
    }
    Ok(attends)
}
