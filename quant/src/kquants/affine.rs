//! `d * scale * q - dmin * min`: the formats with scales and minimums, and the search for them.
//!
//! The search first fits each sub-block by itself, then rounds the scales and minimums it found to what the
//! superblock can hold. Rounding looks at the error of the neighbours too, and the superblock's own two scales are
//! refitted to what became of the quants.

use half::f16;

use super::{Q2_K, Q4_K, Q5_K, planes, scales::pack_k4_scales};
use crate::scale::{ScaleTooLarge, check_range, nonzero_f16, to_f16};
use crate::search::Searched;
use crate::search::affine::{Affine, Steps, Totals};
use crate::search::lanes::{Group, Lanes, Weights, each, groups, interleave, inverse, nearest, total};

/// Values of sub-blocks of `SUB`.
pub(super) fn decode<const SUB: usize>(
    (d, scales): (f16, &[u8]),
    (dmin, mins): (f16, &[u8]),
    quants: &[u8; 256],
    out: &mut [f32; 256],
) {
    let (d, dmin) = (d.to_f32(), dmin.to_f32());
    let sub_blocks = quants.as_chunks::<SUB>().0.iter().zip(out.as_chunks_mut::<SUB>().0);
    for ((&scale, &min), (quants, out)) in scales.iter().zip(mins).zip(sub_blocks) {
        let (scale, min) = (d * f32::from(scale), dmin * f32::from(min));
        for (x, &q) in out.iter_mut().zip(quants) {
            *x = scale * f32::from(q) - min;
        }
    }
}

/// What a format can hold.
struct Format {
    steps: Steps,
    /// Scales and minimums go from 0 to this.
    most: f32,
    /// How often the best try of a sub-block is fitted again to its quants.
    again: usize,
    /// How often `d` and `dmin` are refitted.
    refits: usize,
    /// Multiples of the first `d` and `dmin` that are tried as well: where scales have few bits, rounding them is
    /// much of the error.
    nearby: &'static [(f32, f32)],
    /// Multiples of `d` tried for each sub-block, counted from the one nearest to its own scale.
    neighbours: &'static [f32],
}

const TWO_BITS: Format = Format {
    steps: Steps {
        last: 3.0,
        signed_min: false,
        tries: &[
            1.0, 1.16, 1.32, 1.47, 1.63, 1.79, 1.95, 2.11, 2.26, 2.42, 2.58, 2.74, 2.89, 3.05, 3.21, 3.37,
            3.53, 3.68, 3.84, 4.0,
        ],
    },
    most: 15.0,
    again: 3,
    refits: 3,
    nearby: &[(0.9, 1.0), (0.95, 1.0), (1.05, 1.0), (1.0, 0.9), (1.0, 0.95), (1.0, 1.05)],
    neighbours: &[-1.0, 0.0, 1.0],
};

const FOUR_BITS: Format = Format {
    steps: Steps {
        last: 15.0,
        signed_min: false,
        tries: &[
            12.0, 12.19, 12.38, 12.57, 12.76, 12.95, 13.14, 13.33, 13.52, 13.71, 13.89, 14.08, 14.27, 14.46,
            14.65, 14.84, 15.03, 15.22, 15.41, 15.6,
        ],
    },
    most: 63.0,
    again: 2,
    refits: 2,
    nearby: &[],
    neighbours: &[-1.0, 0.0, 1.0],
};

const FIVE_BITS: Format = Format {
    steps: Steps {
        last: 31.0,
        signed_min: false,
        tries: &[
            27.5, 27.71, 27.92, 28.13, 28.34, 28.55, 28.76, 28.97, 29.18, 29.39, 29.61, 29.82, 30.03, 30.24,
            30.45, 30.66, 30.87, 31.08, 31.29, 31.5,
        ],
    },
    most: 63.0,
    again: 2,
    refits: 2,
    nearby: &[],
    neighbours: &[-1.0, 0.0, 1.0],
};

impl Searched<16> for Q2_K {
    fn search<W: Weights>(x: &[f32; 256], weights: W) -> Result<Q2_K, ScaleTooLarge> {
        let (Superblock { d, dmin, scales, mins, .. }, q) =
            Superblock::<2>::search::<16, W>(x, weights, &TWO_BITS)?;
        let (scales, mins) = (scales.as_flattened(), mins.as_flattened());
        let scales = std::array::from_fn(|i| scales[i] as u8 | (mins[i] as u8) << 4);
        Ok(Q2_K { scales, qs: planes::pack::<2, 32, 64>(&q), d, dmin })
    }
}

impl Searched<32> for Q4_K {
    fn search<W: Weights>(x: &[f32; 256], weights: W) -> Result<Q4_K, ScaleTooLarge> {
        let (found, q) = Superblock::<1>::search::<32, W>(x, weights, &FOUR_BITS)?;
        let scales = found.packed_scales();
        Ok(Q4_K { d: found.d, dmin: found.dmin, scales, qs: planes::pack::<4, 32, 128>(&q) })
    }
}

impl Searched<32> for Q5_K {
    fn search<W: Weights>(x: &[f32; 256], weights: W) -> Result<Q5_K, ScaleTooLarge> {
        let (found, q) = Superblock::<1>::search::<32, W>(x, weights, &FIVE_BITS)?;
        Ok(Q5_K {
            d: found.d,
            dmin: found.dmin,
            scales: found.packed_scales(),
            qh: planes::pack::<1, 32, 32>(&q.map(|q| q >> 4)),
            qs: planes::pack::<4, 32, 128>(&q),
        })
    }
}

/// The scales of a superblock, whole numbers, and the weighted squared error they leave.
struct Superblock<const GROUPS: usize> {
    d: f16,
    dmin: f16,
    scales: [Lanes; GROUPS],
    mins: [Lanes; GROUPS],
    error: f32,
}

/// A group of sub-blocks, its sums, and its best scales and minimums regardless of the superblock's.
type Fitted<'a, W, const LEN: usize> = (Group<'a, W, LEN>, Totals, Affine);

impl<const GROUPS: usize> Superblock<GROUPS> {
    /// Scales for `x` with little squared error, and the quants they give.
    fn search<const LEN: usize, W: Weights>(
        x: &[f32; 256],
        weights: W,
        format: &Format,
    ) -> Result<(Self, [u8; 256]), ScaleTooLarge> {
        const { assert!(LEN * GROUPS == 32) };
        let last = format.steps.last;
        check_range(x, format.most * last)?;
        let x = interleave::<LEN>(x);
        let groups: [Group<'_, W, LEN>; GROUPS] = groups(&x, weights);
        let fitted: [Fitted<'_, W, LEN>; GROUPS] = groups.map(|group| {
            let totals = Totals::of(&group);
            (group, totals, Affine::fit(&group, totals, format.steps, format.again))
        });
        let largest = |of: fn(&Affine) -> Lanes| {
            fitted.iter().flat_map(|(.., ideal)| of(ideal)).fold(0.0, |a, v| if v > a { v } else { a })
        };
        let d = nonzero_f16(largest(|ideal| ideal.scale) / format.most)?;
        let dmin = nonzero_f16(largest(|ideal| ideal.min) / format.most)?;
        let mut best = Self::round(&fitted, d, dmin, format);
        for (per_d, per_dmin) in format.nearby {
            let (Ok(d), Ok(dmin)) = (to_f16(d.to_f32() * per_d), to_f16(dmin.to_f32() * per_dmin)) else {
                continue;
            };
            let other = Self::round(&fitted, d, dmin, format);
            if other.error < best.error {
                best = other;
            }
        }
        for _ in 0..format.refits {
            let Ok((d, dmin)) = best.refit(&fitted, last) else { break };
            let refitted = Self::round(&fitted, d, dmin, format);
            if refitted.error < best.error {
                best = refitted;
            }
        }
        let mut quants = [0; 256];
        for (i, (group, ..)) in fitted.iter().enumerate() {
            best.group(i).quants(group, last, &mut quants);
        }
        Ok((best, quants))
    }

    /// The sub-blocks' scales as multiples of `d` and `dmin`: the best of some neighbouring scales, each with the
    /// minimum that suits its quants.
    fn round<const LEN: usize, W: Weights>(
        fitted: &[Fitted<'_, W, LEN>; GROUPS],
        d: f16,
        dmin: f16,
        format: &Format,
    ) -> Self {
        let mut found =
            Superblock { d, dmin, scales: [[0.0; 8]; GROUPS], mins: [[0.0; 8]; GROUPS], error: 0.0 };
        let (d, dmin) = (d.to_f32(), dmin.to_f32());
        let (per_d, per_dmin) = (inverse(d), inverse(dmin));
        for (i, (group, totals, ideal)) in fitted.iter().enumerate() {
            let middle = ideal.scale.map(|scale| nearest(scale * per_d, 0.0, format.most));
            let mut least = [f32::INFINITY; 8];
            for step in format.neighbours {
                let scale = middle.map(|middle| nearest(middle + step, 0.0, format.most));
                let mut sub = Affine { scale: scale.map(|scale| d * scale), min: ideal.min };
                let min = sub.best_min(group, totals, format.steps.last);
                let min = min.map(|min| nearest(min * per_dmin, 0.0, format.most));
                sub.min = min.map(|min| dmin * min);
                let error = sub.error(group, format.steps.last);
                for lane in 0..8 {
                    if error[lane] < least[lane] {
                        least[lane] = error[lane];
                        (found.scales[i][lane], found.mins[i][lane]) = (scale[lane], min[lane]);
                    }
                }
            }
            found.error += total(least);
        }
        found
    }

    /// The sub-blocks of group `i`.
    fn group(&self, i: usize) -> Affine {
        let (d, dmin) = (self.d.to_f32(), self.dmin.to_f32());
        Affine { scale: self.scales[i].map(|scale| d * scale), min: self.mins[i].map(|min| dmin * min) }
    }

    /// `d` and `dmin` of least squared error for the quants that this superblock gives.
    fn refit<const LEN: usize, W: Weights>(
        &self,
        fitted: &[Fitted<'_, W, LEN>; GROUPS],
        last: f32,
    ) -> Result<(f16, f16), ScaleTooLarge> {
        // x is approximated by d * a + dmin * b, with a = scale * q and b = -min.
        let (mut aa, mut ab, mut bb, mut xa, mut xb) = (0.0f32, 0.0f32, 0.0f32, 0.0f32, 0.0f32);
        for (i, (group, totals, _)) in fitted.iter().enumerate() {
            let (scale, min) = (&self.scales[i], &self.mins[i]);
            let moments = self.group(i).moments(group, last);
            aa += total(each(|i| scale[i] * scale[i] * moments.qq[i]));
            ab -= total(each(|i| scale[i] * min[i] * moments.q[i]));
            bb += total(each(|i| min[i] * min[i] * totals.w[i]));
            xa += total(each(|i| scale[i] * moments.xq[i]));
            xb -= total(each(|i| min[i] * totals.x[i]));
        }
        let determinant = aa * bb - ab * ab;
        if determinant > 0.0 {
            Ok((to_f16((xa * bb - xb * ab) / determinant)?, to_f16((xb * aa - xa * ab) / determinant)?))
        } else {
            Ok((to_f16(xa / aa)?, self.dmin))
        }
    }
}

impl Superblock<1> {
    fn packed_scales(&self) -> [u8; 12] {
        pack_k4_scales(&self.scales[0].map(|scale| scale as u8), &self.mins[0].map(|min| min as u8))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::search::lanes::Equal;

    #[test]
    fn zeros_encode_to_zero_bytes() {
        let mut bytes = [1; 144];
        Q4_K::search(&[0.0; 256], Equal).unwrap().write(&mut bytes);
        assert_eq!(bytes, [0; 144]);
    }

    #[test]
    fn weights_below_the_smallest_scale_times_63_still_show() {
        // d would be 3e-5 / 15 / 63 = 3e-8, half of the smallest F16.
        let x: [f32; 256] = std::array::from_fn(|i| (i % 16) as f32 * 2e-6);
        let mut out = [0.0; 256];
        Q4_K::search(&x, Equal).unwrap().decode(&mut out);
        assert!(x.iter().zip(out).all(|(x, y)| (x - y).abs() < 1e-6));
    }
}
