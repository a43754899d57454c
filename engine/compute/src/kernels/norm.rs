use super::Kernels;
use crate::lanes::{Lanes, Op, Tier};

impl Kernels {
    /// `out = x / sqrt(mean(x²) + eps) * weight` (RMSNorm: Zhang and Sennrich 2019, arXiv 1910.07467).
    ///
    /// The slices have the same length, a multiple of 16; numbers beyond the first `n` are zero.
    pub fn rms_norm(self, x: &[f32], weight: &[f32], n: usize, eps: f32, out: &mut [f32]) {
        self.run(RmsNorm { x, weight, n, eps, out });
    }

    /// [`Kernels::rms_norm`] of each run of `n` numbers by itself, in place. `weight` has at least `n` numbers, padded with
    /// zeros to a multiple of 16; the runs need no padding.
    pub fn rms_norm_in_place(self, x: &mut [f32], weight: &[f32], n: usize, eps: f32) {
        self.run(RmsNormInPlace { x, weight, n, eps });
    }

    /// `x += y * scale`. Both have the same length, a multiple of 16.
    pub fn add_scaled(self, x: &mut [f32], y: &[f32], scale: f32) {
        self.run(AddScaled { x, y, scale });
    }
}

struct RmsNorm<'a> {
    x: &'a [f32],
    weight: &'a [f32],
    n: usize,
    eps: f32,
    out: &'a mut [f32],
}

impl Op for RmsNorm<'_> {
    type Out = ();

    #[inline(always)]
    fn run<L: Tier>(self, l: L) {
        let (x, _) = self.x.as_chunks::<16>();
        let scale = scale(l, x.iter(), self.n, self.eps);
        for ((x, weight), out) in x.iter().zip(self.weight.as_chunks().0).zip(self.out.as_chunks_mut().0) {
            l.store(l.mul(l.mul(l.load(x), scale), l.load(weight)), out);
        }
    }
}

struct RmsNormInPlace<'a> {
    x: &'a mut [f32],
    weight: &'a [f32],
    n: usize,
    eps: f32,
}

impl Op for RmsNormInPlace<'_> {
    type Out = ();

    #[inline(always)]
    fn run<L: Tier>(self, l: L) {
        let (weights, _) = self.weight.as_chunks::<16>();
        for x in self.x.chunks_exact_mut(self.n.max(1)) {
            let (vectors, rest) = x.as_chunks_mut::<16>();
            let mut last = [0.0; 16];
            last[..rest.len()].copy_from_slice(rest);
            let scale = scale(l, vectors.iter().chain([&last]), self.n, self.eps);
            for (x, weight) in vectors.iter_mut().chain([&mut last]).zip(weights) {
                l.store(l.mul(l.mul(l.load(x), scale), l.load(weight)), x);
            }
            rest.copy_from_slice(&last[..rest.len()]);
        }
    }
}

/// `1 / sqrt(mean(x²) + eps)` in each lane.
#[inline(always)]
fn scale<'a, L: Lanes>(l: L, x: impl Iterator<Item = &'a [f32; 16]>, n: usize, eps: f32) -> L::F {
    let mut sum = l.splat(0.0);
    for x in x {
        let x = l.load(x);
        sum = l.fma(x, x, sum);
    }
    l.splat(1.0 / (l.fold_add(sum) / n as f32 + eps).sqrt())
}

struct AddScaled<'a> {
    x: &'a mut [f32],
    y: &'a [f32],
    scale: f32,
}

impl Op for AddScaled<'_> {
    type Out = ();

    #[inline(always)]
    fn run<L: Tier>(self, l: L) {
        let scale = l.splat(self.scale);
        for (x, y) in self.x.as_chunks_mut().0.iter_mut().zip(self.y.as_chunks().0) {
            l.store(l.fma(l.load(y), scale, l.load(x)), x);
        }
    }
}
