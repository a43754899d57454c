//! The backward pass: from a loss to its gradients by the numbers of an adapter (backpropagation: Rumelhart et al. 1986).
//!
//! The forward pass is that of inference, with the same bits. All that is kept of it is what goes into each layer; a layer's own
//! way is gone again when its gradients are worked out (Chen et al. 2016, arXiv 1604.06174), so that memory holds the inner
//! numbers of one layer at a time. Logits exist for a slice of positions at a time. What is quantized on the way, activations, keys
//! and values, has the gradient of what it stands for.
//!
//! Sums over tokens go through them in order, and no two sequences have anything to do with each other, so gradients are
//! the same bits on every instruction set, with any number of threads, and however sequences are divided among passes.

mod attention;
mod conv;
mod experts;
mod layer;
mod lora;
mod products;
mod tape;

use attention::AttentionGradient;
use conv::ConvGradient;
use experts::ExpertsGradient;
pub(crate) use lora::{Lora, Target};
use products::Products;
use tape::Tape;

use super::context::{Context, ContextOptions};
use super::error::Cancelled;
use super::hidden::Hidden;
use super::layer::{Layer, Mixer};
use super::network::{Buffers, Network};
use crate::arena::{Arena, Buf, Chunks, OutOfMemory};
use crate::kernels::gradient::Loss;
use crate::state::StateId;

/// What a backward pass takes beside the [`Context`] of the forward pass.
pub(crate) struct Backward {
    /// What goes into each layer: `[layer][token][number]`, rows as the residual stream's.
    inputs: Buf<f32>,
    tape: Tape,
    products: Products,
    attention: AttentionGradient,
    /// None where no layer has them.
    experts: Option<ExpertsGradient>,
    conv: Option<ConvGradient>,
    /// Gradients by what the forward pass has in buffers of these names.
    by: Gradients,
    /// Of a slice's tokens: their rows, and their losses.
    rows: Vec<usize>,
    losses: Vec<f64>,
}

/// Gradients by activations: what a layer's steps take from each other on the way back.
struct Gradients {
    /// By the residual stream.
    stream: Hidden,
    /// By what goes into a branch, and by what comes out of it.
    normed: Hidden,
    branch: Hidden,
    queries: Hidden,
    keys: Hidden,
    values: Hidden,
    attended: Hidden,
    product: Hidden,
    /// By the logits' inputs.
    last: Hidden,
}

/// The tokens of a batch, and what is to be learned of them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lesson<'a> {
    pub(crate) tokens: &'a [u32],
    pub(crate) learned: &'a [Learned],
    /// See [`Loss::smoothing`].
    pub(crate) smoothing: f32,
}

/// A token whose probability is learned.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Learned {
    /// The row of the batch that predicts it.
    pub(crate) row: usize,
    pub(crate) token: u32,
    /// What its loss counts.
    pub(crate) weight: f32,
}

impl Backward {
    /// Buffers for a context with these options, and for adapters of up to this rank.
    ///
    /// # Errors
    /// [`OutOfMemory`].
    pub(crate) fn new(
        arena: &mut Arena,
        network: &Network,
        options: &ContextOptions,
        rank: usize,
    ) -> Result<Self, OutOfMemory> {
        let (config, &ContextOptions { batch, threads, logits, .. }) = (network.config(), options);
        let mut hidden = |rows, width| Hidden::new(arena, rows, width, false);
        let by = Gradients {
            stream: hidden(batch, config.width)?,
            normed: hidden(batch, config.width)?,
            branch: hidden(batch, config.width)?,
            queries: hidden(batch, config.queries())?,
            keys: hidden(batch, config.keys())?,
            values: hidden(batch, config.keys())?,
            attended: hidden(batch, config.queries())?,
            product: hidden(batch, config.feed_forward)?,
            last: hidden(logits, config.width)?,
        };
        let stride = by.stream.stride;
        let experts = network.layers().filter_map(|(layer, _)| layer.experts());
        let experts = experts.map(|experts| (experts.count(), experts.used)).max();
        let conv = network.layers().any(|(layer, _)| matches!(layer.mixer, Mixer::Conv(_)));
        Ok(Self {
            inputs: arena.buf((network.layers().len()).saturating_mul(batch).saturating_mul(stride))?,
            tape: Tape::new(arena, network, batch)?,
            products: Products::new(arena, threads, (batch, rank, config.feed_forward))?,
            attention: AttentionGradient::new(arena, network, options)?,
            experts: match experts {
                Some(experts) => Some(ExpertsGradient::new(arena, network, batch, experts)?),
                None => None,
            },
            conv: if conv { Some(ConvGradient::new(arena, batch, config.width)?) } else { None },
            by,
            rows: arena.list(logits)?,
            losses: arena.list(logits)?,
        })
    }

    /// Runs the context's batch of tokens forward and back: adds the gradients of the learned tokens' losses to those of `lora`, and
    /// tells `each` the loss of each of them, in their order, without its weight. Without `lora` nothing goes back.
    ///
    /// # Errors
    /// [`Cancelled`], within a layer of when it is asked for; some gradients may have been added then.
    pub(crate) fn run(
        &mut self,
        network: &Network,
        context: &mut Context,
        lesson: &Lesson<'_>,
        lora: Option<&mut Lora>,
        each: &mut dyn FnMut(f64),
    ) -> Result<(), Cancelled> {
        let rows = lesson.tokens.len();
        network.embed(context, lesson.tokens);
        let kept = rows * self.by.stream.stride;
        for (number, (layer, id)) in network.layers().enumerate() {
            context.ops.go_on()?;
            if lora.is_some() {
                self.inputs[number * kept..][..kept].copy_from_slice(&context.buffers.stream.x.x[..kept]);
            }
            layer.forward(id, network, context, &mut ());
        }
        self.by.stream.x[..kept].fill(0.0);
        self.loss(network, context, lesson, lora.is_some(), each);
        context.ops.tokens = rows;
        let Some(lora) = lora else { return Ok(()) };
        let first = lora.first_layer();
        for (number, (layer, id)) in
            network.layers().enumerate().rev().take_while(|(number, _)| *number >= first)
        {
            context.ops.go_on()?;
            self.layer(number, first, (layer, id), network, context, lora);
        }
        Ok(())
    }

    /// Works out the losses of tokens, a slice of them at a time, and if asked their gradients by the residual stream.
    fn loss(
        &mut self,
        network: &Network,
        context: &mut Context,
        &Lesson { learned, smoothing, .. }: &Lesson<'_>,
        goes_back: bool,
        each: &mut dyn FnMut(f64),
    ) {
        let (config, vocabulary) = (network.config(), network.config().vocabulary);
        let slice = context.options().logits;
        let (factor, cap) = network.logit_scaling();
        let (norm, output) = network.ends();
        for learned in learned.chunks(slice.max(1)) {
            self.rows.clear();
            self.rows.extend(learned.iter().map(|learned| learned.row));
            network.logits(context, &self.rows);
            let Context { ops, buffers: Buffers { stream, logits, .. }, .. } = &mut *context;
            let kernels = ops.kernels();
            self.losses.clear();
            self.losses.resize(learned.len(), 0.0);
            let stride = logits.stride;
            let rows = Chunks::new(&mut logits.x[..learned.len() * stride], stride);
            ops.team().for_each((rows, Chunks::new(&mut self.losses, 1)), |number, (row, loss)| {
                let Learned { token, weight, .. } = learned[number];
                let of = Loss { weight: weight * factor, smoothing, cap };
                loss[0] = kernels.cross_entropy(&mut row[..vocabulary], token as usize, &of);
            });
            self.losses.iter().for_each(|loss| each(*loss));
            if !goes_back {
                continue;
            }
            let weights = network.weights();
            let by_last = Some(&mut self.by.last);
            self.products.back(ops, None, &stream.normed, [weights.all(output)], [&*logits], by_last);
            for (number, &row) in self.rows.iter().enumerate() {
                let width = config.width;
                kernels.rms_norm_gradient(
                    &stream.x.row(row)[..width],
                    &weights[norm],
                    width,
                    config.norm_epsilon,
                    &self.by.last.row(number)[..width],
                    &mut self.by.stream.row_mut(row)[..width],
                );
            }
        }
    }

    /// Takes the gradients by what comes out of a layer to those by what goes into it, and adds those of its adapter.
    fn layer(
        &mut self,
        number: usize,
        first: usize,
        (layer, id): (&Layer, StateId),
        network: &Network,
        context: &mut Context,
        lora: &mut Lora,
    ) {
        let kept = context.ops.tokens * self.by.stream.stride;
        let input = &self.inputs[number * kept..][..kept];
        context.buffers.stream.x.x[..kept].copy_from_slice(input);
        layer.forward(id, network, context, &mut self.tape);
        // What the layer was given.
        context.buffers.stream.x.x[..kept].copy_from_slice(input);
        layer.backward(network, context, self, lora, number > first);
    }
}
