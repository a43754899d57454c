use siskin_quant::{MXFP4_VALUES, TensorType, e8m0_half};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::small::Scale;
use super::{Bytes, Piece, Quads, Quantized, look_up, pieces, shifted, split_nibbles};
use crate::lanes::{ByteLanes, Range};

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
        let mut scales = [0; 64];
        for (scale, &e) in scales.as_chunks_mut().0.iter_mut().zip(&block.e) {
            *scale = e8m0_half(e).to_le_bytes();
        }
        Scale(l.load_f32(&scales))
    }
    #[inline(always)]
    fn weights<L: ByteLanes>(l: L, block: &MXFP4Block, _: usize) -> [L::B; 8] {
        look_up(l, &const { shifted(MXFP4_VALUES, 1, Self::OFFSET) }, split_nibbles(l, &block.qs))
    }
}
