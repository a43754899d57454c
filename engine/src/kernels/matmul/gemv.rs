use super::super::formats::{Quantized, Scales};
use super::super::quantize::Q8Block;
use super::{At, Product, is_signed, ready, start};
use crate::arena::Tile;
use crate::lanes::Lanes;

/// Multiplies with one token's activations.
#[inline(always)]
pub(super) fn gemv<L: Lanes, Q: Quantized>(l: L, product: &Product<'_>, out: &mut Tile<'_>) {
    let per_panel = (product.k / Q::LEN).max(1);
    for (panel, blocks) in Q::blocks(product.panels).chunks_exact(per_panel).enumerate() {
        let mut at = At { out: &mut *out, output: product.output, panel, token: 0 };
        at.put::<L, 1>(l, [sum::<L, Q>(l, blocks, product.x.q)]);
    }
}

/// One panel times the activations: 16 sums.
#[inline(always)]
fn sum<L: Lanes, Q: Quantized>(l: L, blocks: &[Q::Block], x: &[Q8Block]) -> L::F {
    let mut acc = l.splat(0.0);
    for (block, x) in blocks.iter().zip(x.chunks_exact(Q::LEN / 32)) {
        let scales = Q::scales(l, block);
        if let [x] = x {
            acc = add_sub::<L, Q>(l, block, &scales, 0, x, acc);
            continue;
        }
        // Superblocks keep the bits of two neighbours in the same bytes.
        for (pair, [even, odd]) in x.as_chunks().0.iter().enumerate() {
            acc = add_sub::<L, Q>(l, block, &scales, 2 * pair, even, acc);
            acc = add_sub::<L, Q>(l, block, &scales, 2 * pair + 1, odd, acc);
        }
    }
    acc
}

/// Adds the products of a block's `sub`-th 32 weights.
#[inline(always)]
fn add_sub<L: Lanes, Q: Quantized>(
    l: L,
    block: &Q::Block,
    scales: &Q::Scales<L>,
    sub: usize,
    x: &Q8Block,
    mut acc: L::F,
) -> L::F {
    let (bias, add) = if is_signed(Q::RANGE) { (L::S8_BIAS, L::S8_BIAS) } else { (Q::OFFSET, 0) };
    let weights = ready(l, Q::weights(l, block, sub), add);
    let x_scale = l.splat(x.scale);
    if Q::GRAINS == 1 {
        let isum = l.dot(start::<8>(bias, x, 0), weights, x.groups::<8>(0), Q::RANGE);
        acc = l.fma(l.to_f32(isum), l.mul(scales.scale(l, sub), x_scale), acc);
    } else {
        let [w0, w1, w2, w3, w4, w5, w6, w7] = weights;
        let (low, high) = ([w0, w1, w2, w3], [w4, w5, w6, w7]);
        let isum = l.dot(start::<4>(bias, x, 0), low, x.groups::<4>(0), Q::RANGE);
        acc = l.fma(l.to_f32(isum), l.mul(scales.scale(l, 2 * sub), x_scale), acc);
        let isum = l.dot(start::<4>(bias, x, 1), high, x.groups::<4>(1), Q::RANGE);
        acc = l.fma(l.to_f32(isum), l.mul(scales.scale(l, 2 * sub + 1), x_scale), acc);
    }
    if Q::MINS && Q::GRAINS == 1 {
        acc = l.fma(scales.min(l, sub), l.splat(x.weighted_sum::<8>(0)), acc);
    } else if Q::MINS {
        acc = l.fma(scales.min(l, 2 * sub), l.splat(x.weighted_sum::<4>(0)), acc);
        acc = l.fma(scales.min(l, 2 * sub + 1), l.splat(x.weighted_sum::<4>(1)), acc);
    }
    acc
}
