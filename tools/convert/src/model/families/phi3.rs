use super::super::document::{Document, kind as json_kind};
use super::keys::{Keys, epsilon};
use super::rope::{self, Rope, Scaling};
use super::sizes::Sizes;
use super::weights::{Biases, Gains, of_blocks};
use super::{Description, Family, refuse_variants};
use anyhow::{Result, bail};

/// Phi-3 and Phi-4-mini: queries, keys and values in one matrix, the feed-forward part's first two in another; a part of
/// each head may rotate, by angles that depend on how long the context is.
pub(super) const FAMILY: Family = Family { class: "Phi3ForCausalLM", architecture: "phi3", describe };

/// How positions become angles.
struct Rotation {
    theta: f32,
    /// Elements of each head that rotate.
    dimensions: u32,
    /// Positions of the model before it was made one of a longer context.
    original_context: u32,
    long: Option<LongRope>,
}

/// LongRoPE: two sets of factors that divide the frequencies, for contexts up to the original and for longer ones.
struct LongRope {
    short: Vec<f32>,
    long: Vec<f32>,
    /// What rotated queries and keys are multiplied by.
    attention_factor: f32,
}

fn describe(config: &Document<'_>) -> Result<Description> {
    refuse_variants(config, "silu")?;
    let sizes = Sizes::read(config)?;
    let rotation = rotation(config, &sizes)?;
    let rope = Rope { theta: rotation.theta, scaling: Scaling::None };
    let mut keys = Keys::new(FAMILY.architecture, config, &sizes, &rope, epsilon(config, 1e-5)?)?;
    keys.set("rope.dimension_count", rotation.dimensions);
    keys.set("rope.scaling.original_context_length", rotation.original_context);
    // 0 for none, as llama.cpp's converter writes it.
    keys.set("attention.sliding_window", config.u32("sliding_window")?.unwrap_or(0));

    let bias = Biases::read(config)?.output;
    let (hidden, inner) = (sizes.hidden, sizes.feed_forward);
    let weights = of_blocks(config, &sizes, Gains::Plain, false, |layer| {
        layer.norm("input_layernorm", "attn_norm", hidden);
        let rows = sizes.queries() + 2 * sizes.keys();
        layer.linear("self_attn.qkv_proj", "attn_qkv", [rows, hidden], bias);
        layer.linear("self_attn.o_proj", "attn_output", [hidden, sizes.queries()], bias);
        layer.norm("post_attention_layernorm", "ffn_norm", hidden);
        layer.linear("mlp.gate_up_proj", "ffn_up", [2 * inner, hidden], false);
        layer.linear("mlp.down_proj", "ffn_down", [hidden, inner], false);
    })?;
    let mut generated = Vec::new();
    if let Some(LongRope { short, long, attention_factor }) = rotation.long {
        keys.set("rope.scaling.attn_factor", attention_factor);
        generated = vec![("rope_factors_long.weight", long), ("rope_factors_short.weight", short)];
    }
    Ok(Description { generated, ..Description::new(keys, &sizes, weights) })
}

fn rotation(config: &Document<'_>, sizes: &Sizes) -> Result<Rotation> {
    let name = config.name();
    let parameters = rope::parameters(config)?;
    // Each of these is in config.json itself for transformers 4, with the rest for transformers 5.
    let number = |key: &str| -> Result<Option<f32>> {
        let inner = parameters.as_ref().map(|parameters| parameters.f32(key)).transpose()?.flatten();
        Ok(inner.or(config.f32(key)?))
    };
    let theta = number("rope_theta")?.unwrap_or(10000.0);
    let share = number("partial_rotary_factor")?.unwrap_or(1.0);
    let dimensions = (f64::from(sizes.head_dim) * f64::from(share)) as u32;
    if !(share > 0.0 && share <= 1.0) || dimensions == 0 || !dimensions.is_multiple_of(2) {
        bail!("{name}: partial_rotary_factor: {share} of heads of {} is no even size", sizes.head_dim);
    }
    let inner = parameters.as_ref().map(|it| it.u32("original_max_position_embeddings")).transpose()?;
    let original_context = match inner.flatten().or(config.u32("original_max_position_embeddings")?) {
        Some(0) => {
            bail!("{name}: original_max_position_embeddings: expected a whole number above 0, found 0")
        }
        Some(original) => original,
        None => config.size("max_position_embeddings")?,
    };
    let long = match parameters.as_ref() {
        None => None,
        Some(parameters) => match rope::kind(parameters)? {
            "default" => None,
            // Old names of the same.
            "longrope" | "su" | "yarn" => {
                Some(LongRope::read(config, parameters, dimensions, original_context)?)
            }
            other => bail!(
                "{}: rope_type: {other} is not supported, expected default or longrope",
                parameters.name()
            ),
        },
    };
    Ok(Rotation { theta, dimensions, original_context, long })
}

impl LongRope {
    fn read(
        config: &Document<'_>,
        parameters: &Document<'_>,
        dimensions: u32,
        original_context: u32,
    ) -> Result<LongRope> {
        let factors = |key: &str| -> Result<Vec<f32>> {
            let values = parameters.array(key)?.unwrap_or_default();
            if values.len() != dimensions as usize / 2 {
                bail!(
                    "{}: {key}: expected {} numbers, found {}",
                    parameters.name(),
                    dimensions / 2,
                    values.len()
                );
            }
            let factor = |value: &serde_json::Value| match value.as_f64().map(|factor| factor as f32) {
                Some(factor) if factor > 0.0 && factor.is_finite() => Ok(factor),
                _ => bail!(
                    "{}: {key}: expected numbers above 0, found {}",
                    parameters.name(),
                    json_kind(value)
                ),
            };
            values.iter().map(factor).collect()
        };
        let context = f64::from(config.size("max_position_embeddings")?);
        let original = f64::from(original_context);
        let scale = match parameters.f32("factor")? {
            Some(scale) => f64::from(scale),
            None => context / original,
        };
        let attention_factor = match parameters.f32("attention_factor")? {
            Some(factor) => factor,
            None if scale <= 1.0 => 1.0,
            None => (1.0 + scale.ln() / original.ln()).sqrt() as f32,
        };
        if !attention_factor.is_finite() || attention_factor <= 0.0 {
            bail!(
                "{}: attention_factor: expected a number above 0, found {attention_factor}",
                parameters.name()
            );
        }
        Ok(LongRope { short: factors("short_factor")?, long: factors("long_factor")?, attention_factor })
    }
}
