use super::{Family, attention, layer_of_experts, layers, llama_layer};
use crate::kernels::Pairs;
use crate::model::LoadError;
use crate::model::config::{Config, Keys};
use crate::model::layer::{Layer, SelfAttention};
use crate::model::network::Design;
use crate::model::rope::Rope;
use crate::model::weights::Loader;

/// Granite 3: LLaMA with factors for embeddings, scores, branches and logits, so that what was learned on a small model
/// holds for a large one (IBM 2024, Granite 3.0 Language Models; Yang et al. 2022, arXiv 2203.03466).
pub(super) const GRANITE: Family = Family { architecture: "granite", design: granite };

/// Granite 3 with experts.
pub(super) const GRANITE_MOE: Family = Family { architecture: "granitemoe", design: granite_moe };

fn granite(keys: &Keys<'_>, loader: &mut Loader<'_>, config: Config) -> Result<Design, LoadError> {
    keys.must_be_absent_or_zero("expert_count")?;
    design(keys, loader, config, llama_layer)
}

fn granite_moe(keys: &Keys<'_>, loader: &mut Loader<'_>, config: Config) -> Result<Design, LoadError> {
    design(keys, loader, config, |loader, config, index, attention| {
        layer_of_experts(keys, loader, config, index, attention)
    })
}

fn design(
    keys: &Keys<'_>,
    loader: &mut Loader<'_>,
    config: Config,
    layer: impl Fn(&mut Loader<'_>, &Config, usize, SelfAttention) -> Result<Layer, LoadError>,
) -> Result<Design, LoadError> {
    keys.must_have_no_window()?;
    keys.must_not_be_false("rope.scaling.finetuned")?;
    let rope = Rope::of(keys, loader, &config, Pairs::Neighbours)?;
    let embedding_scale = keys.positive("embedding_scale", Some(1.0))?;
    let branch_scale = keys.positive("residual_scale", Some(1.0))?;
    let score_scale = keys.positive("attention.scale", Some(config.score_scale()))?;
    // The file has what logits are divided by.
    let logit_scale = 1.0 / keys.positive("logit_scale", Some(1.0))?;
    let layers = layers(&config, |index| {
        let mut attention = attention(loader, &config, index)?;
        attention.scoring.scale = score_scale;
        let mut layer = layer(loader, &config, index, attention)?;
        layer.mixer_branch.scale = branch_scale;
        layer.feed_forward_branch.scale = branch_scale;
        Ok(layer)
    })?;
    Ok(Design { embedding_scale, logit_scale, ..Design::plain(config, vec![rope], layers) })
}
