use super::{Family, everywhere, layers, named_in};
use crate::kernels::{Activation, Pairs};
use crate::model::LoadError;
use crate::model::config::{Config, Keys};
use crate::model::layer::{Branch, FeedForward, Gated, Layer, Mixer, SelfAttention};
use crate::model::network::Design;
use crate::model::rope::{LongContext, Rope};
use crate::model::weights::Loader;

/// Phi-3 and Phi-4-mini: LLaMA with one matrix for queries, keys and values and one for gate and up; longer contexts than
/// the model began with turn by factors of their own (Abdin et al. 2024, arXiv 2404.14219; LongRoPE: Ding et al. 2024, arXiv
/// 2402.13753).
pub(super) const PHI3: Family = Family { architecture: "phi3", design };

fn design(keys: &Keys<'_>, loader: &mut Loader<'_>, config: Config) -> Result<Design, LoadError> {
    let rope = rope(keys, loader, &config)?;
    let window = keys.window()?.unwrap_or(usize::MAX);
    let &Config { width, feed_forward, .. } = &config;
    let layers = layers(&config, |index| {
        let mut norm = |name: &str| loader.vector(&named_in(index, name), width).map(Branch::normed_before);
        let (mixer_branch, feed_forward_branch) = (norm("attn_norm.weight")?, norm("ffn_norm.weight")?);
        let parts = [config.queries(), config.keys(), config.keys()];
        let [query, key, value] = loader.stacked(&named_in(index, "attn_qkv"), parts, width)?;
        let output = loader.linear(&named_in(index, "attn_output"), width, config.queries())?;
        let mut scoring = everywhere(&config);
        scoring.window = window;
        let rope = Some(0);
        let attention =
            SelfAttention { query, key, value, output, norms: None, rope, scoring, inner_norm: None };
        let [gate, up] = loader.stacked(&named_in(index, "ffn_up"), [feed_forward; 2], width)?;
        let down = loader.linear(&named_in(index, "ffn_down"), width, feed_forward)?;
        let gated = Gated { gate, up, down, activation: Activation::Silu, inner_norm: None };
        let feed_forward = FeedForward::Gated(gated);
        Ok(Layer { mixer_branch, mixer: Mixer::Attention(attention), feed_forward_branch, feed_forward })
    })?;
    Ok(Design::plain(config, vec![rope], layers))
}

fn rope(keys: &Keys<'_>, loader: &mut Loader<'_>, config: &Config) -> Result<Rope, LoadError> {
    let rotated = keys.rotated(config.head_dim)?;
    let base = keys.positive("rope.freq_base", Some(10_000.0))?;
    let mut rope = Rope::new(Pairs::Halves, base, rotated, 1.0);
    let original = keys.size("rope.scaling.original_context_length", Some(config.context_length))?;
    let long = loader.numbers("rope_factors_long.weight", rotated / 2)?;
    let short = loader.numbers("rope_factors_short.weight", rotated / 2)?;
    if let (Some(long), Some(short)) = (long, short) {
        let mut beyond = rope.clone();
        beyond.divide(&long);
        rope.divide(&short);
        rope.long = Some(LongContext { original, frequencies: beyond.frequencies });
        rope.magnitude = keys.positive("rope.scaling.attn_factor", Some(1.0))?;
    }
    Ok(rope)
}
