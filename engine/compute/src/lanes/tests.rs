//! Every operation of every tier against the definition.

use siskin_quant::TensorType;

use super::{AnyTier, ByteLanes, Lanes, Op, Range, Scalar, Tier};
use crate::test_data::Random;

/// Numbers where implementations like to differ.
const EXTREMES: [f32; 24] = [
    0.0,
    -0.0,
    1.0,
    -1.0,
    0.5,
    -0.5,
    1.5,
    2.5,
    -2.5,
    127.5,
    1e-40,
    -1e-45,
    f32::MIN_POSITIVE,
    f32::MAX,
    f32::MIN,
    f32::INFINITY,
    f32::NEG_INFINITY,
    f32::NAN,
    8_388_609.0,
    16_777_217.0,
    2_147_483_000.0,
    -2_147_483_000.0,
    1e20,
    3.1e-5,
];

/// Bits, with all NaN made one.
fn bits(x: [f32; 16]) -> [u32; 16] {
    x.map(|x| if x.is_nan() { f32::NAN.to_bits() } else { x.to_bits() })
}

struct Pair<L>(L);

impl<L: ByteLanes> Pair<L> {
    fn f(&self, x: &[f32; 16]) -> L::F {
        self.0.load(x)
    }
    fn out(&self, x: L::F) -> [u32; 16] {
        let mut to = [0.0; 16];
        self.0.store(x, &mut to);
        bits(to)
    }
    /// An integer vector through a conversion that is exact below 2²⁴.
    fn ints(&self, x: L::I) -> [u32; 16] {
        self.out(self.0.to_f32(x))
    }
    /// All 64 bytes.
    fn bytes(&self, b: L::B) -> [u8; 64] {
        let mut to = [0; 64];
        self.0.store_bytes(b, &mut to);
        to
    }
}

fn vectors() -> Vec<[f32; 16]> {
    let mut random = Random(11);
    (0..if cfg!(miri) { 12 } else { 300 })
        .map(|round| {
            std::array::from_fn(|_| match round % 3 {
                0 => random.unit() * 100.0,
                1 => EXTREMES[random.bits() as usize % EXTREMES.len()],
                _ => f32::from_bits(random.bits()),
            })
        })
        .collect()
}

fn floats<L: ByteLanes>(l: L) {
    let (p, s) = (Pair(l), Pair(Scalar));
    let all = vectors();
    for ((a, b), c) in all.iter().zip(&all[1..]).zip(&all[2..]) {
        let (x, y, z) = (p.f(a), p.f(b), p.f(c));
        assert_eq!(p.out(l.add(x, y)), s.out(Scalar.add(*a, *b)), "add {a:?} {b:?}");
        assert_eq!(p.out(l.sub(x, y)), s.out(Scalar.sub(*a, *b)), "sub {a:?} {b:?}");
        assert_eq!(p.out(l.mul(x, y)), s.out(Scalar.mul(*a, *b)), "mul {a:?} {b:?}");
        assert_eq!(p.out(l.div(x, y)), s.out(Scalar.div(*a, *b)), "div {a:?} {b:?}");
        assert_eq!(p.out(l.max(x, y)), s.out(Scalar.max(*a, *b)), "max {a:?} {b:?}");
        assert_eq!(p.out(l.fma(x, y, z)), s.out(Scalar.fma(*a, *b, *c)), "fma {a:?} {b:?} {c:?}");
        let select = l.select_lt(x, y, z, l.splat(1.0));
        assert_eq!(p.out(select), s.out(Scalar.select_lt(*a, *b, *c, [1.0; 16])), "select {a:?} {b:?}");
        assert_eq!(p.out(l.swap_pairs(x)), s.out(Scalar.swap_pairs(*a)));
        assert_eq!(bits([l.fold_add(x); 16]), bits([Scalar.fold_add(*a); 16]), "fold_add {a:?}");
        assert_eq!(bits([l.fold_max(x); 16]), bits([Scalar.fold_max(*a); 16]), "fold_max {a:?}");
        let top = |bits: u32| if f32::from_bits(bits).is_nan() { u32::MAX } else { bits };
        assert_eq!(top(l.max_abs_bits(x)), top(Scalar.max_abs_bits(*a)), "max_abs_bits {a:?}");
    }
}

/// Products and sums that come to something else when they are rounded twice, as by way of double precision.
fn sums_near_the_middle<L: ByteLanes>(l: L) {
    let (p, s) = (Pair(l), Pair(Scalar));
    let power = |exponent: i32| 2f32.powi(exponent);
    let mut random = Random(13);
    for round in 0..if cfg!(miri) { 4 } else { 2000 } {
        // (1 + d)(1 − d) is short of 1 by d², which double precision has no place for beside a number of 2²⁴.
        let shift = (round % 100) - 50;
        let d: [f32; 16] = std::array::from_fn(|_| power(-13 - (random.bits() % 7) as i32));
        let a: [f32; 16] = std::array::from_fn(|i| (1.0 + d[i]) * power(shift));
        let b: [f32; 16] = std::array::from_fn(|i| if i % 3 == 0 { 1.0 + d[i] } else { 1.0 - d[i] });
        let c: [f32; 16] = std::array::from_fn(|_| {
            let whole = ((1 << 23) + random.bits() % (1 << 23)) as f32;
            whole * power(shift + 1) * if random.bits().is_multiple_of(2) { -1.0 } else { 1.0 }
        });
        assert_eq!(p.out(l.fma(p.f(&a), p.f(&b), p.f(&c))), s.out(Scalar.fma(a, b, c)), "{a:?} {b:?} {c:?}");
        // And where the sum is subnormal, or nearly so.
        let tiny = power(-126 + shift % 8);
        let (b, c) = (b.map(|x| x * tiny), c.map(|x| x * power(-151 - shift + shift % 3)));
        let a = a.map(|x| x * power(-shift));
        assert_eq!(p.out(l.fma(p.f(&a), p.f(&b), p.f(&c))), s.out(Scalar.fma(a, b, c)), "{a:?} {b:?} {c:?}");
    }
}

fn integers<L: ByteLanes>(l: L) {
    let (p, s) = (Pair(l), Pair(Scalar));
    for a in vectors() {
        let a = a.map(|x| if x.abs() < 2e9 { x } else { 7.5 });
        assert_eq!(p.ints(l.round(p.f(&a))), s.ints(Scalar.round(a)), "round {a:?}");
        let sum = l.add_i32(l.round(p.f(&a)), l.splat_i32(-12_345_678));
        assert_eq!(p.ints(sum), s.ints(Scalar.add_i32(Scalar.round(a), [-12_345_678; 16])));
        let n = a.map(|x| (x % 126.0).trunc());
        assert_eq!(p.out(l.exp2(l.round(p.f(&n)))), s.out(Scalar.exp2(Scalar.round(n))), "exp2 {n:?}");
        let (mut to, mut expected) = ([0; 16], [0; 16]);
        l.store_i8(l.round(p.f(&n)), &mut to);
        Scalar.store_i8(Scalar.round(n), &mut expected);
        assert_eq!(to, expected, "store_i8 {n:?}");
    }
}

fn loads<L: ByteLanes>(l: L) {
    let (p, s) = (Pair(l), Pair(Scalar));
    // Every half there is; few of them where each is worked out step by step.
    for start in (0..=u16::MAX).step_by(if cfg!(miri) { 4096 } else { 16 }) {
        let halves: [u8; 32] = std::array::from_fn(|i| (start + i as u16 / 2).to_le_bytes()[i % 2]);
        assert_eq!(p.out(l.load_f16(&halves)), s.out(Scalar.load_f16(&halves)), "f16 from {start:#x}");
        assert_eq!(p.out(l.load_bf16(&halves)), s.out(Scalar.load_bf16(&halves)), "bf16 from {start:#x}");
    }
    let mut random = Random(3);
    for _ in 0..if cfg!(miri) { 2 } else { 50 } {
        let bytes: [u8; 64] = std::array::from_fn(|_| random.bits() as u8);
        let first = bytes.first_chunk().unwrap();
        assert_eq!(p.out(l.load_f32(&bytes)), s.out(Scalar.load_f32(&bytes)));
        let mut stored = [0; 64];
        l.store_f32(l.load_f32(&bytes), &mut stored);
        assert_eq!(stored, bytes);
        assert_eq!(p.out(l.load_u8(first)), s.out(Scalar.load_u8(first)));
        assert_eq!(p.out(l.load_i8(first)), s.out(Scalar.load_i8(first)));
        let halves = bytes.last_chunk().unwrap();
        let product = l.mul_u8(l.load_f16(halves), first);
        assert_eq!(p.out(product), s.out(Scalar.mul_u8(Scalar.load_f16(halves), first)), "{bytes:?}");
    }
}

fn bytes<L: ByteLanes>(l: L) {
    let (p, s) = (Pair(l), Pair(Scalar));
    let mut random = Random(5);
    for _ in 0..if cfg!(miri) { 2 } else { 50 } {
        let a: [u8; 64] = std::array::from_fn(|_| random.bits() as u8);
        let b: [u8; 64] = std::array::from_fn(|_| random.bits() as u8);
        let (x, y) = (l.load_bytes(&a), l.load_bytes(&b));
        assert_eq!(p.bytes(x), s.bytes(a));
        assert_eq!(p.bytes(l.splat_byte(a[0])), s.bytes([a[0]; 64]));
        assert_eq!(p.bytes(l.and(x, y)), s.bytes(Scalar.and(a, b)));
        assert_eq!(p.bytes(l.or(x, y)), s.bytes(Scalar.or(a, b)));
        assert_eq!(p.bytes(l.add_bytes(x, y)), s.bytes(Scalar.add_bytes(a, b)));
        assert_eq!(p.bytes(l.shr(x, 1)), s.bytes(Scalar.shr(a, 1)));
        assert_eq!(p.bytes(l.shr(x, 4)), s.bytes(Scalar.shr(a, 4)));
        assert_eq!(p.bytes(l.shr(x, 7)), s.bytes(Scalar.shr(a, 7)));
        assert_eq!(p.bytes(l.shl(x, 2)), s.bytes(Scalar.shl(a, 2)));
        assert_eq!(p.bytes(l.shl(x, 4)), s.bytes(Scalar.shl(a, 4)));
        for (right, left) in [(0, 4), (3, 4), (7, 2), (6, 4)] {
            let merged = l.merge(l.and(x, l.splat_byte(0xf)), y, right, left, 0x30);
            let expected = Scalar.merge(a.map(|a| a & 0xf), b, right, left, 0x30);
            assert_eq!(p.bytes(merged), s.bytes(expected), "{right} {left}");
        }
        for group in 0..8 {
            let spread = l.spread_bits(x, group, 16);
            assert_eq!(p.bytes(spread), s.bytes(Scalar.spread_bits(a, group, 16)), "group {group}");
            let negated = l.negate(y, x, group);
            assert_eq!(p.bytes(negated), s.bytes(Scalar.negate(b, a, group)), "group {group}");
        }
        let eights =
            std::array::from_fn(|row| [a, b].as_flattened()[8 * row..].first_chunk().copied().unwrap());
        let ([first, last], expected) = (l.halves(&eights), Scalar.halves(&eights));
        assert_eq!([p.bytes(first), p.bytes(last)], expected.map(|half| s.bytes(half)));
        let fours: &[[u8; 4]; 16] = a.as_chunks().0.first_chunk().unwrap();
        let number = |row: usize| usize::from(b[row] % 16);
        assert_eq!(p.bytes(l.look_up(fours, number)), s.bytes(Scalar.look_up(fours, number)));
        let table: [i8; 16] = std::array::from_fn(|i| b[i].cast_signed());
        let index = l.and(x, l.splat_byte(15));
        assert_eq!(p.bytes(l.lookup(&table, index)), s.bytes(Scalar.lookup(&table, a.map(|a| a & 15))));
    }
}

/// A block's weights and activations: at the ends of the range, and random ones.
fn block(random: &mut Random, (low, high): (i32, i32), round: usize) -> ([[u8; 64]; 8], [[i8; 4]; 8]) {
    let w = std::array::from_fn(|_| {
        std::array::from_fn(|_| match round % 4 {
            0 => high as u8,
            1 => low as u8,
            _ => (low + (random.bits() >> 8) as i32 % (high - low + 1)) as u8,
        })
    });
    let x = std::array::from_fn(|_| {
        std::array::from_fn(|_| match round % 8 {
            0 | 1 => 127,
            2 | 3 => -127,
            _ => ((random.bits() >> 8) % 255) as i8,
        })
    });
    (w, x.map(|x: [i8; 4]| x.map(|x| x.max(-127))))
}

fn dots<L: ByteLanes>(l: L) {
    let mut random = Random(9);
    let ranges = [(Range::U4, 0, 15), (Range::U5, 0, 31), (Range::U6, 0, 63), (Range::S8, -128, 127)];
    for (range, low, high) in ranges {
        for round in 0..if cfg!(miri) { 4 } else { 60 } {
            let (w, x) = block(&mut random, (low, high), round);
            check_dot(l, w, x, range);
            check_dots::<L, 1>(l, w, [x], range);
            let (_, y) = block(&mut random, (low, high), round + 4);
            check_dots::<L, 2>(l, w, [x, y], range);
            check_dots::<L, 4>(l, w, [x, y, x, x], range);
            check_dots::<L, 8>(l, w, [x, y, x, x, y, y, y, x], range);
            check_few::<L, 2>(l, w, [y, x], range);
            check_few::<L, 4>(l, w, [x, y, y, x], range);
            if L::SIGNED && range != Range::S8 {
                // The same weights, less an offset of half their range.
                let offset = (high + 1) / 2;
                let less = w.map(|w| w.map(|w| w.wrapping_sub(offset as u8)));
                check_dots_as::<L, 2>(l, less, [x, y], range, Range::S8);
            }
        }
    }
}

fn biased<L: ByteLanes>(w: [[u8; 64]; 8], range: Range) -> [[u8; 64]; 8] {
    let bias = if range == Range::S8 { L::S8_BIAS } else { 0 };
    w.map(|w| w.map(|w| w.wrapping_add(bias)))
}

/// Sums of activations times the bias of the weights, which the product has too much.
fn too_much<L: ByteLanes>(x: &[[i8; 4]], range: Range) -> i32 {
    let bias = if range == Range::S8 { i32::from(L::S8_BIAS) } else { 0 };
    bias * x.as_flattened().iter().map(|&x| i32::from(x)).sum::<i32>()
}

fn check_dot<L: ByteLanes>(l: L, w: [[u8; 64]; 8], x: [[i8; 4]; 8], range: Range) {
    let (p, s) = (Pair(l), Pair(Scalar));
    let weights = biased::<L>(w, range).map(|w| l.load_bytes(&w));
    let dot = l.dot(77 - too_much::<L>(&x, range), weights, &x, range);
    assert_eq!(p.ints(dot), s.ints(Scalar.dot(77, w, &x, range)));
    let (weights, x) = (weights.first_chunk::<4>().unwrap(), x.first_chunk::<4>().unwrap());
    let dot = l.dot(-too_much::<L>(x, range), *weights, x, range);
    assert_eq!(p.ints(dot), s.ints(Scalar.dot(0, *w.first_chunk::<4>().unwrap(), x, range)));
}

fn check_dots<L: ByteLanes, const T: usize>(l: L, w: [[u8; 64]; 8], x: [[[i8; 4]; 8]; T], range: Range) {
    check_dots_as::<L, T>(l, w, x, range, range);
}

/// `meant` is the range that the bytes are to be read in.
fn check_dots_as<L: ByteLanes, const T: usize>(
    l: L,
    w: [[u8; 64]; 8],
    x: [[[i8; 4]; 8]; T],
    range: Range,
    meant: Range,
) {
    let (p, s) = (Pair(l), Pair(Scalar));
    let bytes = l.arrange(biased::<L>(w, range).map(|w| l.load_bytes(&w))).map(|b| p.bytes(b));
    let starts = x.map(|x| -5 - too_much::<L>(&x, range));
    let sums = l.dots::<T, 8>(starts, &bytes, x.each_ref(), range);
    let expected = Scalar.dots::<T, 8>([-5; T], &w, x.each_ref(), meant);
    for (sum, expected) in sums.into_iter().zip(expected) {
        assert_eq!(p.ints(sum), s.ints(expected));
    }
    let halves = x.each_ref().map(|x| x.last_chunk::<4>().unwrap());
    let starts = halves.map(|x| -too_much::<L>(x, range));
    let sums = l.dots::<T, 4>(starts, bytes.last_chunk().unwrap(), halves, range);
    let expected = Scalar.dots::<T, 4>([0; T], w.last_chunk().unwrap(), halves, meant);
    for (sum, expected) in sums.into_iter().zip(expected) {
        assert_eq!(p.ints(sum), s.ints(expected));
    }
}

fn check_few<L: ByteLanes, const T: usize>(l: L, w: [[u8; 64]; 8], x: [[[i8; 4]; 8]; T], range: Range) {
    let (p, s) = (Pair(l), Pair(Scalar));
    let weights = biased::<L>(w, range).map(|w| l.load_bytes(&w));
    let starts = x.map(|x| 3 - too_much::<L>(&x, range));
    let sums = l.dot_few(starts, weights, x.each_ref(), range);
    for (sum, x) in sums.into_iter().zip(&x) {
        assert_eq!(p.ints(sum), s.ints(Scalar.dot(3, w, x, range)));
    }
    let halves = x.each_ref().map(|x| x.first_chunk::<4>().unwrap());
    let starts = halves.map(|x| -too_much::<L>(x, range));
    let sums = l.dot_few(starts, *weights.first_chunk::<4>().unwrap(), halves, range);
    for (sum, x) in sums.into_iter().zip(halves) {
        assert_eq!(p.ints(sum), s.ints(Scalar.dot(0, *w.first_chunk::<4>().unwrap(), x, range)));
    }
}

/// The product of a panel without blocks, where the tier has a way of its own.
fn empty_panels<L: Tier>(l: L) {
    for ty in TensorType::ALL {
        let sums = l.panel_sum(*ty, &[], &[]);
        assert!(sums.is_none_or(|sums| Pair(l).out(sums) == [0; 16]), "{}", ty.name());
    }
}

/// Every operation of one tier.
struct Everything;

impl Op for Everything {
    type Out = ();

    fn run<L: Tier>(self, l: L) {
        floats(l);
        sums_near_the_middle(l);
        integers(l);
        loads(l);
        bytes(l);
        dots(l);
        empty_panels(l);
    }
}

#[test]
fn every_tier_of_this_cpu_equals_scalar() {
    for tier in AnyTier::available() {
        println!("{}", tier.name());
        tier.run(Everything);
    }
}

#[test]
fn the_tree_is_8_4_2_1() {
    // Of all orders, only the tree's own pairs cancel before they round.
    let x: [f32; 16] = std::array::from_fn(|i| if i < 8 { 1e8 } else { -1e8 } + i as f32 * 0.25);
    let fold8: [f32; 8] = std::array::from_fn(|i| x[i] + x[i + 8]);
    let fold4: [f32; 4] = std::array::from_fn(|i| fold8[i] + fold8[i + 4]);
    assert_eq!(Scalar.fold_add(x), (fold4[0] + fold4[2]) + (fold4[1] + fold4[3]));
}
