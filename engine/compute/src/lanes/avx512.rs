use std::arch::x86_64::*;

use super::tier::tier;
use super::{ByteLanes, Lanes, Range, Weights, four, unroll};

/// AVX-512 with VNNI (Ice Lake, Zen 4 and later): sixteen lanes are one register.
#[derive(Clone, Copy)]
pub(crate) struct Avx512(());

tier!(
    for_avx512: Avx512,
    "avx512-vnni",
    ["avx512f" "avx512bw" "avx512dq" "avx512vl" "avx512vnni"],
    Avx512(())
);

/// Folds the upper half of 16 lanes onto the lower, then 4, 2, 1, with `$join`.
macro_rules! fold16 {
    ($join8:ident, $join4:ident, $join1:ident, $x:expr) => {{
        let x: __m512 = $x;
        let x = $join8(_mm512_castps512_ps256(x), _mm512_extractf32x8_ps::<1>(x));
        let x = $join4(_mm256_castps256_ps128(x), _mm256_extractf128_ps::<1>(x));
        let x = $join4(x, _mm_movehl_ps(x, x));
        _mm_cvtss_f32($join1(x, _mm_movehdup_ps(x)))
    }};
}

/// See [`ByteLanes::load_in_order`].
#[inline]
#[target_feature(enable = "avx512f")]
fn load_in_order(bytes: &[u8; 64]) -> __m512i {
    let x: __m512i;
    // SAFETY: reads the array, and no alignment is needed. Not `pure`, so that it keeps its place.
    unsafe {
        std::arch::asm!(
            "vmovdqu64 {x}, [{bytes}]",
            x = lateout(zmm_reg) x,
            bytes = in(reg) bytes.as_ptr(),
            options(readonly, nostack, preserves_flags)
        );
    }
    x
}

// SAFETY, for every block below: `self` proves that the CPU has AVX-512 F, BW, DQ, VL and VNNI; loads and stores cover
// the arrays that they are given, and need no alignment.
impl Lanes for Avx512 {
    type F = __m512;
    type I = __m512i;

    const TILE: usize = 8;
    const AHEAD: usize = 4096;

    #[inline(always)]
    fn prefetch(self, line: &[u8; 64]) {
        // SAFETY: a hint about memory that is there.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(line.as_ptr().cast()) }
    }
    #[inline(always)]
    fn splat(self, x: f32) -> __m512 {
        // SAFETY: see above.
        unsafe { _mm512_set1_ps(x) }
    }
    #[inline(always)]
    fn load(self, x: &[f32; 16]) -> __m512 {
        // SAFETY: see above.
        unsafe { _mm512_loadu_ps(x.as_ptr()) }
    }
    #[inline(always)]
    fn store(self, x: __m512, to: &mut [f32; 16]) {
        // SAFETY: see above.
        unsafe { _mm512_storeu_ps(to.as_mut_ptr(), x) }
    }
    #[inline(always)]
    fn load_f32(self, bytes: &[u8; 64]) -> __m512 {
        // SAFETY: see above.
        unsafe { _mm512_loadu_ps(bytes.as_ptr().cast()) }
    }
    #[inline(always)]
    fn store_f32(self, x: __m512, to: &mut [u8; 64]) {
        // SAFETY: see above.
        unsafe { _mm512_storeu_ps(to.as_mut_ptr().cast(), x) }
    }
    #[inline(always)]
    fn load_f16(self, bytes: &[u8; 32]) -> __m512 {
        // SAFETY: see above.
        unsafe { _mm512_cvtph_ps(_mm256_loadu_si256(bytes.as_ptr().cast())) }
    }
    #[inline(always)]
    fn load_bf16(self, bytes: &[u8; 32]) -> __m512 {
        // SAFETY: see above.
        unsafe {
            let x = _mm512_cvtepu16_epi32(_mm256_loadu_si256(bytes.as_ptr().cast()));
            _mm512_castsi512_ps(_mm512_slli_epi32::<16>(x))
        }
    }
    #[inline(always)]
    fn load_u8(self, bytes: &[u8; 16]) -> __m512 {
        // SAFETY: see above.
        unsafe { _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_loadu_si128(bytes.as_ptr().cast()))) }
    }
    #[inline(always)]
    fn load_i8(self, bytes: &[u8; 16]) -> __m512 {
        // SAFETY: see above.
        unsafe { _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(bytes.as_ptr().cast()))) }
    }

    #[inline(always)]
    fn add(self, a: __m512, b: __m512) -> __m512 {
        // SAFETY: see above.
        unsafe { _mm512_add_ps(a, b) }
    }
    #[inline(always)]
    fn sub(self, a: __m512, b: __m512) -> __m512 {
        // SAFETY: see above.
        unsafe { _mm512_sub_ps(a, b) }
    }
    #[inline(always)]
    fn mul(self, a: __m512, b: __m512) -> __m512 {
        // SAFETY: see above.
        unsafe { _mm512_mul_ps(a, b) }
    }
    #[inline(always)]
    fn div(self, a: __m512, b: __m512) -> __m512 {
        // SAFETY: see above.
        unsafe { _mm512_div_ps(a, b) }
    }
    #[inline(always)]
    fn fma(self, a: __m512, b: __m512, c: __m512) -> __m512 {
        // SAFETY: see above.
        unsafe { _mm512_fmadd_ps(a, b, c) }
    }
    #[inline(always)]
    fn max(self, a: __m512, b: __m512) -> __m512 {
        // `vmaxps` gives its second operand where the comparison fails, as the definition does.
        // SAFETY: see above.
        unsafe { _mm512_max_ps(a, b) }
    }
    #[inline(always)]
    fn select_lt(self, a: __m512, b: __m512, x: __m512, y: __m512) -> __m512 {
        // SAFETY: see above.
        unsafe { _mm512_mask_blend_ps(_mm512_cmp_ps_mask::<_CMP_LT_OQ>(a, b), y, x) }
    }
    #[inline(always)]
    fn swap_pairs(self, x: __m512) -> __m512 {
        // SAFETY: see above.
        unsafe { _mm512_permute_ps::<0b10_11_00_01>(x) }
    }
    #[inline(always)]
    fn fold_add(self, x: __m512) -> f32 {
        // SAFETY: see above.
        unsafe { fold16!(_mm256_add_ps, _mm_add_ps, _mm_add_ss, x) }
    }
    #[inline(always)]
    fn fold_max(self, x: __m512) -> f32 {
        // SAFETY: see above.
        unsafe { fold16!(_mm256_max_ps, _mm_max_ps, _mm_max_ss, x) }
    }

    #[inline(always)]
    fn splat_i32(self, x: i32) -> __m512i {
        // SAFETY: see above.
        unsafe { _mm512_set1_epi32(x) }
    }
    #[inline(always)]
    fn add_i32(self, a: __m512i, b: __m512i) -> __m512i {
        // SAFETY: see above.
        unsafe { _mm512_add_epi32(a, b) }
    }
    #[inline(always)]
    fn to_f32(self, x: __m512i) -> __m512 {
        // SAFETY: see above.
        unsafe { _mm512_cvtepi32_ps(x) }
    }
    #[inline(always)]
    fn round(self, x: __m512) -> __m512i {
        // Rust never changes the rounding mode, so the conversion rounds ties to even.
        // SAFETY: see above.
        unsafe { _mm512_cvtps_epi32(x) }
    }
    #[inline(always)]
    fn exp2(self, n: __m512i) -> __m512 {
        // SAFETY: see above.
        unsafe {
            let biased = _mm512_add_epi32(n, _mm512_set1_epi32(127));
            _mm512_castsi512_ps(_mm512_slli_epi32::<23>(biased))
        }
    }
    #[inline(always)]
    fn max_abs_bits(self, x: __m512) -> u32 {
        // SAFETY: see above.
        unsafe {
            let x = _mm512_and_si512(_mm512_castps_si512(x), _mm512_set1_epi32(i32::MAX));
            let x = _mm256_max_epi32(_mm512_castsi512_si256(x), _mm512_extracti64x4_epi64::<1>(x));
            let x = _mm_max_epi32(_mm256_castsi256_si128(x), _mm256_extracti128_si256::<1>(x));
            let x = _mm_max_epi32(x, _mm_shuffle_epi32::<0b01_00_11_10>(x));
            let x = _mm_max_epi32(x, _mm_shuffle_epi32::<0b10_11_00_01>(x));
            _mm_cvtsi128_si32(x).cast_unsigned()
        }
    }
    #[inline(always)]
    fn store_i8(self, x: __m512i, to: &mut [i8; 16]) {
        // SAFETY: see above.
        unsafe { _mm_storeu_si128(to.as_mut_ptr().cast(), _mm512_cvtepi32_epi8(x)) }
    }
}

impl Avx512 {
    /// Which bits [`ByteLanes::spread_bits`] finds set.
    #[inline(always)]
    fn are_set(self, a: __m512i, group: usize) -> __mmask64 {
        // The byte of each row that holds the group's bits, four times; shuffles work within 128 bits, four rows.
        let first = group as i32 / 2 * 0x0101_0101;
        let bit = 0x0804_0201_i32.wrapping_shl(4 * (group as u32 % 2));
        // SAFETY: see above.
        unsafe {
            let rows = _mm512_set4_epi32(0x0c0c_0c0c, 0x0808_0808, 0x0404_0404, 0);
            let spread = _mm512_shuffle_epi8(a, _mm512_add_epi32(rows, _mm512_set1_epi32(first)));
            _mm512_test_epi8_mask(spread, _mm512_set1_epi32(bit))
        }
    }
}

// SAFETY, for every block below: as above.
impl ByteLanes for Avx512 {
    type B = __m512i;

    const S8_BIAS: u8 = 128;
    const FEW: usize = if cfg!(feature = "batches") { 4 } else { 1 };

    #[inline(always)]
    fn load_bytes(self, bytes: &[u8; 64]) -> __m512i {
        // SAFETY: see above.
        unsafe { _mm512_loadu_si512(bytes.as_ptr().cast()) }
    }
    #[inline(always)]
    fn load_in_order(self, bytes: &[u8; 64]) -> __m512i {
        // SAFETY: see above.
        unsafe { load_in_order(bytes) }
    }
    #[inline(always)]
    fn store_bytes(self, x: __m512i, to: &mut [u8; 64]) {
        // SAFETY: see above.
        unsafe { _mm512_storeu_si512(to.as_mut_ptr().cast(), x) }
    }
    #[inline(always)]
    fn splat_byte(self, x: u8) -> __m512i {
        // SAFETY: see above.
        unsafe { _mm512_set1_epi8(x.cast_signed()) }
    }
    #[inline(always)]
    fn and(self, a: __m512i, b: __m512i) -> __m512i {
        // SAFETY: see above.
        unsafe { _mm512_and_si512(a, b) }
    }
    #[inline(always)]
    fn or(self, a: __m512i, b: __m512i) -> __m512i {
        // SAFETY: see above.
        unsafe { _mm512_or_si512(a, b) }
    }
    #[inline(always)]
    fn add_bytes(self, a: __m512i, b: __m512i) -> __m512i {
        // SAFETY: see above.
        unsafe { _mm512_add_epi8(a, b) }
    }
    #[inline(always)]
    fn shr(self, a: __m512i, n: u32) -> __m512i {
        // There are no shifts of bytes: those of words bring in bits of the neighbour, which the mask takes off.
        // SAFETY: see above.
        let a = unsafe { _mm512_srl_epi16(a, _mm_cvtsi32_si128(n.cast_signed())) };
        self.and(a, self.splat_byte(0xff >> n))
    }
    #[inline(always)]
    fn shl(self, a: __m512i, n: u32) -> __m512i {
        // SAFETY: see above.
        let a = unsafe { _mm512_sll_epi16(a, _mm_cvtsi32_si128(n.cast_signed())) };
        self.and(a, self.splat_byte(0xff << n))
    }
    #[inline(always)]
    fn spread_bits(self, a: __m512i, group: usize, set: u8) -> __m512i {
        // SAFETY: see above.
        unsafe { _mm512_maskz_mov_epi8(self.are_set(a, group), self.splat_byte(set)) }
    }
    #[inline(always)]
    fn negate(self, a: __m512i, bits: __m512i, group: usize) -> __m512i {
        // SAFETY: see above.
        unsafe { _mm512_mask_sub_epi8(a, self.are_set(bits, group), _mm512_setzero_si512(), a) }
    }
    #[inline(always)]
    fn look_up<const GROUPS: usize>(
        self,
        table: &[[u8; 4]; GROUPS],
        number: impl Fn(usize) -> usize,
    ) -> __m512i {
        let mut numbers = [0u32; 16];
        for (row, to) in numbers.iter_mut().enumerate() {
            *to = (number(row) % GROUPS) as u32;
        }
        // SAFETY: see above; the numbers are below the table's length.
        unsafe {
            _mm512_i32gather_epi32::<4>(_mm512_loadu_si512(numbers.as_ptr().cast()), table.as_ptr().cast())
        }
    }
    #[inline(always)]
    fn halves(self, eights: &[[u8; 8]; 16]) -> [__m512i; 2] {
        let rows = eights.as_ptr();
        // SAFETY: see above.
        unsafe {
            let (a, b) = (_mm512_loadu_si512(rows.cast()), _mm512_loadu_si512(rows.add(8).cast()));
            let first = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
            let last = _mm512_add_epi32(first, _mm512_set1_epi32(1));
            [_mm512_permutex2var_epi32(a, first, b), _mm512_permutex2var_epi32(a, last, b)]
        }
    }
    #[inline(always)]
    fn lookup(self, table: &[i8; 16], index: __m512i) -> __m512i {
        // SAFETY: see above.
        unsafe {
            let table = _mm512_broadcast_i32x4(_mm_loadu_si128(table.as_ptr().cast()));
            _mm512_shuffle_epi8(table, index)
        }
    }

    #[inline(always)]
    fn dot<const G: usize>(
        self,
        start: i32,
        w: impl Weights<__m512i, G>,
        x: &[[i8; 4]; G],
        _: Range,
    ) -> __m512i {
        let (w, mut sum) = (w.unpack(), self.splat_i32(start));
        unroll!(g < G => {
            // SAFETY: see above.
            sum = unsafe { _mm512_dpbusd_epi32(sum, w[g], _mm512_set1_epi32(four(&x[g]))) };
        });
        sum
    }
    #[inline(always)]
    fn dots<const T: usize, const G: usize>(
        self,
        start: [i32; T],
        w: &[[u8; 64]; G],
        x: [&[[i8; 4]; G]; T],
        _: Range,
    ) -> [__m512i; T] {
        let mut sums = [self.splat_i32(0); T];
        unroll!(t < T => { sums[t] = self.splat_i32(start[t]); });
        unroll!(g < G => {
            let w = self.load_bytes(&w[g]);
            unroll!(t < T => {
                // SAFETY: see above.
                sums[t] = unsafe { _mm512_dpbusd_epi32(sums[t], w, _mm512_set1_epi32(four(&x[t][g]))) };
            });
        });
        sums
    }
}
