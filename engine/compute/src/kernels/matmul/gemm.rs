use std::slice::ChunksExact;

use super::{At, Product, is_signed, ready, start};
use crate::arena::Tile;
use crate::formats::{Quantized, Scales};
use crate::lanes::{Tier, unroll};
use crate::q8::{Fours, Q8Block, TILE};

/// 64 bytes of unpacked weights: four bytes, or one f32, of each of 16 rows.
pub type Line = [u8; 64];

/// Lines that 32 weights of each row of a panel take: eight of weights, then a scale for each grain, then a minimum
/// for each where the format has them.
pub(super) const fn lines<Q: Quantized>() -> usize {
    8 + if Q::MINS { 2 * Q::GRAINS } else { Q::GRAINS }
}

/// Multiplies with several tokens' activations, as many panels at a time as `scratch` has room for.
#[inline(always)]
pub(super) fn gemm<L: Tier, Q: Quantized>(
    l: L,
    product: &Product<'_>,
    scratch: &mut [Line],
    out: &mut Tile<'_>,
) {
    let per_panel = (product.k / Q::LEN).max(1);
    let per_token = product.k / 32;
    let panel_lines = lines::<Q>() * per_token;
    assert!(scratch.len() >= panel_lines, "scratch holds a panel");
    let together = scratch.len() / panel_lines.max(1);
    for (round, blocks) in Q::blocks(product.panels).chunks(per_panel * together).enumerate() {
        for (blocks, to) in blocks.chunks_exact(per_panel).zip(scratch.chunks_exact_mut(panel_lines)) {
            unpack::<L, Q>(l, blocks, to);
        }
        let panels = scratch.chunks_exact(panel_lines).take(blocks.len() / per_panel);
        for (tile, x) in product.x.q.chunks(TILE * per_token).enumerate() {
            for (panel, weights) in panels.clone().enumerate() {
                let panel = round * together + panel;
                let width = x.len() / per_token;
                let mut first = 0;
                while first < width {
                    let mut at =
                        At { out: &mut *out, output: product.output, panel, token: TILE * tile + first };
                    let left = width - first;
                    if L::FOURS && left >= 4 {
                        let x = Fours { blocks: &x[first..], width };
                        first += at.put::<L, 4>(l, fours::<L, Q>(l, weights, x));
                        continue;
                    }
                    let x = x.chunks_exact(width);
                    first += if L::SIXTEEN && left >= 16 {
                        at.put::<L, 16>(l, sums::<L, Q, 16>(l, weights, x, first))
                    } else if L::EIGHT && left >= 8 {
                        at.put::<L, 8>(l, sums::<L, Q, 8>(l, weights, x, first))
                    } else if L::FOUR && left >= 4 {
                        at.put::<L, 4>(l, sums::<L, Q, 4>(l, weights, x, first))
                    } else if L::TWO && left >= 2 {
                        at.put::<L, 2>(l, sums::<L, Q, 2>(l, weights, x, first))
                    } else {
                        at.put::<L, 1>(l, sums::<L, Q, 1>(l, weights, x, first))
                    };
                }
            }
        }
    }
}

/// What is added to a format's weights on their way into the scratch, and how much too large they then are.
#[inline(always)]
fn biases<L: Tier, Q: Quantized>() -> (u8, u8) {
    if is_signed(Q::RANGE) {
        (L::S8_BIAS, L::S8_BIAS)
    } else if L::SIGNED {
        (Q::OFFSET.wrapping_neg(), 0)
    } else {
        (0, Q::OFFSET)
    }
}

#[inline(always)]
fn unpack<L: Tier, Q: Quantized>(l: L, blocks: &[Q::Block], to: &mut [Line]) {
    let (add, _) = biases::<L, Q>();
    for (block, to) in blocks.iter().zip(to.chunks_exact_mut(lines::<Q>() * (Q::LEN / 32))) {
        let scales = Q::scales(l, block);
        for (sub, to) in to.chunks_exact_mut(lines::<Q>()).enumerate() {
            let weights = l.arrange(ready(l, Q::weights(l, block, sub), add));
            let (bytes, floats) = to.split_at_mut(8);
            unroll!(g < 8 => { l.store_bytes(weights[g], &mut bytes[g]); });
            for grain in 0..Q::GRAINS {
                l.store_f32(scales.scale(l, Q::GRAINS * sub + grain), &mut floats[grain]);
                if Q::MINS {
                    l.store_f32(scales.min(l, Q::GRAINS * sub + grain), &mut floats[Q::GRAINS + grain]);
                }
            }
        }
    }
}

/// One unpacked panel times four tokens.
#[inline(always)]
fn fours<L: Tier, Q: Quantized>(l: L, weights: &[Line], x: Fours<'_>) -> [L::F; 4] {
    match (Q::GRAINS, Q::MINS) {
        (1, false) => l.fours::<1, false>(weights, x),
        (1, true) => l.fours::<1, true>(weights, x),
        (_, false) => l.fours::<2, false>(weights, x),
        (_, true) => l.fours::<2, true>(weights, x),
    }
}

/// One unpacked panel times `T` tokens of a tile, from its `first`: 16 sums for each. `x` are the tile's blocks.
#[inline(always)]
fn sums<L: Tier, Q: Quantized, const T: usize>(
    l: L,
    weights: &[Line],
    mut x: ChunksExact<'_, Q8Block>,
    first: usize,
) -> [L::F; T] {
    let mut acc = [l.splat(0.0); T];
    // Not zipped: that would multiply indices where pointers can be moved on.
    for lines in weights.chunks_exact(lines::<Q>()) {
        let Some((weights, floats)) = lines.split_first_chunk() else { break };
        let Some(x) = x.next().and_then(|x| x.get(first..)?.first_chunk()) else { break };
        if Q::GRAINS == 1 {
            let isums = isums::<L, Q, T, 8>(l, weights, x, 0);
            let scale = l.load_f32(&floats[0]);
            unroll!(t < T => {
                acc[t] = l.fma(l.to_f32(isums[t]), l.mul(scale, l.splat(x[t].scale)), acc[t]);
            });
        } else if let [low, high] = weights.as_chunks().0 {
            let mut sums = isums::<L, Q, T, 4>(l, low, x, 0).map(|isum| l.to_f32(isum));
            let scale = l.load_f32(&floats[0]);
            unroll!(t < T => { sums[t] = l.mul(sums[t], scale); });
            let isums = isums::<L, Q, T, 4>(l, high, x, 1);
            let scale = l.load_f32(&floats[1]);
            unroll!(t < T => {
                let sum = l.fma(l.to_f32(isums[t]), scale, sums[t]);
                acc[t] = l.fma(sum, l.splat(x[t].scale), acc[t]);
            });
        }
        if Q::MINS {
            for grain in 0..Q::GRAINS {
                let min = l.load_f32(&floats[Q::GRAINS + grain]);
                unroll!(t < T => {
                    let sum = if Q::GRAINS == 1 { x[t].weighted_sum::<8>(0) } else { x[t].weighted_sum::<4>(grain) };
                    acc[t] = l.fma(min, l.splat(sum), acc[t]);
                });
            }
        }
    }
    acc
}

/// The integer dot products of a grain of `4 * G` weights with several tokens' activations.
#[inline(always)]
fn isums<L: Tier, Q: Quantized, const T: usize, const G: usize>(
    l: L,
    weights: &[Line; G],
    x: &[Q8Block; T],
    grain: usize,
) -> [L::I; T] {
    let (_, bias) = biases::<L, Q>();
    let starts = x.each_ref().map(|x| start::<G>(bias, x, grain));
    let groups = std::array::from_fn(|t| x[t].groups::<G>(grain));
    l.dots(starts, weights, groups, Q::RANGE)
}
