use super::{Family, attention, gated, layers, named_in};
use crate::kernels::{Activation, Pairs};
use crate::model::LoadError;
use crate::model::config::{Config, Keys};
use crate::model::layer::{Branch, FeedForward, Layer, Mixer};
use crate::model::network::Design;
use crate::model::rope::Rope;
use crate::model::weights::Loader;

/// BitNet b1.58: made for weights of −1, 0 and 1, with squared ReLU and norms within the branches (Ma et al. 2025, arXiv
/// 2504.12285; the norms: Wang et al. 2022, arXiv 2210.06423).
pub(super) const BITNET: Family = Family { architecture: "bitnet-b1.58", design };

fn design(keys: &Keys<'_>, loader: &mut Loader<'_>, config: Config) -> Result<Design, LoadError> {
    keys.must_have_no_window()?;
    let rope = Rope::of(keys, loader, &config, Pairs::Halves)?;
    let &Config { width, feed_forward, .. } = &config;
    let layers = layers(&config, |index| {
        let mut norm = |name: &str, n| loader.vector(&named_in(index, name), n);
        let before_attention = norm("attn_norm.weight", width)?;
        let in_attention = norm("attn_sub_norm.weight", config.queries())?;
        let before_feed_forward = norm("ffn_norm.weight", width)?;
        let in_feed_forward = norm("ffn_sub_norm.weight", feed_forward)?;
        let mut attention = attention(loader, &config, index)?;
        attention.inner_norm = Some(in_attention);
        let mut gated = gated(loader, &config, index, Activation::ReluSquared)?;
        gated.inner_norm = Some(in_feed_forward);
        Ok(Layer {
            mixer_branch: Branch::normed_before(before_attention),
            mixer: Mixer::Attention(attention),
            feed_forward_branch: Branch::normed_before(before_feed_forward),
            feed_forward: FeedForward::Gated(gated),
        })
    })?;
    Ok(Design::plain(config, vec![rope], layers))
}
