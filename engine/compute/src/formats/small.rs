//! Formats of 32 weights to a block.

use siskin_quant::{IQ4_VALUES, TensorType};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::{Halves, Piece, Quads, Quantized, Scales, add_fifth_bits, look_up, pieces, split_nibbles};
use crate::lanes::{ByteLanes, Range, unroll};

/// One scale.
#[derive(Clone, Copy)]
pub(crate) struct Scale<F>(pub(super) F);

impl<L: ByteLanes> Scales<L> for Scale<L::F> {
    #[inline(always)]
    fn scale(&self, _: L, _: usize) -> L::F {
        self.0
    }
}

/// One scale and one minimum.
#[derive(Clone, Copy)]
pub(crate) struct ScaleAndMin<F>(F, F);

impl<L: ByteLanes> Scales<L> for ScaleAndMin<L::F> {
    #[inline(always)]
    fn scale(&self, _: L, _: usize) -> L::F {
        self.0
    }
    #[inline(always)]
    fn min(&self, _: L, _: usize) -> L::F {
        self.1
    }
}

/// `w = d * (q - 8)`.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(crate) struct Q4_0Block {
    d: Halves,
    qs: [Quads; 4],
}

pub(crate) struct Q4_0;
impl Quantized for Q4_0 {
    type Block = Q4_0Block;
    type Scales<L: ByteLanes> = Scale<L::F>;
    const TYPE: TensorType = TensorType::Q4_0;
    const PIECES: &'static [Piece] = pieces!(Q4_0Block { d: 0, qs: 2 });
    const LEN: usize = 32;
    const RANGE: Range = Range::U4;
    const OFFSET: u8 = 8;

    #[inline(always)]
    fn scales<L: ByteLanes>(l: L, block: &Q4_0Block) -> Scale<L::F> {
        Scale(l.load_f16(&block.d))
    }
    #[inline(always)]
    fn weights<L: ByteLanes>(l: L, block: &Q4_0Block, _: usize) -> [L::B; 8] {
        split_nibbles(l, &block.qs)
    }
}

/// `w = d * q + m`.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(crate) struct Q4_1Block {
    d: Halves,
    m: Halves,
    qs: [Quads; 4],
}

pub(crate) struct Q4_1;
impl Quantized for Q4_1 {
    type Block = Q4_1Block;
    type Scales<L: ByteLanes> = ScaleAndMin<L::F>;
    const TYPE: TensorType = TensorType::Q4_1;
    const PIECES: &'static [Piece] = pieces!(Q4_1Block { d: 0, m: 2, qs: 4 });
    const LEN: usize = 32;
    const RANGE: Range = Range::U4;
    const MINS: bool = true;

    #[inline(always)]
    fn scales<L: ByteLanes>(l: L, block: &Q4_1Block) -> ScaleAndMin<L::F> {
        ScaleAndMin(l.load_f16(&block.d), l.load_f16(&block.m))
    }
    #[inline(always)]
    fn weights<L: ByteLanes>(l: L, block: &Q4_1Block, _: usize) -> [L::B; 8] {
        split_nibbles(l, &block.qs)
    }
}

/// `w = d * (q - 16)`, the fifth bits of a row's 32 weights in one u32.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(crate) struct Q5_0Block {
    d: Halves,
    qh: Quads,
    qs: [Quads; 4],
}

pub(crate) struct Q5_0;
impl Quantized for Q5_0 {
    type Block = Q5_0Block;
    type Scales<L: ByteLanes> = Scale<L::F>;
    const TYPE: TensorType = TensorType::Q5_0;
    const PIECES: &'static [Piece] = pieces!(Q5_0Block { d: 0, qh: 2, qs: 6 });
    const LEN: usize = 32;
    const RANGE: Range = Range::U5;
    const OFFSET: u8 = 16;

    #[inline(always)]
    fn scales<L: ByteLanes>(l: L, block: &Q5_0Block) -> Scale<L::F> {
        Scale(l.load_f16(&block.d))
    }
    #[inline(always)]
    fn weights<L: ByteLanes>(l: L, block: &Q5_0Block, _: usize) -> [L::B; 8] {
        add_fifth_bits(l, split_nibbles(l, &block.qs), &block.qh)
    }
}

/// `w = d * q + m`.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout)]
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
    type Scales<L: ByteLanes> = ScaleAndMin<L::F>;
    const TYPE: TensorType = TensorType::Q5_1;
    const PIECES: &'static [Piece] = pieces!(Q5_1Block { d: 0, m: 2, qh: 4, qs: 8 });
    const LEN: usize = 32;
    const RANGE: Range = Range::U5;
    const MINS: bool = true;

    #[inline(always)]
    fn scales<L: ByteLanes>(l: L, block: &Q5_1Block) -> ScaleAndMin<L::F> {
        ScaleAndMin(l.load_f16(&block.d), l.load_f16(&block.m))
    }
    #[inline(always)]
    fn weights<L: ByteLanes>(l: L, block: &Q5_1Block, _: usize) -> [L::B; 8] {
        add_fifth_bits(l, split_nibbles(l, &block.qs), &block.qh)
    }
}

/// `w = d * q`.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(crate) struct Q8_0Block {
    d: Halves,
    qs: [Quads; 8],
}

pub(crate) struct Q8_0;
impl Quantized for Q8_0 {
    type Block = Q8_0Block;
    type Scales<L: ByteLanes> = Scale<L::F>;
    const TYPE: TensorType = TensorType::Q8_0;
    const PIECES: &'static [Piece] = pieces!(Q8_0Block { d: 0, qs: 2 });
    const LEN: usize = 32;
    const RANGE: Range = Range::S8;

    #[inline(always)]
    fn scales<L: ByteLanes>(l: L, block: &Q8_0Block) -> Scale<L::F> {
        Scale(l.load_f16(&block.d))
    }
    #[inline(always)]
    fn weights<L: ByteLanes>(l: L, block: &Q8_0Block, _: usize) -> [L::B; 8] {
        let mut out = [l.splat_byte(0); 8];
        unroll!(g < 8 => { out[g] = l.load_in_order(&block.qs[g]); });
        out
    }
}

/// `w = d * VALUES[q]`.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(crate) struct IQ4_NLBlock {
    d: Halves,
    qs: [Quads; 4],
}

pub(crate) struct IQ4_NL;
impl Quantized for IQ4_NL {
    type Block = IQ4_NLBlock;
    type Scales<L: ByteLanes> = Scale<L::F>;
    const TYPE: TensorType = TensorType::IQ4_NL;
    const PIECES: &'static [Piece] = pieces!(IQ4_NLBlock { d: 0, qs: 2 });
    const LEN: usize = 32;
    const RANGE: Range = Range::S8;

    #[inline(always)]
    fn scales<L: ByteLanes>(l: L, block: &IQ4_NLBlock) -> Scale<L::F> {
        Scale(l.load_f16(&block.d))
    }
    #[inline(always)]
    fn weights<L: ByteLanes>(l: L, block: &IQ4_NLBlock, _: usize) -> [L::B; 8] {
        look_up(l, &IQ4_VALUES, split_nibbles(l, &block.qs))
    }
}
