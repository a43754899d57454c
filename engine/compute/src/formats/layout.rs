//! Where the bytes of a format's block stand in a panel.

use siskin_quant::TensorType;

/// Rows of a panel.
const ROWS: usize = crate::lanes::LANES;

/// Some bytes of a format's block, which panels interleave in units: the first units of sixteen rows, then their second
/// ones.
#[derive(Clone, Copy)]
pub(crate) struct Piece {
    /// Where they begin in the block.
    pub(crate) at: usize,
    pub(crate) bytes: usize,
    /// 1, 2 or 4 bytes.
    pub(crate) unit: usize,
}

pub(crate) const fn piece(at: usize, bytes: usize, unit: usize) -> Piece {
    Piece { at, bytes, unit }
}

/// A field of a panel block, whose unit its type tells: [`Halves`](super::Halves), [`Quads`](super::Quads),
/// [`Bytes`](super::Bytes) or an array of them.
pub(crate) trait Field {
    const UNIT: usize;
}
impl Field for super::Bytes {
    const UNIT: usize = 1;
}
impl Field for super::Halves {
    const UNIT: usize = 2;
}
impl Field for super::Quads {
    const UNIT: usize = 4;
}
impl Field for [[u8; 2]; ROWS] {
    const UNIT: usize = 2;
}
impl<T: Field, const N: usize> Field for [T; N] {
    const UNIT: usize = T::UNIT;
}

/// The piece that begins at byte `at` of a row's block and becomes a field, which `_` gives.
pub(crate) const fn piece_of<B, F: Field>(at: usize, _: fn(&B) -> &F) -> Piece {
    piece(at, size_of::<F>() / ROWS, F::UNIT)
}

/// The pieces that become the fields of a panel block, in their order: which begins where in a row's block.
macro_rules! pieces {
    ($block:ident { $($field:ident: $at:literal),* $(,)? }) => {{
        const PIECES: &[$crate::formats::Piece] =
            &[$($crate::formats::layout::piece_of($at, |block: &$block| &block.$field)),*];
        $crate::formats::layout::check_fields(PIECES, &[$(std::mem::offset_of!($block, $field)),*]);
        PIECES
    }};
}
pub(crate) use pieces;

/// Panics, when compiling, where fields do not stand in a panel block as their pieces follow each other.
pub(crate) const fn check_fields(pieces: &[Piece], offsets: &[usize]) {
    let (mut i, mut offset) = (0, 0);
    while i < pieces.len() {
        assert!(offsets[i] == offset, "the fields are in the order of their pieces");
        offset += ROWS * pieces[i].bytes;
        i += 1;
    }
}

/// Panics, when compiling, where a format's pieces do not cover each byte of its block once, or a panel block has another
/// size than sixteen of them.
pub(crate) const fn check(ty: TensorType, own: TensorType, len: usize, pieces: &[Piece], panel_block: usize) {
    assert!(ty.id() == own.id() && ty.block_len() == len, "the format is that of the type");
    assert!(panel_block == ROWS * ty.block_bytes(), "a panel block holds sixteen blocks");
    let mut covered = 0;
    let mut i = 0;
    while i < pieces.len() {
        let Piece { at, bytes, unit } = pieces[i];
        assert!(matches!(unit, 1 | 2 | 4) && bytes.is_multiple_of(unit) && bytes > 0, "pieces are units");
        assert!(at + bytes <= ty.block_bytes(), "pieces lie in the block");
        let mut other = 0;
        while other < i {
            let apart = at + bytes <= pieces[other].at || pieces[other].at + pieces[other].bytes <= at;
            assert!(apart, "pieces do not overlap");
            other += 1;
        }
        covered += bytes;
        i += 1;
    }
    assert!(covered == ty.block_bytes(), "pieces cover the block");
}
