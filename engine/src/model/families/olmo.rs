use super::{Family, attention, gated, layers, named_in};
use crate::kernels::{Activation, Pairs};
use crate::model::LoadError;
use crate::model::config::{Config, Keys};
use crate::model::layer::{Branch, FeedForward, Layer, Mixer, QueryKeyNorms};
use crate::model::network::Design;
use crate::model::rope::Rope;
use crate::model::weights::Loader;

/// OLMo 2: norms behind the branches instead of before them, and norms of all queries and all keys of a token (OLMo Team
/// 2024, arXiv 2501.00656).
pub(super) const OLMO2: Family = Family { architecture: "olmo2", design };

fn design(keys: &Keys<'_>, loader: &mut Loader<'_>, config: Config) -> Result<Design, LoadError> {
    keys.must_have_no_window()?;
    let rope = Rope::of(keys, loader, &config, Pairs::Halves)?;
    let layers = layers(&config, |index| {
        let mut attention = attention(loader, &config, index)?;
        attention.norms = Some(QueryKeyNorms {
            query: loader.vector(&named_in(index, "attn_q_norm.weight"), config.queries())?,
            key: loader.vector(&named_in(index, "attn_k_norm.weight"), config.keys())?,
            each_head: false,
        });
        let mut branch = |norm: &str| {
            let after = Some(loader.vector(&named_in(index, norm), config.width)?);
            Ok::<_, LoadError>(Branch { before: None, after, scale: 1.0 })
        };
        Ok(Layer {
            mixer_branch: branch("post_attention_norm.weight")?,
            mixer: Mixer::Attention(attention),
            feed_forward_branch: branch("post_ffw_norm.weight")?,
            feed_forward: FeedForward::Gated(gated(loader, &config, index, Activation::Silu)?),
        })
    })?;
    Ok(Design::plain(config, vec![rope], layers))
}
