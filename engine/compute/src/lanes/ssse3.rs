use std::arch::x86_64::*;

use super::tier::tier;
use super::{ByteLanes, Lanes, Range, Weights, four, unroll};

/// SSSE3, for CPUs without AVX2 (Core 2, every Atom and Celeron of its kind): sixteen lanes are four registers.
///
/// There is no instruction that multiplies and adds with one rounding: see [`fma`].
#[derive(Clone, Copy)]
pub(crate) struct Ssse3(());
tier!(for_ssse3: Ssse3, "ssse3", ["ssse3"], Ssse3(()));

/// Applies an intrinsic to each quarter of its vectors.
macro_rules! each {
    ($f:ident $(::<$n:tt>)? ($($a:expr),*)) => {
        // SAFETY: `self` proves that the CPU has SSSE3.
        unsafe {
            [
                $f$(::<$n>)?($($a[0]),*),
                $f$(::<$n>)?($($a[1]),*),
                $f$(::<$n>)?($($a[2]),*),
                $f$(::<$n>)?($($a[3]),*),
            ]
        }
    };
}

/// Folds sixteen lanes by the tree 8, 4, 2, 1 with `$join`.
macro_rules! fold {
    ($join:ident, $join_ss:ident, $x:expr) => {{
        let [a, b, c, d]: [__m128; 4] = $x;
        // SAFETY: every x86-64 has SSE2.
        unsafe {
            let x = $join($join(a, c), $join(b, d));
            let x = $join(x, _mm_movehl_ps(x, x));
            _mm_cvtss_f32($join_ss(x, _mm_shuffle_ps::<1>(x, x)))
        }
    }};
}

impl Lanes for Ssse3 {
    type F = [__m128; 4];
    type I = [__m128i; 4];

    // What is written out would be mostly calls of `fma`.
    const UNROLL: bool = false;
    const TILE: usize = 4;

    #[inline(always)]
    fn prefetch(self, line: &[u8; 64]) {
        // SAFETY: a hint about memory that is there.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(line.as_ptr().cast()) }
    }
    #[inline(always)]
    fn splat(self, x: f32) -> [__m128; 4] {
        // SAFETY: every x86-64 has SSE2.
        unsafe { [_mm_set1_ps(x); 4] }
    }
    #[inline(always)]
    fn load(self, x: &[f32; 16]) -> [__m128; 4] {
        let x = x.as_ptr();
        // SAFETY: the reads lie inside the array and need no alignment.
        unsafe { [_mm_loadu_ps(x), _mm_loadu_ps(x.add(4)), _mm_loadu_ps(x.add(8)), _mm_loadu_ps(x.add(12))] }
    }
    #[inline(always)]
    fn store(self, x: [__m128; 4], to: &mut [f32; 16]) {
        let to = to.as_mut_ptr();
        // SAFETY: the writes lie inside the array and need no alignment.
        unsafe {
            _mm_storeu_ps(to, x[0]);
            _mm_storeu_ps(to.add(4), x[1]);
            _mm_storeu_ps(to.add(8), x[2]);
            _mm_storeu_ps(to.add(12), x[3]);
        }
    }
    #[inline(always)]
    fn load_f32(self, bytes: &[u8; 64]) -> [__m128; 4] {
        let x = self.load_bytes(bytes);
        each!(_mm_castsi128_ps(x))
    }
    #[inline(always)]
    fn store_f32(self, x: [__m128; 4], to: &mut [u8; 64]) {
        self.store_bytes(each!(_mm_castps_si128(x)), to);
    }
    #[inline(always)]
    fn load_f16(self, bytes: &[u8; 32]) -> [__m128; 4] {
        let halves = words(bytes, widened);
        // SAFETY: every x86-64 has SSE2.
        unsafe {
            halves.map(|x| {
                let magnitude = _mm_and_si128(x, _mm_set1_epi32(0x7fff));
                // The exponent's bias differs by 112; what is subnormal becomes normal by the same product.
                let number = _mm_castsi128_ps(_mm_slli_epi32::<13>(magnitude));
                let number = _mm_mul_ps(number, _mm_castsi128_ps(_mm_set1_epi32((127 + 112) << 23)));
                // Infinities and NaN keep the largest exponent.
                let special = _mm_cmpgt_epi32(magnitude, _mm_set1_epi32(0x7bff));
                let special = _mm_and_si128(special, _mm_set1_epi32(0xff << 23));
                let sign = _mm_slli_epi32::<16>(_mm_xor_si128(x, magnitude));
                _mm_or_ps(number, _mm_castsi128_ps(_mm_or_si128(special, sign)))
            })
        }
    }
    #[inline(always)]
    fn load_bf16(self, bytes: &[u8; 32]) -> [__m128; 4] {
        // SAFETY: every x86-64 has SSE2.
        unsafe {
            words(bytes, |x| {
                let zero = _mm_setzero_si128();
                [_mm_unpacklo_epi16(zero, x), _mm_unpackhi_epi16(zero, x)]
            })
            .map(|x| _mm_castsi128_ps(x))
        }
    }
    #[inline(always)]
    fn load_u8(self, bytes: &[u8; 16]) -> [__m128; 4] {
        // SAFETY: the read covers the array.
        let x = unsafe {
            let (x, zero) = (_mm_loadu_si128(bytes.as_ptr().cast()), _mm_setzero_si128());
            [widened(_mm_unpacklo_epi8(x, zero)), widened(_mm_unpackhi_epi8(x, zero))]
        };
        self.to_f32([x[0][0], x[0][1], x[1][0], x[1][1]])
    }
    #[inline(always)]
    fn load_i8(self, bytes: &[u8; 16]) -> [__m128; 4] {
        // SAFETY: the read covers the array.
        let x = unsafe {
            let x = _mm_loadu_si128(bytes.as_ptr().cast());
            // Each byte four times, of which the highest is left.
            let (low, high) = (_mm_unpacklo_epi8(x, x), _mm_unpackhi_epi8(x, x));
            [
                _mm_unpacklo_epi16(low, low),
                _mm_unpackhi_epi16(low, low),
                _mm_unpacklo_epi16(high, high),
                _mm_unpackhi_epi16(high, high),
            ]
        };
        self.to_f32(each!(_mm_srai_epi32::<24>(x)))
    }

    #[inline(always)]
    fn add(self, a: [__m128; 4], b: [__m128; 4]) -> [__m128; 4] {
        each!(_mm_add_ps(a, b))
    }
    #[inline(always)]
    fn sub(self, a: [__m128; 4], b: [__m128; 4]) -> [__m128; 4] {
        each!(_mm_sub_ps(a, b))
    }
    #[inline(always)]
    fn mul(self, a: [__m128; 4], b: [__m128; 4]) -> [__m128; 4] {
        each!(_mm_mul_ps(a, b))
    }
    #[inline(always)]
    fn div(self, a: [__m128; 4], b: [__m128; 4]) -> [__m128; 4] {
        each!(_mm_div_ps(a, b))
    }
    #[inline(always)]
    fn fma(self, a: [__m128; 4], b: [__m128; 4], c: [__m128; 4]) -> [__m128; 4] {
        fma(&a, &b, &c)
    }
    #[inline(always)]
    fn max(self, a: [__m128; 4], b: [__m128; 4]) -> [__m128; 4] {
        // `maxps` gives its second operand where the comparison fails, as the definition does.
        each!(_mm_max_ps(a, b))
    }
    #[inline(always)]
    fn select_lt(self, a: [__m128; 4], b: [__m128; 4], x: [__m128; 4], y: [__m128; 4]) -> [__m128; 4] {
        let less = each!(_mm_cmplt_ps(a, b));
        let (x, y) = (each!(_mm_and_ps(less, x)), each!(_mm_andnot_ps(less, y)));
        each!(_mm_or_ps(x, y))
    }
    #[inline(always)]
    fn swap_pairs(self, x: [__m128; 4]) -> [__m128; 4] {
        each!(_mm_shuffle_ps::<0b10_11_00_01>(x, x))
    }
    #[inline(always)]
    fn fold_add(self, x: [__m128; 4]) -> f32 {
        fold!(_mm_add_ps, _mm_add_ss, x)
    }
    #[inline(always)]
    fn fold_max(self, x: [__m128; 4]) -> f32 {
        fold!(_mm_max_ps, _mm_max_ss, x)
    }

    #[inline(always)]
    fn splat_i32(self, x: i32) -> [__m128i; 4] {
        // SAFETY: every x86-64 has SSE2.
        unsafe { [_mm_set1_epi32(x); 4] }
    }
    #[inline(always)]
    fn add_i32(self, a: [__m128i; 4], b: [__m128i; 4]) -> [__m128i; 4] {
        each!(_mm_add_epi32(a, b))
    }
    #[inline(always)]
    fn to_f32(self, x: [__m128i; 4]) -> [__m128; 4] {
        each!(_mm_cvtepi32_ps(x))
    }
    #[inline(always)]
    fn round(self, x: [__m128; 4]) -> [__m128i; 4] {
        // Rust never changes the rounding mode, so the conversion rounds ties to even.
        each!(_mm_cvtps_epi32(x))
    }
    #[inline(always)]
    fn exp2(self, n: [__m128i; 4]) -> [__m128; 4] {
        let n = self.add_i32(n, self.splat_i32(127));
        let n = each!(_mm_slli_epi32::<23>(n));
        each!(_mm_castsi128_ps(n))
    }
    #[inline(always)]
    fn max_abs_bits(self, x: [__m128; 4]) -> u32 {
        // SAFETY: every x86-64 has SSE2.
        unsafe {
            let magnitudes = x.map(|x| _mm_and_si128(_mm_castps_si128(x), _mm_set1_epi32(i32::MAX)));
            let max = |a: __m128i, b: __m128i| {
                let greater = _mm_cmpgt_epi32(a, b);
                _mm_or_si128(_mm_and_si128(greater, a), _mm_andnot_si128(greater, b))
            };
            let [a, b, c, d] = magnitudes;
            let x = max(max(a, b), max(c, d));
            let x = max(x, _mm_shuffle_epi32::<0b01_00_11_10>(x));
            let x = max(x, _mm_shuffle_epi32::<0b10_11_00_01>(x));
            _mm_cvtsi128_si32(x).cast_unsigned()
        }
    }
    #[inline(always)]
    fn store_i8(self, x: [__m128i; 4], to: &mut [i8; 16]) {
        let low = self.splat_i32(0xff);
        let [a, b, c, d] = each!(_mm_and_si128(x, low));
        // SAFETY: the write covers the array.
        unsafe {
            let bytes = _mm_packus_epi16(_mm_packs_epi32(a, b), _mm_packs_epi32(c, d));
            _mm_storeu_si128(to.as_mut_ptr().cast(), bytes);
        }
    }
}

/// Eight unsigned words, widened.
#[inline(always)]
fn widened(x: __m128i) -> [__m128i; 2] {
    // SAFETY: every x86-64 has SSE2.
    unsafe {
        let zero = _mm_setzero_si128();
        [_mm_unpacklo_epi16(x, zero), _mm_unpackhi_epi16(x, zero)]
    }
}

/// Sixteen words, of which `widen` makes eight lanes at a time.
#[inline(always)]
fn words(bytes: &[u8; 32], widen: impl Fn(__m128i) -> [__m128i; 2]) -> [__m128i; 4] {
    // SAFETY: both reads lie inside the array and need no alignment.
    let [low, high] =
        unsafe { [_mm_loadu_si128(bytes.as_ptr().cast()), _mm_loadu_si128(bytes.as_ptr().add(16).cast())] };
    let ([a, b], [c, d]) = (widen(low), widen(high));
    [a, b, c, d]
}

/// `a * b + c` in each lane, rounded once, by double precision: there the product is exact, and the sum is rounded to what
/// single precision would be rounded from, but where it falls on the middle between two numbers of single precision, which it
/// may not have been on before, and where the result is subnormal, so that middles are elsewhere. Such are worked out again.
/// (Boldo and Melquiond 2008, "Emulation of a FMA and correctly rounded sums", have the general case.)
///
/// A function of its own: inlined it would be most of every kernel.
#[inline(never)]
fn fma(a: &[__m128; 4], b: &[__m128; 4], c: &[__m128; 4]) -> [__m128; 4] {
    // SAFETY: every x86-64 has SSE2.
    unsafe {
        let (mut results, mut doubts) = ([_mm_setzero_ps(); 4], _mm_setzero_si128());
        unroll!(i < 4 => {
            let low = sum(a[i], b[i], c[i]);
            let high = sum(_mm_movehl_ps(a[i], a[i]), _mm_movehl_ps(b[i], b[i]), _mm_movehl_ps(c[i], c[i]));
            results[i] = _mm_movelh_ps(_mm_cvtpd_ps(low), _mm_cvtpd_ps(high));
            let (low, high) = (_mm_castpd_ps(low), _mm_castpd_ps(high));
            // Of the 52 bits of a sum's fraction 23 are kept: the others are a one and zeros in the middle.
            let less = _mm_castps_si128(_mm_shuffle_ps::<0b10_00_10_00>(low, high));
            let less = _mm_and_si128(less, _mm_set1_epi32((1 << 29) - 1));
            let middle = _mm_cmpeq_epi32(less, _mm_set1_epi32(1 << 28));
            // Magnitudes up to 2⁻¹²⁶, by the exponent, but for 0.
            let more = _mm_castps_si128(_mm_shuffle_ps::<0b11_01_11_01>(low, high));
            let more = _mm_and_si128(more, _mm_set1_epi32(i32::MAX));
            let small = _mm_cmpgt_epi32(_mm_set1_epi32(((1023 - 126) << 20) + 1), more);
            let small = _mm_andnot_si128(_mm_cmpeq_epi32(more, _mm_setzero_si128()), small);
            doubts = _mm_or_si128(doubts, _mm_or_si128(middle, small));
        });
        match _mm_movemask_epi8(doubts) {
            0 => results,
            _ => fma_one_by_one(a, b, c),
        }
    }
}

/// `a * b + c` of the two lower lanes in double precision.
#[inline(always)]
fn sum(a: __m128, b: __m128, c: __m128) -> __m128d {
    // SAFETY: every x86-64 has SSE2.
    unsafe { _mm_add_pd(_mm_mul_pd(_mm_cvtps_pd(a), _mm_cvtps_pd(b)), _mm_cvtps_pd(c)) }
}

#[cold]
#[inline(never)]
fn fma_one_by_one(a: &[__m128; 4], b: &[__m128; 4], c: &[__m128; 4]) -> [__m128; 4] {
    let [a, b, c] = [a, b, c].map(|x| {
        let mut numbers = [0.0; 16];
        Ssse3(()).store(*x, &mut numbers);
        numbers
    });
    Ssse3(()).load(&std::array::from_fn(|i| f32::mul_add(a[i], b[i], c[i])))
}

impl Ssse3 {
    /// All bits of each byte where [`ByteLanes::spread_bits`] finds one set.
    #[inline(always)]
    fn are_set(self, a: [__m128i; 4], group: usize) -> [__m128i; 4] {
        // The byte of each row that holds the group's bits, four times.
        // SAFETY: every x86-64 has SSE2.
        let rows = unsafe { _mm_setr_epi32(0, 0x0404_0404, 0x0808_0808, 0x0c0c_0c0c) };
        let from = self.add_i32([rows; 4], self.splat_i32((group / 2) as i32 * 0x0101_0101));
        let bit = self.splat_i32(0x0804_0201_i32.wrapping_shl(4 * (group as u32 % 2)));
        let spread = each!(_mm_shuffle_epi8(a, from));
        let spread = self.and(spread, bit);
        each!(_mm_cmpeq_epi8(spread, bit))
    }
}

impl ByteLanes for Ssse3 {
    type B = [__m128i; 4];

    #[inline(always)]
    fn load_bytes(self, bytes: &[u8; 64]) -> [__m128i; 4] {
        let bytes = bytes.as_ptr();
        // SAFETY: the reads lie inside the array and need no alignment.
        unsafe {
            [
                _mm_loadu_si128(bytes.cast()),
                _mm_loadu_si128(bytes.add(16).cast()),
                _mm_loadu_si128(bytes.add(32).cast()),
                _mm_loadu_si128(bytes.add(48).cast()),
            ]
        }
    }
    #[inline(always)]
    fn store_bytes(self, x: [__m128i; 4], to: &mut [u8; 64]) {
        let to = to.as_mut_ptr();
        // SAFETY: the writes lie inside the array and need no alignment.
        unsafe {
            _mm_storeu_si128(to.cast(), x[0]);
            _mm_storeu_si128(to.add(16).cast(), x[1]);
            _mm_storeu_si128(to.add(32).cast(), x[2]);
            _mm_storeu_si128(to.add(48).cast(), x[3]);
        }
    }
    #[inline(always)]
    fn splat_byte(self, x: u8) -> [__m128i; 4] {
        // SAFETY: every x86-64 has SSE2.
        unsafe { [_mm_set1_epi8(x.cast_signed()); 4] }
    }
    #[inline(always)]
    fn and(self, a: [__m128i; 4], b: [__m128i; 4]) -> [__m128i; 4] {
        each!(_mm_and_si128(a, b))
    }
    #[inline(always)]
    fn or(self, a: [__m128i; 4], b: [__m128i; 4]) -> [__m128i; 4] {
        each!(_mm_or_si128(a, b))
    }
    #[inline(always)]
    fn add_bytes(self, a: [__m128i; 4], b: [__m128i; 4]) -> [__m128i; 4] {
        each!(_mm_add_epi8(a, b))
    }
    #[inline(always)]
    fn shr(self, a: [__m128i; 4], n: u32) -> [__m128i; 4] {
        // There are no shifts of bytes: those of words bring in bits of the neighbour, which the mask takes off.
        // SAFETY: every x86-64 has SSE2.
        let n_bits = unsafe { [_mm_cvtsi32_si128(n.cast_signed()); 4] };
        let a = each!(_mm_srl_epi16(a, n_bits));
        self.and(a, self.splat_byte(0xff >> n))
    }
    #[inline(always)]
    fn shl(self, a: [__m128i; 4], n: u32) -> [__m128i; 4] {
        // SAFETY: every x86-64 has SSE2.
        let n_bits = unsafe { [_mm_cvtsi32_si128(n.cast_signed()); 4] };
        let a = each!(_mm_sll_epi16(a, n_bits));
        self.and(a, self.splat_byte(0xff << n))
    }
    #[inline(always)]
    fn spread_bits(self, a: [__m128i; 4], group: usize, set: u8) -> [__m128i; 4] {
        self.and(self.are_set(a, group), self.splat_byte(set))
    }
    #[inline(always)]
    fn negate(self, a: [__m128i; 4], bits: [__m128i; 4], group: usize) -> [__m128i; 4] {
        let is_set = self.are_set(bits, group);
        let flipped = each!(_mm_xor_si128(a, is_set));
        each!(_mm_sub_epi8(flipped, is_set))
    }
    #[inline(always)]
    fn halves(self, eights: &[[u8; 8]; 16]) -> [[__m128i; 4]; 2] {
        let rows = eights.as_ptr();
        let mut halves = [self.splat_byte(0); 2];
        // SAFETY: every x86-64 has SSE2; each read covers two of the rows.
        unsafe {
            unroll!(i < 4 => {
                let a = _mm_loadu_ps(rows.add(4 * i).cast());
                let b = _mm_loadu_ps(rows.add(4 * i + 2).cast());
                halves[0][i] = _mm_castps_si128(_mm_shuffle_ps::<0b10_00_10_00>(a, b));
                halves[1][i] = _mm_castps_si128(_mm_shuffle_ps::<0b11_01_11_01>(a, b));
            });
        }
        halves
    }
    #[inline(always)]
    fn lookup(self, table: &[i8; 16], index: [__m128i; 4]) -> [__m128i; 4] {
        // SAFETY: the read covers the table.
        let table = unsafe { [_mm_loadu_si128(table.as_ptr().cast()); 4] };
        each!(_mm_shuffle_epi8(table, index))
    }

    #[inline(always)]
    fn dot<const G: usize>(
        self,
        start: i32,
        w: impl Weights<[__m128i; 4], G>,
        x: &[[i8; 4]; G],
        range: Range,
    ) -> [__m128i; 4] {
        let w = w.unpack();
        let mut sums = self.splat_i32(0);
        unroll!(q < 4 => { [sums[q]] = self.products([start], |g| w[g][q], [x], range); });
        sums
    }
    #[inline(always)]
    fn dots<const T: usize, const G: usize>(
        self,
        start: [i32; T],
        w: &[[u8; 64]; G],
        x: [&[[i8; 4]; G]; T],
        range: Range,
    ) -> [[__m128i; 4]; T] {
        // One quarter after the other: the registers hold the sums of one.
        let mut sums = [self.splat_i32(0); T];
        unroll!(q < 4 => {
            // SAFETY: reads a quarter of the array's 64 bytes.
            let quarter = |g: usize| unsafe { _mm_loadu_si128(w[g].as_ptr().add(16 * q).cast()) };
            let of_quarter = self.products(start, quarter, x, range);
            unroll!(t < T => { sums[t][q] = of_quarter[t]; });
        });
        sums
    }
}

impl Ssse3 {
    /// Dot products of four rows with `T` tokens, from `start`, by `pmaddubsw`: pairs of products in 16 bits. `w` gives each
    /// group's weights.
    #[inline(always)]
    fn products<const T: usize, const G: usize>(
        self,
        start: [i32; T],
        w: impl Fn(usize) -> __m128i,
        x: [&[[i8; 4]; G]; T],
        range: Range,
    ) -> [__m128i; T] {
        let steps = range.products_in_i16(G);
        // SAFETY: `self` proves SSSE3.
        unsafe {
            let ones = _mm_set1_epi16(1);
            let mut sums = [_mm_setzero_si128(); T];
            unroll!(t < T => { sums[t] = _mm_set1_epi32(start[t]); });
            let mut narrow = [_mm_setzero_si128(); T];
            unroll!(g < G => {
                let w = w(g);
                let magnitude = if range == Range::S8 { _mm_abs_epi8(w) } else { w };
                unroll!(t < T => {
                    let x = _mm_set1_epi32(four(&x[t][g]));
                    let x = if range == Range::S8 { _mm_sign_epi8(x, w) } else { x };
                    let products = _mm_maddubs_epi16(magnitude, x);
                    let first = g.is_multiple_of(steps);
                    narrow[t] = if first { products } else { _mm_add_epi16(narrow[t], products) };
                    if (g + 1).is_multiple_of(steps) {
                        sums[t] = _mm_add_epi32(sums[t], _mm_madd_epi16(narrow[t], ones));
                    }
                });
            });
            sums
        }
    }
}
