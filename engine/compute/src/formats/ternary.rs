//! Formats of weights that are −1, 0 or 1, with one scale for 128 or 256.

use siskin_quant::TensorType;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::small::Scale;
use super::{Halves, Piece, Quads, Quantized, bit_pairs, piece, pieces};
use crate::lanes::{ByteLanes, Range, unroll};

/// `w = d * (t - 1)`, a byte's digits `t` in base three, the first one on top.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(crate) struct TQ1_0Block {
    d: Halves,
    /// Five runs of 32 weights.
    first: [Quads; 8],
    /// Five runs of 16 weights.
    second: [Quads; 4],
    /// Four runs of four weights.
    third: Quads,
}

pub(crate) struct TQ1_0;
impl Quantized for TQ1_0 {
    type Block = TQ1_0Block;
    type Scales<L: ByteLanes> = Scale<L::F>;
    const TYPE: TensorType = TensorType::TQ1_0;
    const PIECES: &'static [Piece] = &[piece(52, 2, 2), piece(0, 52, 4)];
    const LEN: usize = 256;
    const RANGE: Range = Range::U4;
    const OFFSET: u8 = 1;

    #[inline(always)]
    fn scales<L: ByteLanes>(l: L, block: &TQ1_0Block) -> Scale<L::F> {
        Scale(l.load_f16(&block.d))
    }
    #[inline(always)]
    fn weights<L: ByteLanes>(l: L, block: &TQ1_0Block, sub: usize) -> [L::B; 8] {
        let mut out = [l.splat_byte(0); 8];
        match sub {
            0..5 => {
                unroll!(g < 8 => { out[g] = trits(l, &block.first[g], sub); });
            }
            5 | 6 => {
                unroll!(g < 8 => { out[g] = trits(l, &block.second[g % 4], 2 * (sub - 5) + g / 4); });
            }
            _ => {
                unroll!(g < 4 => {
                    out[g] = trits(l, &block.second[g], 4);
                    out[g + 4] = trits(l, &block.third, g);
                });
            }
        }
        out
    }
}

/// A digit of each byte, which stands for 0.d₀d₁d₂d₃d₄ in base three, in units of 1/256.
#[inline(always)]
fn trits<L: ByteLanes>(l: L, bytes: &Quads, digit: usize) -> L::B {
    let mut b = l.load_bytes(bytes);
    // Modulo 256: the digits before fall off at the top.
    for _ in 0..digit {
        b = l.add_bytes(l.add_bytes(b, b), b);
    }
    // Three times a byte has no room in one, so ⌊3b / 4⌋ is formed of halves and fourths and what these leave over.
    let half = l.shr(b, 1);
    let both = l.and(l.and(b, half), l.splat_byte(1));
    l.shr(l.add_bytes(l.add_bytes(half, l.shr(b, 2)), both), 6)
}

/// `w = d * (q - 1)`.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(crate) struct TQ2_0Block {
    d: Halves,
    qs: [[Quads; 8]; 2],
}

pub(crate) struct TQ2_0;
impl Quantized for TQ2_0 {
    type Block = TQ2_0Block;
    type Scales<L: ByteLanes> = Scale<L::F>;
    const TYPE: TensorType = TensorType::TQ2_0;
    const PIECES: &'static [Piece] = pieces!(TQ2_0Block { d: 64, qs: 0 });
    const LEN: usize = 256;
    const RANGE: Range = Range::U4;
    const OFFSET: u8 = 1;

    #[inline(always)]
    fn scales<L: ByteLanes>(l: L, block: &TQ2_0Block) -> Scale<L::F> {
        Scale(l.load_f16(&block.d))
    }
    #[inline(always)]
    fn weights<L: ByteLanes>(l: L, block: &TQ2_0Block, sub: usize) -> [L::B; 8] {
        bit_pairs(l, block.qs[sub / 4].each_ref(), sub % 4)
    }
}

/// `w = d * (2 * bit - 1)`, the bits of a row's 32 weights in one u32.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(crate) struct Q1_0Block {
    d: Halves,
    qs: [Quads; 4],
}

pub(crate) struct Q1_0;
impl Quantized for Q1_0 {
    type Block = Q1_0Block;
    type Scales<L: ByteLanes> = Scale<L::F>;
    const TYPE: TensorType = TensorType::Q1_0;
    const PIECES: &'static [Piece] = pieces!(Q1_0Block { d: 0, qs: 2 });
    const LEN: usize = 128;
    const RANGE: Range = Range::U4;
    const OFFSET: u8 = 1;

    #[inline(always)]
    fn scales<L: ByteLanes>(l: L, block: &Q1_0Block) -> Scale<L::F> {
        Scale(l.load_f16(&block.d))
    }
    #[inline(always)]
    fn weights<L: ByteLanes>(l: L, block: &Q1_0Block, sub: usize) -> [L::B; 8] {
        let signs = l.load_bytes(&block.qs[sub]);
        let mut out = [signs; 8];
        unroll!(g < 8 => { out[g] = l.spread_bits(signs, g, 2); });
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lanes::Scalar;

    #[test]
    fn a_trit_is_the_top_digit_of_every_byte_in_base_three() {
        for first in [0, 64, 128, 192u8] {
            let bytes = std::array::from_fn(|i| first + i as u8);
            for (byte, trit) in bytes.into_iter().zip(trits(Scalar, &bytes, 0)) {
                assert_eq!(u32::from(trit), u32::from(byte) * 3 / 256, "{byte}");
            }
        }
    }
}
