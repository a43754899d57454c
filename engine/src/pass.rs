use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize};

use twox_hash::XxHash3_128;

use crate::adapter::{Adapter, Attached};
use crate::arena::{Arena, OutOfMemory};
use crate::cache::{Cache, CacheTypes};
use crate::error::Error;
use crate::inputs::Inputs;
use crate::kernels::Isa;
use crate::machine::{Machine, default_threads};
use crate::model::{Buffers, Config, Model, Network, State, StateOptions, adapter_buffers};
use crate::observer::Observer;
use crate::runs::{PAGE, Run};
use crate::sampler::{Breakers, Sampler, SamplerOptions};
use crate::saved::Shape;
use crate::session::SessionOptions;
use crate::speculation::MOST as MOST_DRAFTS;
use crate::team::Team;
use crate::tokenizer::Special;

/// A model with all that forward passes through it take: threads, cache and buffers.
pub(crate) struct Pass {
    pub(crate) model: Model,
    state: State,
    buffers: Buffers,
    bytes: usize,
    /// Those of them that adapters work with.
    adapter_bytes: usize,
    /// Tokens of a sequence, at most.
    pub(crate) context: usize,
    /// Tokens of a forward pass, at most.
    pub(crate) batch: usize,
    /// Those of them that logits can be worked out after at a time.
    pub(crate) rows: usize,
    /// Pages of the cache, the last of which may be shorter.
    pub(crate) pages: usize,
}

/// The sequences that a [`Pass`] is made for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum For {
    /// One alone.
    One,
    /// Up to so many, in so many pages of the cache; None: in as many as they can fill.
    Many { sequences: usize, pages: Option<usize> },
}

/// Session options, each within its bounds.
#[derive(Clone, Copy)]
pub(crate) struct Settings {
    pub(crate) context: usize,
    pub(crate) threads: usize,
    pub(crate) batch: usize,
    pub(crate) cache: CacheTypes,
    pub(crate) isa: Isa,
    pub(crate) sequences: usize,
    /// Tokens of a forward pass that there are logits of.
    pub(crate) logits: usize,
    /// Pages for all sequences; None: what the context of one takes.
    pub(crate) pages: Option<usize>,
}

/// Where the memory of a [`Pass`] comes from.
pub(crate) struct PassArena {
    /// The KV cache's.
    pub(crate) cache: Arena,
    /// That of all else: activations, scratch.
    pub(crate) buffers: Arena,
}

impl PassArena {
    fn bytes(&self) -> usize {
        self.cache.bytes().saturating_add(self.buffers.bytes())
    }
}

impl Settings {
    /// The settings for a model whose sequences have up to `longest` tokens.
    ///
    /// # Errors
    /// An option without meaning.
    pub(crate) fn new(options: &SessionOptions, longest: usize, made_for: For) -> Result<Self, Error> {
        const LONGEST_DEFAULT: usize = 4096;
        const DEFAULT_BATCH: usize = 256;
        const MOST_THREADS: usize = 1024;
        const MOST_SEQUENCES: usize = 4096;
        let within = |option, value: usize, most: usize| match value {
            1.. if value <= most => Ok(value),
            _ => Err(Error::Option { option, expected: format!("1 to {most}"), found: value }),
        };
        let context = within("context", options.context.unwrap_or(longest.min(LONGEST_DEFAULT)), longest)?;
        let threads = options.threads.unwrap_or_else(|| default_threads().min(MOST_THREADS));
        let threads = within("threads", threads, MOST_THREADS)?;
        let batch = within("batch", options.batch.unwrap_or(DEFAULT_BATCH), usize::MAX)?;
        let drafts = options.drafts;
        if drafts > MOST_DRAFTS {
            return Err(Error::Option {
                option: "drafts",
                expected: format!("0 to {MOST_DRAFTS}"),
                found: drafts,
            });
        }
        let (sequences, logits, batch, pages) = match made_for {
            For::One => (1, drafts + 1, batch.max(drafts + 1).min(context), None),
            For::Many { sequences, pages } => {
                let sequences = within("sequences", sequences, MOST_SEQUENCES)?;
                let most = sequences.saturating_mul(context.div_ceil(PAGE));
                // One token of each sequence has room.
                let batch = batch.min(sequences.saturating_mul(context)).max(sequences);
                (sequences, sequences, batch, Some(within("pages", pages.unwrap_or(most), most)?))
            }
        };
        let isa = options.isa.map_or_else(Isa::choose, Ok)?;
        Ok(Self { context, threads, batch, cache: options.cache, isa, sequences, logits, pages })
    }

    /// What a pass takes of `network` with adapters of up to this rank, which is 0 without any, counted alone.
    pub(crate) fn count(&self, network: &Network, rank: usize) -> PassArena {
        let mut arena = PassArena { cache: Arena::counting(), buffers: Arena::counting() };
        // An arena that counts never fails.
        let _ = self.reserve(network, Team::alone(self.threads), &mut arena);
        if rank > 0 {
            let _ = adapter_buffers(&mut arena.buffers, self.batch, rank);
        }
        arena
    }

    fn reserve(
        &self,
        network: &Network,
        team: Team,
        arena: &mut PassArena,
    ) -> Result<(State, Buffers), OutOfMemory> {
        let &Self { context, batch, cache, isa, sequences, logits, pages, .. } = self;
        let config = network.config();
        let slots = pages.map_or(context, |pages| pages.saturating_mul(PAGE));
        let layers = network.attentions().count();
        let cache = Cache::new(&mut arena.cache, cache, layers, config.kv_heads, config.head_dim, slots)?;
        let pages = pages.unwrap_or(context.div_ceil(PAGE));
        let inputs = match network.convolutions() {
            Some(reach) => Some(Inputs::new(&mut arena.cache, reach, sequences, pages)?),
            None => None,
        };
        let options = StateOptions { sequences, context, batch, scratch: network.scratch(batch) };
        let arena = &mut arena.buffers;
        let state = State::new(arena, isa.kernels(), team, (cache, inputs), network, options)?;
        Ok((state, network.buffers(arena, batch, logits)?))
    }
}

impl Pass {
    pub(crate) fn new(model: Model, options: &SessionOptions, made_for: For) -> Result<Self, Error> {
        let settings = Settings::new(options, model.context_length(), made_for)?;
        let Settings { context, threads, batch, logits, pages, .. } = settings;
        let places = if options.pin { Machine::read().places() } else { Vec::new() };
        let team = match places.as_slice() {
            [] => Team::new(threads),
            places => Team::pinned(threads, places),
        };
        let team = team.map_err(|source| Error::Threads { threads, source })?;
        let mut arena = PassArena { cache: Arena::reserving(), buffers: Arena::reserving() };
        let (state, buffers) = settings.reserve(model.network(), team, &mut arena)?;
        let pages = pages.unwrap_or(context.div_ceil(PAGE));
        Ok(Self {
            model,
            state,
            buffers,
            bytes: arena.bytes(),
            adapter_bytes: 0,
            context,
            batch,
            rows: logits,
            pages,
        })
    }

    /// Bytes that were reserved: KV cache and buffers.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Threads that share the work.
    pub(crate) fn threads(&self) -> usize {
        self.state.threads()
    }

    /// The instruction set in use, as `SISKIN_ISA` spells it.
    pub(crate) fn isa(&self) -> &'static str {
        self.state.isa()
    }

    /// Begins a batch that has no runs yet.
    pub(crate) fn begin(&mut self) {
        self.state.runs.clear();
    }

    /// Adds a run to the batch.
    pub(crate) fn push(&mut self, run: Run<'_>) {
        self.state.runs.push(run);
    }

    /// Runs the batch's tokens, those of all runs one after the other, through all layers.
    ///
    /// # Errors
    /// [`Error::Cancelled`].
    pub(crate) fn forward(&mut self, tokens: &[u32], observer: &mut dyn Observer) -> Result<(), Error> {
        self.model.network().forward(&mut self.state, &mut self.buffers, tokens, observer)
    }

    /// The flag that ends forward passes, and the limit of threads.
    pub(crate) fn control(&self) -> (Arc<AtomicBool>, Arc<AtomicUsize>) {
        self.state.control()
    }

    /// Ends forward passes when the flag is true.
    pub(crate) fn cancel_when(&mut self, flag: Arc<AtomicBool>) {
        self.state.cancel = flag;
    }

    /// Has no more threads work than this says; while it is 0 none does.
    pub(crate) fn limit_threads(&mut self, limit: Arc<AtomicUsize>) {
        self.state.limit_threads(limit);
    }

    /// Takes some tokens out of a sequence, whose length is `run`'s start.
    pub(crate) fn forget(&mut self, run: Run<'_>, tokens: Range<usize>) {
        self.model.network().forget(&mut self.state, run, tokens);
    }

    /// Works out the logits after these tokens of the batch, no more than [`Pass::rows`].
    pub(crate) fn work_out_logits(&mut self, tokens: &[usize]) {
        self.model.network().logits(&mut self.state, &mut self.buffers, tokens);
    }

    /// The logits of the token of this number among those that they were worked out for last.
    pub(crate) fn logits(&self, token: usize) -> &[f32] {
        self.buffers.logits(token, self.model.vocabulary())
    }

    /// The same, to be filled with what was worked out before.
    pub(crate) fn logits_mut(&mut self, token: usize) -> &mut [f32] {
        self.buffers.logits_mut(token, self.model.vocabulary())
    }

    /// Shows `observer` what the output matrix is multiplied with after each token of the batch.
    pub(crate) fn observe_output(&mut self, observer: &mut dyn Observer) {
        self.model.network().observe_output(&mut self.state, &mut self.buffers, observer);
    }

    /// Where work on a sequence can go on that has `len` tokens, of which the first `sound` follow from each other alone:
    /// nearly always behind the last one.
    pub(crate) fn resume(&self, sequence: usize, len: usize, sound: usize) -> usize {
        self.state.inputs().map_or(len, |inputs| inputs.resume(sequence, len, sound))
    }

    /// Forgets all of a sequence behind the first `len` tokens.
    pub(crate) fn truncate(&mut self, sequence: usize, len: usize) {
        if let Some(inputs) = self.state.inputs_mut() {
            inputs.truncate(sequence, len);
        }
    }

    /// What a sequence looks back at.
    pub(crate) fn past(&self) -> (&Cache, Option<&Inputs>) {
        (self.state.cache(), self.state.inputs())
    }

    pub(crate) fn past_mut(&mut self) -> (&mut Cache, Option<&mut Inputs>) {
        self.state.past_mut()
    }

    pub(crate) fn cache_mut(&mut self) -> &mut Cache {
        self.state.cache_mut()
    }

    /// What states of a sequence with these adapters are of.
    pub(crate) fn shape(&self, adapters: &[Attached]) -> Shape {
        let network = self.model.network();
        let &Config { kv_heads, vocabulary, .. } = network.config();
        let layers = network.attentions().count();
        // The same tokens have other keys in a long context.
        let long = network.rotations().iter().any(|rotation| rotation.is_long(self.context));
        let mut model = self.model.fingerprint() ^ u128::from(long);
        let mut adapters = adapters.iter().filter(|attached| attached.scale != 0.0).peekable();
        if adapters.peek().is_some() {
            let mut hasher = XxHash3_128::new();
            hasher.write(&model.to_le_bytes());
            adapters.for_each(|attached| attached.hash(&mut hasher));
            model = hasher.finish_128();
        }
        Shape { model, layers, kv_heads, vocabulary }
    }

    /// Makes room for an adapter, one of so many that all runs of a batch have.
    ///
    /// # Errors
    /// One that does not fit the model, a scale without meaning, or [`OutOfMemory`].
    pub(crate) fn take_up(&mut self, adapter: &Adapter, scale: f32, adapters: usize) -> Result<(), Error> {
        let name = || adapter.name().to_owned();
        if !scale.is_finite() {
            return Err(Error::AdapterScale { adapter: name(), scale });
        }
        if !adapter.fits(self.model.network()) {
            return Err(Error::AdapterMismatch { adapter: name() });
        }
        let mut arena = Arena::reserving();
        self.state.reserve_adapters(&mut arena, self.batch, adapter.rank(), adapters)?;
        if arena.bytes() > 0 {
            self.bytes += arena.bytes() - std::mem::replace(&mut self.adapter_bytes, arena.bytes());
        }
        Ok(())
    }

    /// Copies a page of the cache to another.
    pub(crate) fn copy_page(&mut self, from: u32, to: u32) {
        self.cache_mut().copy(from as usize * PAGE, to as usize * PAGE, PAGE);
    }

    /// Whether a sequence that holds `used` tokens can be fed these.
    ///
    /// # Errors
    /// A token outside the vocabulary, or more tokens than the context has room for.
    pub(crate) fn check(&self, used: usize, tokens: &[u32]) -> Result<(), Error> {
        self.check_tokens(tokens)?;
        if tokens.len() > self.context - used {
            let (context, wanted) = (self.context, tokens.len());
            return Err(Error::ContextFull { context, used, wanted });
        }
        Ok(())
    }

    /// Whether the model has all of these tokens.
    ///
    /// # Errors
    /// A token outside the vocabulary.
    pub(crate) fn check_tokens(&self, tokens: &[u32]) -> Result<(), Error> {
        let vocabulary = self.model.vocabulary();
        match tokens.iter().find(|&&token| token as usize >= vocabulary) {
            Some(&token) => Err(Error::Token { token, vocabulary }),
            None => Ok(()),
        }
    }

    /// A sampler for tokens of the model, with room for a sequence's.
    pub(crate) fn sampler(&self, options: &SamplerOptions) -> Result<Sampler, Error> {
        let tokenizer = self.model.tokenizer();
        let encode = |text: &[u8]| {
            let mut tokens = Vec::new();
            tokenizer.encode(text, Special::Text, &mut tokens);
            tokens
        };
        let spelled = |id| match tokenizer.piece(id) {
            [] => tokenizer.text(id),
            piece => piece,
        };
        let breakers = Breakers::new(options, tokenizer.len(), spelled, encode);
        Ok(Sampler::new(options, self.model.vocabulary(), self.context, &breakers)?)
    }
}
