use std::arch::aarch64::*;
use std::arch::asm;

use siskin_quant::TensorType;

use super::super::tier::tier;
use super::super::{Range, Weights, unroll};
use super::sdot::Sdot;
use super::{B, Dot, F, I, Neon, load_line, load_x};
use crate::q8::Q8Block;

/// `smmla` (Cortex-A510, A710, X2 and later): adds the dot products of eight bytes of two rows with those of two
/// tokens into four times 32 bits. One token's products are formed with `sdot`, which such CPUs have too.
#[derive(Clone, Copy)]
pub(crate) struct Smmla(Sdot);

/// Advanced SIMD with matrix products.
pub(crate) type NeonI8mm = Neon<Smmla>;
tier!(for_smmla: NeonI8mm, "neon-i8mm", ["neon" "dotprod" "i8mm"], Neon(Smmla(Sdot(()))), {
    #[inline(always)]
    fn panel_sum(self, format: TensorType, blocks: &[u8], x: &[Q8Block]) -> Option<F> {
        self.0.0.panel_sum(format, blocks, x)
    }
});

/// `vmmlaq_s32`, which is not stable yet.
///
/// # Safety
/// The CPU has `i8mm`.
#[inline(always)]
unsafe fn smmla(mut sums: int32x4_t, w: uint8x16_t, x: int8x16_t) -> int32x4_t {
    // SAFETY: works on registers only; the CPU has it, as the caller promises.
    unsafe {
        asm!(
            ".arch_extension i8mm",
            "smmla {sums:v}.4s, {w:v}.16b, {x:v}.16b",
            sums = inout(vreg) sums,
            w = in(vreg) w,
            x = in(vreg) x,
            options(pure, nomem, nostack, preserves_flags),
        );
    }
    sums
}

/// Two tokens' sums as `smmla` adds to them: two rows in each register, the first's sum with either token first.
type Pair = [int32x4_t; 8];

/// Parts two tokens' sums.
#[inline(always)]
fn part(sums: Pair) -> (I, I) {
    let (mut a, mut b) = ([sums[0]; 4], [sums[0]; 4]);
    unroll!(i < 4 => {
        // SAFETY: Advanced SIMD is part of every AArch64 target that Rust's `std` supports.
        unsafe {
            a[i] = vuzp1q_s32(sums[2 * i], sums[2 * i + 1]);
            b[i] = vuzp2q_s32(sums[2 * i], sums[2 * i + 1]);
        }
    });
    (a, b)
}

impl Smmla {
    /// Adds the products of two groups' weights with two tokens' activations.
    #[inline(always)]
    fn add_groups(self, mut sums: Pair, w: [B; 2], x: int8x16_t) -> Pair {
        unroll!(i < 8 => {
            // SAFETY: `self` proves `i8mm`.
            sums[i] = unsafe { smmla(sums[i], w[i % 2][i / 2], x) };
        });
        sums
    }

    /// The dot products of two tokens.
    #[inline(always)]
    fn pair<const G: usize>(self, start: [i32; 2], w: &[[u8; 64]; G], x: [&[[i8; 4]; G]; 2]) -> Pair {
        // SAFETY: as in `part`.
        let mut sums = unsafe {
            let (a, b) = (vdup_n_s32(start[0]), vdup_n_s32(start[1]));
            [vcombine_s32(vzip1_s32(a, b), vzip1_s32(a, b)); 8]
        };
        unroll!(q < G / 4 => {
            let (a, b) = (load_x(&x[0].as_chunks().0[q]), load_x(&x[1].as_chunks().0[q]));
            // SAFETY: as in `part`.
            let (low, high) = unsafe {
                let (a, b) = (vreinterpretq_s64_s8(a), vreinterpretq_s64_s8(b));
                (vreinterpretq_s8_s64(vzip1q_s64(a, b)), vreinterpretq_s8_s64(vzip2q_s64(a, b)))
            };
            sums = self.add_groups(sums, [load_line(&w[4 * q]), load_line(&w[4 * q + 1])], low);
            sums = self.add_groups(sums, [load_line(&w[4 * q + 2]), load_line(&w[4 * q + 3])], high);
        });
        sums
    }
}

impl Dot for Smmla {
    const TILE: usize = 2;

    #[inline(always)]
    fn dot<const G: usize>(self, start: i32, w: impl Weights<B, G>, x: &[[i8; 4]; G], range: Range) -> I {
        self.0.dot(start, w, x, range)
    }

    /// Puts eight bytes of each row together: rows 0 and 1 of every four in a pair's first group, 2 and 3 in its second.
    #[inline(always)]
    fn arrange(self, w: [B; 8]) -> [B; 8] {
        let mut pairs = w;
        unroll!(g < 8 => {
            unroll!(i < 4 => {
                // SAFETY: as in `part`.
                pairs[g][i] = unsafe {
                    let first = vreinterpretq_u32_u8(w[g / 2 * 2][i]);
                    let second = vreinterpretq_u32_u8(w[g / 2 * 2 + 1][i]);
                    let zip = if g.is_multiple_of(2) { vzip1q_u32(first, second) } else { vzip2q_u32(first, second) };
                    vreinterpretq_u8_u32(zip)
                };
            });
        });
        pairs
    }

    #[inline(always)]
    fn dots<const T: usize, const G: usize>(
        self,
        start: [i32; T],
        w: &[[u8; 64]; G],
        x: [&[[i8; 4]; G]; T],
        _: Range,
    ) -> [I; T] {
        // SAFETY: as in `part`.
        let mut sums = unsafe { [[vdupq_n_s32(0); 4]; T] };
        if T == 1 {
            (sums[0], _) = part(self.pair([start[0]; 2], w, [x[0]; 2]));
        }
        unroll!(i < T / 2 => {
            let (a, b) = (2 * i, 2 * i + 1);
            (sums[a], sums[b]) = part(self.pair([start[a], start[b]], w, [x[a], x[b]]));
        });
        sums
    }
}
