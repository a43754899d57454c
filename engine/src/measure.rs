//! What benchmarks measure: single kernels, the memory, and the threads, without a model around them.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use siskin_quant::TensorType;

use crate::arena::{Arena, Buf, Chunks, Matrix, OutOfMemory};
use crate::kernels::attention::Scoring;
use crate::kernels::peak::Load;
use crate::kernels::quantize::{BLOCK, TILE};
use crate::kernels::{Activations, Isa, Kernels, Line, Output, Product, Q8Block};
use crate::model::attention::{self, Heads};
use crate::model::batch::Batch;
use crate::panel::Panels;
use crate::state::kv_cache::InPages;
use crate::state::{AttentionSpec, CacheTypes, KvStore, PAGE, Segment};
use crate::team::Team;
use crate::text::grammar::{Constraint, Grammar, GrammarError, GrammarStart};
use crate::text::sampler::Sampler;

/// A measurement cannot be set up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MeasureError {
    /// The type has no kernels.
    #[error("type {} has no kernels", ty.name())]
    Type {
        /// The type asked for.
        ty: TensorType,
    },
    /// The bytes are not those of so many rows.
    #[error("expected the bytes of {rows} rows of {k} weights of type {}, found {bytes} bytes", ty.name())]
    Shape {
        /// The weights' type.
        ty: TensorType,
        /// Rows asked for.
        rows: usize,
        /// Weights of a row.
        k: usize,
        /// Bytes given.
        bytes: usize,
    },
    /// The heads, positions and tokens do not fit each other.
    #[error("expected query heads that KV heads divide and no more tokens than positions, found {shape:?}")]
    Attention {
        /// What was asked for.
        shape: AttentionShape,
    },
    /// The system has no memory for a buffer.
    #[error(transparent)]
    OutOfMemory(#[from] OutOfMemory),
    /// The system starts no thread.
    #[error("cannot start the threads")]
    Threads(#[from] std::io::Error),
}

/// The picking of tokens that a grammar allows, without the model that says how likely each is.
pub struct Picking(Constraint);

impl Picking {
    /// From the beginning of the grammar on.
    pub fn new(grammar: &Grammar) -> Self {
        Self(grammar.begin(GrammarStart::Now))
    }

    /// Whether the grammar allows no more text.
    pub fn is_over(&self) -> bool {
        self.0.is_over()
    }

    /// Picks a token by these logits among those that may follow.
    ///
    /// # Errors
    /// [`GrammarError::Stuck`].
    pub fn pick(&mut self, sampler: &mut Sampler, logits: &[f32]) -> Result<u32, GrammarError> {
        self.0.pick(sampler, logits)
    }

    /// Goes on behind a token that was picked, and appends it to `run` with those that can only follow.
    ///
    /// # Errors
    /// [`GrammarError::Stuck`].
    pub fn accept(&mut self, token: u32, run: &mut Vec<u32>) -> Result<(), GrammarError> {
        self.0.accept(token, usize::MAX, run)
    }
}

/// The product of a weight matrix with the activations of some tokens, on the calling thread.
pub struct Matmul {
    kernels: Kernels,
    team: Team,
    weights: Panels,
    x: Buf<f32>,
    q: Buf<Q8Block>,
    scratch: [Buf<Line>; 1],
    out: Buf<f32>,
    tokens: usize,
}

impl Matmul {
    /// Packs `rows` rows of `k` weights, given as GGUF has them, and takes `tokens` vectors of activations from `x`,
    /// one after the other, repeated where it is too short.
    ///
    /// # Errors
    /// A type without kernels, a wrong number of bytes, too little memory.
    pub fn new(
        isa: Isa,
        ty: TensorType,
        rows: usize,
        k: usize,
        weights: &[u8],
        tokens: usize,
        x: &[f32],
    ) -> Result<Self, MeasureError> {
        if !Kernels::supports(ty) {
            return Err(MeasureError::Type { ty });
        }
        let row_bytes = ty.row_bytes(k as u64).and_then(|bytes| usize::try_from(bytes).ok());
        if !k.is_multiple_of(BLOCK)
            || row_bytes.and_then(|bytes| bytes.checked_mul(rows)) != Some(weights.len())
        {
            return Err(MeasureError::Shape { ty, rows, k, bytes: weights.len() });
        }
        let weights = Panels::pack(ty, rows, k, weights)?;
        let mut activations = Buf::zeroed(tokens * k)?;
        activations.iter_mut().zip(x.iter().cycle()).for_each(|(to, from)| *to = *from);
        let out = Buf::zeroed(tokens * weights.padded_rows())?;
        let q = Buf::zeroed(tokens * k / BLOCK)?;
        let scratch = [Buf::zeroed(Kernels::scratch(ty, rows, k))?];
        Ok(Self {
            kernels: isa.kernels(),
            team: Team::new(1)?,
            weights,
            x: activations,
            q,
            scratch,
            out,
            tokens,
        })
    }

    /// Quantizes the activations, as is done once for all matrices that they are multiplied with.
    pub fn quantize(&mut self) {
        let k = self.weights.k();
        for (rows, tile) in self.x.chunks(TILE * k).zip(self.q.chunks_mut(TILE * k / BLOCK)) {
            self.kernels.quantize(rows, k, k, tile);
        }
    }

    /// Works out the product: for each token as many numbers as the matrix has rows, rounded up to 16.
    pub fn run(&mut self) -> &[f32] {
        let (k, rows) = (self.weights.k(), self.weights.padded_rows());
        let x = Activations { x: &self.x, stride: k, q: &self.q, tokens: self.tokens };
        let product = Product { panels: self.weights.panels(0, rows), k, x, output: Output::Replace };
        let tile = Matrix::new(&mut self.out, rows).columns(rows, rows);
        let (kernels, ty) = (self.kernels, self.weights.ty());
        self.team.for_each_with(&mut self.scratch, tile, |scratch, _, mut tile| {
            kernels.matmul(ty, &product, scratch, &mut tile);
        });
        &self.out
    }

    /// Bytes of the weights.
    pub fn weight_bytes(&self) -> usize {
        self.weights.bytes()
    }

    /// Multiply-adds of one [`Matmul::run`].
    pub fn multiply_adds(&self) -> u64 {
        (self.weights.padded_rows() * self.weights.k() * self.tokens) as u64
    }
}

/// One layer's attention, as a session does it.
pub struct Attention {
    team: Team,
    attention: attention::Attention,
    store: KvStore,
    batch: Batch,
    cache_bytes: usize,
    queries: Buf<f32>,
    out: Buf<f32>,
    shape: AttentionShape,
}

/// What [`Attention`] is measured with.
#[derive(Clone, Copy, Debug)]
pub struct AttentionShape {
    /// What keys and values are kept in.
    pub cache: CacheTypes,
    /// Query heads, a multiple of `kv_heads`.
    pub heads: usize,
    /// Heads of keys and values.
    pub kv_heads: usize,
    /// Numbers of a head.
    pub head_dim: usize,
    /// Positions that the last token looks at.
    pub positions: usize,
    /// Tokens at the end of these positions: 1 is decoding, more are a batch of a prompt.
    pub tokens: usize,
}

impl Attention {
    /// Fills a cache with numbers like those of a model.
    ///
    /// # Errors
    /// Heads that cannot be shared out, more tokens than positions, too little memory, no threads.
    pub fn new(isa: Isa, threads: usize, shape: AttentionShape) -> Result<Self, MeasureError> {
        let AttentionShape { cache: types, heads, kv_heads, head_dim, positions, tokens } = shape;
        if kv_heads == 0 || !heads.is_multiple_of(kv_heads) || !(1..=positions).contains(&tokens) {
            return Err(MeasureError::Attention { shape });
        }
        let mut team = Team::new(threads)?;
        let mut arena = Arena::reserving();
        let spec = AttentionSpec { kv_heads, head_dim, window: usize::MAX, rope: None };
        let mut store = KvStore::new(&mut arena, &spec, types, 1, positions)?;
        let cache_bytes = arena.bytes();
        team.for_each(store.layer(0), |head, mut cache| {
            let (mut key, mut value) = (vec![0.0; head_dim], vec![0.0; head_dim]);
            let mut numbers = numbers(head as u64);
            for position in 0..positions {
                key.iter_mut().chain(&mut value).zip(&mut numbers).for_each(|(to, x)| *to = x);
                types.store_at(position, &key, &value, &mut cache);
            }
        });
        let stride = heads * head_dim;
        let mut queries = Buf::zeroed(tokens * stride)?;
        queries.iter_mut().zip(numbers(!0)).for_each(|(to, x)| *to = x);
        let heads = Heads { heads, kv_heads, head_dim };
        let room = attention::Room { batch: tokens, segments: 1, context: positions };
        let attention = attention::Attention::new(&mut arena, isa.kernels(), threads, heads, types, room)?;
        let pages: Vec<u32> = (0..).take(positions.div_ceil(PAGE)).collect();
        let mut batch = Batch::new(&mut arena, 1, pages.len())?;
        batch.push(Segment { sequence: 0, start: positions - tokens, tokens, pages: &pages }, &[]);
        let out = Buf::zeroed(tokens * stride)?;
        Ok(Self { team, attention, store, batch, cache_bytes, queries, out, shape })
    }

    /// Attends: for each token as many numbers as its heads have.
    pub fn run(&mut self) -> &[f32] {
        let AttentionShape { heads, head_dim, .. } = self.shape;
        let layer = attention::Layer {
            store: &self.store,
            placement: &InPages,
            index: 0,
            batch: &self.batch,
            queries: &self.queries,
            stride: heads * head_dim,
            scoring: Scoring { scale: 1.0 / (head_dim as f32).sqrt(), cap: None, window: usize::MAX },
        };
        self.attention.attend(&mut self.team, &layer, &mut self.out);
        &self.out
    }

    /// Bytes of the keys and values.
    pub fn cache_bytes(&self) -> usize {
        self.cache_bytes
    }

    /// Multiply-adds of one [`Attention::run`] with keys and values.
    pub fn multiply_adds(&self) -> u64 {
        let AttentionShape { heads, head_dim, positions, tokens, .. } = self.shape;
        let seen: usize = (positions - tokens + 1..=positions).sum();
        (2 * seen * heads * head_dim) as u64
    }
}

/// Numbers from −1 to 1, different for each seed (Knuth's MMIX generator; its high bits are the good ones).
fn numbers(seed: u64) -> impl Iterator<Item = f32> {
    let next = |state: &u64| Some(state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407));
    std::iter::successors(Some(seed), next).skip(1).map(|state| (state >> 40) as f32 / (1 << 23) as f32 - 1.0)
}

/// Threads as a session has them.
pub struct Threads(Team);

impl Threads {
    /// `threads` threads, the calling one among them.
    ///
    /// # Errors
    /// The system grants no thread.
    pub fn new(threads: usize) -> Result<Self, MeasureError> {
        Ok(Self(Team::new(threads)?))
    }

    /// Opens and closes a parallel region of `tasks` tasks that do nothing.
    pub fn empty_region(&mut self, tasks: usize) {
        let mut nothing = [0u8; 64];
        self.0.for_each(Chunks::covering(&mut nothing[..0], 1, tasks), |_, part| {
            std::hint::black_box(part);
        });
    }
}

/// Multiplying bytes as fast as it goes: the bound of prefill with quantized weights.
pub struct PeakProbe {
    kernels: Kernels,
    team: Team,
    load: Load,
}

impl PeakProbe {
    /// A probe of an instruction set's dot products on `threads` threads.
    ///
    /// # Errors
    /// The system grants no thread.
    pub fn new(isa: Isa, threads: usize) -> Result<Self, MeasureError> {
        Ok(Self { kernels: isa.kernels(), team: Team::new(threads)?, load: Load::default() })
    }

    /// Forms dot products for some milliseconds, on all threads, and says how many multiply-adds they were.
    pub fn pass(&mut self) -> u64 {
        const ROUNDS: usize = 200;
        let tasks = 64 * self.team.threads();
        let (kernels, load) = (self.kernels, &self.load);
        let done = AtomicUsize::new(0);
        self.team.for_each(Chunks::covering(&mut [0u8; 0], 1, tasks), |_, _| {
            done.fetch_add(kernels.peak(load, ROUNDS), Ordering::Relaxed);
        });
        done.into_inner() as u64
    }
}

/// Reading memory as fast as it goes: the bound of decoding.
pub struct ReadProbe {
    team: Team,
    memory: Buf<u8>,
}

impl ReadProbe {
    /// A probe that reads `bytes` bytes, rounded up to whole mebibytes, with `threads` threads.
    ///
    /// # Errors
    /// The system grants no memory or no thread.
    pub fn new(threads: usize, bytes: usize) -> Result<Self, MeasureError> {
        let mut memory = Buf::zeroed(bytes.max(1).next_multiple_of(1 << 20))?;
        // Untouched pages would all be the same page of zeros.
        memory.iter_mut().step_by(64).for_each(|byte| *byte = 1);
        Ok(Self { team: Team::new(threads)?, memory })
    }

    /// Bytes that a pass reads.
    pub fn bytes(&self) -> usize {
        self.memory.len()
    }

    /// Bytes per second of the fastest of the passes that are made in `time`, at least three. How many places
    /// a thread reads at the same time is tried out: what gets most of the memory differs from one to another.
    pub fn bytes_per_second(&mut self, time: Duration) -> f64 {
        let start = Instant::now();
        let mut best = 0.0_f64;
        loop {
            for pass in [Self::pass::<1>, Self::pass::<2>, Self::pass::<4>] {
                let begun = Instant::now();
                pass(self);
                best = best.max(self.bytes() as f64 / begun.elapsed().as_secs_f64().max(1e-9));
            }
            if start.elapsed() >= time {
                return best;
            }
        }
    }

    /// Reads the memory once, in runs of `S` MiB that the threads share out, of each run its `S` parts in turns.
    fn pass<const S: usize>(&mut self) {
        self.team.for_each(Chunks::new(&mut self.memory, S << 20), |_, part| {
            std::hint::black_box(read::<S>(part));
        });
    }
}

/// The sum of a buffer's bytes taken as numbers of eight bytes, in as many chains as keep the loads apart, of its `S` parts in
/// turns.
fn read<const S: usize>(bytes: &[u8]) -> u64 {
    let mut sums = [0u64; 16];
    let parts = bytes.chunks_exact((bytes.len() / S).max(1));
    let mut parts = parts.map(|part| part.as_chunks::<256>().0.iter());
    let mut parts: [_; S] = std::array::from_fn(|_| parts.next().unwrap_or_default());
    for _ in 0..bytes.len() / S / 256 {
        for part in &mut parts {
            for chunk in part.next().into_iter().flat_map(|chunk| chunk.as_chunks::<128>().0) {
                for (sum, eight) in sums.iter_mut().zip(chunk.as_chunks::<8>().0) {
                    *sum = sum.wrapping_add(u64::from_le_bytes(*eight));
                }
            }
        }
    }
    sums.iter().fold(0, |sum, x| sum.wrapping_add(*x))
}
