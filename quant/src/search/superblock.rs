//! `d * scale * level`: superblocks with signed scales and no minimums.
//!
//! The search first fits each sub-block by itself, then rounds the scales it found to what the superblock can hold.
//! Rounding looks at the error of the neighbours too, and `d` is refitted to what became of the quants.

use half::f16;

use super::lanes::{Group, Lanes, Weights, each, groups, interleave, inverse, nearest, total};
use super::symmetric::{Grid, error, fit, moments, quants};
use crate::scale::{ScaleTooLarge, check_range, nonzero_f16, to_f16};

/// The scales of a superblock, whole numbers in `-ZERO..ZERO`, and the weighted squared error they leave.
pub(crate) struct Superblock<const ZERO: i16, const GROUPS: usize> {
    pub(crate) d: f16,
    pub(crate) scales: [Lanes; GROUPS],
    error: f32,
}

/// A group of sub-blocks, and its best scales regardless of the superblock's.
type Fitted<'a, W, const LEN: usize> = (Group<'a, W, LEN>, Lanes);

impl<const ZERO: i16, const GROUPS: usize> Superblock<ZERO, GROUPS> {
    /// How often `d` is refitted.
    const REFITS: usize = 2;

    /// Scales for `x` with little squared error, and the quants they give.
    pub(crate) fn search<G: Grid, const LEN: usize, W: Weights>(
        x: &[f32; 256],
        weights: W,
    ) -> Result<(Self, [u8; 256]), ScaleTooLarge> {
        check_range(x, f32::from(ZERO) * -G::LOWEST)?;
        let x = interleave::<LEN>(x);
        let groups: [Group<'_, W, LEN>; GROUPS] = groups(&x, weights);
        let fitted = groups.map(|group| (group, fit::<G, LEN, W>(&group)));
        let ideals = fitted.iter().flat_map(|(_, ideal)| *ideal);
        let largest = ideals.fold(0.0f32, |a, scale| if scale.abs() > a.abs() { scale } else { a });
        let mut best = Self::round::<G, LEN, W>(&fitted, nonzero_f16(largest / -f32::from(ZERO))?);
        for _ in 0..Self::REFITS {
            let Ok(d) = best.refit::<G, LEN, W>(&fitted) else { break };
            let refitted = Self::round::<G, LEN, W>(&fitted, d);
            if refitted.error < best.error {
                best = refitted;
            }
        }
        let mut levels = [0; 256];
        for (i, (group, _)) in fitted.iter().enumerate() {
            quants::<G, LEN, W>(best.group(i), group, &mut levels);
        }
        Ok((best, levels))
    }

    /// The sub-blocks' scales as multiples of `d`, with the least error among their neighbours.
    fn round<G: Grid, const LEN: usize, W: Weights>(fitted: &[Fitted<'_, W, LEN>; GROUPS], d: f16) -> Self {
        let mut found = Superblock { d, scales: [[0.0; 8]; GROUPS], error: 0.0 };
        let d = d.to_f32();
        let per_d = inverse(d);
        let zero = f32::from(ZERO);
        for (i, (group, ideal)) in fitted.iter().enumerate() {
            let middle = ideal.map(|scale| nearest(scale * per_d, -zero, zero - 1.0));
            let mut least = [f32::INFINITY; 8];
            for step in [-1.0, 0.0, 1.0] {
                let scale = middle.map(|middle| nearest(middle + step, -zero, zero - 1.0));
                let error = error::<G, LEN, W>(scale.map(|scale| d * scale), group);
                for lane in 0..8 {
                    if error[lane] < least[lane] {
                        (least[lane], found.scales[i][lane]) = (error[lane], scale[lane]);
                    }
                }
            }
            found.error += total(least);
        }
        found
    }

    /// The scales of group `i`.
    fn group(&self, i: usize) -> Lanes {
        let d = self.d.to_f32();
        self.scales[i].map(|scale| d * scale)
    }

    /// `d` of least squared error for the quants that this superblock gives.
    fn refit<G: Grid, const LEN: usize, W: Weights>(
        &self,
        fitted: &[Fitted<'_, W, LEN>; GROUPS],
    ) -> Result<f16, ScaleTooLarge> {
        let (mut xa, mut aa) = (0.0f32, 0.0f32);
        for (i, (group, _)) in fitted.iter().enumerate() {
            let scale = &self.scales[i];
            let (xl, ll) = moments::<G, LEN, W>(self.group(i), group);
            xa += total(each(|i| scale[i] * xl[i]));
            aa += total(each(|i| scale[i] * scale[i] * ll[i]));
        }
        to_f16(xa / aa)
    }
}
