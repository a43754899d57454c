use twox_hash::XxHash3_128;

use super::config::Config;
use super::context::Context;
use super::conv::ShortConv;
use super::experts::Experts;
use super::hidden::Hidden;
use super::network::{Buffers, Network, Stream};
use super::observer::{Observer, Step};
use super::ops::Ops;
use super::weights::{LinearId, RowsId, VectorId};
use crate::fingerprint::{Fingerprint, fingerprint};
use crate::kernels::attention::Scoring;
use crate::kernels::{Activation, Output};
use crate::state::{AttentionSpec, StateId, StateSpec};

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
    Conv(ShortConv),
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
    /// The number of one of the network's RoPE tables; None where positions are not told.
    pub(crate) rope: Option<usize>,
    pub(crate) scoring: Scoring,
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

fingerprint!(Layer { mixer_branch, mixer, feed_forward_branch, feed_forward });
fingerprint!(Branch { before, after, scale });
fingerprint!(SelfAttention { query, key, value, output, norms, rope, scoring, inner_norm });
fingerprint!(QueryKeyNorms { query, key, each_head });
fingerprint!(Gated { gate, up, down, activation, inner_norm });

impl Fingerprint for Mixer {
    fn hash(&self, hasher: &mut XxHash3_128) {
        match self {
            Mixer::Attention(attention) => {
                hasher.write(b"attention");
                attention.hash(hasher);
            }
            Mixer::Conv(conv) => {
                hasher.write(b"conv");
                conv.hash(hasher);
            }
        }
    }
}

impl Fingerprint for FeedForward {
    fn hash(&self, hasher: &mut XxHash3_128) {
        match self {
            FeedForward::Gated(gated) => {
                hasher.write(b"gated");
                gated.hash(hasher);
            }
            FeedForward::Experts(experts) => {
                hasher.write(b"experts");
                experts.hash(hasher);
            }
        }
    }
}

impl Layer {
    /// The layer's part of a forward pass; `id` names what it keeps of the tokens.
    pub(crate) fn forward(
        &self,
        id: StateId,
        network: &Network,
        context: &mut Context,
        observer: &mut dyn Observer,
    ) {
        self.mixer_branch.begin(network, context);
        let output = match &self.mixer {
            Mixer::Attention(attention) => {
                attention.forward(id, network, context, observer);
                attention.output
            }
            Mixer::Conv(conv) => {
                conv.forward(id, network, context, observer);
                conv.output
            }
        };
        let Context { ops, buffers: Buffers { stream, attended, .. }, .. } = context;
        self.mixer_branch.end(network, ops, (attended, output), stream, (observer, Step::MixerBranch));
        observer.step(Step::Middle, stream.x.rows(ops.tokens, network.config().width));

        self.feed_forward_branch.begin(network, context);
        match &self.feed_forward {
            FeedForward::Gated(gated) => {
                gated.forward(network, context, observer);
                let Context { ops, buffers: Buffers { stream, gate, .. }, .. } = context;
                let seen = (observer, Step::FeedForwardBranch);
                self.feed_forward_branch.end(network, ops, (gate, gated.down), stream, seen);
            }
            FeedForward::Experts(experts) => {
                experts.forward(network, context, observer);
                let Context { ops, buffers, .. } = context;
                let seen = (observer, Step::FeedForwardBranch);
                self.feed_forward_branch.join(network, ops, &mut buffers.stream, seen);
            }
        }
    }

    /// What the layer needs kept of the tokens.
    pub(crate) fn state(&self, config: &Config) -> StateSpec {
        match &self.mixer {
            Mixer::Attention(attention) => StateSpec::Attention(attention.state(config)),
            Mixer::Conv(conv) => StateSpec::Conv(conv.state(config.width)),
        }
    }

    /// Its matrices.
    #[cfg(feature = "training")]
    pub(crate) fn linears(&self) -> impl Iterator<Item = LinearId> {
        let mixer = match &self.mixer {
            Mixer::Attention(attention) => {
                [&attention.query, &attention.key, &attention.value].map(RowsId::linear)
            }
            Mixer::Conv(conv) => [&conv.input, &conv.before, &conv.after].map(RowsId::linear),
        };
        let output = match &self.mixer {
            Mixer::Attention(attention) => attention.output,
            Mixer::Conv(conv) => conv.output,
        };
        let feed_forward = match &self.feed_forward {
            FeedForward::Gated(gated) => [gated.gate.linear(), gated.up.linear(), gated.down],
            FeedForward::Experts(experts) => [experts.router; 3],
        };
        mixer.into_iter().chain([output]).chain(feed_forward)
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
    pub(super) fn begin(&self, network: &Network, Context { ops, buffers, .. }: &mut Context) {
        let (config, Stream { x, normed, .. }) = (network.config(), &mut buffers.stream);
        match self.before {
            Some(norm) => ops.norm(x, &network.weights()[norm], config.width, config.norm_epsilon, normed),
            None => ops.copy(x, normed),
        }
    }

    /// Adds the product of the last matrix of the branch, which ends in this step, to the stream.
    fn end(
        &self,
        network: &Network,
        ops: &mut Ops,
        (from, linear): (&Hidden, LinearId),
        stream: &mut Stream,
        (observer, step): (&mut dyn Observer, Step),
    ) {
        let Stream { x, branch, .. } = &mut *stream;
        let weight = network.weights().all(linear);
        if !self.ends_apart() {
            return ops.multiply(from, [weight], [x], Output::Add, observer);
        }
        ops.multiply(from, [weight], [branch], Output::Replace, observer);
        self.join(network, ops, stream, (observer, step));
    }

    /// Adds the branch to the stream.
    fn join(
        &self,
        network: &Network,
        ops: &mut Ops,
        Stream { x, branch, .. }: &mut Stream,
        (observer, step): (&mut dyn Observer, Step),
    ) {
        let (config, weights) = (network.config(), network.weights());
        if let Some(norm) = self.after {
            observer.step(step, branch.rows(ops.tokens, config.width));
            ops.norm_in_place(branch, &weights[norm], config.width, config.width, config.norm_epsilon);
        }
        ops.add_scaled(x, branch, self.scale);
    }
}

impl SelfAttention {
    /// What it looks back at.
    fn state(&self, config: &Config) -> AttentionSpec {
        let &Config { kv_heads, head_dim, .. } = config;
        AttentionSpec { kv_heads, head_dim, window: self.scoring.window, rope: self.rope }
    }

    /// From `normed` to `attended`.
    fn forward(&self, id: StateId, network: &Network, context: &mut Context, observer: &mut dyn Observer) {
        let (config, weights) = (network.config(), network.weights());
        let Context { ops, buffers, .. } = context;
        let Buffers { stream, queries, keys, values, attended, .. } = buffers;
        let projections = [&self.query, &self.key, &self.value].map(|rows| weights.rows(rows));
        ops.multiply(
            &stream.normed,
            projections,
            [&mut *queries, &mut *keys, &mut *values],
            Output::Replace,
            observer,
        );
        if let Some(QueryKeyNorms { query, key, each_head }) = self.norms {
            let run = |all| if each_head { config.head_dim } else { all };
            observer.step(Step::Queries, queries.rows(ops.tokens, config.queries()));
            observer.step(Step::Keys, keys.rows(ops.tokens, config.keys()));
            let (all, epsilon) = (config.queries(), config.norm_epsilon);
            ops.norm_in_place(queries, &weights[query], all, run(all), epsilon);
            let all = config.keys();
            ops.norm_in_place(keys, &weights[key], all, run(all), epsilon);
        }
        ops.rotate_and_store(id, config, self.rope, [queries, keys], values);
        ops.attend(id, self.scoring, queries, attended);
        if let Some(norm) = self.inner_norm {
            let all = config.queries();
            observer.step(Step::Attended, attended.rows(ops.tokens, all));
            ops.norm_in_place(attended, &weights[norm], all, all, config.norm_epsilon);
            ops.quantize(attended);
        }
    }
}

impl Gated {
    /// From `normed` to `gate`.
    fn forward(&self, network: &Network, context: &mut Context, observer: &mut dyn Observer) {
        let (config, weights) = (network.config(), network.weights());
        let Context { ops, buffers: Buffers { stream, gate, up, .. }, .. } = context;
        let projections = [&self.gate, &self.up].map(|rows| weights.rows(rows));
        ops.multiply(&stream.normed, projections, [&mut *gate, &mut *up], Output::Replace, observer);
        observer.step(Step::Gate, gate.rows(ops.tokens, config.feed_forward));
        ops.gated(self.activation, gate, up);
        if let Some(norm) = self.inner_norm {
            let all = config.feed_forward;
            observer.step(Step::Product, gate.rows(ops.tokens, all));
            ops.norm_in_place(gate, &weights[norm], all, all, config.norm_epsilon);
            ops.quantize(gate);
        }
    }
}
