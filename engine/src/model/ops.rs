use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use super::adapter::{Attached, Pair};
use super::attention::{Attention, Heads, Layer, Room};
use super::batch::Batch;
use super::config::Config;
use super::error::Cancelled;
use super::experts::Route;
use super::hidden::Hidden;
use super::network::Network;
use super::observer::Observer;
use super::rope::Rope;
use super::weights::{Linear, LinearRows};
use crate::arena::{Arena, Buf, Concat, OutOfMemory};
use crate::kernels::attention::Scoring;
use crate::kernels::quantize::TILE;
use crate::kernels::{Activation, Kernels, Line, Output, Pairs, Product};
use crate::panel::ROWS;
use crate::state::{CacheTypes, ConvState, KeyShift, PAGE, Segment, StateId, States};
use crate::team::Team;

/// The sines and cosines of a batch's positions: `[token][Rope::len]`.
pub(crate) struct RopeTable {
    rope: Rope,
    numbers: Buf<f32>,
}

impl RopeTable {
    /// What turns the heads of a row.
    fn of(&self, row: usize) -> (Pairs, &[f32]) {
        let len = self.rope.len();
        (self.rope.pairs, &self.numbers[row * len..(row + 1) * len])
    }
}

/// What [`Ops`] have for steps that are written elsewhere.
#[cfg(feature = "training")]
pub(crate) struct Shared<'a> {
    pub(crate) kernels: Kernels,
    pub(crate) team: &'a mut Team,
    pub(crate) batch: &'a Batch,
    pub(crate) turns: Turns<'a>,
}

/// What turns heads by their positions.
#[cfg(feature = "training")]
#[derive(Clone, Copy)]
pub(crate) struct Turns<'a>(&'a [RopeTable]);

#[cfg(feature = "training")]
impl<'a> Turns<'a> {
    /// What the table of this number turns the heads of a row by.
    pub(crate) fn of(self, table: usize, row: usize) -> (Pairs, &'a [f32]) {
        self.0[table].of(row)
    }
}

/// Matrices that are multiplied with at once, at most.
pub(crate) const AT_ONCE: usize = 3;

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

/// What [`Ops`] are made for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OpsRoom {
    /// Sequences that a batch may have tokens of.
    pub(crate) sequences: usize,
    /// Positions of each.
    pub(crate) context: usize,
    /// Tokens of a batch.
    pub(crate) batch: usize,
}

/// The steps that layers are written in, and what these work with: threads, kernels, scratch, the batch's segments and
/// what is kept of their sequences.
pub(crate) struct Ops {
    kernels: Kernels,
    team: Team,
    pub(crate) states: States,
    attention: Attention,
    /// Each thread's own, for unpacked weights and for a head's numbers.
    scratch: Vec<Buf<Line>>,
    head: Vec<Buf<f32>>,
    ropes: Vec<RopeTable>,
    /// The tokens that a batch's layers work on.
    pub(crate) batch: Batch,
    /// True when the work is to end.
    cancel: Arc<AtomicBool>,
    /// Threads that may work.
    limit: Arc<AtomicUsize>,
    /// What an adapter's first halves come to, for each of the matrices that are multiplied with at once.
    low: Vec<Hidden>,
    /// Rows that the steps work on: those of all the batch's tokens, or of the few that need logits.
    pub(crate) tokens: usize,
}

impl Ops {
    /// The steps of `network`, with the states that its layers ask for.
    ///
    /// # Errors
    /// [`OutOfMemory`].
    pub(crate) fn new(
        arena: &mut Arena,
        kernels: Kernels,
        team: Team,
        states: (States, CacheTypes),
        network: &Network,
        room: OpsRoom,
    ) -> Result<Self, OutOfMemory> {
        let &Config { heads, kv_heads, head_dim, .. } = network.config();
        let OpsRoom { sequences, context, batch } = room;
        let heads = Heads { heads, kv_heads, head_dim };
        let (threads, (states, cache)) = (team.threads(), states);
        let lines = scratch_lines(network.linears(), batch);
        let scratch = (0..threads).map(|_| arena.buf(lines)).collect::<Result<_, _>>()?;
        let head = (0..threads).map(|_| arena.buf(head_dim)).collect::<Result<_, _>>()?;
        let table = |rope: &Rope| {
            let rope = rope.in_context(context);
            Ok(RopeTable { numbers: arena.buf(batch * rope.len())?, rope })
        };
        let ropes = network.ropes().iter().map(table).collect::<Result<_, _>>()?;
        let room = Room { batch, segments: sequences, context };
        Ok(Self {
            kernels,
            scratch,
            head,
            attention: Attention::new(arena, kernels, threads, heads, cache, room)?,
            states,
            team,
            ropes,
            batch: Batch::new(arena, sequences, sequences.saturating_mul(context.div_ceil(PAGE)))?,
            cancel: Arc::default(),
            limit: Arc::new(AtomicUsize::new(usize::MAX)),
            low: Vec::new(),
            tokens: 0,
        })
    }

    pub(crate) fn threads(&self) -> usize {
        self.team.threads()
    }

    /// The kernels in use.
    #[cfg(feature = "training")]
    pub(crate) fn kernels(&self) -> Kernels {
        self.kernels
    }

    /// The threads that share the work.
    #[cfg(feature = "training")]
    pub(crate) fn team(&mut self) -> &mut Team {
        &mut self.team
    }

    /// What steps that are written elsewhere work with.
    #[cfg(feature = "training")]
    pub(crate) fn shared(&mut self) -> Shared<'_> {
        let Self { kernels, team, batch, ropes, .. } = self;
        Shared { kernels: *kernels, team, batch, turns: Turns(ropes) }
    }

    /// The instruction set's name.
    pub(crate) fn isa(&self) -> &'static str {
        self.kernels.name()
    }

    /// The flag that ends the work, and the limit of threads.
    pub(crate) fn control(&self) -> (Arc<AtomicBool>, Arc<AtomicUsize>) {
        (Arc::clone(&self.cancel), Arc::clone(&self.limit))
    }

    /// Ends forward passes when the flag is true.
    pub(crate) fn cancel_when(&mut self, flag: Arc<AtomicBool>) {
        self.cancel = flag;
    }

    /// Has no more threads work than this says; while it is 0 none does.
    pub(crate) fn limit_threads(&mut self, limit: Arc<AtomicUsize>) {
        self.limit = Arc::clone(&limit);
        self.team.limit(limit);
    }

    /// Returns when a thread may work.
    ///
    /// # Errors
    /// [`Cancelled`] when the work is to end.
    pub(crate) fn go_on(&self) -> Result<(), Cancelled> {
        const REST: Duration = Duration::from_millis(5);
        loop {
            if self.cancel.load(Ordering::Relaxed) {
                return Err(Cancelled);
            }
            if self.limit.load(Ordering::Relaxed) > 0 {
                return Ok(());
            }
            thread::sleep(REST);
        }
    }

    /// Begins with the tokens of [`Ops::batch`].
    pub(crate) fn begin(&mut self) {
        self.tokens = self.batch.tokens();
        for state in self.states.iter_mut() {
            self.batch.iter().for_each(|(_, segment)| state.begin(&segment));
        }
        for RopeTable { rope, numbers } in &mut self.ropes {
            let positions = self.batch.iter().flat_map(|(_, segment)| segment.start..segment.end());
            for (numbers, position) in numbers.chunks_exact_mut(rope.len()).zip(positions) {
                rope.fill(numbers, position);
            }
        }
    }

    /// Ends with these tokens, of which all layers are through.
    pub(crate) fn finish(&mut self) {
        for state in self.states.iter_mut() {
            self.batch.iter().for_each(|(_, segment)| state.finish(&segment));
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

    /// [`Ops::norm`] of each `run` of the first `width` numbers of a row by itself, in place.
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
        for (i, LinearRows { linear, rows }) in weights.iter().enumerate() {
            // A matrix that is several in one is shown once.
            if weights[..i].iter().any(|before| before.linear.name == linear.name) {
                continue;
            }
            let activations = x.rows(self.tokens, linear.weight.k());
            match (linear.is_experts(), linear.used.1) {
                (true, experts) => {
                    let expert = rows.start / (linear.weight.rows() / experts).max(1);
                    observer.expert(&linear.name, expert, experts, activations);
                }
                (false, _) => observer.product(&linear.name, activations),
            }
        }
    }

    /// Makes room for adapters of this rank, so many of them in all segments of a batch of up to `batch` tokens.
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
        self.batch.reserve_adapters(adapters);
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
        let Self { kernels, team, scratch, low, batch, .. } = self;
        let threads = team.threads();
        for (rows, adapters) in batch.adapted() {
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
        if self.batch.is_adapted() {
            self.adapt(x, &weights, &mut outputs);
        }
    }

    /// Turns queries and keys by their positions, with the RoPE table of this number, and keeps keys and values.
    pub(crate) fn rotate_and_store(
        &mut self,
        id: StateId,
        config: &Config,
        rope: Option<usize>,
        [queries, keys]: [&mut Hidden; 2],
        values: &Hidden,
    ) {
        let &Config { heads, kv_heads, head_dim: dim, .. } = config;
        let Some(cache) = self.states.attention_mut(id) else { return };
        let (store, placement) = cache.parts_mut();
        let group = heads / kv_heads;
        let (kernels, tokens, types, batch) = (self.kernels, self.tokens, store.types(), &self.batch);
        let table = rope.map(|number| &self.ropes[number]);
        let turn = |row: usize, heads: &mut [f32]| {
            if let Some(table) = table {
                let (pairs, numbers) = table.of(row);
                heads.chunks_exact_mut(dim).for_each(|head| kernels.rotate(pairs, head, numbers));
            }
        };
        let queries = queries.matrix(tokens).columns(heads * dim, group * dim);
        let keys = keys.matrix(tokens).columns(kv_heads * dim, dim);
        let split = ((queries, keys), store.layer(id.layer));
        self.team.for_each_of(tokens, split, |head, ((mut queries, mut keys), mut cache)| {
            for (rows, segment) in batch.iter() {
                let slots = placement.slots(&segment);
                for (row, position) in rows.zip(segment.start..) {
                    turn(row, queries.row(row));
                    let key = keys.row(row);
                    turn(row, key);
                    let value = &values.row(row)[head * dim..(head + 1) * dim];
                    types.store_at(slots.of(position), key, value, &mut cache);
                }
            }
        });
    }

    /// Takes some tokens out of a sequence, which ends where the segment starts, as if the later ones had stood nearer:
    /// they keep what they know of those that are gone. Its first `pristine` tokens follow from each other alone.
    pub(crate) fn forget(&mut self, segment: &Segment<'_>, tokens: Range<usize>, pristine: usize) {
        for RopeTable { rope, numbers } in &mut self.ropes {
            rope.fill_back(&mut numbers[..rope.len()], tokens.len());
        }
        let (kernels, ropes) = (self.kernels, &self.ropes);
        let turn = |number: usize, key: &mut [f32]| {
            let (pairs, numbers) = ropes[number].of(0);
            kernels.rotate(pairs, key, numbers);
        };
        let mut keys = KeyShift { team: &mut self.team, scratch: &mut self.head, turn: &turn };
        for state in self.states.iter_mut() {
            state.forget(segment, tokens.clone(), pristine, &mut keys);
        }
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
    /// [`ShortConv`](super::conv::ShortConv). `kernel` is `[tap][channel]`, of `taps` taps. `out` is quantized where it is
    /// to be.
    pub(crate) fn convolve(
        &mut self,
        id: StateId,
        (kernel, taps): (&[f32], usize),
        input: &Hidden,
        gate: &Hidden,
        out: &mut Hidden,
    ) {
        let Some(state) = self.states.of_mut::<ConvState>(id) else { return };
        let (kernels, batch, stride) = (self.kernels, &self.batch, out.stride);
        let before = &*state;
        // The input so many positions before that of a row.
        let back = |row: usize, distance: usize| {
            let (rows, segment) = batch.of(row);
            let token = row - rows.start;
            match token.checked_sub(distance) {
                Some(token) => input.row(rows.start + token),
                None => before.before(id.layer, &segment, distance - token),
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
        for (rows, segment) in batch.iter() {
            state.keep(id.layer, &segment, |token| input.row(rows.start + token));
        }
    }

    /// Causal self-attention: see [`Attention::attend`].
    pub(crate) fn attend(&mut self, id: StateId, scoring: Scoring, queries: &Hidden, out: &mut Hidden) {
        let Some(cache) = self.states.attention(id) else { return };
        let (store, placement) = cache.parts();
        let (batch, index, stride) = (&self.batch, id.layer, queries.stride);
        let layer = Layer { store, placement, index, batch, queries: &queries.x, stride, scoring };
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
