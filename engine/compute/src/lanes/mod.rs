//! The sixteen-lane machine: the operations that everything in the engine is computed with.
//!
//! [`Scalar`] is the definition; every other implementation gives the same bits for the same inputs. A value of an
//! implementing type proves that the CPU has its instructions, so all operations are safe to call.
//! Where a result is NaN every implementation gives a NaN, of unspecified payload.
//!
//! [`Lanes`] are numbers, [`ByteLanes`] what quantized weights are unpacked and multiplied with. A [`Tier`] is an
//! instruction set with a name, and what it computes in a way of its own.

mod ahead;
#[cfg(all(target_arch = "x86_64", feature = "avx2"))]
mod avx2;
#[cfg(all(target_arch = "x86_64", feature = "avx512-vnni"))]
mod avx512;
#[cfg(target_arch = "aarch64")]
mod neon;
mod scalar;
#[cfg(all(target_arch = "x86_64", feature = "ssse3"))]
mod ssse3;
#[cfg(test)]
mod tests;
mod tier;

pub(crate) use ahead::Ahead;
pub(crate) use scalar::Scalar;
pub(crate) use tier::{AnyTier, Op, Tier};

/// How many lanes there are: rows of a panel of weights.
pub(crate) const LANES: usize = 16;

/// The values that a format's unpacked weights take. It decides how many products fit a narrow accumulator.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Range {
    /// 0 to 15.
    U4,
    /// 0 to 31.
    U5,
    /// 0 to 63.
    U6,
    /// -128 to 127.
    S8,
}

#[cfg(target_arch = "x86_64")]
impl Range {
    /// Of how many groups, of `all`, the sums of two products each fit 16 bits: 2 · 15 · 127 · 8 and so on stay below 2¹⁵.
    #[inline(always)]
    const fn products_in_i16(self, all: usize) -> usize {
        match self {
            Range::U4 => all,
            Range::U5 => 4,
            Range::U6 => 2,
            Range::S8 => 1,
        }
    }
}

/// Four activations as the number that each lane is given, from memory.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn four(x: &[i8; 4]) -> i32 {
    // SAFETY: four bytes are as many as an i32 has, and any bytes are one.
    unsafe { x.as_ptr().cast::<i32>().read_unaligned() }
}

/// Weights in groups of four of each row, unpacked when they are asked for. Who has registers for those of some rows
/// only asks again for the others.
pub(crate) trait Weights<B, const G: usize> {
    fn unpack(&self) -> [B; G];
}

impl<B: Copy, const G: usize> Weights<B, G> for [B; G] {
    #[inline(always)]
    fn unpack(&self) -> [B; G] {
        *self
    }
}

/// Sixteen lanes of one instruction set: of numbers.
pub(crate) trait Lanes: Copy + Send + Sync + 'static {
    /// 16 × f32.
    type F: Copy;
    /// 16 × i32.
    type I: Copy;

    /// Whether loops of few rounds are to be written out, so that vectors stay in registers. Lanes that are arrays gain
    /// nothing by it, and would be most of the program's code.
    const UNROLL: bool = true;
    /// Tokens whose accumulators the registers hold beside a panel's weights: 1, 2, 4, 8 or 16.
    const TILE: usize;
    // Named, so that the compiler makes no code for tiles that are too large.
    const TWO: bool = Self::TILE >= 2;
    const FOUR: bool = Self::TILE >= 4;
    const EIGHT: bool = Self::TILE >= 8;
    const SIXTEEN: bool = Self::TILE >= 16;

    /// Bytes from weights that are at work to those that memory is asked for meanwhile; 0 where the CPU reads ahead well enough by
    /// itself.
    const AHEAD: usize = 0;

    /// Asks for memory that will be read soon.
    #[inline(always)]
    fn prefetch(self, _: &[u8; 64]) {}
    fn splat(self, x: f32) -> Self::F;
    fn load(self, x: &[f32; 16]) -> Self::F;
    fn store(self, x: Self::F, to: &mut [f32; 16]);
    /// 16 little-endian f32.
    fn load_f32(self, bytes: &[u8; 64]) -> Self::F;
    /// 16 little-endian f32.
    fn store_f32(self, x: Self::F, to: &mut [u8; 64]);
    /// 16 little-endian IEEE half-precision numbers, widened exactly.
    fn load_f16(self, bytes: &[u8; 32]) -> Self::F;
    /// 16 little-endian bfloat16 numbers, widened exactly.
    fn load_bf16(self, bytes: &[u8; 32]) -> Self::F;
    fn load_u8(self, bytes: &[u8; 16]) -> Self::F;
    fn load_i8(self, bytes: &[u8; 16]) -> Self::F;

    fn add(self, a: Self::F, b: Self::F) -> Self::F;
    fn sub(self, a: Self::F, b: Self::F) -> Self::F;
    fn mul(self, a: Self::F, b: Self::F) -> Self::F;
    fn div(self, a: Self::F, b: Self::F) -> Self::F;
    /// `a * b + c`, rounded once.
    fn fma(self, a: Self::F, b: Self::F, c: Self::F) -> Self::F;
    /// `if a > b { a } else { b }` in each lane.
    fn max(self, a: Self::F, b: Self::F) -> Self::F;
    /// `if a < b { x } else { y }` in each lane.
    fn select_lt(self, a: Self::F, b: Self::F, x: Self::F, y: Self::F) -> Self::F;
    /// Exchanges lanes 0 and 1, 2 and 3, and so on.
    fn swap_pairs(self, x: Self::F) -> Self::F;
    /// The sum of all lanes by the tree 8, 4, 2, 1: lane i + lane i+8, then i + i+4, …
    fn fold_add(self, x: Self::F) -> f32;
    /// The maximum of all lanes by the same tree and [`Lanes::max`].
    fn fold_max(self, x: Self::F) -> f32;

    fn splat_i32(self, x: i32) -> Self::I;
    fn add_i32(self, a: Self::I, b: Self::I) -> Self::I;
    /// Nearest f32, ties to even.
    fn to_f32(self, x: Self::I) -> Self::F;
    /// Nearest integer, ties to even. Defined for |x| < 2³¹.
    fn round(self, x: Self::F) -> Self::I;
    /// 2ⁿ for n from −126 to 127.
    fn exp2(self, n: Self::I) -> Self::F;
    /// The largest bit pattern of |x| over all lanes, as an integer: infinities and NaN come out on top.
    fn max_abs_bits(self, x: Self::F) -> u32;
    /// The low byte of each lane.
    fn store_i8(self, x: Self::I, to: &mut [i8; 16]);
}

/// Bytes beside the numbers: sixteen rows of quantized weights, and their products.
///
/// Row `r` of a panel sits in lane `r`; a [`ByteLanes::B`] holds four consecutive bytes of each of sixteen rows, row 0's
/// first. The products of bytes and their sums are exact, so implementations are free in how they form them.
pub(crate) trait ByteLanes: Lanes {
    /// 64 bytes: 16 rows × 4.
    type B: Copy;

    /// What dot products want added to weights of [`Range::S8`], modulo 256: 128 where they take unsigned bytes only.
    const S8_BIAS: u8 = 0;
    /// Tokens, at most, for whom weights are unpacked in registers: 4 or 2, as many as have room for their sums. 1 where weights go
    /// through the cache for more tokens than one.
    const FEW: usize = 1;
    /// Whether [`ByteLanes::dots`] takes signed bytes in every range, so that offsets can be taken off the weights.
    const SIGNED: bool = false;

    fn load_bytes(self, bytes: &[u8; 64]) -> Self::B;
    /// [`ByteLanes::load_bytes`] for weights that come from memory: the loads keep the order in which they are written,
    /// where the compiler would put them in any. What does not come from front to back is not read ahead.
    #[inline(always)]
    fn load_in_order(self, bytes: &[u8; 64]) -> Self::B {
        self.load_bytes(bytes)
    }
    fn store_bytes(self, x: Self::B, to: &mut [u8; 64]);
    fn splat_byte(self, x: u8) -> Self::B;
    fn and(self, a: Self::B, b: Self::B) -> Self::B;
    fn or(self, a: Self::B, b: Self::B) -> Self::B;
    /// The sum of each two bytes, modulo 256.
    fn add_bytes(self, a: Self::B, b: Self::B) -> Self::B;
    /// Each byte shifted right by `n`, 0 to 7, with zeros coming in.
    fn shr(self, a: Self::B, n: u32) -> Self::B;
    /// Each byte shifted left by `n`, 0 to 7, with zeros coming in.
    fn shl(self, a: Self::B, n: u32) -> Self::B;
    /// `low`, whose bits of `mask` are zero, with those of `high` shifted right by `right` and then left by `left`.
    #[inline(always)]
    fn merge(self, low: Self::B, high: Self::B, right: u32, left: u32, mask: u8) -> Self::B {
        let bits = self.and(self.shr(high, right), self.splat_byte(mask >> left));
        self.or(low, self.shl(bits, left))
    }
    /// Takes each row's four bytes as a little-endian u32 and gives its bits `4 * group` to `4 * group + 3` as four
    /// bytes of 0 or `set`.
    fn spread_bits(self, a: Self::B, group: usize, set: u8) -> Self::B;
    /// `a`, negated in each row where its bit is set: bits `4 * group` to `4 * group + 3` of the row's four `bits` bytes, as
    /// [`ByteLanes::spread_bits`] takes them.
    fn negate(self, a: Self::B, bits: Self::B, group: usize) -> Self::B;
    /// Each row's entry of a table of four bytes; its numbers are below `GROUPS`.
    #[inline(always)]
    fn look_up<const GROUPS: usize>(
        self,
        table: &[[u8; 4]; GROUPS],
        number: impl Fn(usize) -> usize,
    ) -> Self::B {
        let mut line = [0; 64];
        for (row, to) in line.as_chunks_mut().0.iter_mut().enumerate() {
            *to = table[number(row) % GROUPS];
        }
        self.load_bytes(&line)
    }
    /// Eight bytes of each row: the first four and the last four.
    #[inline(always)]
    fn halves(self, eights: &[[u8; 8]; 16]) -> [Self::B; 2] {
        let mut halves = [[0; 64]; 2];
        for (row, eight) in eights.iter().enumerate() {
            for (half, four) in halves.iter_mut().zip(eight.as_chunks::<4>().0) {
                half[4 * row..4 * row + 4].copy_from_slice(four);
            }
        }
        [self.load_bytes(&halves[0]), self.load_bytes(&halves[1])]
    }
    /// `table[index]` for each byte; indices are 0 to 15.
    fn lookup(self, table: &[i8; 16], index: Self::B) -> Self::B;
    /// `a * byte` in each lane. `a` are half-precision numbers, widened.
    #[inline(always)]
    fn mul_u8(self, a: Self::F, bytes: &[u8; 16]) -> Self::F {
        self.mul(a, self.load_u8(bytes))
    }

    /// Adds to `start`, in each row, the exact dot product of `4 * G` weights with as many activations, −127 to 127.
    ///
    /// The weights are of `range`, those of [`Range::S8`] with [`ByteLanes::S8_BIAS`] added. `G` is 4 or 8.
    fn dot<const G: usize>(
        self,
        start: i32,
        w: impl Weights<Self::B, G>,
        x: &[[i8; 4]; G],
        range: Range,
    ) -> Self::I;

    /// [`ByteLanes::dot`] for 2 to [`ByteLanes::FEW`] tokens, with weights in registers.
    #[inline(always)]
    fn dot_few<const T: usize, const G: usize>(
        self,
        start: [i32; T],
        w: [Self::B; G],
        x: [&[[i8; 4]; G]; T],
        range: Range,
    ) -> [Self::I; T] {
        let mut sums = [self.splat_i32(0); T];
        unroll!(t < T => { sums[t] = self.dot(start[t], w, x[t], range); });
        sums
    }

    /// Puts the weights that [`ByteLanes::dots`] is to read into the order it wants: any within four groups.
    #[inline(always)]
    fn arrange(self, w: [Self::B; 8]) -> [Self::B; 8] {
        w
    }

    /// [`ByteLanes::dot`] for several tokens, with weights that [`ByteLanes::arrange`] has ordered.
    fn dots<const T: usize, const G: usize>(
        self,
        start: [i32; T],
        w: &[[u8; 64]; G],
        x: [&[[i8; 4]; G]; T],
        range: Range,
    ) -> [Self::I; T];
}

/// Repeats `$body` for `$i` = 0, 1, … while `$i < $n`, at most sixteen times, without a loop: the compiler then
/// keeps arrays of vectors in registers whatever it thinks of unrolling. A literal bound writes no more copies than
/// it asks for: where one nests in others, sixteen of each would be thousands to compile.
macro_rules! unroll {
    ($i:ident < 2 => $body:block) => { unroll!(@ $i, 2, $body, 0 1) };
    ($i:ident < 4 => $body:block) => { unroll!(@ $i, 4, $body, 0 1 2 3) };
    ($i:ident < 8 => $body:block) => { unroll!(@ $i, 8, $body, 0 1 2 3 4 5 6 7) };
    ($i:ident < $n:expr => $body:block) => {
        unroll!(@ $i, $n, $body, 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15)
    };
    (@ $i:ident, $n:expr, $body:block, $($k:literal)*) => {
        $( if $k < $n { let $i: usize = $k; $body } )*
    };
}
pub(crate) use unroll;
