//! Quantized activations as every instruction set's products read them.

use std::mem::offset_of;

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Weights or activations that share an activation scale.
pub const BLOCK: usize = 32;

/// Tokens that stand together in quantized activations: the most that any instruction set multiplies at once.
pub const TILE: usize = 8;

/// 32 quantized activations, and what products need of their sums: over both halves, the first and the second.
#[derive(Clone, Copy, Debug, PartialEq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, align(64))]
pub struct Q8Block {
    /// −127 to 127, in groups of four.
    pub q: [[i8; 4]; 8],
    /// What 1 in `q` stands for. NaN where an activation is infinite or NaN, so that the result is NaN.
    pub scale: f32,
    /// The negated sums of `q`.
    minus_sums: [i32; 3],
    /// The sums of `q` times the scale.
    weighted_sums: [f32; 3],
    /// Fills the cache line.
    unused: [u8; 4],
}

impl Q8Block {
    /// The block of the first and the second 16 activations, in which 1 stands for `scale`.
    #[inline(always)]
    pub(crate) fn new(q: [[i8; 16]; 2], scale: f32) -> Self {
        let sum = |half: &[i8; 16]| half.iter().map(|&q| i32::from(q)).sum::<i32>();
        let (first, second) = (sum(&q[0]), sum(&q[1]));
        let sums = [first + second, first, second];
        let mut block = Self {
            scale,
            minus_sums: sums.map(|sum| -sum),
            weighted_sums: sums.map(|sum| scale * sum as f32),
            ..Self::zeros(0.0)
        };
        block.q.as_flattened_mut().copy_from_slice(q.as_flattened());
        block
    }

    /// The block of zeros, with a scale: 0 or NaN.
    pub const fn zeros(scale: f32) -> Self {
        Self { q: [[0; 4]; 8], scale, minus_sums: [0; 3], weighted_sums: [scale; 3], unused: [0; 4] }
    }

    /// The sums of `q`: of both halves, the first and the second.
    pub fn sums(&self) -> [i32; 3] {
        self.minus_sums.map(|sum| -sum)
    }

    /// [`Q8Block::sums`] times the scale, as products read them.
    pub fn weighted_sums(&self) -> [f32; 3] {
        self.weighted_sums
    }

    /// The `4 * G` activations of a grain: all 32 of the block, or those of its first or second half.
    #[inline(always)]
    pub(crate) fn groups<const G: usize>(&self, grain: usize) -> &[[i8; 4]; G] {
        &self.q.as_chunks().0[grain]
    }

    /// Less the sum of a grain of `4 * G` activations.
    #[inline(always)]
    pub(crate) fn minus_sum<const G: usize>(&self, grain: usize) -> i32 {
        self.minus_sums[if G == 8 { 0 } else { 1 + grain }]
    }

    /// The sum of a grain of `4 * G` activations times the scale.
    #[inline(always)]
    pub(crate) fn weighted_sum<const G: usize>(&self, grain: usize) -> f32 {
        self.weighted_sums[if G == 8 { 0 } else { 1 + grain }]
    }
}

/// What [`Q8Block`]s of four tokens hold, the same numbers of all four side by side.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, align(64))]
pub(crate) struct Q8Four {
    q: [[[[i8; 4]; 4]; 4]; 2],
    scales: [f32; 4],
    weighted_sums: [[f32; 4]; 3],
    minus_sums: [[i32; 4]; 3],
    unused: [u8; 16],
}

impl Q8Four {
    pub(crate) fn put(&mut self, token: usize, block: &Q8Block) {
        for (half, q) in self.q.iter_mut().zip(block.q.as_chunks().0) {
            half[token] = *q;
        }
        self.scales[token] = block.scale;
        for i in 0..3 {
            self.weighted_sums[i][token] = block.weighted_sums[i];
            self.minus_sums[i][token] = block.minus_sums[i];
        }
    }
}

/// What the assembly in `lanes/neon` reads by its offset, of one token's block and of four tokens'.
const _: () = {
    assert!(size_of::<Q8Block>() == 64 && offset_of!(Q8Block, q) == 0);
    assert!(offset_of!(Q8Block, scale) == 32 && offset_of!(Q8Block, minus_sums) == 36);
    assert!(offset_of!(Q8Block, weighted_sums) == 48);
    assert!(size_of::<Q8Four>() == 4 * size_of::<Q8Block>() && align_of::<Q8Four>() == align_of::<Q8Block>());
    assert!(offset_of!(Q8Four, q) == 0 && offset_of!(Q8Four, scales) == 128);
    assert!(offset_of!(Q8Four, weighted_sums) == 144 && BLOCK == 32);
};

/// Four tokens' activations out of a tile of [`Tier::FOURS`](crate::lanes::Tier::FOURS).
#[derive(Clone, Copy)]
#[cfg_attr(not(target_arch = "aarch64"), expect(dead_code))] // No other tier has fours.
pub(crate) struct Fours<'a> {
    /// From the four tokens' first 32 on: 256 bytes with 64 of the first half of `q`, token by token, 64 of the second,
    /// the `scale`s, and the `weighted_sums` of both halves, the first and the second.
    pub(crate) blocks: &'a [Q8Block],
    /// Blocks from one 32 to the next.
    pub(crate) width: usize,
}

#[cfg(target_arch = "aarch64")]
impl Fours<'_> {
    /// How many times 32 activations there are.
    pub(crate) fn len(&self) -> usize {
        self.blocks.len().checked_sub(4).map_or(0, |rest| rest / self.width + 1)
    }
}
