use super::{Family, attention, gated, head_norms, layer_of, layers, named_in};
use crate::kernels::{Activation, Pairs};
use crate::model::LoadError;
use crate::model::config::{Config, Keys};
use crate::model::conv::ShortConv;
use crate::model::layer::{FeedForward, Mixer};
use crate::model::network::Design;
use crate::model::rope::Rope;
use crate::model::weights::Loader;

/// LFM2: a short convolution in the place of attention in most layers (Liquid AI 2025, LFM2 Technical Report, arXiv
/// 2511.23404).
pub(super) const LFM2: Family = Family { architecture: "lfm2", design };

fn design(keys: &Keys<'_>, loader: &mut Loader<'_>, config: Config) -> Result<Design, LoadError> {
    keys.must_have_no_window()?;
    keys.must_be_absent_or_zero("expert_count")?;
    let rope = Rope::of(keys, loader, &config, Pairs::Halves)?;
    let taps = keys.taps()?;
    if config.queries() != config.width {
        let expected = format!("heads as wide together as the embedding, {}", config.width);
        return Err(keys.refuse("attention.head_count", config.heads, expected));
    }
    // Layers without keys and values are convolutions.
    let attends = keys.attends(config.layers)?;
    let layers = layers(&config, |index| {
        let mixer = if attends[index] {
            let mut attention = attention(loader, &config, index)?;
            attention.norms = Some(head_norms(loader, &config, index)?);
            Mixer::Attention(attention)
        } else {
            Mixer::Conv(conv(loader, &config, index, taps)?)
        };
        let feed_forward = FeedForward::Gated(gated(loader, &config, index, Activation::Silu)?);
        layer_of(loader, &config, index, mixer, feed_forward)
    })?;
    Ok(Design { norm: "token_embd_norm.weight", ..Design::plain(config, vec![rope], layers) })
}

fn conv(loader: &mut Loader<'_>, config: &Config, layer: usize, taps: usize) -> Result<ShortConv, LoadError> {
    let width = config.width;
    let [before, after, input] = loader.stacked(&named_in(layer, "shortconv.in_proj"), [width; 3], width)?;
    Ok(ShortConv {
        input,
        before,
        after,
        kernel: loader.taps(&named_in(layer, "shortconv.conv.weight"), width, taps)?,
        taps,
        output: loader.linear(&named_in(layer, "shortconv.out_proj"), width, width)?,
    })
}
