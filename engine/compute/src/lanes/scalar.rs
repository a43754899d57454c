use half::{bf16, f16};

use super::{ByteLanes, Lanes, Op, Range, Tier, Weights};

/// The definition of the machine, in plain Rust: loops over arrays. What takes more than some instructions is not inlined,
/// as it would be in every place of every kernel.
#[derive(Clone, Copy)]
pub(crate) struct Scalar;

/// Folds 16 lanes into one by the tree 8, 4, 2, 1.
fn fold(mut x: [f32; 16], join: impl Fn(f32, f32) -> f32) -> f32 {
    for half in [8, 4, 2, 1] {
        for i in 0..half {
            x[i] = join(x[i], x[i + half]);
        }
    }
    x[0]
}

fn max(a: f32, b: f32) -> f32 {
    if a > b { a } else { b }
}

fn zip<T: Copy, U>(a: [T; 16], b: [T; 16], f: impl Fn(T, T) -> U) -> [U; 16] {
    std::array::from_fn(|i| f(a[i], b[i]))
}

fn zip_bytes(a: [u8; 64], b: [u8; 64], f: impl Fn(u8, u8) -> u8) -> [u8; 64] {
    std::array::from_fn(|i| f(a[i], b[i]))
}

/// `start[row]` plus the dot product of the row's bytes with the activations.
#[inline(never)]
fn dot<const G: usize>(start: i32, w: &[[u8; 64]; G], x: &[[i8; 4]; G], range: Range) -> [i32; 16] {
    let number = |byte: u8| match range {
        Range::S8 => i32::from(byte.cast_signed()),
        _ => i32::from(byte),
    };
    let group = |w: &[u8], x: &[i8; 4]| w.iter().zip(x).map(|(w, x)| number(*w) * i32::from(*x)).sum::<i32>();
    std::array::from_fn(|row| {
        start + w.iter().zip(x).map(|(w, x)| group(&w[4 * row..4 * row + 4], x)).sum::<i32>()
    })
}

impl Lanes for Scalar {
    type F = [f32; 16];
    type I = [i32; 16];

    const UNROLL: bool = false;
    const TILE: usize = 1;

    fn splat(self, x: f32) -> [f32; 16] {
        [x; 16]
    }
    fn load(self, x: &[f32; 16]) -> [f32; 16] {
        *x
    }
    fn store(self, x: [f32; 16], to: &mut [f32; 16]) {
        *to = x;
    }
    fn load_f32(self, bytes: &[u8; 64]) -> [f32; 16] {
        std::array::from_fn(|i| f32::from_le_bytes(std::array::from_fn(|b| bytes[4 * i + b])))
    }
    fn store_f32(self, x: [f32; 16], to: &mut [u8; 64]) {
        to.as_chunks_mut().0.iter_mut().zip(x).for_each(|(to, x)| *to = x.to_le_bytes());
    }
    #[inline(never)]
    fn load_f16(self, bytes: &[u8; 32]) -> [f32; 16] {
        std::array::from_fn(|i| f16::from_le_bytes([bytes[2 * i], bytes[2 * i + 1]]).to_f32())
    }
    #[inline(never)]
    fn load_bf16(self, bytes: &[u8; 32]) -> [f32; 16] {
        std::array::from_fn(|i| bf16::from_le_bytes([bytes[2 * i], bytes[2 * i + 1]]).to_f32())
    }
    fn load_u8(self, bytes: &[u8; 16]) -> [f32; 16] {
        bytes.map(f32::from)
    }
    fn load_i8(self, bytes: &[u8; 16]) -> [f32; 16] {
        bytes.map(|b| f32::from(b.cast_signed()))
    }

    fn add(self, a: [f32; 16], b: [f32; 16]) -> [f32; 16] {
        zip(a, b, |a, b| a + b)
    }
    fn sub(self, a: [f32; 16], b: [f32; 16]) -> [f32; 16] {
        zip(a, b, |a, b| a - b)
    }
    fn mul(self, a: [f32; 16], b: [f32; 16]) -> [f32; 16] {
        zip(a, b, |a, b| a * b)
    }
    #[inline(never)]
    fn div(self, a: [f32; 16], b: [f32; 16]) -> [f32; 16] {
        zip(a, b, |a, b| a / b)
    }
    #[inline(never)]
    fn fma(self, a: [f32; 16], b: [f32; 16], c: [f32; 16]) -> [f32; 16] {
        std::array::from_fn(|i| a[i].mul_add(b[i], c[i]))
    }
    #[inline(never)]
    fn max(self, a: [f32; 16], b: [f32; 16]) -> [f32; 16] {
        zip(a, b, max)
    }
    #[inline(never)]
    fn select_lt(self, a: [f32; 16], b: [f32; 16], x: [f32; 16], y: [f32; 16]) -> [f32; 16] {
        std::array::from_fn(|i| if a[i] < b[i] { x[i] } else { y[i] })
    }
    fn swap_pairs(self, x: [f32; 16]) -> [f32; 16] {
        std::array::from_fn(|i| x[i ^ 1])
    }
    #[inline(never)]
    fn fold_add(self, x: [f32; 16]) -> f32 {
        fold(x, |a, b| a + b)
    }
    #[inline(never)]
    fn fold_max(self, x: [f32; 16]) -> f32 {
        fold(x, max)
    }

    fn splat_i32(self, x: i32) -> [i32; 16] {
        [x; 16]
    }
    fn add_i32(self, a: [i32; 16], b: [i32; 16]) -> [i32; 16] {
        zip(a, b, i32::wrapping_add)
    }
    fn to_f32(self, x: [i32; 16]) -> [f32; 16] {
        x.map(|x| x as f32)
    }
    #[inline(never)]
    fn round(self, x: [f32; 16]) -> [i32; 16] {
        x.map(|x| x.round_ties_even() as i32)
    }
    #[inline(never)]
    fn exp2(self, n: [i32; 16]) -> [f32; 16] {
        n.map(|n| f32::from_bits(((n + 127) << 23).cast_unsigned()))
    }
    #[inline(never)]
    fn max_abs_bits(self, x: [f32; 16]) -> u32 {
        x.iter().map(|x| x.abs().to_bits()).fold(0, u32::max)
    }
    #[inline(never)]
    fn store_i8(self, x: [i32; 16], to: &mut [i8; 16]) {
        *to = x.map(|x| x as i8);
    }
}

impl ByteLanes for Scalar {
    type B = [u8; 64];

    fn load_bytes(self, bytes: &[u8; 64]) -> [u8; 64] {
        *bytes
    }
    fn store_bytes(self, x: [u8; 64], to: &mut [u8; 64]) {
        *to = x;
    }
    fn splat_byte(self, x: u8) -> [u8; 64] {
        [x; 64]
    }
    fn and(self, a: [u8; 64], b: [u8; 64]) -> [u8; 64] {
        zip_bytes(a, b, |a, b| a & b)
    }
    fn or(self, a: [u8; 64], b: [u8; 64]) -> [u8; 64] {
        zip_bytes(a, b, |a, b| a | b)
    }
    fn add_bytes(self, a: [u8; 64], b: [u8; 64]) -> [u8; 64] {
        zip_bytes(a, b, u8::wrapping_add)
    }
    fn shr(self, a: [u8; 64], n: u32) -> [u8; 64] {
        a.map(|a| a >> n)
    }
    fn shl(self, a: [u8; 64], n: u32) -> [u8; 64] {
        a.map(|a| a << n)
    }
    #[inline(never)]
    fn spread_bits(self, a: [u8; 64], group: usize, set: u8) -> [u8; 64] {
        std::array::from_fn(|i| {
            let bit = 4 * group + i % 4;
            if a[i / 4 * 4 + bit / 8] >> (bit % 8) & 1 == 1 { set } else { 0 }
        })
    }
    fn negate(self, a: [u8; 64], bits: [u8; 64], group: usize) -> [u8; 64] {
        zip_bytes(
            a,
            self.spread_bits(bits, group, 1),
            |a, is_set| if is_set == 1 { a.wrapping_neg() } else { a },
        )
    }
    #[inline(never)]
    fn lookup(self, table: &[i8; 16], index: [u8; 64]) -> [u8; 64] {
        index.map(|i| table[usize::from(i & 15)].cast_unsigned())
    }

    fn dot<const G: usize>(
        self,
        start: i32,
        w: impl Weights<[u8; 64], G>,
        x: &[[i8; 4]; G],
        range: Range,
    ) -> [i32; 16] {
        dot(start, &w.unpack(), x, range)
    }
    fn dots<const T: usize, const G: usize>(
        self,
        start: [i32; T],
        w: &[[u8; 64]; G],
        x: [&[[i8; 4]; G]; T],
        range: Range,
    ) -> [[i32; 16]; T] {
        std::array::from_fn(|t| dot(start[t], w, x[t], range))
    }
}

impl Tier for Scalar {
    const NAME: &'static str = "scalar";

    fn detect() -> Option<Self> {
        Some(Scalar)
    }
    fn enter<O: Op>(self, op: O) -> O::Out {
        op.run(self)
    }
}
