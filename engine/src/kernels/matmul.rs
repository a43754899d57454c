use super::formats::{Float, Quantized, Scales};
use super::quantize::{BLOCK, Q8Block, TILE};
use crate::arena::Tile;
use crate::lanes::{Lanes, Range, unroll};

/// Vectors that weights are multiplied with, one for each token.
#[derive(Clone, Copy)]
pub(crate) struct Activations<'a> {
    /// `tokens` rows of `stride` numbers.
    pub(crate) x: &'a [f32],
    pub(crate) stride: usize,
    /// The same quantized, where quantized weights will ask for them: tiles of up to 8 tokens, each
    /// `[k / 32][tokens of the tile]`.
    pub(crate) q: &'a [Q8Block],
    pub(crate) tokens: usize,
}

/// What becomes of a product.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Output {
    /// It replaces what the output holds.
    Replace,
    /// It is added to what the output holds.
    Add,
}

/// Panels of weights times activations.
#[derive(Clone, Copy)]
pub(crate) struct Product<'a> {
    /// As many panels as the output tile has columns / 16.
    pub(crate) panels: &'a [u8],
    /// Numbers of a row.
    pub(crate) k: usize,
    pub(crate) x: Activations<'a>,
    pub(crate) output: Output,
}

/// Multiplies with weights of a quantized format. `out` has a row for each token.
#[inline(always)]
pub(crate) fn quantized<L: Lanes, Q: Quantized>(l: L, product: &Product<'_>, out: &mut Tile<'_>) {
    let blocks = Q::blocks(product.panels);
    let per_panel = product.k / Q::LEN;
    let per_token = product.k / BLOCK;
    if per_panel == 0 {
        return;
    }
    for (panel, blocks) in blocks.chunks_exact(per_panel).enumerate() {
        for (tile, x) in product.x.q.chunks(TILE * per_token).enumerate() {
            let width = x.len() / per_token;
            let mut first = 0;
            while first < width {
                let mut at = At { out: &mut *out, output: product.output, panel, token: TILE * tile + first };
                let left = width - first;
                first += if L::EIGHT && left >= 8 {
                    at.put::<L, 8>(l, sums::<L, Q, 8>(l, blocks, x, width, first))
                } else if L::FOUR && left >= 4 {
                    at.put::<L, 4>(l, sums::<L, Q, 4>(l, blocks, x, width, first))
                } else if L::TWO && left >= 2 {
                    at.put::<L, 2>(l, sums::<L, Q, 2>(l, blocks, x, width, first))
                } else {
                    at.put::<L, 1>(l, sums::<L, Q, 1>(l, blocks, x, width, first))
                };
            }
        }
    }
}

/// Multiplies with F32, F16 or BF16 weights. `out` has a row for each token.
#[inline(always)]
pub(crate) fn float<L: Lanes, W: Float>(l: L, product: &Product<'_>, out: &mut Tile<'_>) {
    let weights = W::lanes(product.panels);
    if product.k == 0 {
        return;
    }
    for (panel, weights) in weights.chunks_exact(product.k).enumerate() {
        let mut token = 0;
        while token < product.x.tokens {
            let mut at = At { out: &mut *out, output: product.output, panel, token };
            let left = product.x.tokens - token;
            token += if L::FOUR && left >= 4 {
                at.put::<L, 4>(l, float_sums::<L, W, 4>(l, weights, product.x, token))
            } else if L::TWO && left >= 2 {
                at.put::<L, 2>(l, float_sums::<L, W, 2>(l, weights, product.x, token))
            } else {
                at.put::<L, 1>(l, float_sums::<L, W, 1>(l, weights, product.x, token))
            };
        }
    }
}

/// Where the sums of one panel and some tokens go.
struct At<'t, 'p> {
    out: &'t mut Tile<'p>,
    output: Output,
    panel: usize,
    token: usize,
}

impl At<'_, '_> {
    /// Puts `T` tokens' sums and says how many they are.
    #[inline(always)]
    fn put<L: Lanes, const T: usize>(&mut self, l: L, sums: [L::F; T]) -> usize {
        unroll!(t < T => {
            let to = self.out.lanes(self.token + t, self.panel);
            let sum = match self.output {
                Output::Replace => sums[t],
                Output::Add => l.add(l.load(to), sums[t]),
            };
            l.store(sum, to);
        });
        T
    }
}

/// One panel times `T` tokens of a tile, from its `first`: 16 sums for each.
#[inline(always)]
fn sums<L: Lanes, Q: Quantized, const T: usize>(
    l: L,
    blocks: &[Q::Block],
    x: &[Q8Block],
    width: usize,
    first: usize,
) -> [L::F; T] {
    let mut acc = [l.splat(0.0); T];
    for (block, x) in blocks.iter().zip(x.chunks_exact(width * (Q::LEN / BLOCK))) {
        let scales = Q::scales(l, block);
        let mut subs = x.chunks_exact(width).enumerate();
        // Two at a time, where there are several: superblocks keep the nibbles of two neighbours in the same bytes.
        while let Some((sub, x)) = subs.next() {
            acc = add_sub::<L, Q, T>(l, block, &scales, sub, &x[first..], acc);
            if Q::LEN > BLOCK
                && let Some((sub, x)) = subs.next()
            {
                acc = add_sub::<L, Q, T>(l, block, &scales, sub, &x[first..], acc);
            }
        }
    }
    acc
}

/// Adds the products of a block's `sub`-th 32 weights.
#[inline(always)]
fn add_sub<L: Lanes, Q: Quantized, const T: usize>(
    l: L,
    block: &Q::Block,
    scales: &Q::Scales<L>,
    sub: usize,
    x: &[Q8Block],
    mut acc: [L::F; T],
) -> [L::F; T] {
    let Some(x) = x.first_chunk::<T>() else { return acc };
    let weights = Q::weights(l, block, sub);
    if Q::GRAINS == 1 {
        acc = add_grain(l, scales.scale(l, sub), dot::<L, Q, T, 8>(l, weights, x, 0), x, acc);
    } else {
        let [w0, w1, w2, w3, w4, w5, w6, w7] = weights;
        let (low, high) = ([w0, w1, w2, w3], [w4, w5, w6, w7]);
        acc = add_grain(l, scales.scale(l, 2 * sub), dot::<L, Q, T, 4>(l, low, x, 0), x, acc);
        acc = add_grain(l, scales.scale(l, 2 * sub + 1), dot::<L, Q, T, 4>(l, high, x, 1), x, acc);
    }
    if Q::MINS {
        for grain in 0..Q::GRAINS {
            let min = scales.min(l, Q::GRAINS * sub + grain);
            unroll!(t < T => {
                let sum = if Q::GRAINS == 1 { sum32(&x[t]) } else { i32::from(x[t].sums[grain]) };
                acc[t] = l.fma(min, l.splat(x[t].scale * sum as f32), acc[t]);
            });
        }
    }
    acc
}

#[inline(always)]
fn add_grain<L: Lanes, const T: usize>(
    l: L,
    scale: L::F,
    isums: [L::I; T],
    x: &[Q8Block; T],
    mut acc: [L::F; T],
) -> [L::F; T] {
    unroll!(t < T => {
        acc[t] = l.fma(l.to_f32(isums[t]), l.mul(scale, l.splat(x[t].scale)), acc[t]);
    });
    acc
}

#[inline(always)]
fn sum32(x: &Q8Block) -> i32 {
    i32::from(x.sums[0]) + i32::from(x.sums[1])
}

/// The exact dot products of a grain of `4 * G` weights of 16 rows with `T` tokens: all 32 activations of a block, or
/// the four groups of its `half`.
#[inline(always)]
fn dot<L: Lanes, Q: Quantized, const T: usize, const G: usize>(
    l: L,
    weights: [L::B; G],
    x: &[Q8Block; T],
    half: usize,
) -> [L::I; T] {
    let steps = L::STEPS[Q::RANGE as usize].min(G);
    let mut sums = [l.splat_i32(0); T];
    unroll!(t < T => {
        let sum = if G == 8 { sum32(&x[t]) } else { i32::from(x[t].sums[half]) };
        sums[t] = l.splat_i32(-Q::OFFSET * sum);
    });
    let mut narrow = [l.zero_n(); T];
    unroll!(g < G => {
        unroll!(t < T => {
            let halves = x[t].q.as_chunks::<16>().0;
            let x = l.load_x(&halves[half + g / 4]);
            narrow[t] = match Q::RANGE {
                Range::S8 => l.dot_s(narrow[t], weights[g], x, g % 4),
                _ => l.dot_u(narrow[t], weights[g], x, g % 4),
            };
        });
        if (g + 1).is_multiple_of(steps) {
            unroll!(t < T => {
                sums[t] = l.add_i32(sums[t], l.widen(std::mem::replace(&mut narrow[t], l.zero_n())));
            });
        }
    });
    sums
}

#[inline(always)]
fn float_sums<L: Lanes, W: Float, const T: usize>(
    l: L,
    weights: &[W::Lanes16],
    x: Activations<'_>,
    token: usize,
) -> [L::F; T] {
    let k = weights.len();
    let rows: [&[f32]; T] = std::array::from_fn(|t| &x.x[(token + t) * x.stride..][..k]);
    let mut acc = [l.splat(0.0); T];
    for (k, weights) in weights.iter().enumerate() {
        let weights = W::load(l, weights);
        unroll!(t < T => { acc[t] = l.fma(weights, l.splat(rows[t][k]), acc[t]); });
    }
    acc
}
