use std::ops::Range;
use std::sync::Arc;

use siskin_quant::TensorType;
use twox_hash::XxHash3_128;

use super::config::{Config, Keys};
use super::state::{Hidden, State, scratch_lines};
use super::weights::{Linear, Loader, hash_floats};
use crate::arena::{Arena, Buf, OutOfMemory};
use crate::error::Error;
use crate::gguf::Gguf;
use crate::kernels::Output;
use crate::observer::Observer;
use crate::runs::Run;

/// LLaMA 1, 2, 3 and everything of the same shape: TinyLlama, SmolLM2 (Touvron et al. 2023, arXiv 2302.13971; Llama 3:
/// arXiv 2407.21783). Cloning shares the weights.
#[derive(Clone)]
pub(crate) struct Llama {
    config: Config,
    /// Rotation from one position to the next, for each pair of a head.
    frequencies: Vec<f32>,
    embedding: Linear,
    layers: Vec<Layer>,
    norm: Arc<Buf<f32>>,
    /// None where the embedding serves as output too.
    output: Option<Linear>,
}

#[derive(Clone)]
struct Layer {
    attention_norm: Arc<Buf<f32>>,
    query: Linear,
    key: Linear,
    value: Linear,
    attention_output: Linear,
    feed_forward_norm: Arc<Buf<f32>>,
    gate: Linear,
    up: Linear,
    down: Linear,
}

/// The buffers of a forward pass over a batch of tokens.
pub(crate) struct Buffers {
    /// The residual stream.
    x: Hidden,
    normed: Hidden,
    queries: Hidden,
    keys: Hidden,
    values: Hidden,
    attended: Hidden,
    gate: Hidden,
    up: Hidden,
    /// Logits of some tokens, and what they are worked out from.
    logits: Hidden,
    last: Hidden,
}

impl Llama {
    const ARCHITECTURE: &str = "llama";

    /// The model in `file`. Its tensors are all looked at before the first one is loaded.
    pub(crate) fn load(file: &Gguf) -> Result<Self, Error> {
        Self::outline(file)?;
        Ok(Self::take(file, Arena::reserving())?.0)
    }

    /// The model without its weights, which has all sizes and cannot run, and the bytes that the weights will reserve.
    pub(crate) fn outline(file: &Gguf) -> Result<(Self, usize), Error> {
        Self::take(file, Arena::counting())
    }

    fn take(file: &Gguf, arena: Arena) -> Result<(Self, usize), Error> {
        let architecture = file.require_str("general.architecture")?;
        if architecture != Self::ARCHITECTURE {
            return Err(Error::Architecture {
                file: file.name().to_owned(),
                found: architecture.to_owned(),
                supported: Self::ARCHITECTURE,
            });
        }
        let keys = Keys::new(file, architecture);
        keys.must_be_absent_or_zero("expert_count")?;
        let config = keys.config()?;
        let &Config { width, heads, kv_heads, head_dim, feed_forward, vocabulary, .. } = &config;
        let mut loader = Loader::new(file, architecture, arena);

        let factors = loader.optional_vector("rope_freqs.weight", config.rotated / 2)?;
        let embedding = loader.linear("token_embd", vocabulary, width)?;
        let layers = (0..config.layers)
            .map(|layer| {
                let name = |part: &str| format!("blk.{layer}.{part}");
                Ok(Layer {
                    attention_norm: loader.vector(&name("attn_norm.weight"), width)?,
                    query: loader.linear(&name("attn_q"), heads * head_dim, width)?,
                    key: loader.linear(&name("attn_k"), kv_heads * head_dim, width)?,
                    value: loader.linear(&name("attn_v"), kv_heads * head_dim, width)?,
                    attention_output: loader.linear(&name("attn_output"), width, heads * head_dim)?,
                    feed_forward_norm: loader.vector(&name("ffn_norm.weight"), width)?,
                    gate: loader.linear(&name("ffn_gate"), feed_forward, width)?,
                    up: loader.linear(&name("ffn_up"), feed_forward, width)?,
                    down: loader.linear(&name("ffn_down"), width, feed_forward)?,
                })
            })
            .collect::<Result<_, Error>>()?;
        let norm = loader.vector("output_norm.weight", width)?;
        let output = match loader.has("output.weight") {
            true => Some(loader.linear("output", vocabulary, width)?),
            false => None,
        };
        let bytes = loader.finish()?;
        let frequencies = frequencies(&config, factors.as_ref().map(|factors| &***factors));
        Ok((Self { config, frequencies, embedding, layers, norm, output }, bytes))
    }

    pub(crate) fn config(&self) -> &Config {
        &self.config
    }

    /// The matrix `name`, if there is one.
    pub(crate) fn linear_mut(&mut self, name: &str) -> Option<&mut Linear> {
        let layers = self.layers.iter_mut().flat_map(|l| {
            [
                &mut l.query,
                &mut l.key,
                &mut l.value,
                &mut l.attention_output,
                &mut l.gate,
                &mut l.up,
                &mut l.down,
            ]
        });
        layers.chain([&mut self.embedding]).chain(&mut self.output).find(|linear| linear.name == name)
    }

    /// Hashes all that logits depend on.
    pub(crate) fn hash(&self, hasher: &mut XxHash3_128) {
        hasher.write(Self::ARCHITECTURE.as_bytes());
        self.config.hash(hasher);
        hash_floats(&self.frequencies, hasher);
        let norms = self.layers.iter().flat_map(|layer| [&layer.attention_norm, &layer.feed_forward_norm]);
        norms.chain([&self.norm]).for_each(|norm| hash_floats(norm, hasher));
        self.linears().for_each(|linear| linear.hash(hasher));
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
        self.layer_linears().chain([self.output()]).map(Linear::bytes).sum()
    }

    /// Multiply-adds with weights for so many tokens, of which only the last needs logits.
    pub(crate) fn multiply_adds(&self, tokens: usize) -> u64 {
        let layers: u64 = self.layer_linears().map(|linear| linear.weight.weights()).sum();
        layers * tokens as u64 + if tokens > 0 { self.output().weight.weights() } else { 0 }
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
        let &Config { width, heads, kv_heads, head_dim, feed_forward, vocabulary, .. } = &self.config;
        let quantized = self.linears().any(|linear| !is_float(linear.weight.ty()));
        let mut hidden = |batch, width, quantized| Hidden::new(arena, batch, width, quantized);
        Ok(Buffers {
            x: hidden(batch, width, false)?,
            normed: hidden(batch, width, quantized)?,
            queries: hidden(batch, heads * head_dim, false)?,
            keys: hidden(batch, kv_heads * head_dim, false)?,
            values: hidden(batch, kv_heads * head_dim, false)?,
            attended: hidden(batch, heads * head_dim, quantized)?,
            gate: hidden(batch, feed_forward, quantized)?,
            up: hidden(batch, feed_forward, false)?,
            logits: hidden(logits, vocabulary, false)?,
            last: hidden(logits, width, quantized)?,
        })
    }

    /// Lines of scratch that each thread needs for batches of up to `batch` tokens.
    pub(crate) fn scratch(&self, batch: usize) -> usize {
        scratch_lines(self.linears(), batch)
    }

    /// Runs a batch of tokens, those of [`State::runs`], through all layers.
    ///
    /// # Errors
    /// [`Error::Cancelled`], within a layer of when it is asked for.
    pub(crate) fn forward(
        &self,
        state: &mut State,
        buffers: &mut Buffers,
        tokens: &[u32],
        observer: &mut dyn Observer,
    ) -> Result<(), Error> {
        let config = &self.config;
        let &Config { width, norm_epsilon, .. } = config;
        let Buffers { x, normed, queries, keys, values, attended, gate, up, .. } = buffers;

        state.begin(&self.frequencies);
        for (i, &token) in tokens.iter().enumerate() {
            self.embedding.weight.decode_row(token as usize, &mut x.row_mut(i)[..width]);
        }
        for (index, layer) in self.layers.iter().enumerate() {
            state.go_on()?;
            state.norm(x, &layer.attention_norm, width, norm_epsilon, normed);
            let projections = [&layer.query, &layer.key, &layer.value];
            state.multiply(normed, projections, [queries, keys, values], Output::Replace, observer);
            state.rotate_and_store(index, config, queries, keys, values);
            state.attend(index, queries, attended);
            state.multiply(attended, [&layer.attention_output], [x], Output::Add, observer);

            state.norm(x, &layer.feed_forward_norm, width, norm_epsilon, normed);
            state.multiply(normed, [&layer.gate, &layer.up], [gate, up], Output::Replace, observer);
            state.silu_mul(gate, up);
            state.multiply(gate, [&layer.down], [x], Output::Add, observer);
        }
        Ok(())
    }

    /// Takes some tokens out of a sequence: see [`State::forget`].
    pub(crate) fn forget(&self, state: &mut State, run: Run<'_>, tokens: Range<usize>) {
        state.forget(&self.config, &self.frequencies, run, tokens);
    }

    /// Works out the logits after some tokens of the batch, all in one product: see [`Buffers::logits`].
    pub(crate) fn logits(&self, state: &mut State, buffers: &mut Buffers, tokens: &[usize]) {
        let Buffers { x, normed, logits, last, .. } = buffers;
        for (row, &token) in tokens.iter().enumerate() {
            last.row_mut(row).copy_from_slice(x.row(token));
        }
        state.tokens = tokens.len();
        state.norm(last, &self.norm, self.config.width, self.config.norm_epsilon, normed);
        state.multiply(normed, [self.output()], [logits], Output::Replace, &mut ());
    }

    /// Shows `observer` what the output matrix is multiplied with after each token of the batch, without the products.
    pub(crate) fn observe_output(
        &self,
        state: &mut State,
        buffers: &mut Buffers,
        observer: &mut dyn Observer,
    ) {
        let Buffers { x, normed, .. } = buffers;
        state.norm(x, &self.norm, self.config.width, self.config.norm_epsilon, normed);
        state.observe(normed, &[self.output()], observer);
    }

    /// The matrix whose product is the logits.
    fn output(&self) -> &Linear {
        self.output.as_ref().unwrap_or(&self.embedding)
    }

    fn linears(&self) -> impl Iterator<Item = &Linear> {
        self.layer_linears().chain([&self.embedding]).chain(&self.output)
    }

    fn layer_linears(&self) -> impl Iterator<Item = &Linear> {
        self.layers
            .iter()
            .flat_map(|l| [&l.query, &l.key, &l.value, &l.attention_output, &l.gate, &l.up, &l.down])
    }
}

impl Buffers {
    /// What [`Llama::logits`] left for the token of this number among those it was asked for: one number for each entry
    /// of the vocabulary.
    pub(crate) fn logits(&self, token: usize, vocabulary: usize) -> &[f32] {
        &self.logits.row(token)[..vocabulary]
    }

    /// The same, to be filled with what was worked out before.
    pub(crate) fn logits_mut(&mut self, token: usize, vocabulary: usize) -> &mut [f32] {
        &mut self.logits.row_mut(token)[..vocabulary]
    }
}

/// base^(−2i/d) for each pair i of the d rotated numbers, divided by the file's factors (Llama 3.1 and later).
fn frequencies(config: &Config, factors: Option<&[f32]>) -> Vec<f32> {
    (0..config.rotated / 2)
        .map(|i| {
            let exponent = 2.0 * i as f64 / config.rotated as f64;
            let frequency = (1.0 / libm::pow(f64::from(config.rope_base), exponent)) as f32;
            let factor = factors.and_then(|factors| factors.get(i)).copied().unwrap_or(1.0);
            frequency / factor / config.rope_factor
        })
        .collect()
}

fn is_float(ty: TensorType) -> bool {
    matches!(ty, TensorType::F32 | TensorType::F16 | TensorType::BF16)
}
