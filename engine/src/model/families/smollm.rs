use super::{Family, attention, layers, llama_layer};
use crate::kernels::Pairs;
use crate::model::LoadError;
use crate::model::config::{Config, Keys};
use crate::model::network::Design;
use crate::model::rope::Rope;
use crate::model::weights::Loader;

/// SmolLM3: LLaMA without positions in every fourth layer (Bakouch et al. 2025, huggingface.co/blog/smollm3; NoPE: Yang et
/// al. 2025, arXiv 2501.18795).
pub(super) const SMOLLM3: Family = Family { architecture: "smollm3", design };

/// Files do not say it.
const WITHOUT_POSITIONS: usize = 4;

fn design(keys: &Keys<'_>, loader: &mut Loader<'_>, config: Config) -> Result<Design, LoadError> {
    keys.must_have_no_window()?;
    let rope = Rope::of(keys, loader, &config, Pairs::Neighbours)?;
    let layers = layers(&config, |index| {
        let mut attention = attention(loader, &config, index)?;
        attention.rope = (!(index + 1).is_multiple_of(WITHOUT_POSITIONS)).then_some(0);
        llama_layer(loader, &config, index, attention)
    })?;
    Ok(Design::plain(config, vec![rope], layers))
}
