use std::ops::ControlFlow;
use std::sync::Arc;

use siskin_quant::TensorType;
use twox_hash::XxHash3_128;

use super::config::{Config, Keys};
use super::context::Context;
use super::conv::ConvBuffers;
use super::error::Cancelled;
use super::experts::Routing;
use super::families;
use super::hidden::Hidden;
use super::layer::{Layer, Mixer};
use super::left_out;
use super::observer::Observer;
use super::rope::Rope;
use super::weights::{Linear, LinearId, Loader, VectorId, Watch, Weights};
use crate::arena::{Arena, OutOfMemory};
use crate::fingerprint::Fingerprint;
use crate::gguf::Gguf;
use crate::kernels::Output;
use crate::model::LoadError;
use crate::state::{StateId, StateSpecs};

/// A decoder-only transformer with its weights: an embedding, layers, and a last norm and product that give logits.
/// Cloning shares the weights.
#[derive(Clone)]
pub(crate) struct Network {
    architecture: &'static str,
    design: Arc<Design>,
    states: Arc<LayerStates>,
    weights: Weights,
    embedding: LinearId,
    norm: VectorId,
    /// The embedding, where that serves as output too.
    output: LinearId,
    /// What the file has too much, or too little.
    notes: Arc<[String]>,
}

/// What the layers need kept of the tokens, and the place of each in it.
struct LayerStates {
    specs: StateSpecs,
    ids: Vec<StateId>,
}

/// What a family makes of a file's keys and tensors.
pub(crate) struct Design {
    pub(crate) config: Config,
    pub(crate) ropes: Vec<Rope>,
    pub(crate) layers: Vec<Layer>,
    /// The tensor of the norm before the output.
    pub(crate) norm: &'static str,
    /// What embeddings are multiplied by.
    pub(crate) embedding_scale: f32,
    /// What logits are multiplied by.
    pub(crate) logit_scale: f32,
    /// Logits s become tanh(s / cap) · cap.
    pub(crate) logit_cap: Option<f32>,
}

/// The buffers of a forward pass over a batch of tokens.
pub(crate) struct Buffers {
    pub(crate) stream: Stream,
    pub(crate) queries: Hidden,
    pub(crate) keys: Hidden,
    pub(crate) values: Hidden,
    pub(crate) attended: Hidden,
    pub(crate) gate: Hidden,
    pub(crate) up: Hidden,
    /// None where no layer has experts.
    pub(crate) routing: Option<Routing>,
    /// None where no layer has a convolution.
    pub(crate) conv: Option<ConvBuffers>,
    /// Logits of some tokens, and what they are worked out from.
    pub(crate) logits: Hidden,
    pub(crate) last: Hidden,
}

/// The residual stream, and the two ends of a branch.
pub(crate) struct Stream {
    pub(crate) x: Hidden,
    pub(crate) normed: Hidden,
    /// Empty where branches end in a product that is added to the stream.
    pub(crate) branch: Hidden,
}

impl Network {
    /// The model in `file`. Its tensors are all looked at before the first one is loaded, which `watch` is told of.
    pub(crate) fn load(file: &Gguf, watch: Watch<'_>) -> Result<Self, LoadError> {
        Self::outline(file)?;
        Ok(Self::take(file, Arena::reserving(), watch)?.0)
    }

    /// The model without its weights, which has all sizes and cannot run, and the bytes that the weights will reserve.
    pub(crate) fn outline(file: &Gguf) -> Result<(Self, usize), LoadError> {
        Self::take(file, Arena::counting(), &mut |_, _| ControlFlow::Continue(()))
    }

    fn take(file: &Gguf, arena: Arena, watch: Watch<'_>) -> Result<(Self, usize), LoadError> {
        file.check_is_model()?;
        let name = file.require_str("general.architecture")?;
        let Some(family) = families::named(name) else {
            let (file, found) = (file.name().to_owned(), name.to_owned());
            return Err(LoadError::Architecture { file, found, supported: families::names() });
        };
        let architecture = family.architecture;
        let keys = Keys::new(file, architecture);
        let config = keys.config()?;
        let &Config { width, vocabulary, .. } = &config;
        let mut loader = Loader::new(file, architecture, arena, watch);
        let embedding = loader.linear("token_embd", vocabulary, width)?;
        let design = (family.design)(&keys, &mut loader, config)?;
        let attends = |layer: &Layer| matches!(layer.mixer, Mixer::Attention(_));
        keys.must_attend(&design.layers.iter().map(attends).collect::<Vec<_>>())?;
        let norm = loader.vector(design.norm, width)?;
        let output = match loader.has("output.weight") {
            true => loader.linear("output", vocabulary, width)?,
            false => embedding,
        };
        let (weights, bytes) = loader.finish()?;
        let mut specs = StateSpecs::default();
        let ids = design.layers.iter().map(|layer| specs.add(layer.state(&design.config))).collect();
        let (design, states) = (Arc::new(design), Arc::new(LayerStates { specs, ids }));
        let notes = left_out::lines(file).into_iter().chain(keys.assumed()?).collect();
        Ok((Self { architecture, design, states, weights, embedding, norm, output, notes }, bytes))
    }

    /// What of the file is left out, and what it lacks and is known otherwise: a line each.
    pub(crate) fn notes(&self) -> &[String] {
        &self.notes
    }

    /// What `general.architecture` says.
    pub(crate) fn architecture(&self) -> &'static str {
        self.architecture
    }

    pub(crate) fn config(&self) -> &Config {
        &self.design.config
    }

    pub(crate) fn weights(&self) -> &Weights {
        &self.weights
    }

    pub(crate) fn ropes(&self) -> &[Rope] {
        &self.design.ropes
    }

    /// What the layers need kept of the tokens.
    pub(crate) fn states(&self) -> &StateSpecs {
        &self.states.specs
    }

    /// The matrix `name`, if there is one.
    pub(crate) fn linear_mut(&mut self, name: &str) -> Option<&mut Linear> {
        self.weights.linears.iter_mut().find(|linear| linear.name == name)
    }

    /// Hashes all that logits depend on.
    pub(crate) fn hash(&self, hasher: &mut XxHash3_128) {
        let Design { config, ropes, layers, norm: _, embedding_scale, logit_scale, logit_cap } =
            &*self.design;
        hasher.write(self.architecture.as_bytes());
        config.hash(hasher);
        ropes.hash(hasher);
        layers.hash(hasher);
        [*embedding_scale, *logit_scale].hash(hasher);
        logit_cap.hash(hasher);
        self.weights.hash(hasher);
    }

    pub(crate) fn weight_bytes(&self) -> usize {
        self.linears().map(Linear::bytes).sum()
    }

    /// Bytes of matrices that are used where the file is.
    pub(crate) fn bytes_in_file(&self) -> usize {
        self.linears().map(|linear| linear.weight.bytes_in_file()).sum()
    }

    /// Bytes that the products with one token's activations read.
    pub(crate) fn bytes_per_token(&self) -> usize {
        self.layer_linears().chain([self.output()]).map(Linear::bytes_per_token).sum()
    }

    /// Weights that the products with one token's activations read, matrix by matrix: of the layers, and of the output.
    pub(crate) fn weights_per_token(&self) -> impl Iterator<Item = (TensorType, u64, u64)> {
        let layers = self.layer_linears().map(|linear| (linear.weight.ty(), linear.multiply_adds(), 0));
        let output = self.output();
        layers.chain([(output.weight.ty(), 0, output.multiply_adds())])
    }

    /// Multiply-adds with weights for so many tokens, of which only the last needs logits.
    pub(crate) fn multiply_adds(&self, tokens: usize) -> u64 {
        let layers: u64 = self.layer_linears().map(Linear::multiply_adds).sum();
        layers * tokens as u64 + if tokens > 0 { self.output().multiply_adds() } else { 0 }
    }

    /// Buffers for batches of up to `batch` tokens, of which so many have logits at a time.
    ///
    /// # Errors
    /// [`OutOfMemory`].
    pub(crate) fn buffers(
        &self,
        arena: &mut Arena,
        batch: usize,
        logits: usize,
    ) -> Result<Buffers, OutOfMemory> {
        let config = self.config();
        let &Config { width, feed_forward, vocabulary, .. } = config;
        let quantized = self.linears().any(|linear| !is_float(linear.weight.ty()));
        let ends_apart = self.design.layers.iter().any(Layer::ends_apart);
        let experts =
            self.design.layers.iter().filter_map(Layer::experts).max_by_key(|experts| experts.count());
        let routing = match experts {
            Some(experts) => Some(experts.routing(arena, batch, width, quantized)?),
            None => None,
        };
        let conv = match self.design.layers.iter().any(|layer| matches!(layer.mixer, Mixer::Conv(_))) {
            true => Some(ConvBuffers::new(arena, batch, width)?),
            false => None,
        };
        let mut hidden = |batch, width, quantized| Hidden::new(arena, batch, width, quantized);
        Ok(Buffers {
            stream: Stream {
                x: hidden(batch, width, false)?,
                normed: hidden(batch, width, quantized)?,
                branch: hidden(if ends_apart { batch } else { 0 }, width, false)?,
            },
            queries: hidden(batch, config.queries(), false)?,
            keys: hidden(batch, config.keys(), false)?,
            values: hidden(batch, config.keys(), false)?,
            attended: hidden(batch, config.queries(), quantized)?,
            gate: hidden(batch, feed_forward, quantized)?,
            up: hidden(batch, feed_forward, false)?,
            routing,
            conv,
            logits: hidden(logits, vocabulary, false)?,
            last: hidden(logits, width, quantized)?,
        })
    }

    /// Runs a batch of tokens, those of [`Ops::batch`](super::ops::Ops::batch), through all layers.
    ///
    /// # Errors
    /// [`Cancelled`], within a layer of when it is asked for.
    pub(crate) fn forward(
        &self,
        context: &mut Context,
        tokens: &[u32],
        observer: &mut dyn Observer,
    ) -> Result<(), Cancelled> {
        self.embed(context, tokens);
        for (layer, id) in self.layers() {
            context.ops.go_on()?;
            layer.forward(id, self, context, observer);
        }
        context.ops.finish();
        Ok(())
    }

    /// Begins with a batch of tokens: puts their embeddings into the residual stream.
    pub(crate) fn embed(&self, context: &mut Context, tokens: &[u32]) {
        let Design { config, embedding_scale, .. } = &*self.design;
        context.ops.begin();
        let embedding = &self.weights[self.embedding].weight;
        for (i, &token) in tokens.iter().enumerate() {
            let row = &mut context.buffers.stream.x.row_mut(i)[..config.width];
            embedding.decode_row(token as usize, row);
            if *embedding_scale != 1.0 {
                row.iter_mut().for_each(|x| *x *= embedding_scale);
            }
        }
    }

    /// The layers, each with the place of what it keeps of the tokens.
    pub(crate) fn layers(&self) -> impl DoubleEndedIterator<Item = (&Layer, StateId)> + ExactSizeIterator {
        self.design.layers.iter().zip(self.states.ids.iter().copied())
    }

    /// Works out the logits after some tokens of the batch, all in one product: see [`Buffers::logits`].
    pub(crate) fn logits(&self, Context { ops, buffers, .. }: &mut Context, tokens: &[usize]) {
        let Design { config, logit_scale, logit_cap, .. } = &*self.design;
        let Buffers { stream: Stream { x, normed, .. }, logits, last, .. } = buffers;
        for (row, &token) in tokens.iter().enumerate() {
            last.row_mut(row).copy_from_slice(x.row(token));
        }
        ops.tokens = tokens.len();
        ops.norm(last, &self.weights[self.norm], config.width, config.norm_epsilon, normed);
        ops.multiply(normed, [self.weights.all(self.output)], [&mut *logits], Output::Replace, &mut ());
        if *logit_scale != 1.0 || logit_cap.is_some() {
            ops.scale_and_cap(logits, *logit_scale, *logit_cap);
        }
    }

    /// Shows `observer` what the output matrix is multiplied with after each token of the batch, without the products.
    pub(crate) fn observe_output(
        &self,
        Context { ops, buffers, .. }: &mut Context,
        observer: &mut dyn Observer,
    ) {
        let (config, Stream { x, normed, .. }) = (self.config(), &mut buffers.stream);
        ops.norm(x, &self.weights[self.norm], config.width, config.norm_epsilon, normed);
        ops.observe(normed, &[self.weights.all(self.output)], observer);
    }

    /// What becomes of the product with the output matrix: a factor, then a cap.
    #[cfg(feature = "training")]
    pub(crate) fn logit_scaling(&self) -> (f32, Option<f32>) {
        (self.design.logit_scale, self.design.logit_cap)
    }

    /// Whether the matrix says which experts tokens go to.
    #[cfg(feature = "training")]
    pub(crate) fn is_router(&self, linear: LinearId) -> bool {
        self.design.layers.iter().filter_map(Layer::experts).any(|experts| experts.router == linear)
    }

    /// The norm before the output, and the output.
    #[cfg(feature = "training")]
    pub(crate) fn ends(&self) -> (VectorId, LinearId) {
        (self.norm, self.output)
    }

    /// The matrix whose product is the logits.
    fn output(&self) -> &Linear {
        &self.weights[self.output]
    }

    pub(crate) fn linears(&self) -> impl Iterator<Item = &Linear> {
        self.weights.linears.iter()
    }

    /// The matrices of the layers, which adapters may change.
    pub(crate) fn layer_linears(&self) -> impl Iterator<Item = &Linear> {
        self.weights.linears_but([self.embedding, self.output])
    }
}

impl Buffers {
    /// What [`Network::logits`] left for the token of this number among those it was asked for: one number for each entry
    /// of the vocabulary.
    pub(crate) fn logits(&self, token: usize, vocabulary: usize) -> &[f32] {
        &self.logits.row(token)[..vocabulary]
    }

    /// The same, to be filled with what was worked out before.
    pub(crate) fn logits_mut(&mut self, token: usize, vocabulary: usize) -> &mut [f32] {
        &mut self.logits.row_mut(token)[..vocabulary]
    }
}

fn is_float(ty: TensorType) -> bool {
    matches!(ty, TensorType::F32 | TensorType::F16 | TensorType::BF16)
}
