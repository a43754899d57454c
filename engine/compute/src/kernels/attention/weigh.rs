use std::marker::PhantomData;
use std::ops::Range;

use half::f16;

use super::cache_type::with_element;
use super::element::{Element, Q8_0};
use super::{BLOCK, Block, CacheType, HEADER, Next, Queries, SPAN, WIDTH, several, tiles};
use crate::kernels::{Kernels, Line};
use crate::lanes::{Lanes, Op, Tier, unroll};

impl Kernels {
    /// Adds values times their weights to the queries' parts. `wide` has room for the values in f32.
    pub fn weigh(
        self,
        ty: CacheType,
        queries: &Queries<'_>,
        values: &Block<'_>,
        wide: &mut [[Line; 32]],
        weights: &[[f32; SPAN]],
        parts: &mut [f32],
    ) {
        with_element!(ty, E => {
            self.run(Weigh::<E> { queries, values, wide, weights, parts, element: PhantomData })
        });
    }
}

struct Weigh<'a, E> {
    queries: &'a Queries<'a>,
    values: &'a Block<'a>,
    wide: &'a mut [[Line; 32]],
    weights: &'a [[f32; SPAN]],
    parts: &'a mut [f32],
    element: PhantomData<E>,
}

impl<E: Element> Op for Weigh<'_, E> {
    type Out = ();

    #[inline(always)]
    fn run<L: Tier>(self, l: L) {
        let Self { queries, values, wide, weights, parts, .. } = self;
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
            tiles!(L, queries.len(), first =>
                add::<_, f32>(l, queries, first, values, &mut next, weights, parts));
        } else {
            let values = Values { blocks, start };
            tiles!(L, queries.len(), first =>
                add::<_, E>(l, queries, first, values, &mut next, weights, parts));
        }
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

/// The tile's part of [`Weigh`]. Each query's positions come in their order: its own before those that all queries look
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
    let before = |query: usize| hidden(query)..seen(query).min(from);
    let after = |query: usize| hidden(query).max(from).max(to)..seen(query);
    for all_done in [false, true] {
        for query in 0..Q {
            let range = if all_done { after(query) } else { before(query) };
            if !range.is_empty() {
                let (weights, parts) = (&weights[query..], &mut parts[query * queries.part()..]);
                add_range::<L, E, 1, 2>(l, queries, values, range, next, weights, parts);
            }
        }
        if !all_done && from < to {
            add_range::<L, E, Q, V>(l, queries, values, from..to, next, weights, parts);
        }
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
        let mut sums = [[l.splat(0.0); V]; Q];
        unroll!(q < Q => { unroll!(v < V => { sums[q][v] = l.load(&parts[place(q, v)]); }); });
        for panel in range.start / 16..range.end.div_ceil(16) {
            next.prefetch(l, 1);
            let block = &values.blocks[panel * per_panel + vector / 2];
            let scales = value_scales::<L, E>(l, block);
            let weights: [&[f32; 16]; Q] =
                std::array::from_fn(|q| &weights[q].as_chunks().0[values.start % SPAN / 16 + panel]);
            let within = |position: usize| position.saturating_sub(16 * panel).min(16);
            for i in within(range.start)..within(range.end) {
                let first = 2 * i + vector % 2;
                let mut values = [l.splat(0.0); V];
                unroll!(v < V => { values[v] = value::<L, E>(l, block, &scales, first + v); });
                unroll!(q < Q => {
                    let weight = l.splat(weights[q][i]);
                    unroll!(v < V => { sums[q][v] = l.fma(weight, values[v], sums[q][v]); });
                });
            }
        }
        unroll!(q < Q => { unroll!(v < V => { l.store(sums[q][v], &mut parts[place(q, v)]); }); });
    }
}
