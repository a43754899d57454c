use std::hint::black_box;

use zerocopy::IntoBytes;

use super::{At, Line, Product, ready, start};
use crate::arena::Tile;
use crate::formats::{Quantized, Scales};
use crate::lanes::{Ahead, Range, Tier, Weights, unroll};
use crate::q8::{Q8Block, TILE};

/// Multiplies with one token's activations.
#[inline(always)]
pub(super) fn gemv<L: Tier, Q: Quantized>(l: L, product: &Product<'_>, out: &mut Tile<'_>) {
    let per_panel = (product.k / Q::LEN).max(1);
    let all = Q::blocks(product.panels);
    for (panel, blocks) in all.chunks_exact(per_panel).enumerate() {
        let mut at = At { out: &mut *out, output: product.output, panel, token: 0 };
        let x = product.x.q;
        let mut ahead = Ahead::of(l, all, panel * per_panel);
        // No closures: they would not be compiled for the tier's instructions.
        let own = match l.panel_sum(Q::TYPE, blocks.as_bytes(), x) {
            None => Q::sum(l, blocks, x, &mut ahead),
            own => own,
        };
        let sums = match own {
            None => sum::<L, Q>(l, blocks, x, ahead),
            Some(sums) => sums,
        };
        at.put::<L, 1>(l, [sums]);
    }
}

/// Tokens of [`few`], at most.
pub(super) const MOST: usize = TILE;

/// Multiplies with the activations of 2 to [`MOST`] tokens, one tile, some at a time: a panel is unpacked in registers for each of these.
#[inline(always)]
pub(super) fn few<L: Tier, Q: Quantized>(l: L, product: &Product<'_>, out: &mut Tile<'_>) {
    let per_panel = (product.k / Q::LEN).max(1);
    let (x, width) = (product.x.q, product.x.tokens);
    let all = Q::blocks(product.panels);
    for (panel, blocks) in all.chunks_exact(per_panel).enumerate() {
        let mut first = 0;
        while first < width {
            let mut at = At { out: &mut *out, output: product.output, panel, token: first };
            // The panel comes from memory for the first of them.
            let ahead = if first == 0 { Ahead::of(l, all, panel * per_panel) } else { Ahead::of(l, &[], 0) };
            first += if L::FEW >= 4 && width - first >= 4 {
                at.put::<L, 4>(l, sums::<L, Q, 4>(l, blocks, x, width, first, ahead))
            } else {
                // A last one with the one before it again, rather than by code of its own.
                let both = sums::<L, Q, 2>(l, blocks, x, width, first.min(width.saturating_sub(2)), ahead);
                if width - first == 1 { at.put::<L, 1>(l, [both[1]]) } else { at.put::<L, 2>(l, both) }
            };
        }
    }
}

/// One panel times `T` tokens of a tile of `width`, from its `first`: 16 sums for each.
#[inline(always)]
fn sums<L: Tier, Q: Quantized, const T: usize>(
    l: L,
    blocks: &[Q::Block],
    x: &[Q8Block],
    width: usize,
    first: usize,
    mut ahead: Ahead<'_, Q::Block>,
) -> [L::F; T] {
    let add = if Q::RANGE == Range::S8 { L::S8_BIAS } else { 0 };
    let mut acc = [l.splat(0.0); T];
    for (block, x) in blocks.iter().zip(x.chunks_exact(width * (Q::LEN / 32))) {
        let scales = Q::scales(l, block);
        let next = ahead.next();
        // Not unrolled: what that saves is little beside the products of several tokens, and it would be much code. The compiler
        // is not told where it begins, or it would peel off all rounds for the sake of shifts by constants.
        for (sub, x) in (black_box(0)..).zip(x.chunks_exact(width)) {
            let Some(x) = x.get(first..).and_then(|x| x.first_chunk::<T>()) else { break };
            next.ask(l, sub, Q::LEN / 32);
            let weights = ready(l, Q::weights(l, block, sub), add);
            acc = add_grains_of_few::<L, Q, T>(l, weights, &scales, sub, x, acc);
        }
    }
    acc
}

/// One panel times the activations: 16 sums.
#[inline(always)]
fn sum<L: Tier, Q: Quantized>(
    l: L,
    blocks: &[Q::Block],
    x: &[Q8Block],
    mut ahead: Ahead<'_, Q::Block>,
) -> L::F {
    let mut acc = l.splat(0.0);
    for (block, x) in blocks.iter().zip(x.chunks_exact(Q::LEN / 32)) {
        let scales = Q::scales(l, block);
        let next = ahead.next();
        if !L::UNROLL || Q::FROM_MEMORY {
            // What is looked up number by number is much code already.
            for (sub, x) in x.iter().enumerate() {
                next.ask(l, sub, Q::LEN / 32);
                acc = add_sub::<L, Q>(l, block, &scales, sub, x, acc);
            }
        } else if Q::LEN == 256
            && let Some(x) = x.first_chunk::<8>()
        {
            // Unrolled, shifts by what the place in the superblock asks for are constants.
            unroll!(sub < 8 => {
                next.ask(l, sub, 8);
                acc = add_sub::<L, Q>(l, block, &scales, sub, &x[sub], acc);
            });
        } else if Q::LEN == 128
            && let Some(x) = x.first_chunk::<4>()
        {
            unroll!(sub < 4 => {
                next.ask(l, sub, 4);
                acc = add_sub::<L, Q>(l, block, &scales, sub, &x[sub], acc);
            });
        } else if let [x] = x {
            next.ask(l, 0, 1);
            acc = add_sub::<L, Q>(l, block, &scales, 0, x, acc);
        }
    }
    acc
}

/// Adds the products of a block's `sub`-th 32 weights.
#[inline(always)]
fn add_sub<L: Tier, Q: Quantized>(
    l: L,
    block: &Q::Block,
    scales: &Q::Scales<L>,
    sub: usize,
    x: &Q8Block,
    acc: L::F,
) -> L::F {
    let add = if Q::RANGE == Range::S8 { L::S8_BIAS } else { 0 };
    if Q::FROM_MEMORY {
        let weights = ready(l, Q::weights(l, block, sub), add);
        let mut lines = [[0; 64]; 8];
        unroll!(g < 8 => { l.store_bytes(weights[g], &mut lines[g]); });
        let lines = &lines;
        add_grains::<L, Q, _>(l, |first| Unpacked { l, lines, first }, scales, sub, x, acc)
    } else {
        add_grains::<L, Q, _>(l, |first| Packed::<L, Q> { l, block, sub, first, add }, scales, sub, x, acc)
    }
}

/// Adds the products of 32 weights, which `from` gives from a group on.
#[inline(always)]
fn add_grains<L: Tier, Q: Quantized, W: Weights<L::B, 4> + Weights<L::B, 8>>(
    l: L,
    from: impl Fn(usize) -> W,
    scales: &Q::Scales<L>,
    sub: usize,
    x: &Q8Block,
    mut acc: L::F,
) -> L::F {
    let bias = if Q::RANGE == Range::S8 { L::S8_BIAS } else { Q::OFFSET };
    let x_scale = l.splat(x.scale);
    if Q::GRAINS == 1 {
        let isum = l.dot(start::<8>(bias, x, 0), from(0), x.groups::<8>(0), Q::RANGE);
        acc = l.fma(l.to_f32(isum), l.mul(scales.scale(l, sub), x_scale), acc);
    } else {
        let low = l.dot(start::<4>(bias, x, 0), from(0), x.groups::<4>(0), Q::RANGE);
        let high = l.dot(start::<4>(bias, x, 1), from(4), x.groups::<4>(1), Q::RANGE);
        let sum = l.mul(l.to_f32(low), scales.scale(l, 2 * sub));
        let sum = l.fma(l.to_f32(high), scales.scale(l, 2 * sub + 1), sum);
        acc = l.fma(sum, x_scale, acc);
    }
    if Q::MINS && Q::GRAINS == 1 {
        acc = l.fma(scales.min(l, sub), l.splat(x.weighted_sum::<8>(0)), acc);
    } else if Q::MINS {
        acc = l.fma(scales.min(l, 2 * sub), l.splat(x.weighted_sum::<4>(0)), acc);
        acc = l.fma(scales.min(l, 2 * sub + 1), l.splat(x.weighted_sum::<4>(1)), acc);
    }
    acc
}

/// [`add_grains`] for several tokens, for whom the weights are unpacked in registers.
#[inline(always)]
fn add_grains_of_few<L: Tier, Q: Quantized, const T: usize>(
    l: L,
    weights: [L::B; 8],
    scales: &Q::Scales<L>,
    sub: usize,
    x: &[Q8Block; T],
    mut acc: [L::F; T],
) -> [L::F; T] {
    if Q::GRAINS == 1 {
        let isums = grain::<L, Q, T, 8>(l, weights, x, 0);
        let scale = scales.scale(l, sub);
        unroll!(t < T => { acc[t] = l.fma(l.to_f32(isums[t]), l.mul(scale, l.splat(x[t].scale)), acc[t]); });
    } else {
        let [a, b, c, d, e, f, g, h] = weights;
        let low = grain::<L, Q, T, 4>(l, [a, b, c, d], x, 0);
        let scale = scales.scale(l, 2 * sub);
        let mut sums = acc;
        unroll!(t < T => { sums[t] = l.mul(l.to_f32(low[t]), scale); });
        let high = grain::<L, Q, T, 4>(l, [e, f, g, h], x, 1);
        let scale = scales.scale(l, 2 * sub + 1);
        unroll!(t < T => {
            let sum = l.fma(l.to_f32(high[t]), scale, sums[t]);
            acc[t] = l.fma(sum, l.splat(x[t].scale), acc[t]);
        });
    }
    if Q::MINS && Q::GRAINS == 1 {
        let min = scales.min(l, sub);
        unroll!(t < T => { acc[t] = l.fma(min, l.splat(x[t].weighted_sum::<8>(0)), acc[t]); });
    } else if Q::MINS {
        let mins = [scales.min(l, 2 * sub), scales.min(l, 2 * sub + 1)];
        unroll!(t < T => {
            acc[t] = l.fma(mins[0], l.splat(x[t].weighted_sum::<4>(0)), acc[t]);
            acc[t] = l.fma(mins[1], l.splat(x[t].weighted_sum::<4>(1)), acc[t]);
        });
    }
    acc
}

/// The exact dot products of a grain's weights with `T` tokens.
#[inline(always)]
fn grain<L: Tier, Q: Quantized, const T: usize, const G: usize>(
    l: L,
    weights: [L::B; G],
    x: &[Q8Block; T],
    grain: usize,
) -> [L::I; T] {
    let bias = if Q::RANGE == Range::S8 { L::S8_BIAS } else { Q::OFFSET };
    let mut starts = [0; T];
    let mut groups = [x[0].groups::<G>(grain); T];
    unroll!(t < T => {
        starts[t] = start::<G>(bias, &x[t], grain);
        groups[t] = x[t].groups::<G>(grain);
    });
    l.dot_few(starts, weights, groups, Q::RANGE)
}

/// The `sub`-th 32 weights of a block, from the `first` group on, as dot products take them.
struct Packed<'a, L, Q: Quantized> {
    l: L,
    block: &'a Q::Block,
    sub: usize,
    first: usize,
    add: u8,
}

impl<L: Tier, Q: Quantized, const G: usize> Weights<L::B, G> for Packed<'_, L, Q> {
    #[inline(always)]
    fn unpack(&self) -> [L::B; G] {
        let all = ready(self.l, Q::weights(self.l, self.block, self.sub), self.add);
        let mut groups = [all[0]; G];
        unroll!(g < G => { groups[g] = all[self.first + g]; });
        groups
    }
}

/// 32 unpacked weights of each row, from the `first` group on.
struct Unpacked<'a, L> {
    l: L,
    lines: &'a [Line; 8],
    first: usize,
}

impl<L: Tier, const G: usize> Weights<L::B, G> for Unpacked<'_, L> {
    #[inline(always)]
    fn unpack(&self) -> [L::B; G] {
        let mut groups = [self.l.splat_byte(0); G];
        unroll!(g < G => { groups[g] = self.l.load_bytes(&self.lines[self.first + g]); });
        groups
    }
}
