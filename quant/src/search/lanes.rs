//! Eight sub-blocks side by side, one in each lane, so that their sums never cross lanes.
//!
//! There is nothing but `+ - * /` and comparisons of f32 in a fixed order: the outcome is the same on every machine,
//! while compilers may still use its vectors.

/// A number of each of eight sub-blocks.
pub(crate) type Lanes = [f32; 8];

/// 256 elements as eight lanes: sub-blocks of `LEN` in groups of eight, one after the other.
pub(crate) fn interleave<const LEN: usize>(x: &[f32; 256]) -> [Lanes; 32] {
    let mut lanes = [[0.0; 8]; 32];
    let groups = lanes.as_chunks_mut::<LEN>().0.iter_mut().zip(x.chunks_exact(8 * LEN));
    for (group, x) in groups {
        for (lane, x) in x.as_chunks::<LEN>().0.iter().enumerate() {
            for (element, &x) in group.iter_mut().zip(x) {
                element[lane] = x;
            }
        }
    }
    lanes
}

/// The importance of each element of a superblock.
pub(crate) trait Weights: Copy {
    /// Weights of element `i` of the eight sub-blocks that begin at row `first` of the interleaved elements.
    fn at(self, first: usize, i: usize) -> Lanes;
}

/// Every element counts 1.
#[derive(Clone, Copy)]
pub(crate) struct Equal;

impl Weights for Equal {
    #[inline(always)]
    fn at(self, _: usize, _: usize) -> Lanes {
        [1.0; 8]
    }
}

/// A weight for each element, interleaved as the elements are.
#[derive(Clone, Copy)]
pub(crate) struct Each<'a>(pub(crate) &'a [Lanes; 32]);

impl Weights for Each<'_> {
    #[inline(always)]
    fn at(self, first: usize, i: usize) -> Lanes {
        self.0[(first + i) & 31]
    }
}

/// Eight sub-blocks of `LEN` elements with their weights.
#[derive(Clone, Copy)]
pub(crate) struct Group<'a, W, const LEN: usize> {
    x: &'a [Lanes; LEN],
    weights: W,
    first: usize,
}

/// The groups of 256 interleaved elements.
pub(crate) fn groups<W: Weights, const LEN: usize, const GROUPS: usize>(
    x: &[Lanes; 32],
    weights: W,
) -> [Group<'_, W, LEN>; GROUPS] {
    const { assert!(LEN * GROUPS == 32) };
    let rows = x.as_chunks().0;
    std::array::from_fn(|i| Group { x: &rows[i], weights, first: i * LEN })
}

impl<const LEN: usize, W: Weights> Group<'_, W, LEN> {
    /// Of each sub-block, the sums of the terms that `terms(lane, weight, x)` gives for its elements.
    #[inline(always)]
    pub(crate) fn sums<const TERMS: usize>(
        &self,
        terms: impl Fn(usize, f32, f32) -> [f32; TERMS],
    ) -> [Lanes; TERMS] {
        let mut totals = [[0.0; 8]; TERMS];
        for (i, x) in self.x.iter().enumerate() {
            let weights = self.weights.at(self.first, i);
            for lane in 0..8 {
                let terms = terms(lane, weights[lane], x[lane]);
                for (total, term) in totals.iter_mut().zip(terms) {
                    total[lane] += term;
                }
            }
        }
        totals
    }

    /// Of each sub-block, the least and the largest element.
    pub(crate) fn extremes(&self) -> (Lanes, Lanes) {
        self.x.iter().fold((self.x[0], self.x[0]), |(low, high), x| {
            // f32::min leaves the sign of min(0, -0) to the processor.
            let low = std::array::from_fn(|i| if x[i] < low[i] { x[i] } else { low[i] });
            (low, std::array::from_fn(|i| if x[i] > high[i] { x[i] } else { high[i] }))
        })
    }

    /// What `quant(lane, x)` gives for each element, in the elements' order before they were interleaved.
    #[inline(always)]
    pub(crate) fn quants(&self, quant: impl Fn(usize, f32) -> u8, out: &mut [u8; 256]) {
        let mut interleaved = [[0; 8]; LEN];
        for (out, x) in interleaved.iter_mut().zip(self.x) {
            for lane in 0..8 {
                out[lane] = quant(lane, x[lane]);
            }
        }
        let out = out.chunks_exact_mut(8 * LEN).nth(self.first / LEN).into_iter().flatten();
        for (i, out) in out.enumerate() {
            *out = interleaved[i % LEN][i / LEN];
        }
    }
}

/// Joins what a search knows of each lane.
#[inline(always)]
pub(crate) fn each(of: impl FnMut(usize) -> f32) -> Lanes {
    std::array::from_fn(of)
}

/// Sum over the lanes.
pub(crate) fn total([a, b, c, d, e, f, g, h]: Lanes) -> f32 {
    ((a + e) + (c + g)) + ((b + f) + (d + h))
}

/// `1 / scale`, or 0 for no scale.
#[inline(always)]
pub(crate) fn inverse(scale: f32) -> f32 {
    if scale == 0.0 { 0.0 } else { 1.0 / scale }
}

/// The whole number in `least..=most` nearest to `x`, ties to even, for bounds below 2^22 in magnitude.
#[inline(always)]
pub(crate) fn nearest(x: f32, least: f32, most: f32) -> f32 {
    // Adding 1.5 * 2^23 leaves no room for a fraction. A library's rounding would be a call a value on plain x86-64,
    // and f32::clamp is slower for the sake of NaN.
    const NO_FRACTION: f32 = 12_582_912.0;
    let x = if x > least { x } else { least };
    let x = if x < most { x } else { most };
    (x + NO_FRACTION) - NO_FRACTION
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nearest_takes_ties_to_even_and_stays_in_bounds() {
        for (x, rounded) in [(0.5, 0.0), (1.5, 2.0), (2.4999, 2.0), (-3.0, 0.0), (99.0, 15.0), (14.6, 15.0)] {
            assert_eq!(nearest(x, 0.0, 15.0), rounded, "{x}");
        }
        assert_eq!(nearest(-2.5, -32.0, 31.0), -2.0);
    }

    #[test]
    fn a_lane_is_a_sub_block() {
        let x: [f32; 256] = std::array::from_fn(|i| i as f32);
        let lanes = interleave::<16>(&x);
        let weights = interleave::<16>(&x.map(|x| x + 1.0));
        let mut quants = [0; 256];
        for (g, group) in groups::<_, 16, 2>(&lanes, Each(&weights)).into_iter().enumerate() {
            let [count, sum, weighted] = group.sums(|_, w, x| [1.0, x, w - x]);
            for lane in 0..8 {
                let first = (g * 8 + lane) as f32 * 16.0;
                assert_eq!((count[lane], sum[lane], weighted[lane]), (16.0, first * 16.0 + 120.0, 16.0));
                assert_eq!((group.extremes().0[lane], group.extremes().1[lane]), (first, first + 15.0));
            }
            group.quants(|_, x| x as u8, &mut quants);
        }
        assert!(quants.iter().zip(x).all(|(&q, x)| f32::from(q) == x));
    }
}
