use super::attention::Attended;
use super::lora::Lora;
use super::{Backward, Gradients};
use crate::arena::Chunks;
use crate::kernels::quantize::TILE;
use crate::model::context::Context;
use crate::model::hidden::Hidden;
use crate::model::layer::{Branch, FeedForward, Gated, Layer, Mixer, QueryKeyNorms, SelfAttention};
use crate::model::network::{Network, Stream};
use crate::model::observer::Step;
use crate::model::ops::Ops;
use crate::model::weights::VectorId;

impl Layer {
    /// From the gradients by what comes out of the layer to those by what goes into it, which `goes_on` asks for: both are those by
    /// the residual stream. The context's buffers and the tape are as the layer's forward pass left them, but for the stream,
    /// which has what went into it.
    pub(super) fn backward(
        &self,
        network: &Network,
        context: &mut Context,
        back: &mut Backward,
        lora: &mut Lora,
        goes_on: bool,
    ) {
        self.feed_forward_branch.begin_back(Step::FeedForwardBranch, network, &mut context.ops, back);
        match &self.feed_forward {
            FeedForward::Gated(gated) => gated.backward(network, context, back, lora),
            FeedForward::Experts(experts) => experts.backward(network, context, back),
        }
        let Backward { tape, by, .. } = back;
        self.feed_forward_branch.end_back(network, &mut context.ops, tape.at(Step::Middle), by);

        self.mixer_branch.begin_back(Step::MixerBranch, network, &mut context.ops, back);
        self.mixer_branch.begin(network, context);
        match &self.mixer {
            Mixer::Attention(attention) => attention.backward(network, context, back, lora, goes_on),
            Mixer::Conv(conv) => conv.backward(network, context, back, lora, goes_on),
        }
        if goes_on {
            let Context { ops, buffers, .. } = context;
            self.mixer_branch.end_back(network, ops, &buffers.stream.x, &mut back.by);
        }
    }
}

impl Branch {
    /// From the gradients by the stream to those by what the branch ends in before its norm and factor.
    fn begin_back(&self, step: Step, network: &Network, ops: &mut Ops, back: &mut Backward) {
        let Backward { tape, by: Gradients { stream, branch, normed, .. }, .. } = back;
        let (config, scale) = (network.config(), self.scale);
        let scaled = if self.after.is_some() { &mut *normed } else { &mut *branch };
        each_row(ops, scaled, |row, scaled| {
            scaled.iter_mut().zip(stream.row(row)).for_each(|(to, from)| *to = from * scale);
        });
        if let Some(norm) = self.after {
            each_row(ops, branch, |_, row| row.fill(0.0));
            norm_back(ops, network, (norm, config.width, config.width), tape.at(step), normed, branch);
        }
    }

    /// Adds to the gradients by the stream those by what goes into the branch, where the stream had `x`.
    fn end_back(&self, network: &Network, ops: &mut Ops, x: &Hidden, by: &mut Gradients) {
        let Gradients { stream, normed, .. } = by;
        let width = network.config().width;
        match self.before {
            Some(norm) => norm_back(ops, network, (norm, width, width), x, normed, stream),
            None => each_row(ops, stream, |row, to| {
                to.iter_mut().zip(normed.row(row)).for_each(|(to, from)| *to += from);
            }),
        }
    }
}

impl SelfAttention {
    /// From `branch` to `normed`.
    fn backward(
        &self,
        network: &Network,
        context: &mut Context,
        back: &mut Backward,
        lora: &mut Lora,
        goes_on: bool,
    ) {
        let (config, weights) = (network.config(), network.weights());
        let Context { ops, buffers, .. } = context;
        let Backward { tape, products, attention, by, .. } = back;
        let output = [weights.all(self.output)];
        let by_output = Some(&mut by.attended);
        products.back(ops, Some(lora), &buffers.attended, output, [&by.branch], by_output);
        if let Some(norm) = self.inner_norm {
            let all = config.queries();
            norm_back_in_place(
                ops,
                network,
                (norm, all, all),
                tape.at(Step::Attended),
                &mut by.attended,
                &mut by.queries,
            );
        }
        let attended = Attended {
            queries: &buffers.queries,
            keys: &buffers.keys,
            values: &buffers.values,
            by_output: &by.attended,
        };
        let outputs = [&mut by.queries, &mut by.keys, &mut by.values];
        attention.back(ops, config, (self.scoring, self.rope), &attended, outputs);
        if let Some(QueryKeyNorms { query, key, each_head }) = self.norms {
            let run = |all| if each_head { config.head_dim } else { all };
            let all = config.queries();
            let of_queries = (query, all, run(all));
            norm_back_in_place(
                ops,
                network,
                of_queries,
                tape.at(Step::Queries),
                &mut by.queries,
                &mut buffers.queries,
            );
            let all = config.keys();
            let of_keys = (key, all, run(all));
            norm_back_in_place(ops, network, of_keys, tape.at(Step::Keys), &mut by.keys, &mut buffers.keys);
        }
        let projections = [&self.query, &self.key, &self.value].map(|rows| weights.rows(rows));
        let outputs = [&by.queries, &by.keys, &by.values];
        let by_input = goes_on.then_some(&mut by.normed);
        products.back(ops, Some(lora), &buffers.stream.normed, projections, outputs, by_input);
    }
}

impl Gated {
    /// From `branch` to `normed`.
    fn backward(&self, network: &Network, context: &mut Context, back: &mut Backward, lora: &mut Lora) {
        let (config, weights) = (network.config(), network.weights());
        let Context { ops, buffers, .. } = context;
        let Backward { tape, products, by, .. } = back;
        let down = [weights.all(self.down)];
        products.back(ops, Some(lora), &buffers.gate, down, [&by.branch], Some(&mut by.product));
        if let Some(norm) = self.inner_norm {
            let all = (norm, config.feed_forward, config.feed_forward);
            norm_back_in_place(ops, network, all, tape.at(Step::Product), &mut by.product, &mut buffers.gate);
        }
        let gate = tape.at_mut(Step::Gate);
        gate_back(ops, self.activation, [gate, &mut buffers.up], &by.product);
        let projections = [&self.gate, &self.up].map(|rows| weights.rows(rows));
        let Stream { normed, .. } = &buffers.stream;
        products.back(ops, Some(lora), normed, projections, [gate, &buffers.up], Some(&mut by.normed));
    }
}

/// Puts in place of gates and what they let through the gradients by both, from that by their products.
pub(super) fn gate_back(
    ops: &mut Ops,
    activation: crate::kernels::Activation,
    [gate, up]: [&mut Hidden; 2],
    by_product: &Hidden,
) {
    let (kernels, tokens, stride) = (ops.kernels(), ops.tokens, gate.stride);
    let [gate, up] = [gate, up].map(|x| Chunks::new(&mut x.x[..tokens * stride], TILE * stride));
    ops.team().for_each((gate, up), |tile, (gate, up)| {
        let from = TILE * tile * stride;
        kernels.gated_gradient(activation, gate, up, &by_product.x[from..from + gate.len()]);
    });
}

/// Does something with each row, by its number.
pub(super) fn each_row(ops: &mut Ops, x: &mut Hidden, task: impl Fn(usize, &mut [f32]) + Sync) {
    let (tokens, stride) = (ops.tokens, x.stride);
    ops.team().for_each(Chunks::new(&mut x.x[..tokens * stride], TILE * stride), |tile, rows| {
        for (token, row) in rows.chunks_exact_mut(stride).enumerate() {
            task(TILE * tile + token, row);
        }
    });
}

/// Adds to `dx` the gradients by `x`, of each run of the first so many numbers of whose rows this is the norm, from `dy`.
pub(super) fn norm_back(
    ops: &mut Ops,
    network: &Network,
    (norm, width, run): (VectorId, usize, usize),
    x: &Hidden,
    dy: &Hidden,
    dx: &mut Hidden,
) {
    let (kernels, weight, epsilon) = (ops.kernels(), &network.weights()[norm], network.config().norm_epsilon);
    each_row(ops, dx, |row, dx| {
        kernels.rms_norm_gradient(
            &x.row(row)[..width],
            weight,
            run,
            epsilon,
            &dy.row(row)[..width],
            &mut dx[..width],
        );
    });
}

/// The same in place of `dy`; `spare` is overwritten.
fn norm_back_in_place(
    ops: &mut Ops,
    network: &Network,
    norm: (VectorId, usize, usize),
    x: &Hidden,
    dy: &mut Hidden,
    spare: &mut Hidden,
) {
    each_row(ops, spare, |_, row| row.fill(0.0));
    norm_back(ops, network, norm, x, dy, spare);
    each_row(ops, dy, |row, dy| dy.copy_from_slice(spare.row(row)));
}
