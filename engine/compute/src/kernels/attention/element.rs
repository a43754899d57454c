use half::f16;

use crate::kernels::Line;
use crate::lanes::Lanes;

/// Numbers of a head's keys or values that a block holds of each of its 16 positions.
pub const WIDTH: usize = 32;

/// What the keys or values of a cache are kept in, in blocks of 16 positions × [`WIDTH`] numbers, which are 32 vectors.
///
/// Vector i of a block of keys is the i-th number of each position; vectors 2i and 2i + 1 of a block of values are the
/// numbers of position i.
pub(crate) trait Element: 'static {
    type Block: Copy;
    /// Numbers are their vectors' times the scale of their position.
    const SCALED: bool = false;

    fn blocks(bytes: &[u8]) -> &[Self::Block];
    fn blocks_mut(bytes: &mut [u8]) -> &mut [Self::Block];
    /// Puts up to [`WIDTH`] numbers of one position into a block, the i-th at `place(i)`.
    fn write(block: &mut Self::Block, position: usize, x: &[f32], place: impl Fn(usize) -> usize);
    /// Takes the numbers of one position out of a block that [`Element::write`] put them into.
    fn read(block: &Self::Block, position: usize, x: &mut [f32], place: impl Fn(usize) -> usize);
    /// Where a block of keys holds the i-th number of a position.
    fn key_place(position: usize, i: usize) -> usize {
        16 * i + position
    }
    /// The `i`-th vector, unscaled.
    fn load<L: Lanes>(l: L, block: &Self::Block, i: usize) -> L::F;
    /// The scales of the 16 positions.
    #[inline(always)]
    fn scales<L: Lanes>(l: L, _: &Self::Block) -> L::F {
        l.splat(1.0)
    }
}

impl Element for f32 {
    type Block = [Line; 32];

    fn blocks(bytes: &[u8]) -> &[[Line; 32]] {
        bytes.as_chunks().0.as_chunks().0
    }
    fn blocks_mut(bytes: &mut [u8]) -> &mut [[Line; 32]] {
        bytes.as_chunks_mut().0.as_chunks_mut().0
    }
    fn write(block: &mut [Line; 32], _: usize, x: &[f32], place: impl Fn(usize) -> usize) {
        let numbers = block.as_flattened_mut().as_chunks_mut().0;
        x.iter().enumerate().for_each(|(i, x)| numbers[place(i)] = x.to_le_bytes());
    }
    fn read(block: &[Line; 32], _: usize, x: &mut [f32], place: impl Fn(usize) -> usize) {
        let numbers = block.as_flattened().as_chunks().0;
        x.iter_mut().enumerate().for_each(|(i, x)| *x = f32::from_le_bytes(numbers[place(i)]));
    }
    #[inline(always)]
    fn load<L: Lanes>(l: L, block: &[Line; 32], i: usize) -> L::F {
        l.load_f32(&block[i])
    }
}

impl Element for f16 {
    type Block = [[u8; 32]; 32];

    fn blocks(bytes: &[u8]) -> &[[[u8; 32]; 32]] {
        bytes.as_chunks().0.as_chunks().0
    }
    fn blocks_mut(bytes: &mut [u8]) -> &mut [[[u8; 32]; 32]] {
        bytes.as_chunks_mut().0.as_chunks_mut().0
    }
    fn write(block: &mut [[u8; 32]; 32], _: usize, x: &[f32], place: impl Fn(usize) -> usize) {
        let numbers = block.as_flattened_mut().as_chunks_mut().0;
        x.iter().enumerate().for_each(|(i, x)| numbers[place(i)] = saturated(*x).to_le_bytes());
    }
    fn read(block: &[[u8; 32]; 32], _: usize, x: &mut [f32], place: impl Fn(usize) -> usize) {
        let numbers = block.as_flattened().as_chunks().0;
        x.iter_mut().enumerate().for_each(|(i, x)| *x = f16::from_le_bytes(numbers[place(i)]).to_f32());
    }
    #[inline(always)]
    fn load<L: Lanes>(l: L, block: &[[u8; 32]; 32], i: usize) -> L::F {
        l.load_f16(&block[i])
    }
}

/// The nearest number in half precision; ±65,504 where that would be infinite. NaN stays NaN, so that it is found.
#[inline(always)]
fn saturated(x: f32) -> f16 {
    f16::from_f32(x.clamp(f16::MIN.to_f32(), f16::MAX.to_f32()))
}

/// Signed bytes, and a scale in half precision for the numbers that a block holds of a position: the scale is
/// `amax / 127` rounded to f16, at most 65,504, a byte `round_half_even(x / scale)`, at most 127 either way. Where a number
/// is NaN all of them become NaN.
///
/// A block of keys is a panel block of weights of that name, with positions for rows.
pub(crate) struct Q8_0;

impl Element for Q8_0 {
    /// The sixteen positions' scales, then the bytes.
    type Block = [[u8; 16]; 34];
    const SCALED: bool = true;

    fn blocks(bytes: &[u8]) -> &[[[u8; 16]; 34]] {
        bytes.as_chunks().0.as_chunks().0
    }
    fn blocks_mut(bytes: &mut [u8]) -> &mut [[[u8; 16]; 34]] {
        bytes.as_chunks_mut().0.as_chunks_mut().0
    }
    fn write(block: &mut [[u8; 16]; 34], position: usize, x: &[f32], place: impl Fn(usize) -> usize) {
        let (scales, bytes) = block.as_flattened_mut().split_at_mut(32);
        // Of the bits, so that infinities and NaN come out on top.
        let amax = f32::from_bits(x.iter().map(|x| x.abs().to_bits()).fold(0, u32::max));
        let scale = saturated(amax / 127.0);
        scales[2 * position..2 * position + 2].copy_from_slice(&scale.to_le_bytes());
        let scale = scale.to_f32();
        for (i, x) in x.iter().enumerate() {
            // 0 / 0 and what is divided by NaN are NaN, which becomes the integer 0; too large a quotient is cut.
            let q = (x / scale).round_ties_even() as i8;
            bytes[place(i)] = q.max(-127).cast_unsigned();
        }
    }
    fn read(block: &[[u8; 16]; 34], position: usize, x: &mut [f32], place: impl Fn(usize) -> usize) {
        let (scales, bytes) = block.as_flattened().split_at(32);
        let scale = f16::from_le_bytes([scales[2 * position], scales[2 * position + 1]]).to_f32();
        x.iter_mut().enumerate().for_each(|(i, x)| *x = scale * f32::from(bytes[place(i)].cast_signed()));
    }
    fn key_place(position: usize, i: usize) -> usize {
        64 * (i / 4) + 4 * position + i % 4
    }
    #[inline(always)]
    fn load<L: Lanes>(l: L, block: &[[u8; 16]; 34], i: usize) -> L::F {
        l.load_i8(&block[2 + i])
    }
    #[inline(always)]
    fn scales<L: Lanes>(l: L, block: &[[u8; 16]; 34]) -> L::F {
        match block.as_flattened().first_chunk() {
            Some(scales) => l.load_f16(scales),
            None => l.splat(0.0),
        }
    }
}
