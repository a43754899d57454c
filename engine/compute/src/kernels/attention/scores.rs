use std::marker::PhantomData;

use half::f16;
use siskin_quant::TensorType;

use super::element::{Element, Q8_0};
use super::{Block, CacheType, Next, Queries, SPAN, WIDTH, several, tiles};
use crate::arena::Matrix;
use crate::kernels::{Activations, Kernels, Line, Output, Product};
use crate::lanes::{Lanes, Op, Tier, unroll};

impl Kernels {
    /// The dot products of queries and keys, at the positions' places in their span. `wide` has room for the keys in f32.
    pub fn scores(
        self,
        ty: CacheType,
        queries: &Queries<'_>,
        keys: &Block<'_>,
        wide: &mut [[Line; 32]],
        scores: &mut [[f32; SPAN]],
    ) {
        match ty {
            CacheType::F32 => self.run(Scores::<f32> { queries, keys, wide, scores, element: PhantomData }),
            CacheType::F16 => self.run(Scores::<f16> { queries, keys, wide, scores, element: PhantomData }),
            CacheType::Q8_0 => self.quantized_scores(queries, keys, wide, scores),
        }
    }

    /// [`Kernels::scores`] with keys in [`Q8_0`]: the product of a matrix whose rows are the positions with quantized
    /// queries.
    fn quantized_scores(
        self,
        queries: &Queries<'_>,
        keys: &Block<'_>,
        scratch: &mut [[Line; 32]],
        scores: &mut [[f32; SPAN]],
    ) {
        let blocks = Q8_0::blocks(keys.bytes).len();
        self.run(Prefetch { next: keys.next::<Q8_0>(), shares: blocks });
        let &Queries { rows, q, dims, .. } = queries;
        let x = Activations { x: rows, stride: dims, q, tokens: queries.len() };
        let product = Product { panels: keys.bytes, k: dims, x, output: Output::Replace };
        let (from, positions) = (keys.start % SPAN, 16 * blocks * WIDTH / dims);
        let mut out = Matrix::new(scores.as_flattened_mut(), SPAN).tile(from..from + positions);
        self.matmul(TensorType::Q8_0, &product, scratch.as_flattened_mut(), &mut out);
    }
}

struct Scores<'a, E> {
    queries: &'a Queries<'a>,
    keys: &'a Block<'a>,
    wide: &'a mut [[Line; 32]],
    scores: &'a mut [[f32; SPAN]],
    element: PhantomData<E>,
}

impl<E: Element> Op for Scores<'_, E> {
    type Out = ();

    #[inline(always)]
    fn run<L: Tier>(self, l: L) {
        let Self { queries, keys, wide, scores, .. } = self;
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
                let mut numbers = [l.splat(0.0); V];
                unroll!(v < V => { numbers[v] = E::load(l, keys[v], i); });
                unroll!(q < Q => {
                    let x = l.splat(rows[q][i]);
                    unroll!(v < V => { sums[q][v] = l.fma(x, numbers[v], sums[q][v]); });
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

/// Asks for memory that will be read soon.
struct Prefetch<'a> {
    next: Next<'a>,
    shares: usize,
}

impl Op for Prefetch<'_> {
    type Out = ();

    #[inline(always)]
    fn run<L: Tier>(mut self, l: L) {
        self.next.prefetch(l, self.shares);
    }
}
