use super::Kernels;
use crate::lanes::{Lanes, Op, Tier};

/// e^x in each lane, to within 2 ulp; 0 below −87, e^88 above 88, NaN for NaN.
///
/// Cody and Waite's reduction x = n·ln 2 + r, then a polynomial of degree 6 on |r| ≤ ln 2 / 2 (the Taylor
/// coefficients' minimax neighbours from Cephes' `expf`).
#[inline(always)]
pub(crate) fn exp<L: Lanes>(l: L, x: L::F) -> L::F {
    const LN2_HIGH: f32 = 0.693_359_4;
    const LN2_LOW: f32 = -2.121_944_4e-4;
    const COEFFICIENTS: [f32; 6] =
        [1.987_569_1e-4, 1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5];
    let (low, high) = (l.splat(-87.0), l.splat(88.0));
    let inside = l.select_lt(high, x, high, x);
    let inside = l.select_lt(inside, low, low, inside);
    let n = l.round(l.mul(inside, l.splat(std::f32::consts::LOG2_E)));
    let n_f32 = l.to_f32(n);
    let r = l.fma(n_f32, l.splat(-LN2_HIGH), inside);
    let r = l.fma(n_f32, l.splat(-LN2_LOW), r);
    let mut p = l.splat(COEFFICIENTS[0]);
    for c in &COEFFICIENTS[1..] {
        p = l.fma(p, r, l.splat(*c));
    }
    let p = l.fma(l.mul(r, r), p, l.add(r, l.splat(1.0)));
    l.select_lt(x, low, l.splat(0.0), l.mul(p, l.exp2(n)))
}

/// What the gate of a feed-forward network goes through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// x / (1 + e^−x).
    Silu,
    /// x · (1 + tanh(√(2/π)·(x + 0.044715·x³))) / 2 (Hendrycks and Gimpel 2016, arXiv 1606.08415).
    Gelu,
    /// max(x, 0)² (So et al. 2021, arXiv 2109.08668).
    ReluSquared,
}

impl Kernels {
    /// `gate = activation(gate) * up` (gated linear units: Shazeer 2020, arXiv 2002.05202).
    ///
    /// Both have the same length, a multiple of 16.
    pub fn gated(self, activation: Activation, gate: &mut [f32], up: &[f32]) {
        self.run(Gated { activation, gate, up });
    }

    /// tanh(x / limit) · limit of each number, to within 1e-6 of the limit. Their number is a multiple of 16.
    pub fn cap(self, numbers: &mut [f32], limit: f32) {
        self.run(Cap { numbers, limit });
    }
}

struct Gated<'a> {
    activation: Activation,
    gate: &'a mut [f32],
    up: &'a [f32],
}

impl Op for Gated<'_> {
    type Out = ();

    #[inline(always)]
    fn run<L: Tier>(self, l: L) {
        let Self { activation, gate, up } = self;
        match activation {
            Activation::Silu => each(l, gate, up, |x| l.div(x, one_plus_exp_of_negative(l, x))),
            Activation::Gelu => each(l, gate, up, |x| {
                // (1 + tanh u) / 2 is 1 / (1 + e^−2u), in which nothing cancels.
                const TWICE_SQRT_2_OVER_PI: f32 = 1.595_769_2;
                let cubic = l.fma(l.mul(x, x), l.splat(0.044_715), l.splat(1.0));
                let u = l.mul(l.mul(x, cubic), l.splat(TWICE_SQRT_2_OVER_PI));
                l.div(x, one_plus_exp_of_negative(l, u))
            }),
            Activation::ReluSquared => each(l, gate, up, |x| {
                let x = l.max(x, l.splat(0.0));
                l.mul(x, x)
            }),
        }
    }
}

#[inline(always)]
fn each<L: Lanes>(l: L, gate: &mut [f32], up: &[f32], activation: impl Fn(L::F) -> L::F) {
    for (gate, up) in gate.as_chunks_mut().0.iter_mut().zip(up.as_chunks().0) {
        l.store(l.mul(activation(l.load(gate)), l.load(up)), gate);
    }
}

#[inline(always)]
pub(super) fn one_plus_exp_of_negative<L: Lanes>(l: L, x: L::F) -> L::F {
    l.add(l.splat(1.0), exp(l, l.sub(l.splat(0.0), x)))
}

/// tanh(x / cap) · cap in each lane: nearly x where that is small, never beyond the cap. To within 1e-6 of the cap.
#[inline(always)]
pub(crate) fn cap<L: Lanes>(l: L, x: L::F, cap: f32) -> L::F {
    let one = l.splat(1.0);
    let squared = exp(l, l.mul(x, l.splat(2.0 / cap)));
    let tanh = l.sub(one, l.div(l.splat(2.0), l.add(squared, one)));
    l.mul(tanh, l.splat(cap))
}

struct Cap<'a> {
    numbers: &'a mut [f32],
    limit: f32,
}

impl Op for Cap<'_> {
    type Out = ();

    #[inline(always)]
    fn run<L: Tier>(self, l: L) {
        for x in self.numbers.as_chunks_mut().0 {
            l.store(cap(l, l.load(x), self.limit), x);
        }
    }
}
