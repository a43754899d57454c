//! Formats of 256 weights to a superblock, whose grains have small integer scales of their own.

use std::mem::offset_of;

use siskin_quant::{IQ4_VALUES, TensorType};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, transmute, transmute_ref};

use super::{
    Bytes, Halves, Piece, Quads, Quantized, Scales, WithHigh, add_high_bit, bit_pairs, high, look_up, low,
    nibbles, piece, pieces, split_nibbles,
};
use crate::lanes::{Ahead, ByteLanes, Range, unroll};
use crate::q8::Q8Block;

/// The scales and minimums of a superblock whose grains have 4 to 8 bits for each.
#[derive(Clone, Copy)]
pub(crate) struct Mins<F, const N: usize> {
    d: F,
    minus_dmin: F,
    scales: [Bytes; N],
    mins: [Bytes; N],
}

impl<L: ByteLanes, const N: usize> Scales<L> for Mins<L::F, N> {
    #[inline(always)]
    fn scale(&self, l: L, grain: usize) -> L::F {
        l.mul_u8(self.d, &self.scales[grain])
    }
    #[inline(always)]
    fn min(&self, l: L, grain: usize) -> L::F {
        l.mul_u8(self.minus_dmin, &self.mins[grain])
    }
}

/// The scales of a superblock whose grains have a signed byte for each.
#[derive(Clone, Copy)]
pub(crate) struct Signed<F, const N: usize> {
    d: F,
    scales: [Bytes; N],
}

impl<L: ByteLanes, const N: usize> Scales<L> for Signed<L::F, N> {
    #[inline(always)]
    fn scale(&self, l: L, grain: usize) -> L::F {
        l.mul(self.d, l.load_i8(&self.scales[grain]))
    }
}

/// The scales of four grains, less 32: `low` are their lower four bits, and `high` has the others from bit `at` on.
#[inline(always)]
fn six_bits<L: ByteLanes>(l: L, low: L::B, high: L::B, at: u32) -> L::B {
    l.add_bytes(l.merge(low, high, at, 4, 0x30), l.splat_byte(32_u8.wrapping_neg()))
}

/// The 6-bit scales and minimums of Q4_K and Q5_K, unpacked for 16 rows at once (ggml's `get_scale_min_k4`).
#[inline(always)]
fn six_bit_pairs<L: ByteLanes>(l: L, d: &Halves, dmin: &Halves, packed: &[Bytes; 12]) -> Mins<L::F, 8> {
    let (mut scales, mut mins) = ([[0; 16]; 8], [[0; 16]; 8]);
    for j in 0..4 {
        for row in 0..16 {
            let [low, middle, high] = [packed[j][row], packed[j + 4][row], packed[j + 8][row]];
            scales[j][row] = low & 63;
            mins[j][row] = middle & 63;
            scales[j + 4][row] = high & 15 | low >> 6 << 4;
            mins[j + 4][row] = high >> 4 | middle >> 6 << 4;
        }
    }
    Mins { d: l.load_f16(d), minus_dmin: l.sub(l.splat(0.0), l.load_f16(dmin)), scales, mins }
}

/// `w = d * scale * q - dmin * min`: 256 weights in eight grains.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(crate) struct Q4_KBlock {
    d: Halves,
    dmin: Halves,
    scales: [Bytes; 12],
    qs: [Quads; 32],
}

/// What the assembly in `lanes/neon/q4_k.rs` reads by its offset.
const _: () = {
    assert!(size_of::<Q4_KBlock>() == 2304 && offset_of!(Q4_KBlock, d) == 0);
    assert!(offset_of!(Q4_KBlock, dmin) == 32 && offset_of!(Q4_KBlock, scales) == 64);
    assert!(offset_of!(Q4_KBlock, qs) == 256);
};

pub(crate) struct Q4_K;
impl Quantized for Q4_K {
    type Block = Q4_KBlock;
    type Scales<L: ByteLanes> = Mins<L::F, 8>;
    const TYPE: TensorType = TensorType::Q4_K;
    const PIECES: &'static [Piece] = pieces!(Q4_KBlock { d: 0, dmin: 2, scales: 4, qs: 16 });
    const LEN: usize = 256;
    const RANGE: Range = Range::U4;
    const MINS: bool = true;

    #[inline(always)]
    fn scales<L: ByteLanes>(l: L, block: &Q4_KBlock) -> Mins<L::F, 8> {
        six_bit_pairs(l, &block.d, &block.dmin, &block.scales)
    }
    #[inline(always)]
    fn weights<L: ByteLanes>(l: L, block: &Q4_KBlock, sub: usize) -> [L::B; 8] {
        let (chunks, _) = block.qs.as_chunks();
        nibbles(l, chunks[sub / 2].each_ref(), sub % 2)
    }
}

/// Q4_K with a fifth bit for each weight.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(crate) struct Q5_KBlock {
    d: Halves,
    dmin: Halves,
    scales: [Bytes; 12],
    first: WithHigh,
    others: [[Quads; 8]; 3],
}

/// What the assembly in `lanes/neon/q5_k.rs` reads by its offset.
const _: () = {
    assert!(size_of::<Q5_KBlock>() == 2816 && offset_of!(Q5_KBlock, d) == 0);
    assert!(offset_of!(Q5_KBlock, dmin) == 32 && offset_of!(Q5_KBlock, scales) == 64);
    assert!(offset_of!(Q5_KBlock, first) == 256 && offset_of!(Q5_KBlock, others) == 1280);
    assert!(size_of::<WithHigh>() == 1024);
};

/// d, dmin and scales; then the first 64 weights' low bits, each four with a row's eight high bits; then the others'.
const Q5_K_PIECES: [Piece; 20] = {
    let mut pieces = [piece(0, 2, 2); 20];
    pieces[1] = piece(2, 2, 2);
    pieces[2] = piece(4, 12, 1);
    let mut group = 0;
    while group < 8 {
        pieces[3 + 2 * group] = piece(48 + 4 * group, 4, 4);
        pieces[4 + 2 * group] = piece(16 + 4 * group, 4, 4);
        group += 1;
    }
    pieces[19] = piece(80, 96, 4);
    pieces
};

pub(crate) struct Q5_K;
impl Quantized for Q5_K {
    type Block = Q5_KBlock;
    type Scales<L: ByteLanes> = Mins<L::F, 8>;
    const TYPE: TensorType = TensorType::Q5_K;
    const PIECES: &'static [Piece] = &Q5_K_PIECES;
    const LEN: usize = 256;
    const RANGE: Range = Range::U5;
    const MINS: bool = true;

    #[inline(always)]
    fn scales<L: ByteLanes>(l: L, block: &Q5_KBlock) -> Mins<L::F, 8> {
        six_bit_pairs(l, &block.d, &block.dmin, &block.scales)
    }
    #[inline(always)]
    fn weights<L: ByteLanes>(l: L, block: &Q5_KBlock, sub: usize) -> [L::B; 8] {
        let quads = match (sub / 2).checked_sub(1) {
            None => low(&block.first),
            Some(other) => block.others[other].each_ref(),
        };
        add_high_bit(l, nibbles(l, quads, sub % 2), high(&block.first), sub, 4)
    }
}

/// `w = d * scale * (q - 32)`: 256 weights in sixteen grains, six bits each.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(crate) struct Q6_KBlock {
    d: Halves,
    scales: [Bytes; 16],
    halves: [Q6_KHalf; 2],
}

/// Four runs of 32 weights: the low nibbles are two of them, the high ones the other two.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(crate) struct Q6_KHalf {
    first: WithHigh,
    second: [Quads; 8],
}

/// What the assembly in `lanes/neon/q6_k.rs` reads by its offset.
const _: () = {
    assert!(size_of::<Q6_KBlock>() == 3360 && offset_of!(Q6_KBlock, d) == 0);
    assert!(offset_of!(Q6_KBlock, scales) == 32 && offset_of!(Q6_KBlock, halves) == 288);
    assert!(size_of::<Q6_KHalf>() == 1536 && offset_of!(Q6_KHalf, first) == 0);
    assert!(offset_of!(Q6_KHalf, second) == 1024 && size_of::<WithHigh>() == 1024);
};

/// d and scales; then for each half of the superblock the low bits of its first run, each four with the high bits of
/// all four runs; then the low bits of its second run.
const Q6_K_PIECES: [Piece; 36] = {
    let mut pieces = [piece(208, 2, 2); 36];
    pieces[1] = piece(192, 16, 1);
    let mut half = 0;
    while half < 2 {
        let first = 2 + 17 * half;
        let mut group = 0;
        while group < 8 {
            pieces[first + 2 * group] = piece(64 * half + 4 * group, 4, 4);
            pieces[first + 2 * group + 1] = piece(128 + 32 * half + 4 * group, 4, 4);
            group += 1;
        }
        pieces[first + 16] = piece(64 * half + 32, 32, 4);
        half += 1;
    }
    pieces
};

pub(crate) struct Q6_K;
impl Quantized for Q6_K {
    type Block = Q6_KBlock;
    type Scales<L: ByteLanes> = Signed<L::F, 16>;
    const TYPE: TensorType = TensorType::Q6_K;
    const PIECES: &'static [Piece] = &Q6_K_PIECES;
    const LEN: usize = 256;
    const GRAINS: usize = 2;
    const RANGE: Range = Range::U6;
    const OFFSET: u8 = 32;

    #[inline(always)]
    fn scales<L: ByteLanes>(l: L, block: &Q6_KBlock) -> Signed<L::F, 16> {
        Signed { d: l.load_f16(&block.d), scales: block.scales }
    }
    #[inline(always)]
    fn weights<L: ByteLanes>(l: L, block: &Q6_KBlock, sub: usize) -> [L::B; 8] {
        let (half, run) = (&block.halves[sub / 4], sub % 4);
        let quads = if run.is_multiple_of(2) { low(&half.first) } else { half.second.each_ref() };
        let mut out = nibbles(l, quads, run / 2);
        let high = high(&half.first);
        unroll!(g < 8 => { out[g] = l.merge(out[g], l.load_bytes(high[g]), 2 * run as u32, 4, 0x30); });
        out
    }

    /// Where registers hold the sums of a half's four runs, what two runs share is loaded once.
    #[inline(always)]
    fn sum<L: ByteLanes>(
        l: L,
        blocks: &[Q6_KBlock],
        x: &[Q8Block],
        ahead: &mut Ahead<'_, Q6_KBlock>,
    ) -> Option<L::F> {
        if !L::EIGHT {
            return None;
        }
        let mut acc = l.splat(0.0);
        for (block, x) in blocks.iter().zip(x.as_chunks::<8>().0) {
            let d = l.load_f16(&block.d);
            let next = ahead.next();
            let halves = block.halves.iter().zip(block.scales.as_chunks::<8>().0).zip(x.as_chunks::<4>().0);
            for (at, ((half, scales), x)) in halves.enumerate() {
                let (low, second, high) = (low(&half.first), half.second.each_ref(), high(&half.first));
                let mut sums = [acc; 4];
                unroll!(pair < 2 => {
                    let nibbles = if pair == 0 { low } else { second };
                    let (nibbles, high) = (nibbles.as_chunks().0, high.as_chunks().0);
                    unroll!(grain < 2 => {
                        next.ask(l, 4 * at + 2 * pair + grain, 8);
                        let weights = six_bits_of_two_runs(l, &nibbles[grain], &high[grain], pair);
                        unroll!(k < 2 => {
                            let run = pair + 2 * k;
                            let start = x[run].minus_sum::<4>(grain) * i32::from(Self::OFFSET);
                            let isum = l.dot(start, weights[k], x[run].groups::<4>(grain), Self::RANGE);
                            let (isum, scale) = (l.to_f32(isum), l.mul(d, l.load_i8(&scales[2 * run + grain])));
                            sums[run] =
                                if grain == 0 { l.mul(isum, scale) } else { l.fma(isum, scale, sums[run]) };
                        });
                    });
                });
                unroll!(run < 4 => { acc = l.fma(sums[run], l.splat(x[run].scale), acc); });
            }
        }
        Some(acc)
    }
}

/// Four groups of weights of a half's `run`-th run, and of the second after it, which has the other nibbles.
#[inline(always)]
fn six_bits_of_two_runs<L: ByteLanes>(
    l: L,
    low: &[&Quads; 4],
    high: &[&Quads; 4],
    run: usize,
) -> [[L::B; 4]; 2] {
    let mask = l.splat_byte(0xf);
    let mut out = [[mask; 4]; 2];
    unroll!(g < 4 => {
        let (low, high) = (l.load_in_order(low[g]), l.load_in_order(high[g]));
        out[0][g] = l.merge(l.and(low, mask), high, 2 * run as u32, 4, 0x30);
        out[1][g] = l.merge(l.shr(low, 4), high, 2 * run as u32 + 4, 4, 0x30);
    });
    out
}

/// `w = d * scale * q - dmin * min`: 256 weights in sixteen grains, two bits each.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(crate) struct Q2_KBlock {
    d: Halves,
    dmin: Halves,
    scales: [Bytes; 16],
    qs: [[Quads; 8]; 2],
}

pub(crate) struct Q2_K;
impl Quantized for Q2_K {
    type Block = Q2_KBlock;
    type Scales<L: ByteLanes> = Mins<L::F, 16>;
    const TYPE: TensorType = TensorType::Q2_K;
    const PIECES: &'static [Piece] = pieces!(Q2_KBlock { d: 80, dmin: 82, scales: 0, qs: 16 });
    const LEN: usize = 256;
    const GRAINS: usize = 2;
    const RANGE: Range = Range::U4;
    const MINS: bool = true;

    #[inline(always)]
    fn scales<L: ByteLanes>(l: L, block: &Q2_KBlock) -> Mins<L::F, 16> {
        Mins {
            d: l.load_f16(&block.d),
            minus_dmin: l.sub(l.splat(0.0), l.load_f16(&block.dmin)),
            scales: block.scales.map(|rows| rows.map(|s| s & 15)),
            mins: block.scales.map(|rows| rows.map(|s| s >> 4)),
        }
    }
    #[inline(always)]
    fn weights<L: ByteLanes>(l: L, block: &Q2_KBlock, sub: usize) -> [L::B; 8] {
        bit_pairs(l, block.qs[sub / 4].each_ref(), sub % 4)
    }
}

/// `w = d * (scale - 32) * (q - 4)`: 256 weights in sixteen grains, two bits and a third each.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(crate) struct Q3_KBlock {
    d: Halves,
    scales: [Quads; 3],
    first: WithHigh,
    second: [Quads; 8],
}

/// d and scales; then the first half's low bits, each four with their high bits from `hmask`; then the second half's.
const Q3_K_PIECES: [Piece; 19] = {
    let mut pieces = [piece(96 + 12, 2, 2); 19];
    pieces[1] = piece(96, 12, 1);
    let mut group = 0;
    while group < 8 {
        pieces[2 + 2 * group] = piece(32 + 4 * group, 4, 4);
        pieces[3 + 2 * group] = piece(4 * group, 4, 4);
        group += 1;
    }
    pieces[18] = piece(64, 32, 4);
    pieces
};

pub(crate) struct Q3_K;
impl Quantized for Q3_K {
    type Block = Q3_KBlock;
    type Scales<L: ByteLanes> = Signed<L::F, 16>;
    const TYPE: TensorType = TensorType::Q3_K;
    const PIECES: &'static [Piece] = &Q3_K_PIECES;
    const LEN: usize = 256;
    const GRAINS: usize = 2;
    const RANGE: Range = Range::U4;
    const OFFSET: u8 = 4;

    #[inline(always)]
    fn scales<L: ByteLanes>(l: L, block: &Q3_KBlock) -> Signed<L::F, 16> {
        // Grains 0 to 3 and 8 to 11, 4 to 7 and 12 to 15, and two more bits of all.
        let [even, odd, high] = &block.scales;
        let (even, odd, high) = (l.load_bytes(even), l.load_bytes(odd), l.load_bytes(high));
        let mut scales = [[0; 64]; 4];
        unroll!(q < 4 => {
            let low = if q.is_multiple_of(2) { even } else { odd };
            let low = if q < 2 { l.and(low, l.splat_byte(15)) } else { l.shr(low, 4) };
            l.store_bytes(six_bits(l, low, high, 2 * q as u32), &mut scales[q]);
        });
        Signed { d: l.load_f16(&block.d), scales: transmute!(scales) }
    }
    #[inline(always)]
    fn weights<L: ByteLanes>(l: L, block: &Q3_KBlock, sub: usize) -> [L::B; 8] {
        let quads = if sub / 4 == 0 { low(&block.first) } else { block.second.each_ref() };
        add_high_bit(l, bit_pairs(l, quads, sub % 4), high(&block.first), sub, 2)
    }
}

/// `w = d * (scale - 32) * VALUES[q]`: 256 weights in eight grains.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(crate) struct IQ4_XSBlock {
    d: Halves,
    scales_high: [[u8; 2]; 16],
    scales_low: [Bytes; 4],
    qs: [Quads; 32],
}

pub(crate) struct IQ4_XS;
impl Quantized for IQ4_XS {
    type Block = IQ4_XSBlock;
    type Scales<L: ByteLanes> = Signed<L::F, 8>;
    const TYPE: TensorType = TensorType::IQ4_XS;
    const PIECES: &'static [Piece] = pieces!(IQ4_XSBlock { d: 0, scales_high: 2, scales_low: 4, qs: 8 });
    const LEN: usize = 256;
    const RANGE: Range = Range::S8;

    #[inline(always)]
    fn scales<L: ByteLanes>(l: L, block: &IQ4_XSBlock) -> Signed<L::F, 8> {
        const ALL: Bytes = [0xff; 16];
        const NONE: Bytes = [0; 16];
        const FIRST: Quads = transmute!([ALL, NONE, ALL, NONE]);
        const SECOND: Quads = transmute!([NONE, ALL, NONE, ALL]);
        // A row's first byte has two bits of each of grains 0 to 3, its second of 4 to 7.
        let mut bytes = [[0; 16]; 2];
        for (row, &[first, second]) in block.scales_high.iter().enumerate() {
            bytes[0][row] = first;
            bytes[1][row] = second;
        }
        let high: Quads = transmute!([bytes[0], bytes[0], bytes[1], bytes[1]]);
        let high = l.load_bytes(&high);
        // The lowest two bits of grains 0, 2, 4 and 6, the next of 1, 3, 5 and 7.
        let high = l.or(l.and(high, l.load_bytes(&FIRST)), l.and(l.shr(high, 4), l.load_bytes(&SECOND)));
        let low: &Quads = transmute_ref!(&block.scales_low);
        let low = l.load_bytes(low);
        let mut parts = [[0; 64]; 2];
        l.store_bytes(six_bits(l, l.and(low, l.splat_byte(15)), high, 0), &mut parts[0]);
        l.store_bytes(six_bits(l, l.shr(low, 4), high, 2), &mut parts[1]);
        let [even, odd]: [[Bytes; 4]; 2] = transmute!(parts);
        let scales = [even[0], odd[0], even[1], odd[1], even[2], odd[2], even[3], odd[3]];
        Signed { d: l.load_f16(&block.d), scales }
    }
    #[inline(always)]
    fn weights<L: ByteLanes>(l: L, block: &IQ4_XSBlock, sub: usize) -> [L::B; 8] {
        let (grains, _) = block.qs.as_chunks();
        look_up(l, &IQ4_VALUES, split_nibbles(l, &grains[sub]))
    }
}
