use super::{Family, attention, head_norms, layer_of_experts, layers, llama_layer};
use crate::kernels::Pairs;
use crate::model::LoadError;
use crate::model::config::{Config, Keys};
use crate::model::network::Design;
use crate::model::rope::Rope;
use crate::model::weights::Loader;

/// Qwen2 and 2.5: LLaMA with biases in the products for queries, keys and values (Yang et al. 2024, arXiv 2407.10671).
pub(super) const QWEN2: Family = Family { architecture: "qwen2", design: qwen2 };

/// Qwen3: without these biases, with a norm for each head of queries and keys (Yang et al. 2025, arXiv 2505.09388).
pub(super) const QWEN3: Family = Family { architecture: "qwen3", design: qwen3 };

/// Qwen3 with experts.
pub(super) const QWEN3_MOE: Family = Family { architecture: "qwen3moe", design: qwen3_moe };

fn qwen2(keys: &Keys<'_>, loader: &mut Loader<'_>, config: Config) -> Result<Design, LoadError> {
    keys.must_have_no_window()?;
    let rope = Rope::of(keys, loader, &config, Pairs::Halves)?;
    let layers = layers(&config, |index| {
        let attention = attention(loader, &config, index)?;
        llama_layer(loader, &config, index, attention)
    })?;
    Ok(Design::plain(config, vec![rope], layers))
}

fn qwen3(keys: &Keys<'_>, loader: &mut Loader<'_>, config: Config) -> Result<Design, LoadError> {
    keys.must_have_no_window()?;
    let rope = Rope::of(keys, loader, &config, Pairs::Halves)?;
    let layers = layers(&config, |index| {
        let mut attention = attention(loader, &config, index)?;
        attention.norms = Some(head_norms(loader, &config, index)?);
        llama_layer(loader, &config, index, attention)
    })?;
    Ok(Design::plain(config, vec![rope], layers))
}

fn qwen3_moe(keys: &Keys<'_>, loader: &mut Loader<'_>, mut config: Config) -> Result<Design, LoadError> {
    config.feed_forward = keys.size("expert_feed_forward_length", Some(config.feed_forward))?;
    keys.must_have_no_window()?;
    let rope = Rope::of(keys, loader, &config, Pairs::Halves)?;
    let layers = layers(&config, |index| {
        let mut attention = attention(loader, &config, index)?;
        attention.norms = Some(head_norms(loader, &config, index)?);
        layer_of_experts(keys, loader, &config, index, attention)
    })?;
    Ok(Design::plain(config, vec![rope], layers))
}
