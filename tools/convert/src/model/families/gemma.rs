use super::super::document::Document;
use super::super::metadata::{Value, booleans};
use super::super::tensor::RowOrder;
use super::keys::{Keys, epsilon};
use super::rope::{Rope, Scaling};
use super::sizes::Sizes;
use super::weights::{Biases, Gains, Layer, of_blocks};
use super::{Description, Family, refuse_switch, refuse_variants, windowed_blocks};
use anyhow::{Result, bail};

/// Gemma 2: norms before and after each part, bounded scores and logits, a window in every other block.
pub(super) const GEMMA2: Family =
    Family { class: "Gemma2ForCausalLM", architecture: "gemma2", describe: gemma2 };
/// Gemma 3, models of text alone: norms of queries and keys, a window in five blocks of six.
pub(super) const GEMMA3: Family =
    Family { class: "Gemma3ForCausalLM", architecture: "gemma3", describe: gemma3 };

/// What llama.cpp takes for granted about a family, and its GGUF files therefore do not say.
struct Habits {
    /// Of so many blocks the last sees all positions.
    period: usize,
    /// The number of blocks of the one model whose scores are scaled by `hidden_size / num_attention_heads`.
    largest: u32,
}

fn gemma2(config: &Document<'_>) -> Result<Description> {
    let sizes = sizes(config)?;
    let rope = Rope::read(config, sizes.head_dim, 10000.0)?;
    let mut keys = Keys::new(GEMMA2.architecture, config, &sizes, &rope, epsilon(config, 1e-6)?)?;
    keys.set_number("attn_logit_softcapping", config, "attn_logit_softcapping")?;
    keys.set_number("final_logit_softcapping", config, "final_logit_softcapping")?;
    keys.set("attention.sliding_window", config.size("sliding_window")?);
    let habits = Habits { period: 2, largest: 46 };
    window_pattern(config, &sizes, &habits, &mut keys)?;
    scale(config, &sizes, &habits, &mut keys)?;
    describe(config, &sizes, keys, |_| {}).map(|description| description.with_rope(rope))
}

fn gemma3(config: &Document<'_>) -> Result<Description> {
    refuse_switch(config, "use_bidirectional_attention")?;
    if config.f32("attn_logit_softcapping")?.is_some() {
        bail!("{}: attn_logit_softcapping: expected null", config.name());
    }
    let sizes = sizes(config)?;
    let (rope, local_theta) = gemma3_rope(config, sizes.head_dim)?;
    let mut keys = Keys::new(GEMMA3.architecture, config, &sizes, &rope, epsilon(config, 1e-6)?)?;
    keys.set("rope.freq_base_swa", local_theta);
    keys.set_number("final_logit_softcapping", config, "final_logit_softcapping")?;
    keys.set("attention.sliding_window", config.size("sliding_window")?);
    let habits = Habits { period: 6, largest: 62 };
    window_pattern(config, &sizes, &habits, &mut keys)?;
    scale(config, &sizes, &habits, &mut keys)?;
    let head_dim = sizes.head_dim;
    let description = describe(config, &sizes, keys, |layer| {
        layer.norm("self_attn.q_norm", "attn_q_norm", head_dim);
        layer.norm("self_attn.k_norm", "attn_k_norm", head_dim);
    })?;
    Ok(description.with_rope(rope))
}

fn sizes(config: &Document<'_>) -> Result<Sizes> {
    refuse_variants(config, "gelu_pytorch_tanh")?;
    // transformers takes 256, not a share of the width, where it is missing.
    config.size("head_dim")?;
    Sizes::read(config)
}

/// The frequencies of the blocks that see all positions, and the base of those with a window, which are never scaled.
fn gemma3_rope(config: &Document<'_>, head_dim: u32) -> Result<(Rope, f32)> {
    const THETA: f32 = 1e6;
    const LOCAL_THETA: f32 = 1e4;
    let Some(parameters) = config.object("rope_parameters")? else {
        let local_theta = config.f32("rope_local_base_freq")?.unwrap_or(LOCAL_THETA);
        return Ok((Rope::read(config, head_dim, THETA)?, local_theta));
    };
    let rope = match parameters.object("full_attention")? {
        Some(full) => Rope::of_parameters(&full, head_dim, THETA)?,
        None => Rope { theta: THETA, scaling: Scaling::None },
    };
    let local = match parameters.object("sliding_attention")? {
        Some(sliding) => Rope::of_parameters(&sliding, head_dim, LOCAL_THETA)?,
        None => Rope { theta: LOCAL_THETA, scaling: Scaling::None },
    };
    if !matches!(local.scaling, Scaling::None) {
        bail!("{}: sliding_attention: rope_type: expected default", parameters.name());
    }
    Ok((rope, local.theta))
}

/// Writes which blocks have a window, where it is not the family's habit.
fn window_pattern(config: &Document<'_>, sizes: &Sizes, habits: &Habits, keys: &mut Keys) -> Result<()> {
    let name = config.name();
    let usual = |period: usize| (0..sizes.layers as usize).map(move |block| (block + 1) % period != 0);
    let windowed = match (windowed_blocks(config, sizes)?, config.u32("sliding_window_pattern")?) {
        (Some(windowed), _) => windowed,
        (None, Some(0)) => bail!("{name}: sliding_window_pattern: expected a whole number above 0, found 0"),
        (None, Some(period)) => usual(period as usize).collect(),
        (None, None) => usual(habits.period).collect(),
    };
    if !usual(habits.period).eq(windowed.iter().copied()) {
        keys.set("attention.sliding_window_pattern", booleans(windowed));
    }
    Ok(())
}

/// Writes what scores are multiplied by, where llama.cpp, which knows the published models by their size, would take
/// something else.
fn scale(config: &Document<'_>, sizes: &Sizes, habits: &Habits, keys: &mut Keys) -> Result<()> {
    let assumed = if sizes.layers == habits.largest { sizes.hidden / sizes.heads } else { sizes.head_dim };
    let scalar = config.f32("query_pre_attn_scalar")?.unwrap_or(256.0);
    if scalar <= 0.0 {
        bail!("{}: query_pre_attn_scalar: expected a number above 0, found {scalar}", config.name());
    }
    if scalar != assumed as f32 {
        keys.set("attention.scale", Value::F32((1.0 / f64::from(scalar).sqrt()) as f32));
    }
    Ok(())
}

fn describe(
    config: &Document<'_>,
    sizes: &Sizes,
    keys: Keys,
    head_norms: impl Fn(&mut Layer),
) -> Result<Description> {
    let biases = Biases::read(config)?;
    let weights = of_blocks(config, sizes, Gains::FromOne, true, |layer| {
        layer.norm("input_layernorm", "attn_norm", sizes.hidden);
        layer.attention(sizes, RowOrder::Same, biases);
        head_norms(layer);
        layer.norm("post_attention_layernorm", "post_attention_norm", sizes.hidden);
        layer.norm("pre_feedforward_layernorm", "ffn_norm", sizes.hidden);
        layer.feed_forward(sizes, false);
        layer.norm("post_feedforward_layernorm", "post_ffw_norm", sizes.hidden);
    })?;
    Ok(Description::new(keys, sizes, weights))
}
