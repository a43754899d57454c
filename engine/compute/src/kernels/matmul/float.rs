use super::{Activations, At, Product};
use crate::arena::Tile;
use crate::formats::Float;
use crate::lanes::{Lanes, unroll};

/// Panels that one token is multiplied with together where a panel's sums are few registers: each is a chain of additions that
/// wait for each other.
const PANELS: usize = 4;

/// Multiplies with F32, F16 or BF16 weights. `out` has a row for each token.
#[inline(always)]
pub(crate) fn float<L: Lanes, W: Float>(l: L, product: &Product<'_>, out: &mut Tile<'_>) {
    let weights = W::lanes(product.panels);
    if product.k == 0 {
        return;
    }
    let is_chain = L::FOUR && L::UNROLL;
    let together = if is_chain && product.x.tokens == 1 { PANELS } else { 1 };
    for (run, weights) in weights.chunks(product.k * together).enumerate() {
        let panel = run * together;
        if is_chain && let Some(weights) = panels::<W>(weights, product.k) {
            let sums = sums_of_panels::<L, W>(l, weights, product.x);
            unroll!(p < 4 => {
                let mut at = At { out: &mut *out, output: product.output, panel: panel + p, token: 0 };
                at.put::<L, 1>(l, [sums[p]]);
            });
            continue;
        }
        for (panel, weights) in (panel..).zip(weights.chunks_exact(product.k)) {
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
}

/// The weights of as many panels as are multiplied together, if there are so many.
#[inline(always)]
fn panels<W: Float>(weights: &[W::Lanes16], k: usize) -> Option<[&[W::Lanes16]; PANELS]> {
    let (first, rest) = weights.split_at_checked(k)?;
    let (second, rest) = rest.split_at_checked(k)?;
    let (third, rest) = rest.split_at_checked(k)?;
    Some([first, second, third, rest.get(..k)?])
}

/// Panels times the only token.
#[inline(always)]
fn sums_of_panels<L: Lanes, W: Float>(
    l: L,
    weights: [&[W::Lanes16]; PANELS],
    x: Activations<'_>,
) -> [L::F; PANELS] {
    let k = weights[0].len();
    let x = &x.x[..k];
    let mut acc = [l.splat(0.0); PANELS];
    let mut rows = [weights[0]; PANELS];
    unroll!(p < 4 => { rows[p] = &weights[p][..k]; });
    for (k, x) in x.iter().enumerate() {
        let x = l.splat(*x);
        unroll!(p < 4 => { acc[p] = l.fma(W::load(l, &rows[p][k]), x, acc[p]); });
    }
    acc
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
