use super::{Family, attention, layers, llama_layer};
use crate::kernels::Pairs;
use crate::model::LoadError;
use crate::model::config::{Config, Keys};
use crate::model::network::Design;
use crate::model::rope::Rope;
use crate::model::weights::Loader;

/// LLaMA 1, 2, 3 and what is of the same shape: TinyLlama, SmolLM2 (Touvron et al. 2023, arXiv 2302.13971; Llama 3: arXiv
/// 2407.21783); and Mistral and Ministral, whose tokens may see no further than a window, in all layers or in some (Jiang et
/// al. 2023, arXiv 2310.06825).
pub(super) const LLAMA: Family = Family { architecture: "llama", design };

fn design(keys: &Keys<'_>, loader: &mut Loader<'_>, config: Config) -> Result<Design, LoadError> {
    keys.must_be_absent_or_zero("expert_count")?;
    let rope = Rope::of(keys, loader, &config, Pairs::Neighbours)?;
    let (window, windowed) = (keys.window()?, keys.windowed(config.layers, 0)?);
    let layers = layers(&config, |index| {
        let mut attention = attention(loader, &config, index)?;
        attention.scoring.window = window.filter(|_| windowed[index]).unwrap_or(usize::MAX);
        llama_layer(loader, &config, index, attention)
    })?;
    Ok(Design::plain(config, vec![rope], layers))
}
