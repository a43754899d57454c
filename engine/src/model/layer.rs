use super::config::Config;
use super::convolution::ShortConvolution;
use super::experts::Experts;
use super::network::{Buffers, Stream};
use super::state::{Hidden, State};
use super::weights::{LinearId, RowsId, VectorId, Weights};
use crate::kernels::attention::Look;
use crate::kernels::{Activation, Output};
use crate::observer::Observer;

/// A layer of a decoder (Vaswani et al. 2017, arXiv 1706.03762): a mixer of tokens, attention in most, then a feed-forward
/// network, each on a branch that is added to the residual stream.
#[derive(Clone, Debug)]
pub(crate) struct Layer {
    pub(crate) mixer_branch: Branch,
    pub(crate) mixer: Mixer,
    pub(crate) feed_forward_branch: Branch,
    pub(crate) feed_forward: FeedForward,
}

/// What has tokens know of those before them.
#[derive(Clone, Debug)]
pub(crate) enum Mixer {
    Attention(SelfAttention),
    Convolution(ShortConvolution),
}

/// What follows the mixer.
#[derive(Clone, Debug)]
pub(crate) enum FeedForward {
    Gated(Gated),
    Experts(Experts),
}

/// How a branch leaves the residual stream and comes back.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Branch {
    /// The norm of what goes into it.
    pub(crate) before: Option<VectorId>,
    /// The norm of what comes out of it.
    pub(crate) after: Option<VectorId>,
    /// What it is multiplied by when it is added.
    pub(crate) scale: f32,
}

/// Attention of some heads of queries to as many or fewer of keys and values.
#[derive(Clone, Debug)]
pub(crate) struct SelfAttention {
    pub(crate) query: RowsId,
    pub(crate) key: RowsId,
    pub(crate) value: RowsId,
    pub(crate) output: LinearId,
    /// What queries and keys are normalized with before they are rotated.
    pub(crate) norms: Option<QueryKeyNorms>,
    /// The number of one of the network's rotations; None where positions are not told.
    pub(crate) rotation: Option<usize>,
    pub(crate) look: Look,
    /// The norm of what goes into `output`.
    pub(crate) inner_norm: Option<VectorId>,
}

/// Norms of queries and keys (Henry et al. 2020, arXiv 2010.04245).
#[derive(Clone, Copy, Debug)]
pub(crate) struct QueryKeyNorms {
    pub(crate) query: VectorId,
    pub(crate) key: VectorId,
    /// Whether each head is normalized by itself, or all of a token's together.
    pub(crate) each_head: bool,
}

/// `down · (activation(gate · x) * (up · x))`.
#[derive(Clone, Debug)]
pub(crate) struct Gated {
    pub(crate) gate: RowsId,
    pub(crate) up: RowsId,
    pub(crate) down: LinearId,
    pub(crate) activation: Activation,
    /// The norm of what goes into `down`.
    pub(crate) inner_norm: Option<VectorId>,
}

/// What a layer is worked out with, beside the buffers.
pub(crate) struct Work<'a> {
    pub(crate) config: &'a Config,
    pub(crate) weights: &'a Weights,
    pub(crate) state: &'a mut State,
    pub(crate) observer: &'a mut dyn Observer,
}

impl Layer {
    /// The layer's part of a forward pass. `place` is its number among those with the same kind of mixer.
    pub(crate) fn forward(&self, place: usize, work: &mut Work<'_>, buffers: &mut Buffers) {
        self.mixer_branch.begin(work, &mut buffers.stream);
        let output = match &self.mixer {
            Mixer::Attention(attention) => {
                attention.forward(place, work, buffers);
                attention.output
            }
            Mixer::Convolution(convolution) => {
                let Buffers { stream, convolving, attended, .. } = buffers;
                if let Some(convolving) = convolving {
                    convolution.forward(place, work, &stream.normed, convolving, attended);
                }
                convolution.output
            }
        };
        self.mixer_branch.end(work, (&buffers.attended, output), &mut buffers.stream);

        self.feed_forward_branch.begin(work, &mut buffers.stream);
        match &self.feed_forward {
            FeedForward::Gated(gated) => {
                gated.forward(work, buffers);
                self.feed_forward_branch.end(work, (&buffers.gate, gated.down), &mut buffers.stream);
            }
            FeedForward::Experts(experts) => {
                let Buffers { stream, gate, up, routing, .. } = buffers;
                if let Some(routing) = routing {
                    experts.forward(work, stream, routing, (gate, up));
                }
                self.feed_forward_branch.join(work, stream);
            }
        }
    }

    /// Whether a branch ends in more than a product that is added to the stream.
    pub(crate) fn ends_apart(&self) -> bool {
        let branches = [self.mixer_branch, self.feed_forward_branch];
        self.experts().is_some() || branches.iter().any(Branch::ends_apart)
    }

    /// The layer's experts, if it has some.
    pub(crate) fn experts(&self) -> Option<&Experts> {
        match &self.feed_forward {
            FeedForward::Experts(experts) => Some(experts),
            FeedForward::Gated(_) => None,
        }
    }
}

impl Branch {
    /// A branch that begins with a norm (Xiong et al. 2020, arXiv 2002.04745).
    pub(crate) fn normed_before(norm: VectorId) -> Self {
        Self { before: Some(norm), after: None, scale: 1.0 }
    }

    fn ends_apart(&self) -> bool {
        self.after.is_some() || self.scale != 1.0
    }

    /// Fills `normed` with what goes into the branch.
    fn begin(&self, work: &mut Work<'_>, Stream { x, normed, .. }: &mut Stream) {
        let Work { config, weights, state, .. } = work;
        match self.before {
            Some(norm) => state.norm(x, &weights[norm], config.width, config.norm_epsilon, normed),
            None => state.copy(x, normed),
        }
    }

    /// Adds the product of the last matrix of the branch to the stream.
    fn end(&self, work: &mut Work<'_>, (from, linear): (&Hidden, LinearId), stream: &mut Stream) {
        let Work { weights, state, observer, .. } = work;
        let Stream { x, branch, .. } = &mut *stream;
        let weight = weights.all(linear);
        if !self.ends_apart() {
            return state.multiply(from, [weight], [x], Output::Add, *observer);
        }
        state.multiply(from, [weight], [branch], Output::Replace, *observer);
        self.join(work, stream);
    }

    /// Adds the branch to the stream.
    fn join(&self, work: &mut Work<'_>, Stream { x, branch, .. }: &mut Stream) {
        let Work { config, weights, state, .. } = work;
        if let Some(norm) = self.after {
            state.norm_in_place(branch, &weights[norm], config.width, config.width, config.norm_epsilon);
        }
        state.add_scaled(x, branch, self.scale);
    }
}

impl SelfAttention {
    /// From `normed` to `attended`. `place` is the layer's in the cache.
    fn forward(&self, place: usize, work: &mut Work<'_>, buffers: &mut Buffers) {
        let Work { config, weights, state, observer } = work;
        let Buffers { stream, queries, keys, values, attended, .. } = buffers;
        let projections = [&self.query, &self.key, &self.value].map(|rows| weights.rows(rows));
        state.multiply(&stream.normed, projections, [queries, keys, values], Output::Replace, *observer);
        if let Some(QueryKeyNorms { query, key, each_head }) = self.norms {
            let run = |all| if each_head { config.head_dim } else { all };
            let (all, epsilon) = (config.queries(), config.norm_epsilon);
            state.norm_in_place(queries, &weights[query], all, run(all), epsilon);
            let all = config.keys();
            state.norm_in_place(keys, &weights[key], all, run(all), epsilon);
        }
        state.rotate_and_store(place, config, self.rotation, queries, keys, values);
        state.attend(place, self.look, queries, attended);
        if let Some(norm) = self.inner_norm {
            let all = config.queries();
            state.norm_in_place(attended, &weights[norm], all, all, config.norm_epsilon);
            state.quantize(attended);
        }
    }
}

impl Gated {
    /// From `normed` to `gate`.
    fn forward(&self, work: &mut Work<'_>, Buffers { stream, gate, up, .. }: &mut Buffers) {
        let Work { config, weights, state, observer } = work;
        let projections = [&self.gate, &self.up].map(|rows| weights.rows(rows));
        state.multiply(&stream.normed, projections, [&mut *gate, &mut *up], Output::Replace, *observer);
        state.gated(self.activation, gate, up);
        if let Some(norm) = self.inner_norm {
            let all = config.feed_forward;
            state.norm_in_place(gate, &weights[norm], all, all, config.norm_epsilon);
            state.quantize(gate);
        }
    }
}
