use std::arch::aarch64::*;
use std::arch::asm;

use siskin_quant::TensorType;

use super::super::tier::tier;
use super::super::{Range, Weights, unroll};
use super::{B, Dot, F, I, Neon, fours, load_line, load_x, q4_k, q5_k, q6_k};
use crate::q8::{Fours, Q8Block};

/// `sdot` (Cortex-A55, A76 and later): adds four products of bytes into each 32 bits.
#[derive(Clone, Copy)]
pub(crate) struct Sdot(pub(super) ());

/// Advanced SIMD with dot products, and loops in assembly around them.
pub(crate) type NeonDotprod = Neon<Sdot>;
tier!(for_sdot: NeonDotprod, "neon-dotprod", ["neon" "dotprod"], Neon(Sdot(())), {
    const FOURS: bool = true;

    #[inline(always)]
    fn fours<const GRAINS: usize, const MINS: bool>(self, weights: &[[u8; 64]], x: Fours<'_>) -> [F; 4] {
        // SAFETY: `self` proves that the CPU has `sdot`.
        unsafe { fours::fours::<GRAINS, MINS>(weights, x) }
    }

    #[inline(always)]
    fn panel_sum(self, format: TensorType, blocks: &[u8], x: &[Q8Block]) -> Option<F> {
        self.0.panel_sum(format, blocks, x)
    }
});

impl Sdot {
    /// See [`Tier::panel_sum`](crate::lanes::Tier::panel_sum).
    #[inline(always)]
    pub(super) fn panel_sum(self, format: TensorType, blocks: &[u8], x: &[Q8Block]) -> Option<F> {
        // SAFETY: `self` proves that the CPU has `sdot`.
        unsafe {
            match format {
                TensorType::Q4_K => Some(q4_k::q4_k(blocks.as_chunks().0, x)),
                TensorType::Q5_K => Some(q5_k::q5_k(blocks.as_chunks().0, x)),
                TensorType::Q6_K => Some(q6_k::q6_k(blocks.as_chunks().0, x)),
                _ => None,
            }
        }
    }

    /// Adds to four rows' sums the products of four groups. `vdotq_laneq_s32` is not stable yet.
    #[inline(always)]
    fn add_groups(self, mut sums: int32x4_t, w: [uint8x16_t; 4], x: int8x16_t) -> int32x4_t {
        // SAFETY: works on registers, and `self` proves that the CPU has the instruction. That it leaves memory alone
        // is not said, so that the compiler does not load what it has no registers for yet.
        unsafe {
            asm!(
                ".arch_extension dotprod",
                "sdot {sums:v}.4s, {w0:v}.16b, {x:v}.4b[0]",
                "sdot {sums:v}.4s, {w1:v}.16b, {x:v}.4b[1]",
                "sdot {sums:v}.4s, {w2:v}.16b, {x:v}.4b[2]",
                "sdot {sums:v}.4s, {w3:v}.16b, {x:v}.4b[3]",
                sums = inout(vreg) sums,
                w0 = in(vreg) w[0],
                w1 = in(vreg) w[1],
                w2 = in(vreg) w[2],
                w3 = in(vreg) w[3],
                x = in(vreg) x,
                options(nostack, preserves_flags),
            );
        }
        sums
    }

    /// The `i`-th and the next four rows' sums of one token. Their weights fit the registers.
    #[inline(always)]
    fn dot8<const G: usize>(
        self,
        start: i32,
        i: usize,
        w: &impl Weights<B, G>,
        x: [int8x16_t; 2],
    ) -> [int32x4_t; 2] {
        let weights = w.unpack();
        let (quads, _) = weights.as_chunks::<4>();
        // SAFETY: `self` proves Advanced SIMD.
        let mut sums = unsafe { [vdupq_n_s32(start); 2] };
        if let Some([a, b, c, d]) = quads.first() {
            sums[0] = self.add_groups(sums[0], [a[i], b[i], c[i], d[i]], x[0]);
            sums[1] = self.add_groups(sums[1], [a[i + 1], b[i + 1], c[i + 1], d[i + 1]], x[0]);
        }
        if let Some([a, b, c, d]) = quads.get(1) {
            sums[0] = self.add_groups(sums[0], [a[i], b[i], c[i], d[i]], x[1]);
            sums[1] = self.add_groups(sums[1], [a[i + 1], b[i + 1], c[i + 1], d[i + 1]], x[1]);
        }
        sums
    }

    /// Adds to all rows' sums the products of four groups with those of each token; a line of `w` has four rows' weights.
    #[inline(always)]
    fn add16<const T: usize>(self, mut sums: [I; T], w: &[[u8; 64]; 4], x: [int8x16_t; T]) -> [I; T] {
        unroll!(i < 4 => {
            let w = load_line(&w[i]);
            unroll!(t < T => { sums[t][i] = self.add_groups(sums[t][i], w, x[t]); });
        });
        sums
    }
}

impl Dot for Sdot {
    const TILE: usize = 2;

    #[inline(always)]
    fn dot<const G: usize>(self, start: i32, w: impl Weights<B, G>, x: &[[i8; 4]; G], _: Range) -> I {
        let (x, _) = x.as_chunks();
        let x = [load_x(&x[0]), load_x(&x[G / 4 - 1])];
        let [a, b] = self.dot8::<G>(start, 0, &w, x);
        let [c, d] = self.dot8::<G>(start, 2, &w, x);
        [a, b, c, d]
    }

    /// Puts four groups of each four rows together.
    #[inline(always)]
    fn arrange(self, w: [B; 8]) -> [B; 8] {
        let mut lines = w;
        unroll!(g < 8 => {
            unroll!(i < 4 => { lines[g][i] = w[g / 4 * 4 + i][g % 4]; });
        });
        lines
    }

    #[inline(always)]
    fn dots<const T: usize, const G: usize>(
        self,
        start: [i32; T],
        w: &[[u8; 64]; G],
        x: [&[[i8; 4]; G]; T],
        _: Range,
    ) -> [I; T] {
        let (w, _) = w.as_chunks();
        let (low, high) = (quarter(x, 0), quarter(x, G / 4 - 1));
        // SAFETY: `self` proves Advanced SIMD.
        let mut sums = unsafe { [[vdupq_n_s32(start[0]); 4]; T] };
        // SAFETY: the same.
        unroll!(t < T => { sums[t] = unsafe { [vdupq_n_s32(start[t]); 4] }; });
        sums = self.add16(sums, &w[0], low);
        if G == 8 {
            sums = self.add16(sums, &w[G / 4 - 1], high);
        }
        sums
    }
}

/// The `q`-th 16 activations of each token.
#[inline(always)]
fn quarter<const T: usize, const G: usize>(x: [&[[i8; 4]; G]; T], q: usize) -> [int8x16_t; T] {
    let mut quarters = [load_x(&x[0].as_chunks().0[q]); T];
    unroll!(t < T => { quarters[t] = load_x(&x[t].as_chunks().0[q]); });
    quarters
}
