use super::gate::slope;
use crate::kernels::Kernels;
use crate::kernels::activation::{cap, exp};
use crate::kernels::attention::Scoring;
use crate::lanes::{Op, Tier};

/// What one query makes of the positions that it looks at.
pub struct Probabilities<'a> {
    /// The dot products of the query with the keys of some positions: a multiple of 16, the first of which is position `start`.
    pub scores: &'a mut [f32],
    /// The first of them that the query looks at, and the first behind it that it does not.
    pub seen: std::ops::Range<usize>,
    /// How keys are scored.
    pub scoring: Scoring,
}

impl Kernels {
    /// Puts in place of dot products of a query with keys the probabilities that it looks at these with, 0 where it does not; and in
    /// `slopes`, as many, what they are changed by when the dot products are: the factor of [`Scoring`], with the derivative of its cap.
    pub fn probabilities(self, of: Probabilities<'_>, slopes: &mut [f32]) {
        self.run(Softmax { of, slopes });
    }

    /// Puts in place of gradients by probabilities those by the dot products: `slope · p · (dp − Σ p · dp)`.
    pub fn probabilities_gradient(self, probabilities: &[f32], slopes: &[f32], dp: &mut [f32]) {
        self.run(SoftmaxGradient { probabilities, slopes, dp });
    }
}

struct Softmax<'a> {
    of: Probabilities<'a>,
    slopes: &'a mut [f32],
}

impl Op for Softmax<'_> {
    type Out = ();

    #[inline(always)]
    fn run<L: Tier>(self, l: L) {
        let Self { of: Probabilities { scores, seen, scoring }, slopes } = self;
        let scale = l.splat(scoring.scale);
        for (x, slope_of) in scores.as_chunks_mut::<16>().0.iter_mut().zip(slopes.as_chunks_mut().0) {
            let mut score = l.mul(l.load(x), scale);
            let mut change = scale;
            if let Some(limit) = scoring.cap {
                score = cap(l, score, limit);
                change = l.mul(scale, slope(l, score, l.splat(1.0 / limit)));
            }
            l.store(score, x);
            l.store(change, slope_of);
        }
        for (at, score) in scores.iter_mut().enumerate() {
            if !seen.contains(&at) {
                *score = f32::NEG_INFINITY;
            }
        }
        let (vectors, _) = scores.as_chunks_mut::<16>();
        let mut high = l.splat(f32::NEG_INFINITY);
        for x in &*vectors {
            high = l.max(l.load(x), high);
        }
        let high = l.splat(l.fold_max(high));
        let mut total = l.splat(0.0);
        for x in &mut *vectors {
            let weight = exp(l, l.sub(l.load(x), high));
            total = l.add(total, weight);
            l.store(weight, x);
        }
        let inverse = l.splat(1.0 / l.fold_add(total));
        for x in vectors {
            l.store(l.mul(l.load(x), inverse), x);
        }
    }
}

struct SoftmaxGradient<'a> {
    probabilities: &'a [f32],
    slopes: &'a [f32],
    dp: &'a mut [f32],
}

impl Op for SoftmaxGradient<'_> {
    type Out = ();

    #[inline(always)]
    fn run<L: Tier>(self, l: L) {
        let (p, _) = self.probabilities.as_chunks::<16>();
        let (dp, _) = self.dp.as_chunks_mut::<16>();
        let mut sum = l.splat(0.0);
        for (p, dp) in p.iter().zip(&*dp) {
            sum = l.fma(l.load(p), l.load(dp), sum);
        }
        let sum = l.splat(l.fold_add(sum));
        for ((p, slope), dp) in p.iter().zip(self.slopes.as_chunks().0).zip(dp) {
            l.store(l.mul(l.mul(l.load(slope), l.load(p)), l.sub(l.load(dp), sum)), dp);
        }
    }
}
