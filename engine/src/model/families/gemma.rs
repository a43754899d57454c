use super::{Family, attention, gated, head_norms, layers, named_in};
use crate::kernels::{Activation, Pairs};
use crate::model::LoadError;
use crate::model::config::{Config, Keys};
use crate::model::layer::{Branch, FeedForward, Layer, Mixer, SelfAttention};
use crate::model::network::Design;
use crate::model::rope::{Rope, linear_factor};
use crate::model::weights::Loader;

/// Gemma 2: norms before and behind each branch, caps on scores and logits, every other layer with a window (Gemma Team
/// 2024, arXiv 2408.00118).
pub(super) const GEMMA2: Family = Family { architecture: "gemma2", design: gemma2 };

/// Gemma 3: norms of queries and keys instead of the caps; five layers of six have a window, and turn by a base of their
/// own (Gemma Team 2025, arXiv 2503.19786).
pub(super) const GEMMA3: Family = Family { architecture: "gemma3", design: gemma3 };

fn gemma2(keys: &Keys<'_>, loader: &mut Loader<'_>, config: Config) -> Result<Design, LoadError> {
    let rope = Rope::of(keys, loader, &config, Pairs::Halves)?;
    let (window, windowed) = (window(keys)?, keys.windowed(config.layers, 2)?);
    let scale = score_scale(keys, &config)?;
    let cap = keys.optional_positive("attn_logit_softcapping")?;
    let logit_cap = keys.optional_positive("final_logit_softcapping")?;
    let layers = layers(&config, |index| {
        let mut attention = attention(loader, &config, index)?;
        attention.scoring.scale = scale;
        attention.scoring.cap = cap;
        if windowed[index] {
            attention.scoring.window = window;
        }
        layer(loader, &config, index, attention)
    })?;
    Ok(Design { logit_cap, ..design(config, vec![rope], layers) })
}

fn gemma3(keys: &Keys<'_>, loader: &mut Loader<'_>, config: Config) -> Result<Design, LoadError> {
    const WINDOWED_BASE: f32 = 10_000.0;
    let rotated = keys.rotated(config.head_dim)?;
    let base = keys.positive("rope.freq_base", Some(1_000_000.0))?;
    let windowed_base = keys.positive("rope.freq_base_swa", Some(WINDOWED_BASE))?;
    let ropes = vec![
        Rope::new(Pairs::Halves, base, rotated, linear_factor(keys)?),
        Rope::new(Pairs::Halves, windowed_base, rotated, 1.0),
    ];
    let (window, windowed) = (window(keys)?, keys.windowed(config.layers, 6)?);
    let scale = score_scale(keys, &config)?;
    let logit_cap = keys.optional_positive("final_logit_softcapping")?;
    let layers = layers(&config, |index| {
        let mut attention = attention(loader, &config, index)?;
        attention.norms = Some(head_norms(loader, &config, index)?);
        attention.scoring.scale = scale;
        if windowed[index] {
            attention.scoring.window = window;
            attention.rope = Some(1);
        }
        layer(loader, &config, index, attention)
    })?;
    Ok(Design { logit_cap, ..design(config, ropes, layers) })
}

/// Embeddings are as long as the width asks for. Files have norms with the 1 added that the papers add to each weight.
fn design(config: Config, ropes: Vec<Rope>, layers: Vec<Layer>) -> Design {
    let embedding_scale = (config.width as f32).sqrt();
    Design { embedding_scale, ..Design::plain(config, ropes, layers) }
}

fn layer(
    loader: &mut Loader<'_>,
    config: &Config,
    index: usize,
    attention: SelfAttention,
) -> Result<Layer, LoadError> {
    let mut norm = |name: &str| loader.vector(&named_in(index, name), config.width).map(Some);
    let mut branch =
        |before, after| Ok::<_, LoadError>(Branch { before: norm(before)?, after: norm(after)?, scale: 1.0 });
    Ok(Layer {
        mixer_branch: branch("attn_norm.weight", "post_attention_norm.weight")?,
        mixer: Mixer::Attention(attention),
        feed_forward_branch: branch("ffn_norm.weight", "post_ffw_norm.weight")?,
        feed_forward: FeedForward::Gated(gated(loader, config, index, Activation::Gelu)?),
    })
}

/// A number that few files say and that else follows from the model's size: the 27B models have heads that are narrower
/// than their share of the width.
fn score_scale(keys: &Keys<'_>, config: &Config) -> Result<f32, LoadError> {
    let share = (config.width / config.heads) as f32;
    let default = match config.layers {
        46 | 62 => 1.0 / share.sqrt(),
        _ => config.score_scale(),
    };
    keys.positive("attention.scale", Some(default))
}

fn window(keys: &Keys<'_>) -> Result<usize, LoadError> {
    Ok(keys.window()?.unwrap_or(usize::MAX))
}
