use std::arch::aarch64::*;
use std::arch::asm;

use super::super::tier::tier;
use super::super::{Range, Weights, unroll};
use super::{B, Dot, I, Neon, load_line, load_x};

/// `smlal`, which every 64-bit ARM has (Cortex-A53, A72): adds products of bytes into 16 bits.
#[derive(Clone, Copy)]
pub(crate) struct Mla(());

/// Advanced SIMD as every 64-bit ARM has it.
pub(crate) type NeonMla = Neon<Mla>;

impl NeonMla {
    /// On every AArch64 CPU: Advanced SIMD is part of all its targets that Rust's `std` supports.
    #[cfg_attr(feature = "scalar", expect(dead_code))] // The scalar tier is what all have then.
    pub(crate) const BASELINE: Self = Neon(Mla(()));
}

tier!(for_mla: NeonMla, "neon", ["neon"], Neon(Mla(())));

/// Products that 16 bits hold the sum of: 15 · 127 · 8, 31 · 127 · 8, 63 · 127 · 4 and 128 · 127 · 2 are below 2¹⁵.
fn steps(range: Range) -> usize {
    match range {
        Range::U4 | Range::U5 => 8,
        Range::U6 => 4,
        Range::S8 => 2,
    }
}

/// Four rows' sums of products: two rows to a register, four sums of each, or two.
type Narrow = [int16x8_t; 2];
type Wide = [int32x4_t; 2];

/// The products of four rows' weights with a group's activations, added to `sums` unless they are the first.
#[inline(always)]
fn add_products(sums: Narrow, first: bool, w: uint8x16_t, x: int8x16_t) -> Narrow {
    // SAFETY: Advanced SIMD is part of every AArch64 target that Rust's `std` supports.
    unsafe {
        let w = vreinterpretq_s8_u8(w);
        let (low, x_low) = (vget_low_s8(w), vget_low_s8(x));
        match first {
            true => [vmull_s8(low, x_low), vmull_high_s8(w, x)],
            false => [vmlal_s8(sums[0], low, x_low), vmlal_high_s8(sums[1], w, x)],
        }
    }
}

/// Adds neighbours, and the result to `sums` unless it is the first.
#[inline(always)]
fn add_pairs(sums: Wide, first: bool, narrow: Narrow) -> Wide {
    // SAFETY: as in `add_products`.
    unsafe {
        match first {
            true => [vpaddlq_s16(narrow[0]), vpaddlq_s16(narrow[1])],
            false => [vpadalq_s16(sums[0], narrow[0]), vpadalq_s16(sums[1], narrow[1])],
        }
    }
}

/// Each row's sum, added to `start`.
#[inline(always)]
fn add_rows(start: i32, sums: Wide) -> int32x4_t {
    // SAFETY: as in `add_products`. The addition never saturates; of plain ones the compiler would take the pairwise
    // addition apart.
    unsafe { vqaddq_s32(vdupq_n_s32(start), vpaddq_s32(sums[0], sums[1])) }
}

/// The `lane`-th group's activations once for each row of a register.
#[inline(always)]
fn splat(x: int8x16_t, lane: usize) -> int8x16_t {
    match lane {
        0 => splat_lane::<0>(x),
        1 => splat_lane::<1>(x),
        2 => splat_lane::<2>(x),
        _ => splat_lane::<3>(x),
    }
}

/// `vdupq_laneq_s32`, not understood by the compiler: it would take another register for the lower half alone, and
/// then not see that `smull2` takes the upper one.
#[inline(always)]
fn splat_lane<const LANE: i32>(x: int8x16_t) -> int8x16_t {
    let out;
    // SAFETY: works on registers only; every AArch64 CPU has the instruction.
    unsafe {
        asm!(
            "dup {out:v}.4s, {x:v}.s[{lane}]",
            out = lateout(vreg) out,
            x = in(vreg) x,
            lane = const LANE,
            options(pure, nomem, nostack, preserves_flags),
        );
    }
    out
}

/// Four rows' dot products with `T` tokens, whose activations are spread out already.
#[inline(always)]
fn dot_rows<const T: usize, const G: usize>(
    start: [i32; T],
    w: impl Fn(usize) -> uint8x16_t,
    x: [[int8x16_t; G]; T],
    range: Range,
) -> [int32x4_t; T] {
    let steps = steps(range).min(G);
    // SAFETY: as in `add_products`.
    let (mut narrow, mut wide) = unsafe { ([[vdupq_n_s16(0); 2]; T], [[vdupq_n_s32(0); 2]; T]) };
    unroll!(g < G => {
        let w = w(g);
        unroll!(t < T => {
            narrow[t] = add_products(narrow[t], g.is_multiple_of(steps), w, x[t][g]);
            if (g + 1).is_multiple_of(steps) {
                wide[t] = add_pairs(wide[t], g < steps, narrow[t]);
            }
        });
    });
    let mut sums = [wide[0][0]; T];
    unroll!(t < T => { sums[t] = add_rows(start[t], wide[t]); });
    sums
}

/// Each group's activations once for each row of a register.
#[inline(always)]
fn spread<const G: usize>(x: &[[i8; 4]; G]) -> [int8x16_t; G] {
    let (x, _) = x.as_chunks::<4>();
    let mut spread = [load_x(&x[0]); G];
    unroll!(g < G => { spread[g] = splat(load_x(&x[g / 4]), g % 4); });
    spread
}

impl Dot for Mla {
    const TILE: usize = 2;

    #[inline(always)]
    fn dot<const G: usize>(self, start: i32, w: impl Weights<B, G>, x: &[[i8; 4]; G], range: Range) -> I {
        let (w, x) = (w.unpack(), spread(x));
        let rows = |i: usize| {
            let [sums] = dot_rows([start], |g| w[g][i], [x], range);
            sums
        };
        [rows(0), rows(1), rows(2), rows(3)]
    }

    #[inline(always)]
    fn dots<const T: usize, const G: usize>(
        self,
        start: [i32; T],
        w: &[[u8; 64]; G],
        x: [&[[i8; 4]; G]; T],
        range: Range,
    ) -> [I; T] {
        let mut spread_x = [spread(x[0]); T];
        unroll!(t < T => { spread_x[t] = spread(x[t]); });
        let rows = |i: usize| dot_rows(start, |g| load_line(&w[g])[i], spread_x, range);
        let [a, b, c, d] = [rows(0), rows(1), rows(2), rows(3)];
        let mut sums = [[a[0]; 4]; T];
        unroll!(t < T => { sums[t] = [a[t], b[t], c[t], d[t]]; });
        sums
    }
}
