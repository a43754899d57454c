//! Softmax(queries · keys) · values, in spans of positions that are worked out alone and merged in their order.

mod cache_type;
mod element;

use std::ops::Range;

pub use cache_type::CacheType;
pub use element::WIDTH;
pub(crate) use element::{Element, Q8_0};

use super::activation::{cap, exp};
use super::{Activations, Line, Output, Product, formats, matmul};
use crate::arena::Matrix;
use crate::lanes::{Lanes, unroll};
use crate::q8::Q8Block;

/// Positions whose softmax is worked out on its own: a fixed grid from the start of the context, so that the result
/// does not depend on how the prompt was cut, or on who works on which span.
pub const SPAN: usize = 256;
/// Positions that are looked at in one call, four panels.
pub const BLOCK: usize = 64;
/// Numbers before the sums of a part.
pub const HEADER: usize = 16;

/// Queries that look at one KV head: `group` heads of each of some consecutive tokens.
#[derive(Clone, Copy)]
pub struct Queries<'a> {
    /// `[token][head of the group][dims]`
    pub rows: &'a [f32],
    /// The same quantized, in tiles as products want them; for keys in Q8_0 alone.
    pub q: &'a [Q8Block],
    /// The head's numbers rounded up to [`WIDTH`]; those beyond are zero.
    pub dims: usize,
    /// Heads that share the KV head.
    pub group: usize,
    /// Positions that the first token looks at: its own and all before it.
    pub seen: usize,
    /// How they look at the keys.
    pub look: Look,
}

/// How queries look at keys.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Look {
    /// What the dot product of query and key is multiplied by.
    pub scale: f32,
    /// Scores s become tanh(s / cap) · cap (Gemma 2: arXiv 2408.00118).
    pub cap: Option<f32>,
    /// Positions that a token sees at most: its own and those next before it (Beltagy et al. 2020, arXiv 2004.05150).
    /// At least 1; `usize::MAX` for all.
    pub window: usize,
}

impl Queries<'_> {
    /// How many queries there are.
    #[allow(clippy::len_without_is_empty)] // There is always one.
    pub fn len(&self) -> usize {
        self.rows.len() / self.dims
    }

    /// How many of `most` positions from `start` on a query looks at.
    #[inline(always)]
    pub fn seen(&self, query: usize, start: usize, most: usize) -> usize {
        (self.seen + query / self.group).saturating_sub(start).min(most)
    }

    /// How many of those at the front are behind the query's window.
    #[inline(always)]
    pub fn hidden(&self, query: usize, start: usize, most: usize) -> usize {
        let first = (self.seen + query / self.group).saturating_sub(self.look.window);
        first.saturating_sub(start).min(most)
    }

    /// The first position that the first token looks at.
    pub fn first(&self) -> usize {
        self.seen.saturating_sub(self.look.window)
    }

    /// How many positions the last token looks at, those behind its window among them.
    pub fn most(&self) -> usize {
        self.seen + (self.len() - 1) / self.group
    }

    /// Numbers of a part: the maximum of the scores, the sum of the weights, what is left of [`HEADER`], and the
    /// weighted sums of values.
    pub fn part(&self) -> usize {
        HEADER + self.dims
    }
}

/// Keys or values of one KV head.
#[derive(Clone, Copy)]
pub struct Block<'a> {
    /// An even number of panels of 16 positions, up to [`BLOCK`] positions: `[panel][block of an Element]`.
    pub bytes: &'a [u8],
    /// The first one's position, a multiple of [`BLOCK`].
    pub start: usize,
    /// What is read next, to be on its way meanwhile.
    pub next: &'a [u8],
}

impl<'a> Block<'a> {
    /// The lines of [`Block::next`], a share for each block of an Element.
    #[inline(always)]
    fn next<E: Element>(&self) -> Next<'a> {
        let lines = self.next.as_chunks().0;
        Next(lines.chunks(lines.len().div_ceil(E::blocks(self.bytes).len().max(1)).max(1)))
    }
}

/// Lines to ask for, in shares.
struct Next<'a>(std::slice::Chunks<'a, Line>);

impl Next<'_> {
    /// Asks for as many shares.
    #[inline(always)]
    fn prefetch<L: Lanes>(&mut self, l: L, shares: usize) {
        self.0.by_ref().take(shares).flatten().for_each(|line| l.prefetch(line));
    }
}

/// As many queries at a time as the registers hold accumulators for beside a vector that they share, and how many
/// vectors at a time: `$run` is called with the first query, their number and the vectors.
macro_rules! tiles {
    ($lanes:ident, $queries:expr, $first:ident => $run:ident::<_, $element:ty>($($argument:expr),*)) => {{
        let mut $first = 0;
        while $first < $queries {
            $first += match $queries - $first {
                8.. if $lanes::EIGHT => { $run::<_, $element, 8, 2>($($argument),*); 8 }
                4.. => { $run::<_, $element, 4, 1>($($argument),*); 4 }
                2.. => { $run::<_, $element, 2, 2>($($argument),*); 2 }
                _ => { $run::<_, $element, 1, 2>($($argument),*); 1 }
            };
        }
    }};
}

/// Whether so many queries are more than one tile.
fn several<L: Lanes>(queries: usize) -> bool {
    queries > if L::EIGHT { 8 } else { 4 }
}

/// The dot products of queries and keys, at the positions' places in their span. `wide` has room for the keys in f32.
#[inline(always)]
pub(crate) fn scores<L: Lanes, E: Element>(
    l: L,
    queries: &Queries<'_>,
    keys: &Block<'_>,
    wide: &mut [[Line; 32]],
    scores: &mut [[f32; SPAN]],
) {
    let (mut next, at) = (keys.next::<E>(), keys.start % SPAN);
    let keys = E::blocks(keys.bytes);
    if size_of::<E::Block>() < size_of::<[Line; 32]>() && several::<L>(queries.len()) {
        for (keys, wide) in keys.iter().zip(&mut *wide) {
            for (i, to) in wide.iter_mut().enumerate() {
                l.store_f32(E::load(l, keys, i), to);
            }
        }
        let keys = &wide[..keys.len()];
        tiles!(L, queries.len(), first =>
            score::<_, f32>(l, queries, first, keys, &mut next, &mut scores[first..], at));
    } else {
        tiles!(L, queries.len(), first =>
            score::<_, E>(l, queries, first, keys, &mut next, &mut scores[first..], at));
    }
}

/// [`scores`] with keys in [`Q8_0`]: the product of a matrix whose rows are the positions with quantized queries.
#[inline(always)]
pub(crate) fn quantized_scores<L: Lanes>(
    l: L,
    queries: &Queries<'_>,
    keys: &Block<'_>,
    scratch: &mut [[Line; 32]],
    scores: &mut [[f32; SPAN]],
) {
    let blocks = Q8_0::blocks(keys.bytes).len();
    keys.next::<Q8_0>().prefetch(l, blocks);
    let &Queries { rows, q, dims, .. } = queries;
    let x = Activations { x: rows, stride: dims, q, tokens: queries.len() };
    let product = Product { panels: keys.bytes, k: dims, x, output: Output::Replace };
    let (from, positions) = (keys.start % SPAN, 16 * blocks * WIDTH / dims);
    let mut out = Matrix::new(scores.as_flattened_mut(), SPAN).tile(from..from + positions);
    matmul::quantized::<L, formats::Q8_0>(l, &product, scratch.as_flattened_mut(), &mut out);
}

#[inline(always)]
#[allow(clippy::needless_range_loop)] // The same place in several rows and vectors.
fn score<L: Lanes, E: Element, const Q: usize, const V: usize>(
    l: L,
    queries: &Queries<'_>,
    first: usize,
    keys: &[E::Block],
    next: &mut Next<'_>,
    scores: &mut [[f32; SPAN]],
    at: usize,
) {
    let per_panel = queries.dims / WIDTH;
    let rows = queries.rows[first * queries.dims..].as_chunks::<WIDTH>().0;
    let Some(scores) = scores.first_chunk_mut::<Q>() else { return };
    for (panel, keys) in keys.chunks_exact(V * per_panel).enumerate() {
        let mut sums = [[l.splat(0.0); V]; Q];
        for block in 0..per_panel {
            next.prefetch(l, V);
            let rows: [&[f32; WIDTH]; Q] = std::array::from_fn(|q| &rows[q * per_panel + block]);
            let keys: [&E::Block; V] = std::array::from_fn(|v| &keys[v * per_panel + block]);
            for i in 0..WIDTH {
                let keys: [L::F; V] = std::array::from_fn(|v| E::load(l, keys[v], i));
                unroll!(q < Q => {
                    let x = l.splat(rows[q][i]);
                    unroll!(v < V => { sums[q][v] = l.fma(x, keys[v], sums[q][v]); });
                });
            }
        }
        for (sums, scores) in sums.into_iter().zip(&mut *scores) {
            for (sum, to) in sums.into_iter().zip(&mut scores.as_chunks_mut().0[at / 16 + V * panel..]) {
                l.store(sum, to);
            }
        }
    }
}

/// Makes the scores of a span, which begins at `start`, weights, and begins each query's part: its sums are zero.
#[inline(always)]
pub(crate) fn softmax<L: Lanes>(
    l: L,
    queries: &Queries<'_>,
    start: usize,
    scores: &mut [[f32; SPAN]],
    parts: &mut [f32],
) {
    for (query, (scores, part)) in scores.iter_mut().zip(parts.chunks_exact_mut(queries.part())).enumerate() {
        let (count, hidden) = (queries.seen(query, start, SPAN), queries.hidden(query, start, SPAN));
        let first = hidden / 16;
        let scores = scores.as_chunks_mut().0.get_mut(first..count.div_ceil(16)).unwrap_or_default();
        let scale = l.splat(queries.look.scale);
        let mut maximum = l.splat(f32::NEG_INFINITY);
        for (panel, score) in (first..).zip(scores.iter_mut()) {
            let mut scaled = l.mul(l.load(score), scale);
            if let Some(limit) = queries.look.cap {
                scaled = cap(l, scaled, limit);
            }
            if count < 16 * (panel + 1) {
                scaled = l.keep(scaled, count - 16 * panel, f32::NEG_INFINITY);
            }
            if hidden > 16 * panel {
                l.store(scaled, score);
                score[..hidden - 16 * panel].fill(f32::NEG_INFINITY);
                scaled = l.load(score);
            }
            maximum = l.max(scaled, maximum);
            l.store(scaled, score);
        }
        let maximum = l.fold_max(maximum);
        let mut total = l.splat(0.0);
        for score in scores.iter_mut() {
            let weight = exp(l, l.sub(l.load(score), l.splat(maximum)));
            total = l.add(total, weight);
            l.store(weight, score);
        }
        part.fill(0.0);
        (part[0], part[1]) = (maximum, l.fold_add(total));
    }
}

/// Adds values times their weights to the queries' parts.
///
/// `wide` has room for the values in f32.
#[inline(always)]
pub(crate) fn weigh<L: Lanes, E: Element>(
    l: L,
    queries: &Queries<'_>,
    values: &Block<'_>,
    wide: &mut [[Line; 32]],
    weights: &[[f32; SPAN]],
    parts: &mut [f32],
) {
    let (mut next, start) = (values.next::<E>(), values.start);
    let blocks = E::blocks(values.bytes);
    if size_of::<E::Block>() < size_of::<[Line; 32]>() && several::<L>(queries.len()) {
        for (block, wide) in blocks.iter().zip(&mut *wide) {
            let scales = value_scales::<L, E>(l, block);
            for (i, to) in wide.iter_mut().enumerate() {
                l.store_f32(value::<L, E>(l, block, &scales, i), to);
            }
        }
        let values = Values { blocks: &wide[..blocks.len()], start };
        tiles!(L, queries.len(), first => add::<_, f32>(l, queries, first, values, &mut next, weights, parts));
    } else {
        let values = Values { blocks, start };
        tiles!(L, queries.len(), first => add::<_, E>(l, queries, first, values, &mut next, weights, parts));
    }
}

/// Blocks of values, and the first one's position.
#[derive(Clone, Copy)]
struct Values<'a, B> {
    blocks: &'a [B],
    start: usize,
}

#[inline(always)]
fn value_scales<L: Lanes, E: Element>(l: L, block: &E::Block) -> [f32; 16] {
    let mut scales = [0.0; 16];
    if E::SCALED {
        l.store(E::scales(l, block), &mut scales);
    }
    scales
}

#[inline(always)]
fn value<L: Lanes, E: Element>(l: L, block: &E::Block, scales: &[f32; 16], i: usize) -> L::F {
    let value = E::load(l, block, i);
    if E::SCALED { l.mul(value, l.splat(scales[i / 2])) } else { value }
}

/// The tile's part of [`weigh`]. Each query's positions come in their order: its own before those that all queries look
/// at, these together, its own after them.
#[inline(always)]
fn add<L: Lanes, E: Element, const Q: usize, const V: usize>(
    l: L,
    queries: &Queries<'_>,
    first: usize,
    values: Values<'_, E::Block>,
    next: &mut Next<'_>,
    weights: &[[f32; SPAN]],
    parts: &mut [f32],
) {
    let seen = |query: usize| queries.seen(first + query, values.start, BLOCK);
    let hidden = |query: usize| queries.hidden(first + query, values.start, BLOCK);
    let (weights, parts) = (&weights[first..], &mut parts[first * queries.part()..]);
    let (from, to) = (hidden(Q - 1), seen(0));
    let alone = |query: usize, range: Range<usize>, next: &mut Next<'_>, parts: &mut [f32]| {
        if !range.is_empty() {
            let (weights, parts) = (&weights[query..], &mut parts[query * queries.part()..]);
            add_range::<L, E, 1, 2>(l, queries, values, range, next, weights, parts);
        }
    };
    if from > hidden(0) {
        for query in 0..Q {
            alone(query, hidden(query)..seen(query).min(from), next, parts);
        }
    }
    if from < to {
        add_range::<L, E, Q, V>(l, queries, values, from..to, next, weights, parts);
    }
    for query in 0..Q {
        alone(query, hidden(query).max(from).max(to)..seen(query), next, parts);
    }
}

/// Adds the values in a range of the block for the first `Q` queries.
#[inline(always)]
#[allow(clippy::needless_range_loop)] // The same place in several rows.
fn add_range<L: Lanes, E: Element, const Q: usize, const V: usize>(
    l: L,
    queries: &Queries<'_>,
    values: Values<'_, E::Block>,
    range: Range<usize>,
    next: &mut Next<'_>,
    weights: &[[f32; SPAN]],
    parts: &mut [f32],
) {
    let per_panel = queries.dims / WIDTH;
    let Some(weights) = weights.first_chunk::<Q>() else { return };
    let parts = parts.as_chunks_mut::<16>().0;
    for vector in (0..2 * per_panel).step_by(V) {
        let place = |q: usize, v: usize| (q * queries.part() + HEADER) / 16 + vector + v;
        let mut sums: [[L::F; V]; Q] =
            std::array::from_fn(|q| std::array::from_fn(|v| l.load(&parts[place(q, v)])));
        for panel in range.start / 16..range.end.div_ceil(16) {
            next.prefetch(l, 1);
            let block = &values.blocks[panel * per_panel + vector / 2];
            let scales = value_scales::<L, E>(l, block);
            let weights: [&[f32; 16]; Q] =
                std::array::from_fn(|q| &weights[q].as_chunks().0[values.start % SPAN / 16 + panel]);
            let within = |position: usize| position.saturating_sub(16 * panel).min(16);
            for i in within(range.start)..within(range.end) {
                let values: [L::F; V] =
                    std::array::from_fn(|v| value::<L, E>(l, block, &scales, 2 * i + vector % 2 + v));
                unroll!(q < Q => {
                    let weight = l.splat(weights[q][i]);
                    unroll!(v < V => { sums[q][v] = l.fma(weight, values[v], sums[q][v]); });
                });
            }
        }
        for q in 0..Q {
            for v in 0..V {
                l.store(sums[q][v], &mut parts[place(q, v)]);
            }
        }
    }
}

/// The part of no positions.
pub fn begin(part: &mut [f32]) {
    part.fill(0.0);
    part[0] = f32::NEG_INFINITY;
}

/// Joins the part of the next span to that of all before it (online softmax: Milakov and Gimelshein 2018, arXiv
/// 1805.02867).
#[inline(always)]
pub(crate) fn merge<L: Lanes>(l: L, all: &mut [f32], next: &[f32]) {
    let maximum = if next[0] > all[0] { next[0] } else { all[0] };
    let mut corrections = [0.0; 16];
    (corrections[0], corrections[1]) = (all[0] - maximum, next[0] - maximum);
    l.store(exp(l, l.load(&corrections.clone())), &mut corrections);
    let (old, new) = (l.splat(corrections[0]), l.splat(corrections[1]));
    all[0] = maximum;
    all[1] = all[1].mul_add(corrections[0], next[1] * corrections[1]);
    let (all, next) = (&mut all[HEADER..], &next[HEADER..]);
    for (all, next) in all.as_chunks_mut().0.iter_mut().zip(next.as_chunks().0) {
        l.store(l.fma(l.load(all), old, l.mul(l.load(next), new)), all);
    }
}

/// What a part comes to: its weighted sums over the sum of its weights.
#[inline(always)]
pub(crate) fn finish<L: Lanes>(l: L, part: &[f32], out: &mut [f32]) {
    let inverse = l.splat(1.0 / part[1]);
    for (sums, out) in part[HEADER..].as_chunks().0.iter().zip(out.chunks_mut(16)) {
        let mut result = [0.0; 16];
        l.store(l.mul(l.load(sums), inverse), &mut result);
        out.copy_from_slice(&result[..out.len()]);
    }
}
