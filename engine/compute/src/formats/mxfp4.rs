use siskin_quant::{MXFP4_VALUES, TensorType};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::small::Scale;
use super::{Bytes, Piece, Quads, Quantized, look_up, pieces, shifted, split_nibbles};
use crate::lanes::{ByteLanes, Lanes, Range};

/// `w = 2^(e - 128) * VALUES[q]`.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(crate) struct MXFP4Block {
    e: Bytes,
    qs: [Quads; 4],
}

pub(crate) struct MXFP4;
impl Quantized for MXFP4 {
    type Block = MXFP4Block;
    type Scales<L: ByteLanes> = Scale<L::F>;
    const TYPE: TensorType = TensorType::MXFP4;
    const PIECES: &'static [Piece] = pieces!(MXFP4Block { e: 0, qs: 1 });
    const LEN: usize = 32;
    const RANGE: Range = Range::U5;
    const OFFSET: u8 = 12;

    #[inline(always)]
    fn scales<L: ByteLanes>(l: L, block: &MXFP4Block) -> Scale<L::F> {
        Scale(powers(l, &block.e))
    }
    #[inline(always)]
    fn weights<L: ByteLanes>(l: L, block: &MXFP4Block, _: usize) -> [L::B; 8] {
        look_up(l, &const { shifted(MXFP4_VALUES, 1, Self::OFFSET) }, split_nibbles(l, &block.qs))
    }
}

/// 2^(e - 128), as the product of ⌊e / 2⌋ - 64 and ⌈e / 2⌉ - 64: of one alone the two smallest were out of reach.
#[inline(always)]
fn powers<L: Lanes>(l: L, e: &Bytes) -> L::F {
    let (e, half) = (l.load_u8(e), l.splat(0.5));
    // A fourth to either side of the half: nothing is left to ties.
    let floor = l.round(l.fma(e, half, l.splat(-64.25)));
    let ceiling = l.round(l.fma(e, half, l.splat(-63.75)));
    l.mul(l.exp2(floor), l.exp2(ceiling))
}

#[cfg(test)]
mod tests {
    use siskin_quant::e8m0_half;

    use super::*;
    use crate::lanes::Scalar;

    #[test]
    fn powers_are_those_of_the_format() {
        for first in (0..=240).step_by(16) {
            let e: Bytes = std::array::from_fn(|row| first + row as u8);
            assert_eq!(powers(Scalar, &e).map(f32::to_bits), e.map(|e| e8m0_half(e).to_bits()));
        }
    }
}
