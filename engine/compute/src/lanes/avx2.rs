use std::arch::x86_64::*;

use super::tier::tier;
use super::{ByteLanes, Lanes, Range, Weights, four, unroll};

/// AVX2 with FMA and F16C: sixteen lanes are two registers. `D` says how bytes are multiplied.
#[derive(Clone, Copy)]
pub(crate) struct Wide<D>(D);

/// AVX2's own products (Haswell, Zen and later).
pub(crate) type Avx2 = Wide<Maddubs>;
tier!(for_avx2: Avx2, "avx2", ["avx2" "fma" "f16c"], Wide(Maddubs(())));

/// AVX-VNNI's (Alder Lake's cores of both kinds, Zen 5 and later).
pub(crate) type AvxVnni = Wide<Dpbusd>;
tier!(for_avx_vnni: AvxVnni, "avx-vnni", ["avx2" "fma" "f16c" "avxvnni"], Wide(Dpbusd(())));

/// The same products as AVX-512 encodes them: for tests of [`AvxVnni`] on CPUs that have only those.
#[cfg(test)]
pub(crate) type AvxVnniAsEvex = Wide<Evex>;
#[cfg(test)]
tier!(
    for_evex: AvxVnniAsEvex,
    "avx-vnni, encoded as AVX-512",
    ["avx2" "fma" "f16c" "avx512vl" "avx512vnni"],
    Wide(Evex(()))
);

/// Applies an intrinsic to both halves of its vectors.
macro_rules! both {
    ($f:ident $(::<$n:tt>)? ($($a:expr),*)) => {
        // SAFETY: `self` proves that the CPU has AVX2, FMA and F16C.
        unsafe { [$f$(::<$n>)?($($a[0]),*), $f$(::<$n>)?($($a[1]),*)] }
    };
}

/// Folds eight lanes by the tree 4, 2, 1 with `$join`.
macro_rules! fold8 {
    ($join:ident, $join_ss:ident, $x:expr) => {{
        let x: __m256 = $x;
        let x = $join(_mm256_castps256_ps128(x), _mm256_extractf128_ps::<1>(x));
        let x = $join(x, _mm_movehl_ps(x, x));
        _mm_cvtss_f32($join_ss(x, _mm_movehdup_ps(x)))
    }};
}

impl<D: Products> Lanes for Wide<D> {
    type F = [__m256; 2];
    type I = [__m256i; 2];

    const TILE: usize = 4;
    const AHEAD: usize = 4096;

    #[inline(always)]
    fn prefetch(self, line: &[u8; 64]) {
        // SAFETY: a hint about memory that is there.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(line.as_ptr().cast()) }
    }
    #[inline(always)]
    fn splat(self, x: f32) -> [__m256; 2] {
        // SAFETY: `self` proves that the CPU has AVX2.
        unsafe { [_mm256_set1_ps(x); 2] }
    }
    #[inline(always)]
    fn load(self, x: &[f32; 16]) -> [__m256; 2] {
        // SAFETY: `self` proves AVX2; both reads lie inside the array.
        unsafe { [_mm256_loadu_ps(x.as_ptr()), _mm256_loadu_ps(x.as_ptr().add(8))] }
    }
    #[inline(always)]
    fn store(self, x: [__m256; 2], to: &mut [f32; 16]) {
        // SAFETY: `self` proves AVX2; both writes lie inside the array.
        unsafe {
            _mm256_storeu_ps(to.as_mut_ptr(), x[0]);
            _mm256_storeu_ps(to.as_mut_ptr().add(8), x[1]);
        }
    }
    #[inline(always)]
    fn load_f32(self, bytes: &[u8; 64]) -> [__m256; 2] {
        // SAFETY: `self` proves AVX2; both reads lie inside the array and need no alignment.
        unsafe { [_mm256_loadu_ps(bytes.as_ptr().cast()), _mm256_loadu_ps(bytes.as_ptr().add(32).cast())] }
    }
    #[inline(always)]
    fn store_f32(self, x: [__m256; 2], to: &mut [u8; 64]) {
        // SAFETY: `self` proves AVX2; both writes lie inside the array and need no alignment.
        unsafe {
            _mm256_storeu_ps(to.as_mut_ptr().cast(), x[0]);
            _mm256_storeu_ps(to.as_mut_ptr().add(32).cast(), x[1]);
        }
    }
    #[inline(always)]
    fn load_f16(self, bytes: &[u8; 32]) -> [__m256; 2] {
        // SAFETY: `self` proves AVX2 and F16C; both reads lie inside the array and need no alignment.
        unsafe {
            [
                _mm256_cvtph_ps(_mm_loadu_si128(bytes.as_ptr().cast())),
                _mm256_cvtph_ps(_mm_loadu_si128(bytes.as_ptr().add(16).cast())),
            ]
        }
    }
    #[inline(always)]
    fn load_bf16(self, bytes: &[u8; 32]) -> [__m256; 2] {
        // SAFETY: `self` proves AVX2; both reads lie inside the array and need no alignment.
        let x = unsafe {
            [_mm_loadu_si128(bytes.as_ptr().cast()), _mm_loadu_si128(bytes.as_ptr().add(16).cast())]
        };
        let x = both!(_mm256_cvtepu16_epi32(x));
        let x = both!(_mm256_slli_epi32::<16>(x));
        both!(_mm256_castsi256_ps(x))
    }
    #[inline(always)]
    fn load_u8(self, bytes: &[u8; 16]) -> [__m256; 2] {
        // SAFETY: `self` proves AVX2; the read covers the array.
        unsafe {
            let x = _mm_loadu_si128(bytes.as_ptr().cast());
            [
                _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(x)),
                _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_srli_si128::<8>(x))),
            ]
        }
    }
    #[inline(always)]
    fn load_i8(self, bytes: &[u8; 16]) -> [__m256; 2] {
        // SAFETY: `self` proves AVX2; the read covers the array.
        unsafe {
            let x = _mm_loadu_si128(bytes.as_ptr().cast());
            [
                _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(x)),
                _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_srli_si128::<8>(x))),
            ]
        }
    }

    #[inline(always)]
    fn add(self, a: [__m256; 2], b: [__m256; 2]) -> [__m256; 2] {
        both!(_mm256_add_ps(a, b))
    }
    #[inline(always)]
    fn sub(self, a: [__m256; 2], b: [__m256; 2]) -> [__m256; 2] {
        both!(_mm256_sub_ps(a, b))
    }
    #[inline(always)]
    fn mul(self, a: [__m256; 2], b: [__m256; 2]) -> [__m256; 2] {
        both!(_mm256_mul_ps(a, b))
    }
    #[inline(always)]
    fn div(self, a: [__m256; 2], b: [__m256; 2]) -> [__m256; 2] {
        both!(_mm256_div_ps(a, b))
    }
    #[inline(always)]
    fn fma(self, a: [__m256; 2], b: [__m256; 2], c: [__m256; 2]) -> [__m256; 2] {
        both!(_mm256_fmadd_ps(a, b, c))
    }
    #[inline(always)]
    fn max(self, a: [__m256; 2], b: [__m256; 2]) -> [__m256; 2] {
        // `vmaxps` gives its second operand where the comparison fails, as the definition does.
        both!(_mm256_max_ps(a, b))
    }
    #[inline(always)]
    fn select_lt(self, a: [__m256; 2], b: [__m256; 2], x: [__m256; 2], y: [__m256; 2]) -> [__m256; 2] {
        let less = both!(_mm256_cmp_ps::<_CMP_LT_OQ>(a, b));
        both!(_mm256_blendv_ps(y, x, less))
    }
    #[inline(always)]
    fn swap_pairs(self, x: [__m256; 2]) -> [__m256; 2] {
        both!(_mm256_permute_ps::<0b10_11_00_01>(x))
    }
    #[inline(always)]
    fn fold_add(self, x: [__m256; 2]) -> f32 {
        // SAFETY: `self` proves AVX2.
        unsafe { fold8!(_mm_add_ps, _mm_add_ss, _mm256_add_ps(x[0], x[1])) }
    }
    #[inline(always)]
    fn fold_max(self, x: [__m256; 2]) -> f32 {
        // SAFETY: `self` proves AVX2.
        unsafe { fold8!(_mm_max_ps, _mm_max_ss, _mm256_max_ps(x[0], x[1])) }
    }

    #[inline(always)]
    fn splat_i32(self, x: i32) -> [__m256i; 2] {
        // SAFETY: `self` proves AVX2.
        unsafe { [_mm256_set1_epi32(x); 2] }
    }
    #[inline(always)]
    fn add_i32(self, a: [__m256i; 2], b: [__m256i; 2]) -> [__m256i; 2] {
        both!(_mm256_add_epi32(a, b))
    }
    #[inline(always)]
    fn to_f32(self, x: [__m256i; 2]) -> [__m256; 2] {
        both!(_mm256_cvtepi32_ps(x))
    }
    #[inline(always)]
    fn round(self, x: [__m256; 2]) -> [__m256i; 2] {
        // Rust never changes the rounding mode, so the conversion rounds ties to even.
        both!(_mm256_cvtps_epi32(x))
    }
    #[inline(always)]
    fn exp2(self, n: [__m256i; 2]) -> [__m256; 2] {
        let n = self.add_i32(n, self.splat_i32(127));
        let n = both!(_mm256_slli_epi32::<23>(n));
        both!(_mm256_castsi256_ps(n))
    }
    #[inline(always)]
    fn max_abs_bits(self, x: [__m256; 2]) -> u32 {
        // SAFETY: `self` proves AVX2.
        unsafe {
            let magnitude = _mm256_set1_epi32(i32::MAX);
            let x = _mm256_max_epi32(
                _mm256_and_si256(_mm256_castps_si256(x[0]), magnitude),
                _mm256_and_si256(_mm256_castps_si256(x[1]), magnitude),
            );
            let x = _mm_max_epi32(_mm256_castsi256_si128(x), _mm256_extracti128_si256::<1>(x));
            let x = _mm_max_epi32(x, _mm_shuffle_epi32::<0b01_00_11_10>(x));
            let x = _mm_max_epi32(x, _mm_shuffle_epi32::<0b10_11_00_01>(x));
            _mm_cvtsi128_si32(x).cast_unsigned()
        }
    }
    #[inline(always)]
    fn store_i8(self, x: [__m256i; 2], to: &mut [i8; 16]) {
        // SAFETY: `self` proves AVX2; the write covers the array.
        unsafe {
            let low = _mm256_set1_epi32(0xff);
            // The packs work within 128-bit halves: the permutation puts the lanes back in order.
            let words = _mm256_packus_epi32(_mm256_and_si256(x[0], low), _mm256_and_si256(x[1], low));
            let words = _mm256_permute4x64_epi64::<0b11_01_10_00>(words);
            let bytes = _mm_packus_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256::<1>(words));
            _mm_storeu_si128(to.as_mut_ptr().cast(), bytes);
        }
    }
}

impl<D: Products> Wide<D> {
    /// All bits of each byte where [`ByteLanes::spread_bits`] finds one set.
    #[inline(always)]
    fn are_set(self, a: [__m256i; 2], group: usize) -> [__m256i; 2] {
        // The byte of each row that holds the group's bits, four times; shuffles work within 128-bit halves.
        // SAFETY: `self` proves AVX2.
        let rows = unsafe {
            _mm256_setr_epi32(
                0,
                0x0404_0404,
                0x0808_0808,
                0x0c0c_0c0c,
                0,
                0x0404_0404,
                0x0808_0808,
                0x0c0c_0c0c,
            )
        };
        let from = self.add_i32([rows; 2], self.splat_i32((group / 2) as i32 * 0x0101_0101));
        let bit = self.splat_i32(0x0804_0201_i32.wrapping_shl(4 * (group as u32 % 2)));
        let spread = both!(_mm256_shuffle_epi8(a, from));
        let spread = self.and(spread, bit);
        both!(_mm256_cmpeq_epi8(spread, bit))
    }
}

impl<D: Products> ByteLanes for Wide<D> {
    type B = [__m256i; 2];

    const S8_BIAS: u8 = D::S8_BIAS;
    const FEW: usize = if cfg!(feature = "batches") { 4 } else { 1 };

    #[inline(always)]
    fn load_bytes(self, bytes: &[u8; 64]) -> [__m256i; 2] {
        // SAFETY: `self` proves AVX2; both reads lie inside the array and need no alignment.
        unsafe {
            [_mm256_loadu_si256(bytes.as_ptr().cast()), _mm256_loadu_si256(bytes.as_ptr().add(32).cast())]
        }
    }
    #[inline(always)]
    fn store_bytes(self, x: [__m256i; 2], to: &mut [u8; 64]) {
        // SAFETY: `self` proves AVX2; both writes lie inside the array and need no alignment.
        unsafe {
            _mm256_storeu_si256(to.as_mut_ptr().cast(), x[0]);
            _mm256_storeu_si256(to.as_mut_ptr().add(32).cast(), x[1]);
        }
    }
    #[inline(always)]
    fn splat_byte(self, x: u8) -> [__m256i; 2] {
        // SAFETY: `self` proves AVX2.
        unsafe { [_mm256_set1_epi8(x.cast_signed()); 2] }
    }
    #[inline(always)]
    fn and(self, a: [__m256i; 2], b: [__m256i; 2]) -> [__m256i; 2] {
        both!(_mm256_and_si256(a, b))
    }
    #[inline(always)]
    fn or(self, a: [__m256i; 2], b: [__m256i; 2]) -> [__m256i; 2] {
        both!(_mm256_or_si256(a, b))
    }
    #[inline(always)]
    fn add_bytes(self, a: [__m256i; 2], b: [__m256i; 2]) -> [__m256i; 2] {
        both!(_mm256_add_epi8(a, b))
    }
    #[inline(always)]
    fn shr(self, a: [__m256i; 2], n: u32) -> [__m256i; 2] {
        // There are no shifts of bytes: those of words bring in bits of the neighbour, which the mask takes off.
        // SAFETY: `self` proves AVX2.
        let a = unsafe {
            let n = _mm_cvtsi32_si128(n.cast_signed());
            [_mm256_srl_epi16(a[0], n), _mm256_srl_epi16(a[1], n)]
        };
        self.and(a, self.splat_byte(0xff >> n))
    }
    #[inline(always)]
    fn shl(self, a: [__m256i; 2], n: u32) -> [__m256i; 2] {
        // SAFETY: `self` proves AVX2.
        let a = unsafe {
            let n = _mm_cvtsi32_si128(n.cast_signed());
            [_mm256_sll_epi16(a[0], n), _mm256_sll_epi16(a[1], n)]
        };
        self.and(a, self.splat_byte(0xff << n))
    }
    #[inline(always)]
    fn spread_bits(self, a: [__m256i; 2], group: usize, set: u8) -> [__m256i; 2] {
        self.and(self.are_set(a, group), self.splat_byte(set))
    }
    #[inline(always)]
    fn negate(self, a: [__m256i; 2], bits: [__m256i; 2], group: usize) -> [__m256i; 2] {
        let is_set = self.are_set(bits, group);
        let flipped = both!(_mm256_xor_si256(a, is_set));
        both!(_mm256_sub_epi8(flipped, is_set))
    }
    #[inline(always)]
    fn halves(self, eights: &[[u8; 8]; 16]) -> [[__m256i; 2]; 2] {
        let rows = eights.as_ptr();
        let mut halves = [self.splat_byte(0); 2];
        // SAFETY: `self` proves AVX2; each read covers four of the rows.
        unsafe {
            unroll!(i < 2 => {
                let a = _mm256_loadu_ps(rows.add(8 * i).cast());
                let b = _mm256_loadu_ps(rows.add(8 * i + 4).cast());
                // Within 128 bits: rows 0, 1, 4, 5 and 2, 3, 6, 7.
                let first = _mm256_castps_si256(_mm256_shuffle_ps::<0b10_00_10_00>(a, b));
                let last = _mm256_castps_si256(_mm256_shuffle_ps::<0b11_01_11_01>(a, b));
                halves[0][i] = _mm256_permute4x64_epi64::<0b11_01_10_00>(first);
                halves[1][i] = _mm256_permute4x64_epi64::<0b11_01_10_00>(last);
            });
        }
        halves
    }
    #[inline(always)]
    fn lookup(self, table: &[i8; 16], index: [__m256i; 2]) -> [__m256i; 2] {
        // SAFETY: `self` proves AVX2; the read covers the table.
        unsafe {
            let table = _mm256_broadcastsi128_si256(_mm_loadu_si128(table.as_ptr().cast()));
            [_mm256_shuffle_epi8(table, index[0]), _mm256_shuffle_epi8(table, index[1])]
        }
    }

    #[inline(always)]
    fn dot<const G: usize>(
        self,
        start: i32,
        w: impl Weights<[__m256i; 2], G>,
        x: &[[i8; 4]; G],
        range: Range,
    ) -> [__m256i; 2] {
        let w = w.unpack();
        let [low] = self.0.dots([start], |g| w[g][0], [x], range);
        let [high] = self.0.dots([start], |g| w[g][1], [x], range);
        [low, high]
    }
    #[inline(always)]
    fn dot_few<const T: usize, const G: usize>(
        self,
        start: [i32; T],
        w: [[__m256i; 2]; G],
        x: [&[[i8; 4]; G]; T],
        range: Range,
    ) -> [[__m256i; 2]; T] {
        self.0.dots_of_both(start, w, x, range)
    }
    #[inline(always)]
    fn dots<const T: usize, const G: usize>(
        self,
        start: [i32; T],
        w: &[[u8; 64]; G],
        x: [&[[i8; 4]; G]; T],
        range: Range,
    ) -> [[__m256i; 2]; T] {
        // One half after the other: the registers hold the sums of one.
        // SAFETY: reads the first half of the array's 64 bytes.
        let low_weights = |g: usize| unsafe { _mm256_loadu_si256(w[g].as_ptr().cast()) };
        // SAFETY: reads the second half.
        let high_weights = |g: usize| unsafe { _mm256_loadu_si256(w[g].as_ptr().add(32).cast()) };
        let low = self.0.dots(start, low_weights, x, range);
        let high = self.0.dots(start, high_weights, std::array::from_fn(|t| anew(x[t])), range);
        std::array::from_fn(|t| [low[t], high[t]])
    }
}

/// The same reference, unknown to the compiler: it would keep what it has read through the first one, and having no
/// registers left for it would store it to the stack.
#[inline(always)]
fn anew<T>(x: &T) -> &T {
    let mut address = std::ptr::from_ref(x).expose_provenance();
    // SAFETY: the instruction is empty, so the address is still that of `x`.
    unsafe {
        std::arch::asm!("/* {0} */", inout(reg) address, options(pure, nomem, nostack, preserves_flags));
        &*std::ptr::with_exposed_provenance(address)
    }
}

/// How the bytes of eight rows are multiplied. A value proves that the CPU has the instructions.
pub(crate) trait Products: Copy + Send + Sync + 'static {
    /// See [`ByteLanes::S8_BIAS`].
    const S8_BIAS: u8;

    /// Dot products of sixteen rows with `T` tokens, from `start`. Each activation is loaded once for both halves of the rows.
    fn dots_of_both<const T: usize, const G: usize>(
        self,
        start: [i32; T],
        w: [[__m256i; 2]; G],
        x: [&[[i8; 4]; G]; T],
        range: Range,
    ) -> [[__m256i; 2]; T];

    /// Dot products of eight rows with `T` tokens, from `start`; `w` gives each group's weights.
    fn dots<const T: usize, const G: usize>(
        self,
        start: [i32; T],
        w: impl Fn(usize) -> __m256i,
        x: [&[[i8; 4]; G]; T],
        range: Range,
    ) -> [__m256i; T];
}

/// `vpmaddubsw`: pairs of products in 16 bits.
#[derive(Clone, Copy)]
pub(crate) struct Maddubs(());

impl Products for Maddubs {
    const S8_BIAS: u8 = 0;

    #[inline(always)]
    fn dots_of_both<const T: usize, const G: usize>(
        self,
        start: [i32; T],
        w: [[__m256i; 2]; G],
        x: [&[[i8; 4]; G]; T],
        range: Range,
    ) -> [[__m256i; 2]; T] {
        let steps = range.products_in_i16(G);
        // SAFETY: `self` proves AVX2.
        unsafe {
            let ones = _mm256_set1_epi16(1);
            let mut sums = [[_mm256_setzero_si256(); 2]; T];
            let mut narrow = [[_mm256_setzero_si256(); 2]; T];
            unroll!(g < G => {
                unroll!(t < T => {
                    let x = _mm256_set1_epi32(four(&x[t][g]));
                    unroll!(half < 2 => {
                        let w = w[g][half];
                        let products = if range == Range::S8 {
                            _mm256_maddubs_epi16(_mm256_abs_epi8(w), _mm256_sign_epi8(x, w))
                        } else {
                            _mm256_maddubs_epi16(w, x)
                        };
                        let first = g.is_multiple_of(steps);
                        narrow[t][half] = if first { products } else { _mm256_add_epi16(narrow[t][half], products) };
                        if (g + 1).is_multiple_of(steps) {
                            let wide = _mm256_madd_epi16(narrow[t][half], ones);
                            sums[t][half] = _mm256_add_epi32(sums[t][half], wide);
                        }
                    });
                });
            });
            unroll!(t < T => {
                let start = _mm256_set1_epi32(start[t]);
                unroll!(half < 2 => { sums[t][half] = _mm256_add_epi32(sums[t][half], start); });
            });
            sums
        }
    }
    #[inline(always)]
    fn dots<const T: usize, const G: usize>(
        self,
        start: [i32; T],
        w: impl Fn(usize) -> __m256i,
        x: [&[[i8; 4]; G]; T],
        range: Range,
    ) -> [__m256i; T] {
        let steps = range.products_in_i16(G);
        // SAFETY: `self` proves AVX2.
        unsafe {
            let ones = _mm256_set1_epi16(1);
            let mut sums = [_mm256_setzero_si256(); T];
            let mut narrow = [_mm256_setzero_si256(); T];
            unroll!(g < G => {
                let w = w(g);
                let magnitude = if range == Range::S8 { _mm256_abs_epi8(w) } else { w };
                unroll!(t < T => {
                    let x = _mm256_set1_epi32(four(&x[t][g]));
                    let x = if range == Range::S8 { _mm256_sign_epi8(x, w) } else { x };
                    let products = _mm256_maddubs_epi16(magnitude, x);
                    let first = g.is_multiple_of(steps);
                    narrow[t] = if first { products } else { _mm256_add_epi16(narrow[t], products) };
                    if (g + 1).is_multiple_of(steps) {
                        sums[t] = _mm256_add_epi32(sums[t], _mm256_madd_epi16(narrow[t], ones));
                    }
                });
            });
            unroll!(t < T => { sums[t] = _mm256_add_epi32(sums[t], _mm256_set1_epi32(start[t])); });
            sums
        }
    }
}

/// The dot products of `vpdpbusd`, group by group.
macro_rules! dpbusd {
    ($name:ident, $intrinsic:ident) => {
        impl Products for $name {
            const S8_BIAS: u8 = 128;

            #[inline(always)]
            fn dots_of_both<const T: usize, const G: usize>(
                self,
                start: [i32; T],
                w: [[__m256i; 2]; G],
                x: [&[[i8; 4]; G]; T],
                _: Range,
            ) -> [[__m256i; 2]; T] {
                // SAFETY: `self` proves AVX2 and the instruction.
                unsafe {
                    let mut sums = [[_mm256_setzero_si256(); 2]; T];
                    unroll!(t < T => { sums[t] = [_mm256_set1_epi32(start[t]); 2]; });
                    unroll!(g < G => {
                        unroll!(t < T => {
                            let x = _mm256_set1_epi32(four(&x[t][g]));
                            sums[t] = [$intrinsic(sums[t][0], w[g][0], x), $intrinsic(sums[t][1], w[g][1], x)];
                        });
                    });
                    sums
                }
            }
            #[inline(always)]
            fn dots<const T: usize, const G: usize>(
                self,
                start: [i32; T],
                w: impl Fn(usize) -> __m256i,
                x: [&[[i8; 4]; G]; T],
                _: Range,
            ) -> [__m256i; T] {
                // SAFETY: `self` proves AVX2 and the instruction.
                unsafe {
                    let mut sums = [_mm256_setzero_si256(); T];
                    unroll!(t < T => { sums[t] = _mm256_set1_epi32(start[t]); });
                    unroll!(g < G => {
                        let w = w(g);
                        unroll!(t < T => { sums[t] = $intrinsic(sums[t], w, _mm256_set1_epi32(four(&x[t][g]))); });
                    });
                    sums
                }
            }
        }
    };
}

/// `vpdpbusd` of AVX-VNNI.
#[derive(Clone, Copy)]
pub(crate) struct Dpbusd(());
dpbusd!(Dpbusd, _mm256_dpbusd_avx_epi32);

/// The same instruction as AVX-512 encodes it.
#[cfg(test)]
#[derive(Clone, Copy)]
pub(crate) struct Evex(());
#[cfg(test)]
dpbusd!(Evex, _mm256_dpbusd_epi32);
