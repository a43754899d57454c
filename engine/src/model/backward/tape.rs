use crate::arena::{Arena, OutOfMemory};
use crate::model::hidden::Hidden;
use crate::model::layer::{FeedForward, Gated, Layer, Mixer, SelfAttention};
use crate::model::network::Network;
use crate::model::observer::{Observer, Rows, Step};

/// What a layer worked out on its way and no buffer of the forward pass has any more.
pub(super) struct Tape {
    /// Those that some layer of the network has; the others are empty.
    steps: [(Step, Hidden); 9],
}

impl Tape {
    /// Room for a batch of tokens.
    ///
    /// # Errors
    /// [`OutOfMemory`].
    pub(super) fn new(arena: &mut Arena, network: &Network, batch: usize) -> Result<Self, OutOfMemory> {
        let config = network.config();
        let has = |of: &dyn Fn(&Layer) -> bool| network.layers().any(|(layer, _)| of(layer));
        let attention = |of: fn(&SelfAttention) -> bool| {
            has(&|layer| matches!(&layer.mixer, Mixer::Attention(attention) if of(attention)))
        };
        let gated = |of: fn(&Gated) -> bool| {
            has(&|layer| matches!(&layer.feed_forward, FeedForward::Gated(gated) if of(gated)))
        };
        let (width, queries) = (config.width, config.queries());
        let mut room = |step, is_kept, width| {
            let rows = if is_kept { batch } else { 0 };
            Ok((step, Hidden::new(arena, rows, width, false)?))
        };
        let queries_and_keys = attention(|attention| attention.norms.is_some());
        let feed_forward_branch = has(&|layer| layer.feed_forward_branch.after.is_some());
        Ok(Self {
            steps: [
                room(Step::Queries, queries_and_keys, queries)?,
                room(Step::Keys, queries_and_keys, config.keys())?,
                room(Step::Attended, attention(|attention| attention.inner_norm.is_some()), queries)?,
                room(Step::ConvInput, has(&|layer| matches!(layer.mixer, Mixer::Conv(_))), width)?,
                room(Step::MixerBranch, has(&|layer| layer.mixer_branch.after.is_some()), width)?,
                room(Step::Middle, true, width)?,
                room(Step::Gate, gated(|_| true), config.feed_forward)?,
                room(Step::Product, gated(|gated| gated.inner_norm.is_some()), config.feed_forward)?,
                room(Step::FeedForwardBranch, feed_forward_branch, width)?,
            ],
        })
    }

    /// What the layer had at this step.
    pub(super) fn at(&self, step: Step) -> &Hidden {
        &self.steps[step as usize].1
    }

    pub(super) fn at_mut(&mut self, step: Step) -> &mut Hidden {
        &mut self.steps[step as usize].1
    }
}

impl Observer for Tape {
    fn product(&mut self, _: &str, _: Rows<'_>) {}

    fn step(&mut self, step: Step, rows: Rows<'_>) {
        let kept = self.at_mut(step);
        for (to, row) in kept.x.chunks_exact_mut(kept.stride).zip(rows) {
            to[..row.len()].copy_from_slice(row);
        }
    }
}
