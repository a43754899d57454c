// The formats keep the names that the field writes them with.
#![allow(non_camel_case_types)]

use siskin_quant::IQ4_VALUES;
use zerocopy::{FromBytes, Immutable, KnownLayout};

use crate::lanes::{Lanes, Range, unroll};

/// How a panel block of a quantized format becomes integers and scales. Layouts are [`crate::panel`]'s.
pub(crate) trait Quantized: 'static {
    /// One block of each of 16 rows.
    type Block: FromBytes + Immutable + KnownLayout;
    /// A block's scales, as far as they are worked out once for all of it.
    type Scales<L: Lanes>: Copy;

    /// Weights of a row in a block: 32 or 256.
    const LEN: usize;
    /// Scales for each 32 weights: 1, or 2 where 16 weights share one.
    const GRAINS: usize = 1;
    const RANGE: Range;
    /// What is taken from each unpacked weight.
    const OFFSET: i32 = 0;
    /// Whether a grain has a minimum besides its scale.
    const MINS: bool = false;

    fn blocks(panels: &[u8]) -> &[Self::Block] {
        // The lengths were checked when the panels were made; a remainder would belong to no panel.
        <[Self::Block]>::ref_from_prefix_with_elems(panels, panels.len() / size_of::<Self::Block>())
            .map_or(&[], |(blocks, _)| blocks)
    }

    fn scales<L: Lanes>(l: L, block: &Self::Block) -> Self::Scales<L>;

    /// The scale of each row's grain.
    fn scale<L: Lanes>(l: L, scales: &Self::Scales<L>, grain: usize) -> L::F;

    /// What each row's grain adds for each activation.
    fn min<L: Lanes>(l: L, _scales: &Self::Scales<L>, _grain: usize) -> L::F {
        l.splat(0.0)
    }

    /// The `sub`-th 32 weights of each row, in groups of four.
    fn weights<L: Lanes>(l: L, block: &Self::Block, sub: usize) -> [L::B; 8];
}

/// Weights that are multiplied as floats.
pub(crate) trait Float: 'static {
    /// One weight of each of 16 rows.
    type Lanes16: FromBytes + Immutable + KnownLayout;

    fn lanes(panels: &[u8]) -> &[Self::Lanes16];
    fn load<L: Lanes>(l: L, weights: &Self::Lanes16) -> L::F;
}

macro_rules! float {
    ($name:ident, $bytes:literal, $load:ident) => {
        pub(crate) struct $name;
        impl Float for $name {
            type Lanes16 = [u8; $bytes];
            fn lanes(panels: &[u8]) -> &[[u8; $bytes]] {
                panels.as_chunks().0
            }
            #[inline(always)]
            fn load<L: Lanes>(l: L, weights: &[u8; $bytes]) -> L::F {
                l.$load(weights)
            }
        }
    };
}
float!(F32, 64, load_f32);
float!(F16, 32, load_f16);
float!(BF16, 32, load_bf16);

/// 16 f16, one for each row.
type Halves = [u8; 32];
/// Four bytes of each of 16 rows.
type Quads = [u8; 64];
/// One byte of each of 16 rows.
type Bytes = [u8; 16];

/// The low (`high` 0) or high (1) nibbles of eight groups.
#[inline(always)]
fn nibbles<L: Lanes>(l: L, quads: &[Quads; 8], high: usize) -> [L::B; 8] {
    let mask = l.splat_byte(0xf);
    let mut out = [mask; 8];
    unroll!(g < 8 => {
        let b = l.load_bytes(&quads[g]);
        out[g] = if high == 0 { l.and(b, mask) } else { l.shr(b, 4) };
    });
    out
}

/// The nibbles of four groups: the low ones are a row's first 16 weights, the high ones its second.
#[inline(always)]
fn split_nibbles<L: Lanes>(l: L, quads: &[Quads; 4]) -> [L::B; 8] {
    let mask = l.splat_byte(0xf);
    let mut out = [mask; 8];
    unroll!(g < 4 => {
        let b = l.load_bytes(&quads[g]);
        out[g] = l.and(b, mask);
        out[g + 4] = l.shr(b, 4);
    });
    out
}

/// Adds 16 to each weight whose bit is set in its row's `bits`.
#[inline(always)]
fn add_fifth_bits<L: Lanes>(l: L, mut weights: [L::B; 8], bits: &Quads) -> [L::B; 8] {
    let bits = l.load_bytes(bits);
    unroll!(g < 8 => { weights[g] = l.or(weights[g], l.spread_bits(bits, g, 16)); });
    weights
}

/// `w = d * (q - 8)`.
#[derive(FromBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(crate) struct Q4_0Block {
    d: Halves,
    qs: [Quads; 4],
}

pub(crate) struct Q4_0;
impl Quantized for Q4_0 {
    type Block = Q4_0Block;
    type Scales<L: Lanes> = L::F;
    const LEN: usize = 32;
    const RANGE: Range = Range::U4;
    const OFFSET: i32 = 8;

    #[inline(always)]
    fn scales<L: Lanes>(l: L, block: &Q4_0Block) -> L::F {
        l.load_f16(&block.d)
    }
    #[inline(always)]
    fn scale<L: Lanes>(_: L, scales: &L::F, _: usize) -> L::F {
        *scales
    }
    #[inline(always)]
    fn weights<L: Lanes>(l: L, block: &Q4_0Block, _: usize) -> [L::B; 8] {
        split_nibbles(l, &block.qs)
    }
}

/// `w = d * q + m`.
#[derive(FromBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(crate) struct Q4_1Block {
    d: Halves,
    m: Halves,
    qs: [Quads; 4],
}

pub(crate) struct Q4_1;
impl Quantized for Q4_1 {
    type Block = Q4_1Block;
    type Scales<L: Lanes> = [L::F; 2];
    const LEN: usize = 32;
    const RANGE: Range = Range::U4;
    const MINS: bool = true;

    #[inline(always)]
    fn scales<L: Lanes>(l: L, block: &Q4_1Block) -> [L::F; 2] {
        [l.load_f16(&block.d), l.load_f16(&block.m)]
    }
    #[inline(always)]
    fn scale<L: Lanes>(_: L, scales: &[L::F; 2], _: usize) -> L::F {
        scales[0]
    }
    #[inline(always)]
    fn min<L: Lanes>(_: L, scales: &[L::F; 2], _: usize) -> L::F {
        scales[1]
    }
    #[inline(always)]
    fn weights<L: Lanes>(l: L, block: &Q4_1Block, _: usize) -> [L::B; 8] {
        split_nibbles(l, &block.qs)
    }
}

/// `w = d * (q - 16)`, the fifth bits of a row's 32 weights in one u32.
#[derive(FromBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(crate) struct Q5_0Block {
    d: Halves,
    qh: Quads,
    qs: [Quads; 4],
}

pub(crate) struct Q5_0;
impl Quantized for Q5_0 {
    type Block = Q5_0Block;
    type Scales<L: Lanes> = L::F;
    const LEN: usize = 32;
    const RANGE: Range = Range::U5;
    const OFFSET: i32 = 16;

    #[inline(always)]
    fn scales<L: Lanes>(l: L, block: &Q5_0Block) -> L::F {
        l.load_f16(&block.d)
    }
    #[inline(always)]
    fn scale<L: Lanes>(_: L, scales: &L::F, _: usize) -> L::F {
        *scales
    }
    #[inline(always)]
    fn weights<L: Lanes>(l: L, block: &Q5_0Block, _: usize) -> [L::B; 8] {
        add_fifth_bits(l, split_nibbles(l, &block.qs), &block.qh)
    }
}

/// `w = d * q + m`.
#[derive(FromBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(crate) struct Q5_1Block {
    d: Halves,
    m: Halves,
    qh: Quads,
    qs: [Quads; 4],
}

pub(crate) struct Q5_1;
impl Quantized for Q5_1 {
    type Block = Q5_1Block;
    type Scales<L: Lanes> = [L::F; 2];
    const LEN: usize = 32;
    const RANGE: Range = Range::U5;
    const MINS: bool = true;

    #[inline(always)]
    fn scales<L: Lanes>(l: L, block: &Q5_1Block) -> [L::F; 2] {
        [l.load_f16(&block.d), l.load_f16(&block.m)]
    }
    #[inline(always)]
    fn scale<L: Lanes>(_: L, scales: &[L::F; 2], _: usize) -> L::F {
        scales[0]
    }
    #[inline(always)]
    fn min<L: Lanes>(_: L, scales: &[L::F; 2], _: usize) -> L::F {
        scales[1]
    }
    #[inline(always)]
    fn weights<L: Lanes>(l: L, block: &Q5_1Block, _: usize) -> [L::B; 8] {
        add_fifth_bits(l, split_nibbles(l, &block.qs), &block.qh)
    }
}

/// `w = d * q`.
#[derive(FromBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(crate) struct Q8_0Block {
    d: Halves,
    qs: [Quads; 8],
}

pub(crate) struct Q8_0;
impl Quantized for Q8_0 {
    type Block = Q8_0Block;
    type Scales<L: Lanes> = L::F;
    const LEN: usize = 32;
    const RANGE: Range = Range::S8;

    #[inline(always)]
    fn scales<L: Lanes>(l: L, block: &Q8_0Block) -> L::F {
        l.load_f16(&block.d)
    }
    #[inline(always)]
    fn scale<L: Lanes>(_: L, scales: &L::F, _: usize) -> L::F {
        *scales
    }
    #[inline(always)]
    fn weights<L: Lanes>(l: L, block: &Q8_0Block, _: usize) -> [L::B; 8] {
        let mut out = [l.splat_byte(0); 8];
        unroll!(g < 8 => { out[g] = l.load_bytes(&block.qs[g]); });
        out
    }
}

/// `w = d * VALUES[q]`.
#[derive(FromBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(crate) struct IQ4_NLBlock {
    d: Halves,
    qs: [Quads; 4],
}

pub(crate) struct IQ4_NL;
impl Quantized for IQ4_NL {
    type Block = IQ4_NLBlock;
    type Scales<L: Lanes> = L::F;
    const LEN: usize = 32;
    const RANGE: Range = Range::S8;

    #[inline(always)]
    fn scales<L: Lanes>(l: L, block: &IQ4_NLBlock) -> L::F {
        l.load_f16(&block.d)
    }
    #[inline(always)]
    fn scale<L: Lanes>(_: L, scales: &L::F, _: usize) -> L::F {
        *scales
    }
    #[inline(always)]
    fn weights<L: Lanes>(l: L, block: &IQ4_NLBlock, _: usize) -> [L::B; 8] {
        look_up(l, split_nibbles(l, &block.qs))
    }
}

#[inline(always)]
fn look_up<L: Lanes>(l: L, mut index: [L::B; 8]) -> [L::B; 8] {
    unroll!(g < 8 => { index[g] = l.lookup(&IQ4_VALUES, index[g]); });
    index
}

/// The scales and minimums of a superblock whose grains have 4 to 8 bits for each.
#[derive(Clone, Copy)]
pub(crate) struct Mins<F, const N: usize> {
    d: F,
    minus_dmin: F,
    scales: [Bytes; N],
    mins: [Bytes; N],
}

/// The scales of a superblock whose grains have a signed byte for each.
#[derive(Clone, Copy)]
pub(crate) struct Signed<F, const N: usize> {
    d: F,
    scales: [Bytes; N],
}

/// The 6-bit scales and minimums of Q4_K and Q5_K, unpacked for 16 rows at once (ggml's `get_scale_min_k4`).
#[inline(always)]
fn six_bit_pairs(packed: &[Bytes; 12]) -> ([Bytes; 8], [Bytes; 8]) {
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
    (scales, mins)
}

/// `w = d * scale * q - dmin * min`: 256 weights in eight grains.
#[derive(FromBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(crate) struct Q4_KBlock {
    d: Halves,
    dmin: Halves,
    scales: [Bytes; 12],
    qs: [Quads; 32],
}

pub(crate) struct Q4_K;
impl Quantized for Q4_K {
    type Block = Q4_KBlock;
    type Scales<L: Lanes> = Mins<L::F, 8>;
    const LEN: usize = 256;
    const RANGE: Range = Range::U4;
    const MINS: bool = true;

    #[inline(always)]
    fn scales<L: Lanes>(l: L, block: &Q4_KBlock) -> Mins<L::F, 8> {
        let (scales, mins) = six_bit_pairs(&block.scales);
        let minus_dmin = l.sub(l.splat(0.0), l.load_f16(&block.dmin));
        Mins { d: l.load_f16(&block.d), minus_dmin, scales, mins }
    }
    #[inline(always)]
    fn scale<L: Lanes>(l: L, scales: &Mins<L::F, 8>, grain: usize) -> L::F {
        l.mul(scales.d, l.load_u8(&scales.scales[grain]))
    }
    #[inline(always)]
    fn min<L: Lanes>(l: L, scales: &Mins<L::F, 8>, grain: usize) -> L::F {
        l.mul(scales.minus_dmin, l.load_u8(&scales.mins[grain]))
    }
    #[inline(always)]
    fn weights<L: Lanes>(l: L, block: &Q4_KBlock, sub: usize) -> [L::B; 8] {
        let (chunks, _) = block.qs.as_chunks();
        nibbles(l, &chunks[sub / 2], sub % 2)
    }
}

/// Q4_K with a fifth bit for each weight.
#[derive(FromBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(crate) struct Q5_KBlock {
    d: Halves,
    dmin: Halves,
    scales: [Bytes; 12],
    qh: [Quads; 8],
    qs: [Quads; 32],
}

pub(crate) struct Q5_K;
impl Quantized for Q5_K {
    type Block = Q5_KBlock;
    type Scales<L: Lanes> = Mins<L::F, 8>;
    const LEN: usize = 256;
    const RANGE: Range = Range::U5;
    const MINS: bool = true;

    #[inline(always)]
    fn scales<L: Lanes>(l: L, block: &Q5_KBlock) -> Mins<L::F, 8> {
        let (scales, mins) = six_bit_pairs(&block.scales);
        let minus_dmin = l.sub(l.splat(0.0), l.load_f16(&block.dmin));
        Mins { d: l.load_f16(&block.d), minus_dmin, scales, mins }
    }
    #[inline(always)]
    fn scale<L: Lanes>(l: L, scales: &Mins<L::F, 8>, grain: usize) -> L::F {
        l.mul(scales.d, l.load_u8(&scales.scales[grain]))
    }
    #[inline(always)]
    fn min<L: Lanes>(l: L, scales: &Mins<L::F, 8>, grain: usize) -> L::F {
        l.mul(scales.minus_dmin, l.load_u8(&scales.mins[grain]))
    }
    #[inline(always)]
    fn weights<L: Lanes>(l: L, block: &Q5_KBlock, sub: usize) -> [L::B; 8] {
        let (chunks, _) = block.qs.as_chunks();
        let mut out = nibbles(l, &chunks[sub / 2], sub % 2);
        let one = l.splat_byte(1);
        unroll!(g < 8 => {
            let bit = l.and(l.shr(l.load_bytes(&block.qh[g]), sub as u32), one);
            out[g] = l.or(out[g], l.shl(bit, 4));
        });
        out
    }
}

/// `w = d * scale * (q - 32)`: 256 weights in sixteen grains, six bits each.
#[derive(FromBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(crate) struct Q6_KBlock {
    ql: [Quads; 32],
    qh: [Quads; 16],
    scales: [Bytes; 16],
    d: Halves,
}

pub(crate) struct Q6_K;
impl Quantized for Q6_K {
    type Block = Q6_KBlock;
    type Scales<L: Lanes> = Signed<L::F, 16>;
    const LEN: usize = 256;
    const GRAINS: usize = 2;
    const RANGE: Range = Range::U6;
    const OFFSET: i32 = 32;

    #[inline(always)]
    fn scales<L: Lanes>(l: L, block: &Q6_KBlock) -> Signed<L::F, 16> {
        Signed { d: l.load_f16(&block.d), scales: block.scales }
    }
    #[inline(always)]
    fn scale<L: Lanes>(l: L, scales: &Signed<L::F, 16>, grain: usize) -> L::F {
        l.mul(scales.d, l.load_i8(&scales.scales[grain]))
    }
    #[inline(always)]
    fn weights<L: Lanes>(l: L, block: &Q6_KBlock, sub: usize) -> [L::B; 8] {
        // Each half of the superblock: two runs of low nibbles, the same two of high ones; two bits from `qh` for each.
        let (half, quarter) = (sub / 4, sub % 4);
        let (low, _) = block.ql.as_chunks();
        let (high, _) = block.qh.as_chunks::<8>();
        let mut out = nibbles(l, &low[2 * half + quarter % 2], quarter / 2);
        let three = l.splat_byte(3);
        unroll!(g < 8 => {
            let bits = l.and(l.shr(l.load_bytes(&high[half][g]), 2 * quarter as u32), three);
            out[g] = l.or(out[g], l.shl(bits, 4));
        });
        out
    }
}

/// The two-bit weights of the `sub`-th 32 of a superblock.
#[inline(always)]
fn two_bits<L: Lanes>(l: L, quads: &[Quads; 16], sub: usize) -> [L::B; 8] {
    let (halves, _) = quads.as_chunks::<8>();
    let three = l.splat_byte(3);
    let mut out = [three; 8];
    unroll!(g < 8 => {
        out[g] = l.and(l.shr(l.load_bytes(&halves[sub / 4][g]), 2 * (sub as u32 % 4)), three);
    });
    out
}

/// `w = d * scale * q - dmin * min`: 256 weights in sixteen grains, two bits each.
#[derive(FromBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(crate) struct Q2_KBlock {
    scales: [Bytes; 16],
    qs: [Quads; 16],
    d: Halves,
    dmin: Halves,
}

pub(crate) struct Q2_K;
impl Quantized for Q2_K {
    type Block = Q2_KBlock;
    type Scales<L: Lanes> = Mins<L::F, 16>;
    const LEN: usize = 256;
    const GRAINS: usize = 2;
    const RANGE: Range = Range::U4;
    const MINS: bool = true;

    #[inline(always)]
    fn scales<L: Lanes>(l: L, block: &Q2_KBlock) -> Mins<L::F, 16> {
        Mins {
            d: l.load_f16(&block.d),
            minus_dmin: l.sub(l.splat(0.0), l.load_f16(&block.dmin)),
            scales: block.scales.map(|rows| rows.map(|s| s & 15)),
            mins: block.scales.map(|rows| rows.map(|s| s >> 4)),
        }
    }
    #[inline(always)]
    fn scale<L: Lanes>(l: L, scales: &Mins<L::F, 16>, grain: usize) -> L::F {
        l.mul(scales.d, l.load_u8(&scales.scales[grain]))
    }
    #[inline(always)]
    fn min<L: Lanes>(l: L, scales: &Mins<L::F, 16>, grain: usize) -> L::F {
        l.mul(scales.minus_dmin, l.load_u8(&scales.mins[grain]))
    }
    #[inline(always)]
    fn weights<L: Lanes>(l: L, block: &Q2_KBlock, sub: usize) -> [L::B; 8] {
        two_bits(l, &block.qs, sub)
    }
}

/// `w = d * (scale - 32) * (q - 4)`: 256 weights in sixteen grains, two bits and a third from `hmask` each.
#[derive(FromBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(crate) struct Q3_KBlock {
    hmask: [Quads; 8],
    qs: [Quads; 16],
    scales: [Bytes; 12],
    d: Halves,
}

pub(crate) struct Q3_K;
impl Quantized for Q3_K {
    type Block = Q3_KBlock;
    type Scales<L: Lanes> = Signed<L::F, 16>;
    const LEN: usize = 256;
    const GRAINS: usize = 2;
    const RANGE: Range = Range::U4;
    const OFFSET: i32 = 4;

    #[inline(always)]
    fn scales<L: Lanes>(l: L, block: &Q3_KBlock) -> Signed<L::F, 16> {
        let packed = &block.scales;
        let mut scales = [[0; 16]; 16];
        for (grain, rows) in scales.iter_mut().enumerate() {
            for (row, scale) in rows.iter_mut().enumerate() {
                let low = packed[grain % 8][row] >> (grain / 8 * 4) & 15;
                let high = packed[8 + grain % 4][row] >> (grain / 4 * 2) & 3;
                *scale = (low | high << 4).wrapping_sub(32);
            }
        }
        Signed { d: l.load_f16(&block.d), scales }
    }
    #[inline(always)]
    fn scale<L: Lanes>(l: L, scales: &Signed<L::F, 16>, grain: usize) -> L::F {
        l.mul(scales.d, l.load_i8(&scales.scales[grain]))
    }
    #[inline(always)]
    fn weights<L: Lanes>(l: L, block: &Q3_KBlock, sub: usize) -> [L::B; 8] {
        let mut out = two_bits(l, &block.qs, sub);
        let one = l.splat_byte(1);
        unroll!(g < 8 => {
            let bit = l.and(l.shr(l.load_bytes(&block.hmask[g]), sub as u32), one);
            out[g] = l.or(out[g], l.shl(bit, 2));
        });
        out
    }
}

/// `w = d * (scale - 32) * VALUES[q]`: 256 weights in eight grains.
#[derive(FromBytes, Immutable, KnownLayout)]
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
    type Scales<L: Lanes> = Signed<L::F, 8>;
    const LEN: usize = 256;
    const RANGE: Range = Range::S8;

    #[inline(always)]
    fn scales<L: Lanes>(l: L, block: &IQ4_XSBlock) -> Signed<L::F, 8> {
        let mut scales = [[0; 16]; 8];
        for (grain, rows) in scales.iter_mut().enumerate() {
            for (row, scale) in rows.iter_mut().enumerate() {
                let low = block.scales_low[grain / 2][row] >> (grain % 2 * 4) & 15;
                let high = block.scales_high[row][grain / 4] >> (grain % 4 * 2) & 3;
                *scale = (low | high << 4).wrapping_sub(32);
            }
        }
        Signed { d: l.load_f16(&block.d), scales }
    }
    #[inline(always)]
    fn scale<L: Lanes>(l: L, scales: &Signed<L::F, 8>, grain: usize) -> L::F {
        l.mul(scales.d, l.load_i8(&scales.scales[grain]))
    }
    #[inline(always)]
    fn weights<L: Lanes>(l: L, block: &IQ4_XSBlock, sub: usize) -> [L::B; 8] {
        let (grains, _) = block.qs.as_chunks();
        look_up(l, split_nibbles(l, &grains[sub]))
    }
}
