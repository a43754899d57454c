use super::{Activations, At, Product};
use crate::arena::Tile;
use crate::formats::Float;
use crate::lanes::{Lanes, unroll};

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
            token += if L::EIGHT && left >= 8 {
                at.put::<L, 8>(l, sums::<L, W, 8>(l, weights, product.x, token))
            } else if L::FOUR && left >= 4 {
                at.put::<L, 4>(l, sums::<L, W, 4>(l, weights, product.x, token))
            } else if L::TWO && left >= 2 {
                at.put::<L, 2>(l, sums::<L, W, 2>(l, weights, product.x, token))
            } else {
                at.put::<L, 1>(l, sums::<L, W, 1>(l, weights, product.x, token))
            };
        }
    }
}

/// One panel times `T` tokens, from the `token`-th: 16 sums for each.
#[inline(always)]
fn sums<L: Lanes, W: Float, const T: usize>(
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
