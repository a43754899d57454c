//! The searches for scales that leave the least weighted squared error.

pub(crate) mod affine;
pub(crate) mod lanes;
pub(crate) mod superblock;
pub(crate) mod symmetric;

use crate::scale::ScaleTooLarge;
use lanes::{Each, Equal, Weights, interleave};

/// A block of 256 in sub-blocks of `SUB`, whose scales are searched for.
pub(crate) trait Searched<const SUB: usize>: Sized {
    /// The block that restores `x` with little weighted squared error; `weights` are interleaved by `SUB`.
    fn search<W: Weights>(x: &[f32; 256], weights: W) -> Result<Self, ScaleTooLarge>;

    /// The same without weights.
    fn unweighted(x: &[f32; 256]) -> Result<Self, ScaleTooLarge> {
        Self::search(x, Equal)
    }

    /// The same with weights that [`normalize`] made.
    fn weighted(x: &[f32; 256], weights: &[f32; 256]) -> Result<Self, ScaleTooLarge> {
        Self::search(x, Each(&interleave::<SUB>(weights)))
    }
}

/// Eight blocks of 32 at once, whose scales are searched for.
pub(crate) trait SearchedByEight: Sized {
    /// The blocks that restore `x` with little weighted squared error; `weights` are interleaved by 32.
    fn search<W: Weights>(x: &[f32; 256], weights: W) -> Eight<Self>;

    /// The same without weights.
    fn unweighted(x: &[f32; 256]) -> Eight<Self> {
        Self::search(x, Equal)
    }

    /// The same with weights that [`normalize`] made.
    fn weighted(x: &[f32; 256], weights: &[f32; 256]) -> Eight<Self> {
        Self::search(x, Each(&interleave::<32>(weights)))
    }
}

/// Eight blocks, those too large as errors.
pub(crate) type Eight<B> = [Result<B, ScaleTooLarge>; 8];

/// Weights of the same ratios within each block of `len`, but at most 1 and never 0. Weights of 0 only become 1.
///
/// A floor of 2^-30 makes no difference beside a weight of 1, and lets sub-blocks without any weight have a scale.
pub(crate) fn normalize(importance: &[f32], len: usize) -> Vec<f32> {
    const FLOOR: f32 = 1.0 / (1 << 30) as f32;
    let mut weights = importance.to_vec();
    for block in weights.chunks_mut(len) {
        let most = block.iter().fold(0.0f32, |a, &w| if w > a { w } else { a });
        if most > 0.0 {
            block.iter_mut().for_each(|w| *w = (*w / most).max(FLOOR));
        } else {
            block.fill(1.0);
        }
    }
    weights
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_keep_their_ratios() {
        let denormal = f32::from_bits(2);
        let weights = normalize(&[2.0, 0.5, 0.0, -0.0, 3e38, 1.5e38, denormal, denormal / 2.0], 2);
        assert_eq!(weights, [1.0, 0.25, 1.0, 1.0, 1.0, 0.5, 1.0, 0.5]);
        assert_eq!(normalize(&[0.0, 7.0], 2), [1.0 / (1 << 30) as f32, 1.0]);
    }
}
