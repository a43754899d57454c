use std::marker::PhantomData;
use std::slice::ChunksExact;

use super::{Activations, At, Output, Product, ready, start};
use crate::arena::Tile;
use crate::formats::{Quantized, Scales};
use crate::kernels::Kernels;
use crate::lanes::{Op, Range, Tier, unroll};
use crate::q8::{Fours, Q8Block, TILE};

/// 64 bytes of unpacked weights: four bytes, or one f32, of each of 16 rows.
pub type Line = [u8; 64];

/// Lines that 32 weights of each row of a panel take: eight of weights, then a scale for each grain, then a minimum
/// for each where the format has them.
pub(super) const fn lines<Q: Quantized>() -> usize {
    lines_of(Q::GRAINS, Q::MINS)
}

const fn lines_of(grains: usize, mins: bool) -> usize {
    8 + if mins { 2 * grains } else { grains }
}

/// Multiplies with several tokens' activations, as many panels at a time as `scratch` has room for.
pub(super) fn gemm<Q: Quantized>(
    kernels: Kernels,
    product: &Product<'_>,
    scratch: &mut [Line],
    out: &mut Tile<'_>,
) {
    const { assert!(has_form(Q::RANGE, Q::GRAINS, Q::MINS) && !(Q::MINS && Q::OFFSET != 0)) };
    let per_panel = (product.k / Q::LEN).max(1);
    let panel_lines = lines::<Q>() * (product.k / 32);
    assert!(scratch.len() >= panel_lines, "scratch holds a panel");
    let together = scratch.len() / panel_lines.max(1);
    for (round, blocks) in Q::blocks(product.panels).chunks(per_panel * together).enumerate() {
        let weights = &mut scratch[..panel_lines * (blocks.len() / per_panel)];
        kernels.run(Unpack::<Q> { blocks, to: weights });
        let &Product { k, x, output, .. } = product;
        let unpacked = Unpacked {
            weights,
            k,
            offset: Q::OFFSET,
            x,
            output,
            first_panel: round * together,
            out: &mut *out,
        };
        multiply(kernels, (Q::RANGE, Q::GRAINS, Q::MINS), unpacked);
    }
}

/// Unpacks whole panels.
struct Unpack<'a, Q: Quantized> {
    blocks: &'a [Q::Block],
    /// [`lines`] for each 32 weights of a row.
    to: &'a mut [Line],
}

impl<Q: Quantized> Op for Unpack<'_, Q> {
    type Out = ();

    #[inline(always)]
    fn run<L: Tier>(self, l: L) {
        let add = match Q::RANGE {
            Range::S8 => L::S8_BIAS,
            _ if L::SIGNED => Q::OFFSET.wrapping_neg(),
            _ => 0,
        };
        for (block, to) in self.blocks.iter().zip(self.to.chunks_exact_mut(lines::<Q>() * (Q::LEN / 32))) {
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
}

/// What is left of a format once its weights are bytes. Formats that agree in it are multiplied by the same code, which
/// is compiled once for each tier.
trait Form: 'static {
    const RANGE: Range;
    const GRAINS: usize;
    const MINS: bool;
}

/// Declares the forms: their names, and [`Quantized::RANGE`], [`Quantized::GRAINS`] and [`Quantized::MINS`].
macro_rules! forms {
    ($($name:ident: $range:ident, $grains:literal, $mins:literal;)*) => {
        $(
            struct $name;

            impl Form for $name {
                const RANGE: Range = Range::$range;
                const GRAINS: usize = $grains;
                const MINS: bool = $mins;
            }
        )*

        /// Whether a format's weights can be multiplied.
        const fn has_form(range: Range, grains: usize, mins: bool) -> bool {
            matches!((range, grains, mins), $((Range::$range, $grains, $mins))|*)
        }

        /// Multiplies unpacked weights of a form, which [`has_form`].
        fn multiply(kernels: Kernels, form: (Range, usize, bool), unpacked: Unpacked<'_, '_>) {
            match form {
                $((Range::$range, $grains, $mins) => {
                    kernels.run(Multiply::<$name> { unpacked, form: PhantomData });
                })*
                _ => (),
            }
        }
    };
}

forms! {
    U4: U4, 1, false;
    U4Mins: U4, 1, true;
    U4Grains: U4, 2, false;
    U4GrainsMins: U4, 2, true;
    U5: U5, 1, false;
    U5Mins: U5, 1, true;
    U5Grains: U5, 2, false;
    U6: U6, 1, false;
    U6Grains: U6, 2, false;
    S8: S8, 1, false;
    S8Grains: S8, 2, false;
}

/// Unpacked panels, and what they are multiplied with.
struct Unpacked<'a, 'p> {
    /// For each 32 weights of a row [`lines`], panel after panel.
    weights: &'a [Line],
    /// Numbers of a row.
    k: usize,
    /// [`Quantized::OFFSET`].
    offset: u8,
    x: Activations<'a>,
    output: Output,
    /// The first panel's place in `out`.
    first_panel: usize,
    out: &'a mut Tile<'p>,
}

struct Multiply<'a, 'p, F> {
    unpacked: Unpacked<'a, 'p>,
    form: PhantomData<F>,
}

impl<F: Form> Op for Multiply<'_, '_, F> {
    type Out = ();

    #[inline(always)]
    fn run<L: Tier>(self, l: L) {
        let Unpacked { weights, k, offset, x, output, first_panel, out } = self.unpacked;
        let per_token = k / 32;
        let panel_lines = (lines_of(F::GRAINS, F::MINS) * per_token).max(1);
        for (tile, x) in x.q.chunks(TILE * per_token).enumerate() {
            for (panel, weights) in weights.chunks_exact(panel_lines).enumerate() {
                let panel = first_panel + panel;
                let width = x.len() / per_token;
                let mut first = 0;
                while first < width {
                    let mut at = At { out: &mut *out, output, panel, token: TILE * tile + first };
                    let left = width - first;
                    if L::FOURS && left >= 4 {
                        let x = Fours { blocks: &x[first..], width };
                        first += at.put::<L, 4>(l, fours::<L, F>(l, weights, x));
                        continue;
                    }
                    let x = x.chunks_exact(width);
                    first += if L::EIGHT && left >= 8 {
                        at.put::<L, 8>(l, sums::<L, F, 8>(l, weights, x, first, offset))
                    } else if L::FOUR && left >= 4 {
                        at.put::<L, 4>(l, sums::<L, F, 4>(l, weights, x, first, offset))
                    } else if L::TWO && left >= 2 {
                        at.put::<L, 2>(l, sums::<L, F, 2>(l, weights, x, first, offset))
                    } else {
                        at.put::<L, 1>(l, sums::<L, F, 1>(l, weights, x, first, offset))
                    };
                }
            }
        }
    }
}

/// One unpacked panel times four tokens.
#[inline(always)]
fn fours<L: Tier, F: Form>(l: L, weights: &[Line], x: Fours<'_>) -> [L::F; 4] {
    match (F::GRAINS, F::MINS) {
        (1, false) => l.fours::<1, false>(weights, x),
        (1, true) => l.fours::<1, true>(weights, x),
        (_, false) => l.fours::<2, false>(weights, x),
        (_, true) => l.fours::<2, true>(weights, x),
    }
}

/// One unpacked panel times `T` tokens of a tile, from its `first`: 16 sums for each. `x` are the tile's blocks.
#[inline(always)]
fn sums<L: Tier, F: Form, const T: usize>(
    l: L,
    weights: &[Line],
    mut x: ChunksExact<'_, Q8Block>,
    first: usize,
    offset: u8,
) -> [L::F; T] {
    let mut acc = [l.splat(0.0); T];
    // Not zipped: that would multiply indices where pointers can be moved on.
    for lines in weights.chunks_exact(lines_of(F::GRAINS, F::MINS)) {
        let Some((weights, floats)) = lines.split_first_chunk() else { break };
        let Some(x) = x.next().and_then(|x| x.get(first..)?.first_chunk()) else { break };
        if F::GRAINS == 1 {
            let isums = isums::<L, F, T, 8>(l, weights, x, 0, offset);
            let scale = l.load_f32(&floats[0]);
            unroll!(t < T => {
                acc[t] = l.fma(l.to_f32(isums[t]), l.mul(scale, l.splat(x[t].scale)), acc[t]);
            });
        } else if let [low, high] = weights.as_chunks().0 {
            let isums_low = isums::<L, F, T, 4>(l, low, x, 0, offset);
            let scale = l.load_f32(&floats[0]);
            let mut sums = [l.splat(0.0); T];
            unroll!(t < T => { sums[t] = l.mul(l.to_f32(isums_low[t]), scale); });
            let isums = isums::<L, F, T, 4>(l, high, x, 1, offset);
            let scale = l.load_f32(&floats[1]);
            unroll!(t < T => {
                let sum = l.fma(l.to_f32(isums[t]), scale, sums[t]);
                acc[t] = l.fma(sum, l.splat(x[t].scale), acc[t]);
            });
        }
        if F::MINS {
            for grain in 0..F::GRAINS {
                let min = l.load_f32(&floats[F::GRAINS + grain]);
                unroll!(t < T => {
                    let sum = if F::GRAINS == 1 { x[t].weighted_sum::<8>(0) } else { x[t].weighted_sum::<4>(grain) };
                    acc[t] = l.fma(min, l.splat(sum), acc[t]);
                });
            }
        }
    }
    acc
}

/// The integer dot products of a grain of `4 * G` weights with several tokens' activations.
#[inline(always)]
fn isums<L: Tier, F: Form, const T: usize, const G: usize>(
    l: L,
    weights: &[Line; G],
    x: &[Q8Block; T],
    grain: usize,
    offset: u8,
) -> [L::I; T] {
    // By how much the weights are too large. Those with minimums have no offset.
    let bias = match F::RANGE {
        Range::S8 => L::S8_BIAS,
        _ if L::SIGNED || F::MINS => 0,
        _ => offset,
    };
    let starts = std::array::from_fn(|t| start::<G>(bias, &x[t], grain));
    let groups = std::array::from_fn(|t| x[t].groups::<G>(grain));
    l.dots(starts, weights, groups, F::RANGE)
}
