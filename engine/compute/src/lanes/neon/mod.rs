mod fours;
mod mla;
mod q4_k;
mod q5_k;
mod q6_k;
mod sdot;
mod smmla;
mod superblocks;

use std::arch::aarch64::*;

pub(crate) use mla::NeonMla;
pub(crate) use sdot::NeonDotprod;
pub(crate) use smmla::NeonI8mm;

use super::{ByteLanes, Lanes, Range, Weights, unroll};

/// Advanced SIMD: sixteen lanes are four registers. `D` is the instruction that dot products are formed with, which is
/// all that its tiers differ in.
#[derive(Clone, Copy)]
pub(crate) struct Neon<D>(D);

type F = [float32x4_t; 4];
type I = [int32x4_t; 4];
type B = [uint8x16_t; 4];

/// What one load sets four registers to zero from.
static ZEROS: [u8; 64] = [0; 64];

/// An instruction that forms dot products, with those of [`ByteLanes`] made of it. A value proves that the CPU has it.
pub(crate) trait Dot: Copy + Send + Sync + 'static {
    const TILE: usize;

    fn dot<const G: usize>(self, start: i32, w: impl Weights<B, G>, x: &[[i8; 4]; G], range: Range) -> I;

    fn arrange(self, w: [B; 8]) -> [B; 8] {
        w
    }

    fn dots<const T: usize, const G: usize>(
        self,
        start: [i32; T],
        w: &[[u8; 64]; G],
        x: [&[[i8; 4]; G]; T],
        range: Range,
    ) -> [I; T];
}

/// Applies an intrinsic to all four quarters of its vectors.
macro_rules! each {
    ($f:ident $(::<$n:tt>)? ($($a:expr),*)) => {
        // SAFETY: `self` proves that the CPU has Advanced SIMD.
        unsafe { [$f$(::<$n>)?($($a[0]),*), $f$(::<$n>)?($($a[1]),*), $f$(::<$n>)?($($a[2]),*), $f$(::<$n>)?($($a[3]),*)] }
    };
}

/// The definition's maximum: `fmax` would give NaN where either operand is one.
#[inline(always)]
fn max4(a: float32x4_t, b: float32x4_t) -> float32x4_t {
    // SAFETY: Advanced SIMD is part of every AArch64 target that Rust's `std` supports.
    unsafe { vbslq_f32(vcgtq_f32(a, b), a, b) }
}

/// Widens 16 bytes to four registers of u32.
#[inline(always)]
fn widen_u8(x: uint8x16_t) -> [uint32x4_t; 4] {
    // SAFETY: as in `max4`.
    unsafe {
        let (low, high) = (vmovl_u8(vget_low_u8(x)), vmovl_high_u8(x));
        [
            vmovl_u16(vget_low_u16(low)),
            vmovl_high_u16(low),
            vmovl_u16(vget_low_u16(high)),
            vmovl_high_u16(high),
        ]
    }
}

/// Shifts every u16 up by 16 bits: the f32 whose upper half it is.
#[inline(always)]
fn raise(x: uint16x4_t) -> float32x4_t {
    // SAFETY: as in `max4`.
    unsafe { vreinterpretq_f32_u32(vshll_n_u16::<16>(x)) }
}

/// 64 bytes, as one instruction loads them.
#[inline(always)]
fn load_line(bytes: &[u8; 64]) -> B {
    // SAFETY: the read covers the array.
    let uint8x16x4_t(a, b, c, d) = unsafe { vld1q_u8_x4(bytes.as_ptr()) };
    [a, b, c, d]
}

/// 16 activations: four groups of four.
#[inline(always)]
fn load_x(x: &[[i8; 4]; 4]) -> int8x16_t {
    // SAFETY: the read covers the array.
    unsafe { vld1q_s8(x.as_flattened().as_ptr()) }
}

impl<D: Dot> Lanes for Neon<D> {
    type F = F;
    type I = I;

    const TILE: usize = D::TILE;

    #[inline(always)]
    fn prefetch(self, line: &[u8; 64]) {
        // SAFETY: a hint, which changes nothing; the intrinsic is not stable yet.
        unsafe {
            std::arch::asm!("prfm pldl1keep, [{}]", in(reg) line.as_ptr(), options(readonly, nostack, preserves_flags));
        }
    }
    #[inline(always)]
    fn splat(self, x: f32) -> Self::F {
        // SAFETY: `self` proves Advanced SIMD.
        unsafe { [vdupq_n_f32(x); 4] }
    }
    #[inline(always)]
    fn load(self, x: &[f32; 16]) -> Self::F {
        // SAFETY: the four reads cover the array.
        unsafe {
            let p = x.as_ptr();
            [vld1q_f32(p), vld1q_f32(p.add(4)), vld1q_f32(p.add(8)), vld1q_f32(p.add(12))]
        }
    }
    #[inline(always)]
    fn store(self, x: Self::F, to: &mut [f32; 16]) {
        // SAFETY: the four writes cover the array.
        unsafe {
            let p = to.as_mut_ptr();
            vst1q_f32(p, x[0]);
            vst1q_f32(p.add(4), x[1]);
            vst1q_f32(p.add(8), x[2]);
            vst1q_f32(p.add(12), x[3]);
        }
    }
    #[inline(always)]
    fn load_f32(self, bytes: &[u8; 64]) -> Self::F {
        let x = self.load_bytes(bytes);
        each!(vreinterpretq_f32_u8(x))
    }
    #[inline(always)]
    fn store_f32(self, x: Self::F, to: &mut [u8; 64]) {
        self.store_bytes(each!(vreinterpretq_u8_f32(x)), to);
    }
    #[inline(always)]
    fn load_f16(self, bytes: &[u8; 32]) -> Self::F {
        // SAFETY: the two reads cover the array and need no alignment.
        unsafe {
            let p: *const u16 = bytes.as_ptr().cast();
            let (low, high) =
                (vreinterpretq_f16_u16(vld1q_u16(p)), vreinterpretq_f16_u16(vld1q_u16(p.add(8))));
            [
                vcvt_f32_f16(vget_low_f16(low)),
                vcvt_high_f32_f16(low),
                vcvt_f32_f16(vget_low_f16(high)),
                vcvt_high_f32_f16(high),
            ]
        }
    }
    #[inline(always)]
    fn load_bf16(self, bytes: &[u8; 32]) -> Self::F {
        // SAFETY: the four reads cover the array and need no alignment.
        unsafe {
            let p: *const u16 = bytes.as_ptr().cast();
            [
                raise(vld1_u16(p)),
                raise(vld1_u16(p.add(4))),
                raise(vld1_u16(p.add(8))),
                raise(vld1_u16(p.add(12))),
            ]
        }
    }
    #[inline(always)]
    fn load_u8(self, bytes: &[u8; 16]) -> Self::F {
        // SAFETY: the read covers the array.
        let x = widen_u8(unsafe { vld1q_u8(bytes.as_ptr()) });
        each!(vcvtq_f32_u32(x))
    }
    #[inline(always)]
    fn load_i8(self, bytes: &[u8; 16]) -> Self::F {
        // SAFETY: the read covers the array.
        unsafe {
            let x = vld1q_s8(bytes.as_ptr().cast());
            let (low, high) = (vmovl_s8(vget_low_s8(x)), vmovl_high_s8(x));
            [
                vcvtq_f32_s32(vmovl_s16(vget_low_s16(low))),
                vcvtq_f32_s32(vmovl_high_s16(low)),
                vcvtq_f32_s32(vmovl_s16(vget_low_s16(high))),
                vcvtq_f32_s32(vmovl_high_s16(high)),
            ]
        }
    }

    #[inline(always)]
    fn add(self, a: Self::F, b: Self::F) -> Self::F {
        each!(vaddq_f32(a, b))
    }
    #[inline(always)]
    fn sub(self, a: Self::F, b: Self::F) -> Self::F {
        each!(vsubq_f32(a, b))
    }
    #[inline(always)]
    fn mul(self, a: Self::F, b: Self::F) -> Self::F {
        each!(vmulq_f32(a, b))
    }
    #[inline(always)]
    fn div(self, a: Self::F, b: Self::F) -> Self::F {
        each!(vdivq_f32(a, b))
    }
    #[inline(always)]
    fn fma(self, a: Self::F, b: Self::F, c: Self::F) -> Self::F {
        each!(vfmaq_f32(c, a, b))
    }
    #[inline(always)]
    fn max(self, a: Self::F, b: Self::F) -> Self::F {
        [max4(a[0], b[0]), max4(a[1], b[1]), max4(a[2], b[2]), max4(a[3], b[3])]
    }
    #[inline(always)]
    fn select_lt(self, a: Self::F, b: Self::F, x: Self::F, y: Self::F) -> Self::F {
        let less = each!(vcltq_f32(a, b));
        each!(vbslq_f32(less, x, y))
    }
    #[inline(always)]
    fn swap_pairs(self, x: Self::F) -> Self::F {
        each!(vrev64q_f32(x))
    }
    #[inline(always)]
    fn fold_add(self, x: Self::F) -> f32 {
        // SAFETY: `self` proves Advanced SIMD.
        unsafe {
            let x = vaddq_f32(vaddq_f32(x[0], x[2]), vaddq_f32(x[1], x[3]));
            let x = vadd_f32(vget_low_f32(x), vget_high_f32(x));
            vget_lane_f32::<0>(x) + vget_lane_f32::<1>(x)
        }
    }
    #[inline(always)]
    fn fold_max(self, x: Self::F) -> f32 {
        let x = max4(max4(x[0], x[2]), max4(x[1], x[3]));
        // SAFETY: `self` proves Advanced SIMD.
        unsafe {
            let (low, high) = (vget_low_f32(x), vget_high_f32(x));
            let x = vbsl_f32(vcgt_f32(low, high), low, high);
            let (a, b) = (vget_lane_f32::<0>(x), vget_lane_f32::<1>(x));
            if a > b { a } else { b }
        }
    }

    #[inline(always)]
    fn splat_i32(self, x: i32) -> Self::I {
        // SAFETY: `self` proves Advanced SIMD.
        unsafe { [vdupq_n_s32(x); 4] }
    }
    #[inline(always)]
    fn add_i32(self, a: Self::I, b: Self::I) -> Self::I {
        each!(vaddq_s32(a, b))
    }
    #[inline(always)]
    fn to_f32(self, x: Self::I) -> Self::F {
        each!(vcvtq_f32_s32(x))
    }
    #[inline(always)]
    fn round(self, x: Self::F) -> Self::I {
        each!(vcvtnq_s32_f32(x))
    }
    #[inline(always)]
    fn exp2(self, n: Self::I) -> Self::F {
        let n = self.add_i32(n, self.splat_i32(127));
        let n = each!(vshlq_n_s32::<23>(n));
        each!(vreinterpretq_f32_s32(n))
    }
    #[inline(always)]
    fn max_abs_bits(self, x: Self::F) -> u32 {
        let x = each!(vabsq_f32(x));
        let x = each!(vreinterpretq_u32_f32(x));
        // SAFETY: `self` proves Advanced SIMD.
        unsafe { vmaxvq_u32(vmaxq_u32(vmaxq_u32(x[0], x[1]), vmaxq_u32(x[2], x[3]))) }
    }
    #[inline(always)]
    fn store_i8(self, x: Self::I, to: &mut [i8; 16]) {
        // SAFETY: `self` proves Advanced SIMD; the write covers the array.
        unsafe {
            let low = vcombine_s16(vmovn_s32(x[0]), vmovn_s32(x[1]));
            let high = vcombine_s16(vmovn_s32(x[2]), vmovn_s32(x[3]));
            vst1q_s8(to.as_mut_ptr(), vcombine_s8(vmovn_s16(low), vmovn_s16(high)));
        }
    }
}

/// All bits of each byte where [`ByteLanes::spread_bits`] finds one set.
#[inline(always)]
fn are_set(a: B, group: usize) -> B {
    // SAFETY: every 64-bit ARM has Advanced SIMD.
    unsafe {
        let byte = (group / 2) as u32 * 0x0101_0101;
        let rows: [u32; 4] = [byte, byte + 0x0404_0404, byte + 0x0808_0808, byte + 0x0c0c_0c0c];
        let from = vreinterpretq_u8_u32(vld1q_u32(rows.as_ptr()));
        let bit = vreinterpretq_u8_u32(vdupq_n_u32(0x0804_0201 << (4 * (group % 2))));
        let is_set = |x| vtstq_u8(vqtbl1q_u8(x, from), bit);
        [is_set(a[0]), is_set(a[1]), is_set(a[2]), is_set(a[3])]
    }
}

impl<D: Dot> ByteLanes for Neon<D> {
    type B = B;

    const SIGNED: bool = true;

    #[inline(always)]
    fn load_bytes(self, bytes: &[u8; 64]) -> Self::B {
        load_line(bytes)
    }
    #[inline(always)]
    fn store_bytes(self, x: Self::B, to: &mut [u8; 64]) {
        // SAFETY: the write covers the array.
        unsafe { vst1q_u8_x4(to.as_mut_ptr(), uint8x16x4_t(x[0], x[1], x[2], x[3])) }
    }
    #[inline(always)]
    fn splat_byte(self, x: u8) -> Self::B {
        // SAFETY: `self` proves Advanced SIMD.
        unsafe { [vdupq_n_u8(x); 4] }
    }
    #[inline(always)]
    fn and(self, a: Self::B, b: Self::B) -> Self::B {
        each!(vandq_u8(a, b))
    }
    #[inline(always)]
    fn or(self, a: Self::B, b: Self::B) -> Self::B {
        each!(vorrq_u8(a, b))
    }
    #[inline(always)]
    fn add_bytes(self, a: Self::B, b: Self::B) -> Self::B {
        each!(vaddq_u8(a, b))
    }
    #[inline(always)]
    fn shr(self, a: Self::B, n: u32) -> Self::B {
        // SAFETY: `self` proves Advanced SIMD.
        let right = unsafe { [vdupq_n_s8(-(n as i8)); 4] };
        each!(vshlq_u8(a, right))
    }
    #[inline(always)]
    fn shl(self, a: Self::B, n: u32) -> Self::B {
        // SAFETY: `self` proves Advanced SIMD.
        let left = unsafe { [vdupq_n_s8(n as i8); 4] };
        each!(vshlq_u8(a, left))
    }
    #[inline(always)]
    fn merge(self, low: Self::B, high: Self::B, right: u32, left: u32, mask: u8) -> Self::B {
        // SAFETY: `self` proves Advanced SIMD.
        let shift = unsafe { [vdupq_n_s8(left as i8 - right as i8); 4] };
        let (mask, high) = (self.splat_byte(mask), each!(vshlq_u8(high, shift)));
        each!(vbslq_u8(mask, high, low))
    }
    #[inline(always)]
    fn spread_bits(self, a: Self::B, group: usize, set: u8) -> Self::B {
        self.and(are_set(a, group), self.splat_byte(set))
    }
    #[inline(always)]
    fn negate(self, a: Self::B, bits: Self::B, group: usize) -> Self::B {
        let is_set = are_set(bits, group);
        let flipped = each!(veorq_u8(a, is_set));
        each!(vsubq_u8(flipped, is_set))
    }
    #[inline(always)]
    fn halves(self, eights: &[[u8; 8]; 16]) -> [Self::B; 2] {
        let rows: *const u8 = eights.as_ptr().cast();
        let mut halves = [self.splat_byte(0); 2];
        // SAFETY: `self` proves Advanced SIMD; each read covers two of the rows.
        unsafe {
            unroll!(i < 4 => {
                let a = vreinterpretq_u32_u8(vld1q_u8(rows.add(32 * i)));
                let b = vreinterpretq_u32_u8(vld1q_u8(rows.add(32 * i + 16)));
                halves[0][i] = vreinterpretq_u8_u32(vuzp1q_u32(a, b));
                halves[1][i] = vreinterpretq_u8_u32(vuzp2q_u32(a, b));
            });
        }
        halves
    }
    #[inline(always)]
    fn lookup(self, table: &[i8; 16], index: Self::B) -> Self::B {
        // SAFETY: `self` proves Advanced SIMD; the read covers the table.
        unsafe {
            let table = vld1q_u8(table.as_ptr().cast());
            [
                vqtbl1q_u8(table, index[0]),
                vqtbl1q_u8(table, index[1]),
                vqtbl1q_u8(table, index[2]),
                vqtbl1q_u8(table, index[3]),
            ]
        }
    }
    #[inline(always)]
    fn mul_u8(self, a: Self::F, bytes: &[u8; 16]) -> Self::F {
        // A byte widened to 16 bits is the half-precision number byte · 2⁻²⁴, so half the conversions suffice. Both
        // factors are exact, and their product is the same.
        const SCALE: f32 = (1 << 24) as f32;
        // SAFETY: the read covers the array.
        unsafe {
            let x = vld1q_u8(bytes.as_ptr());
            let low = vreinterpretq_f16_u16(vmovl_u8(vget_low_u8(x)));
            let high = vreinterpretq_f16_u16(vmovl_high_u8(x));
            let x = [
                vcvt_f32_f16(vget_low_f16(low)),
                vcvt_high_f32_f16(low),
                vcvt_f32_f16(vget_low_f16(high)),
                vcvt_high_f32_f16(high),
            ];
            self.mul(self.mul(a, self.splat(SCALE)), x)
        }
    }

    #[inline(always)]
    fn dot<const G: usize>(self, start: i32, w: impl Weights<B, G>, x: &[[i8; 4]; G], range: Range) -> I {
        self.0.dot(start, w, x, range)
    }
    #[inline(always)]
    fn arrange(self, w: [B; 8]) -> [B; 8] {
        self.0.arrange(w)
    }
    #[inline(always)]
    fn dots<const T: usize, const G: usize>(
        self,
        start: [i32; T],
        w: &[[u8; 64]; G],
        x: [&[[i8; 4]; G]; T],
        range: Range,
    ) -> [I; T] {
        self.0.dots(start, w, x, range)
    }
}
