use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use crate::adapter::{Attached, Pair};
use crate::arena::{Arena, Buf, Chunks, Concat, Matrix, OutOfMemory};
use crate::attention::{Attention, Heads, Layer, Room};
use crate::cache::Cache;
use crate::error::Error;
use crate::inputs::Inputs;
use crate::kernels::attention::Look;
use crate::kernels::quantize::{BLOCK, TILE};
use crate::kernels::{Activation, Activations, Kernels, Line, Output, Pairs, Product, Q8Block};
use crate::model::config::Config;
use crate::model::experts::Route;
use crate::model::network::Network;
use crate::model::rotation::Rotation;
use crate::model::weights::{Linear, LinearRows};
use crate::observer::{Observer, Rows};
use crate::panel::ROWS;
use crate::runs::{PAGE, Run, Runs};
use crate::team::Team;

/// Activations of up to a batch of tokens, and the same quantized where weights ask for it.
pub(crate) struct Hidden {
    x: Buf<f32>,
    q: Buf<Q8Block>,
    /// Numbers from one token to the next, a multiple of 32; those beyond the row's own stay zero.
    stride: usize,
    quantized: bool,
}

impl Hidden {
    pub(crate) fn new(
        arena: &mut Arena,
        batch: usize,
        width: usize,
        quantized: bool,
    ) -> Result<Self, OutOfMemory> {
        let stride = width.next_multiple_of(BLOCK);
        let blocks = if quantized { batch * stride / BLOCK } else { 0 };
        Ok(Self { x: arena.buf(batch * stride)?, q: arena.buf(blocks)?, stride, quantized })
    }

    pub(crate) fn row(&self, token: usize) -> &[f32] {
        &self.x[token * self.stride..(token + 1) * self.stride]
    }

    pub(crate) fn row_mut(&mut self, token: usize) -> &mut [f32] {
        &mut self.x[token * self.stride..(token + 1) * self.stride]
    }

    /// The first `width` numbers of each token's row.
    fn rows(&self, tokens: usize, width: usize) -> Rows<'_> {
        Rows::new(&self.x[..tokens * self.stride], self.stride, width)
    }

    fn activations(&self, tokens: usize) -> Activations<'_> {
        let q = if self.quantized { &self.q[..tokens * self.stride / BLOCK] } else { &[] };
        Activations { x: &self.x[..tokens * self.stride], stride: self.stride, q, tokens }
    }

    /// Some rows as floats alone.
    fn floats(&self, rows: Range<usize>) -> Activations<'_> {
        let x = &self.x[rows.start * self.stride..rows.end * self.stride];
        Activations { x, stride: self.stride, q: &[], tokens: rows.len() }
    }

    /// Some rows.
    fn rows_mut(&mut self, rows: Range<usize>) -> Matrix<'_> {
        Matrix::new(&mut self.x[rows.start * self.stride..rows.end * self.stride], self.stride)
    }

    fn matrix(&mut self, tokens: usize) -> Matrix<'_> {
        Matrix::new(&mut self.x[..tokens * self.stride], self.stride)
    }

    /// Runs of [`TILE`] tokens, each with its place in the quantized activations.
    fn tiles(&mut self, tokens: usize) -> (Chunks<'_, f32>, Chunks<'_, Q8Block>) {
        let stride = self.stride;
        // A split of pairs has as many parts as its shorter member: without quantized activations, empty runs of
        // the same number stand in for them.
        let q = if self.quantized { &mut self.q[..tokens * stride / BLOCK] } else { &mut self.q[..] };
        let chunk = TILE * stride / BLOCK;
        (
            Chunks::new(&mut self.x[..tokens * stride], TILE * stride),
            Chunks::covering(q, chunk, tokens.div_ceil(TILE)),
        )
    }
}

/// A rotation, and what it comes to for each of a batch's tokens: `[token][Rotation::turns]`.
struct Turning {
    rotation: Rotation,
    turns: Buf<f32>,
}

impl Turning {
    /// What turns the heads of a row.
    fn of(&self, row: usize) -> (Pairs, &[f32]) {
        let len = self.rotation.turns();
        (self.rotation.pairs, &self.turns[row * len..(row + 1) * len])
    }
}

/// Matrices that are multiplied with at once, at most.
const AT_ONCE: usize = 3;

/// What adapters of up to this rank work with, for batches of up to `batch` tokens.
///
/// # Errors
/// [`OutOfMemory`].
pub(crate) fn adapter_buffers(
    arena: &mut Arena,
    batch: usize,
    rank: usize,
) -> Result<Vec<Hidden>, OutOfMemory> {
    (0..AT_ONCE).map(|_| Hidden::new(arena, batch, rank.next_multiple_of(ROWS), false)).collect()
}

/// What a [`State`] is made for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StateOptions {
    /// Sequences that a batch may have tokens of.
    pub(crate) sequences: usize,
    /// Positions of each.
    pub(crate) context: usize,
    /// Tokens of a batch.
    pub(crate) batch: usize,
    /// Lines of scratch for each thread, as [`scratch_lines`] says.
    pub(crate) scratch: usize,
}

/// Everything that a forward pass works with: threads, kernels, buffers and the KV cache.
///
/// Its methods are the steps that families of models are written in.
pub(crate) struct State {
    kernels: &'static Kernels,
    team: Team,
    cache: Cache,
    attention: Attention,
    /// Each thread's own, for unpacked weights.
    scratch: Vec<Buf<Line>>,
    turning: Vec<Turning>,
    /// None where no layer has a convolution.
    inputs: Option<Inputs>,
    /// The tokens that a batch's layers work on.
    pub(crate) runs: Runs,
    /// True when the work is to end.
    pub(crate) cancel: Arc<AtomicBool>,
    /// Threads that may work.
    limit: Arc<AtomicUsize>,
    /// What an adapter's first halves come to, for each of the matrices that are multiplied with at once.
    low: Vec<Hidden>,
    /// Rows that the steps work on: those of all the batch's tokens, or of the few that need logits.
    pub(crate) tokens: usize,
}

impl State {
    /// A state that looks back in the cache, which is as long as the context, and in the inputs of convolutions.
    ///
    /// # Errors
    /// [`OutOfMemory`].
    pub(crate) fn new(
        arena: &mut Arena,
        kernels: &'static Kernels,
        team: Team,
        (cache, inputs): (Cache, Option<Inputs>),
        network: &Network,
        options: StateOptions,
    ) -> Result<Self, OutOfMemory> {
        let &Config { heads, kv_heads, head_dim, .. } = network.config();
        let StateOptions { sequences, context, batch, scratch } = options;
        let room = Room { batch, runs: sequences, context };
        let heads = Heads { heads, kv_heads, head_dim };
        let threads = team.threads();
        let scratch = (0..threads).map(|_| arena.buf(scratch)).collect::<Result<_, _>>()?;
        let turning = |rotation: &Rotation| {
            Ok(Turning {
                turns: arena.buf(batch * rotation.turns())?,
                rotation: rotation.in_context(context),
            })
        };
        let turning = network.rotations().iter().map(turning).collect::<Result<_, _>>()?;
        Ok(Self {
            kernels,
            scratch,
            attention: Attention::new(arena, kernels, threads, heads, cache.types(), room)?,
            cache,
            team,
            turning,
            inputs,
            runs: Runs::new(arena, sequences, sequences.saturating_mul(context.div_ceil(PAGE)))?,
            cancel: Arc::default(),
            limit: Arc::new(AtomicUsize::new(usize::MAX)),
            low: Vec::new(),
            tokens: 0,
        })
    }

    pub(crate) fn threads(&self) -> usize {
        self.team.threads()
    }

    /// The instruction set's name.
    pub(crate) fn isa(&self) -> &'static str {
        self.kernels.name()
    }

    pub(crate) fn cache(&self) -> &Cache {
        &self.cache
    }

    pub(crate) fn cache_mut(&mut self) -> &mut Cache {
        &mut self.cache
    }

    pub(crate) fn past_mut(&mut self) -> (&mut Cache, Option<&mut Inputs>) {
        (&mut self.cache, self.inputs.as_mut())
    }

    pub(crate) fn inputs(&self) -> Option<&Inputs> {
        self.inputs.as_ref()
    }

    pub(crate) fn inputs_mut(&mut self) -> Option<&mut Inputs> {
        self.inputs.as_mut()
    }

    /// The flag that ends the work, and the limit of threads.
    pub(crate) fn control(&self) -> (Arc<AtomicBool>, Arc<AtomicUsize>) {
        (Arc::clone(&self.cancel), Arc::clone(&self.limit))
    }

    /// Has no more threads work than this says; while it is 0 none does.
    pub(crate) fn limit_threads(&mut self, limit: Arc<AtomicUsize>) {
        self.limit = Arc::clone(&limit);
        self.team.limit(limit);
    }

    /// Returns when a thread may work.
    ///
    /// # Errors
    /// [`Error::Cancelled`] when the work is to end.
    pub(crate) fn go_on(&self) -> Result<(), Error> {
        const REST: Duration = Duration::from_millis(5);
        loop {
            if self.cancel.load(Ordering::Relaxed) {
                return Err(Error::Cancelled);
            }
            if self.limit.load(Ordering::Relaxed) > 0 {
                return Ok(());
            }
            thread::sleep(REST);
        }
    }

    /// Begins with the tokens of [`State::runs`].
    pub(crate) fn begin(&mut self) {
        self.tokens = self.runs.tokens();
        if let Some(inputs) = &mut self.inputs {
            self.runs.iter().for_each(|(_, run)| inputs.begin(&run));
        }
        for Turning { rotation, turns } in &mut self.turning {
            let positions = self.runs.iter().flat_map(|(rows, run)| run.start..run.start + rows.len());
            for (turns, position) in turns.chunks_exact_mut(rotation.turns()).zip(positions) {
                rotation.fill(turns, position);
            }
        }
    }

    /// Ends with these tokens, of which all layers are through.
    pub(crate) fn end(&mut self) {
        if let Some(inputs) = &mut self.inputs {
            self.runs.iter().for_each(|(_, run)| inputs.finish(&run));
        }
    }

    /// `out = rms_norm(x) * weight`, quantized where `out` is to be.
    pub(crate) fn norm(&mut self, x: &Hidden, weight: &[f32], width: usize, epsilon: f32, out: &mut Hidden) {
        let (kernels, stride) = (self.kernels, x.stride);
        self.team.for_each(out.tiles(self.tokens), |tile, (rows, q)| {
            for (token, out) in rows.chunks_exact_mut(stride).enumerate() {
                kernels.rms_norm(x.row(TILE * tile + token), weight, width, epsilon, out);
            }
            kernels.quantize(rows, stride, stride, q);
        });
    }

    /// `out = x`, quantized where `out` is to be.
    pub(crate) fn copy(&mut self, x: &Hidden, out: &mut Hidden) {
        let (kernels, stride) = (self.kernels, x.stride);
        self.team.for_each(out.tiles(self.tokens), |tile, (rows, q)| {
            for (token, out) in rows.chunks_exact_mut(stride).enumerate() {
                out.copy_from_slice(x.row(TILE * tile + token));
            }
            kernels.quantize(rows, stride, stride, q);
        });
    }

    /// [`State::norm`] of each `run` of the first `width` numbers of a row by itself, in place.
    pub(crate) fn norm_in_place(
        &mut self,
        x: &mut Hidden,
        weight: &[f32],
        width: usize,
        run: usize,
        epsilon: f32,
    ) {
        let (kernels, stride) = (self.kernels, x.stride);
        self.team.for_each(x.tiles(self.tokens), |_, (rows, _)| {
            for row in rows.chunks_exact_mut(stride) {
                kernels.rms_norm_in_place(&mut row[..width], weight, run, epsilon);
            }
        });
    }

    /// The routes' rows of `x`, quantized where `out` is to be. The rows that steps work on are as many as the routes.
    pub(crate) fn gather(&mut self, x: &Hidden, routes: &[Route], out: &mut Hidden) {
        let (kernels, stride) = (self.kernels, x.stride);
        self.team.for_each(out.tiles(self.tokens), |tile, (rows, q)| {
            for (out, route) in rows.chunks_exact_mut(stride).zip(&routes[TILE * tile..]) {
                out.copy_from_slice(x.row(route.token));
            }
            kernels.quantize(rows, stride, stride, q);
        });
    }

    /// Adds rows, times their routes' weights, to the tokens' rows of `out`.
    pub(crate) fn scatter(&mut self, x: &Hidden, routes: &[Route], out: &mut Hidden) {
        for (row, route) in routes.iter().enumerate() {
            self.kernels.add_scaled(out.row_mut(route.token), x.row(row), route.weight);
        }
    }

    /// `x += y * scale`.
    pub(crate) fn add_scaled(&mut self, x: &mut Hidden, y: &Hidden, scale: f32) {
        let (kernels, stride) = (self.kernels, x.stride);
        self.team.for_each(x.tiles(self.tokens), |tile, (rows, _)| {
            for (token, x) in rows.chunks_exact_mut(stride).enumerate() {
                kernels.add_scaled(x, y.row(TILE * tile + token), scale);
            }
        });
    }

    /// `x = cap(x * scale)`, see [`Kernels::cap`].
    pub(crate) fn scale_and_cap(&mut self, x: &mut Hidden, scale: f32, cap: Option<f32>) {
        let kernels = self.kernels;
        self.team.for_each(x.tiles(self.tokens), |_, (rows, _)| {
            rows.iter_mut().for_each(|x| *x *= scale);
            if let Some(cap) = cap {
                kernels.cap(rows, cap);
            }
        });
    }

    /// Quantizes `x` where it is to be.
    pub(crate) fn quantize(&mut self, x: &mut Hidden) {
        let (kernels, stride) = (self.kernels, x.stride);
        self.team.for_each(x.tiles(self.tokens), |_, (rows, q)| kernels.quantize(rows, stride, stride, q));
    }

    /// Shows `observer` what `weights` are multiplied with.
    pub(crate) fn observe(&self, x: &Hidden, weights: &[LinearRows<'_>], observer: &mut dyn Observer) {
        for (i, LinearRows { linear, .. }) in weights.iter().enumerate() {
            // A matrix that is several in one is shown once.
            if weights[..i].iter().any(|before| before.linear.name == linear.name) {
                continue;
            }
            observer.product(&linear.name, x.rows(self.tokens, linear.weight.k()));
        }
    }

    /// Makes room for adapters of this rank, so many of them in all runs of a batch of up to `batch` tokens.
    ///
    /// # Errors
    /// [`OutOfMemory`].
    pub(crate) fn reserve_adapters(
        &mut self,
        arena: &mut Arena,
        batch: usize,
        rank: usize,
        adapters: usize,
    ) -> Result<(), OutOfMemory> {
        self.runs.reserve_adapters(adapters);
        if self.low.first().is_none_or(|low| low.stride < rank) {
            self.low = adapter_buffers(arena, batch, rank)?;
        }
        Ok(())
    }

    /// Adds what adapters change in the products of `x` with several matrices.
    fn adapt<const N: usize>(
        &mut self,
        x: &Hidden,
        weights: &[LinearRows<'_>; N],
        outputs: &mut [&mut Hidden; N],
    ) {
        let Self { kernels, team, scratch, low, runs, .. } = self;
        let threads = team.threads();
        for (rows, adapters) in runs.adapted() {
            for Attached { adapter, scale } in adapters {
                let pairs = weights.each_ref().map(|rows| adapter.pair(rows.linear.id));
                if pairs.iter().all(Option::is_none) {
                    continue;
                }
                let Some(low) = low.first_chunk_mut::<N>() else { continue };
                let mut index = 0..N;
                let tiles = low.each_mut().map(|low| {
                    let rank = pairs[index.next().unwrap_or(0)].map_or(0, |pair| pair.a.padded_rows());
                    low.rows_mut(0..rows.len()).columns(rank, ROWS)
                });
                let x = x.floats(rows.clone());
                team.for_each_with(scratch, Concat(tiles), |scratch, _, part| {
                    if let Some((index, _, mut tile)) = part
                        && let Some(Pair { a, scale: own, .. }) = pairs[index]
                    {
                        let columns = tile.columns();
                        let panels = a.panels(columns.start, columns.end);
                        let product = Product { panels, k: a.k(), x, output: Output::Replace };
                        kernels.matmul(a.ty(), &product, scratch, &mut tile);
                        for row in 0..tile.rows().len() {
                            tile.row(row).iter_mut().for_each(|x| *x *= scale * own);
                        }
                    }
                });
                let mut index = 0..N;
                let tiles = outputs.each_mut().map(|out| {
                    let index = index.next().unwrap_or(0);
                    let columns = pairs[index].map_or(0, |_| weights[index].padded());
                    out.rows_mut(rows.clone()).columns(columns, task_rows(columns, threads))
                });
                let low = low.each_ref().map(|low| low.floats(0..rows.len()));
                team.for_each_with(scratch, Concat(tiles), |scratch, _, part| {
                    if let Some((index, _, mut tile)) = part
                        && let Some(Pair { b, .. }) = pairs[index]
                    {
                        let columns = tile.columns();
                        let from = weights[index].rows.start + columns.start;
                        let panels = b.panels(from, from + columns.len());
                        let product = Product { panels, k: b.k(), x: low[index], output: Output::Add };
                        kernels.matmul(b.ty(), &product, scratch, &mut tile);
                    }
                });
            }
        }
    }

    /// Products of `x` with several matrices, each stored in, or added to, its own output; `observer` sees `x`.
    pub(crate) fn multiply<const N: usize>(
        &mut self,
        x: &Hidden,
        weights: [LinearRows<'_>; N],
        mut outputs: [&mut Hidden; N],
        output: Output,
        observer: &mut dyn Observer,
    ) {
        self.observe(x, &weights, observer);
        let threads = self.team.threads();
        let mut index = 0..N;
        let tiles = outputs.each_mut().map(|out| {
            let rows = weights[index.next().unwrap_or(0)].padded();
            out.matrix(self.tokens).columns(rows, task_rows(rows, threads))
        });
        let (kernels, activations) = (self.kernels, x.activations(self.tokens));
        self.team.for_each_with(&mut self.scratch, Concat(tiles), |scratch, _, part| {
            if let Some((index, _, mut tile)) = part {
                let LinearRows { linear: Linear { weight, bias, .. }, rows } = &weights[index];
                let columns = tile.columns();
                let from = rows.start + columns.start;
                let panels = weight.panels(from, from + columns.len());
                kernels.matmul(
                    weight.ty(),
                    &Product { panels, k: weight.k(), x: activations, output },
                    scratch,
                    &mut tile,
                );
                if let Some(bias) = bias {
                    for row in 0..tile.rows().len() {
                        tile.row(row).iter_mut().zip(&bias[from..]).for_each(|(x, bias)| *x += bias);
                    }
                }
            }
        });
        if self.runs.are_adapted() {
            self.adapt(x, &weights, &mut outputs);
        }
    }

    /// Rotates queries and keys by their positions, and puts keys and values into the cache.
    pub(crate) fn rotate_and_store(
        &mut self,
        layer: usize,
        config: &Config,
        rotation: Option<usize>,
        queries: &mut Hidden,
        keys: &mut Hidden,
        values: &Hidden,
    ) {
        let &Config { heads, kv_heads, head_dim: dim, .. } = config;
        let group = heads / kv_heads;
        let (kernels, tokens, types) = (self.kernels, self.tokens, self.cache.types());
        let runs = &self.runs;
        let turning = rotation.map(|number| &self.turning[number]);
        let turn = |row: usize, heads: &mut [f32]| {
            if let Some(turning) = turning {
                let (pairs, turns) = turning.of(row);
                heads.chunks_exact_mut(dim).for_each(|head| kernels.rotate(pairs, head, turns));
            }
        };
        let queries = queries.matrix(tokens).columns(heads * dim, group * dim);
        let keys = keys.matrix(tokens).columns(kv_heads * dim, dim);
        let split = ((queries, keys), self.cache.layer(layer));
        self.team.for_each_of(tokens, split, |head, ((mut queries, mut keys), (key_cache, value_cache))| {
            for (rows, run) in runs.iter() {
                for (row, position) in rows.zip(run.start..) {
                    turn(row, queries.row(row));
                    let key = keys.row(row);
                    turn(row, key);
                    let value = &values.row(row)[head * dim..(head + 1) * dim];
                    types.store(run.slot(position), key, value, (&mut *key_cache, &mut *value_cache));
                }
            }
        });
    }

    /// Takes some tokens out of a sequence, whose length is `run`'s start, as if the later ones had stood nearer: they
    /// keep what they know of those that are gone. `rotation_of` a layer is the number of its rotation.
    pub(crate) fn forget(
        &mut self,
        rotation_of: impl Fn(usize) -> Option<usize> + Sync,
        layers: usize,
        run: Run<'_>,
        tokens: Range<usize>,
    ) {
        for Turning { rotation, turns } in &mut self.turning {
            rotation.fill_back(&mut turns[..rotation.turns()], tokens.len());
        }
        let (kernels, turning) = (self.kernels, &self.turning);
        let turn = |layer, key: &mut [f32]| {
            if let Some(number) = rotation_of(layer) {
                let (pairs, turns) = turning[number].of(0);
                kernels.rotate(pairs, key, turns);
            }
        };
        if let Some(inputs) = &mut self.inputs {
            inputs.forget(run.sequence, tokens.clone());
        }
        self.attention.forget(&mut self.team, &mut self.cache, layers, run, tokens, turn);
    }

    /// `x *= y`.
    pub(crate) fn multiply_elements(&mut self, x: &mut Hidden, y: &Hidden) {
        let stride = x.stride;
        self.team.for_each(x.tiles(self.tokens), |tile, (rows, _)| {
            for (token, x) in rows.chunks_exact_mut(stride).enumerate() {
                x.iter_mut().zip(y.row(TILE * tile + token)).for_each(|(x, y)| *x *= y);
            }
        });
    }

    /// A causal convolution of each channel over the last tokens of its sequence, times `gate`: see
    /// [`ShortConvolution`](super::convolution::ShortConvolution). `kernel` is `[tap][channel]`, of `taps` taps, and `place`
    /// the layer's number among those with a convolution. `out` is quantized where it is to be.
    pub(crate) fn convolve(
        &mut self,
        place: usize,
        (kernel, taps): (&[f32], usize),
        input: &Hidden,
        gate: &Hidden,
        out: &mut Hidden,
    ) {
        let Some(inputs) = &mut self.inputs else { return };
        let (kernels, runs, stride) = (self.kernels, &self.runs, out.stride);
        let before = &*inputs;
        // The input so many positions before that of a row.
        let back = |row: usize, distance: usize| {
            let (rows, run) = runs.of(row);
            let token = row - rows.start;
            match token.checked_sub(distance) {
                Some(token) => input.row(rows.start + token),
                None => before.before(place, &run, distance - token),
            }
        };
        self.team.for_each(out.tiles(self.tokens), |tile, (rows, q)| {
            for (token, out) in rows.chunks_exact_mut(stride).enumerate() {
                let row = TILE * tile + token;
                out.fill(0.0);
                // The oldest first, whichever tokens are in the batch.
                for (tap, distance) in kernel.chunks_exact(kernel.len() / taps).zip((0..taps).rev()) {
                    let input = back(row, distance);
                    for ((out, tap), input) in out.iter_mut().zip(tap).zip(input) {
                        *out += tap * input;
                    }
                }
                out.iter_mut().zip(gate.row(row)).for_each(|(out, gate)| *out *= gate);
            }
            kernels.quantize(rows, stride, stride, q);
        });
        for (rows, run) in runs.iter() {
            inputs.keep(place, &run, |token| input.row(rows.start + token));
        }
    }

    /// Causal self-attention: see [`Attention::attend`].
    pub(crate) fn attend(&mut self, layer: usize, look: Look, queries: &Hidden, out: &mut Hidden) {
        let Self { cache, runs, .. } = self;
        let layer = Layer { cache, index: layer, runs, queries: &queries.x, stride: queries.stride, look };
        self.attention.attend(&mut self.team, &layer, &mut out.x);
        self.quantize(out);
    }

    /// `gate = activation(gate) * up`, quantized where `gate` is to be.
    pub(crate) fn gated(&mut self, activation: Activation, gate: &mut Hidden, up: &Hidden) {
        let (kernels, stride) = (self.kernels, gate.stride);
        self.team.for_each(gate.tiles(self.tokens), |tile, (rows, q)| {
            for (token, gate) in rows.chunks_exact_mut(stride).enumerate() {
                kernels.gated(activation, gate, up.row(TILE * tile + token));
            }
            kernels.quantize(rows, stride, stride, q);
        });
    }
}

/// Rows of a weight matrix for one task: enough tasks for the threads to even out, few enough for their sharing out
/// not to count.
fn task_rows(rows: usize, threads: usize) -> usize {
    let panels = rows / ROWS;
    ROWS * (panels / (16 * threads)).clamp(1, 16)
}

/// Lines of scratch for products of up to `batch` tokens with any of these matrices.
pub(crate) fn scratch_lines<'a>(linears: impl Iterator<Item = &'a Linear>, batch: usize) -> usize {
    if batch == 1 {
        return 0;
    }
    let lines =
        |Linear { weight, .. }: &Linear| Kernels::scratch(weight.ty(), weight.padded_rows(), weight.k());
    linears.map(lines).max().unwrap_or(0)
}
