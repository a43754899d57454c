use crate::kernels::activation::one_plus_exp_of_negative;
use crate::kernels::{Activation, Kernels};
use crate::lanes::{Lanes, Op, Tier};

impl Kernels {
    /// Puts in place of `gate` and `up` the gradients of [`Kernels::gated`] by both, from that of its output. All three have the same
    /// length, a multiple of 16; `gate` is what it was before the activation.
    pub fn gated_gradient(self, activation: Activation, gate: &mut [f32], up: &mut [f32], dy: &[f32]) {
        self.run(GatedGradient { activation, gate, up, dy });
    }

    /// Multiplies gradients by those of [`Kernels::cap`] with this limit, from what it gave. Both have the same length, a multiple of 16.
    pub fn cap_gradient(self, capped: &[f32], limit: f32, dy: &mut [f32]) {
        self.run(CapGradient { capped, limit, dy });
    }
}

struct GatedGradient<'a> {
    activation: Activation,
    gate: &'a mut [f32],
    up: &'a mut [f32],
    dy: &'a [f32],
}

impl Op for GatedGradient<'_> {
    type Out = ();

    #[inline(always)]
    fn run<L: Tier>(self, l: L) {
        let Self { activation, gate, up, dy } = self;
        let one = l.splat(1.0);
        match activation {
            Activation::Silu => each(l, gate, up, dy, |x| {
                let open = l.div(one, one_plus_exp_of_negative(l, x));
                (l.mul(x, open), l.mul(open, l.fma(x, l.sub(one, open), one)))
            }),
            Activation::Gelu => each(l, gate, up, dy, |x| {
                const TWICE_SQRT_2_OVER_PI: f32 = 1.595_769_2;
                const CUBIC: f32 = 0.044_715;
                let squared = l.mul(x, x);
                let u = l.mul(l.mul(x, l.fma(squared, l.splat(CUBIC), one)), l.splat(TWICE_SQRT_2_OVER_PI));
                let du = l.mul(l.fma(squared, l.splat(3.0 * CUBIC), one), l.splat(TWICE_SQRT_2_OVER_PI));
                let open = l.div(one, one_plus_exp_of_negative(l, u));
                (l.mul(x, open), l.mul(open, l.fma(l.mul(x, l.sub(one, open)), du, one)))
            }),
            Activation::ReluSquared => each(l, gate, up, dy, |x| {
                let x = l.max(x, l.splat(0.0));
                (l.mul(x, x), l.add(x, x))
            }),
        }
    }
}

/// With the activation of each gate, and its derivative.
#[inline(always)]
fn each<L: Lanes>(
    l: L,
    gate: &mut [f32],
    up: &mut [f32],
    dy: &[f32],
    activation: impl Fn(L::F) -> (L::F, L::F),
) {
    let (gate, up) = (gate.as_chunks_mut::<16>().0, up.as_chunks_mut::<16>().0);
    for ((gate, up), dy) in gate.iter_mut().zip(up).zip(dy.as_chunks().0) {
        let dy = l.load(dy);
        let (active, slope) = activation(l.load(gate));
        l.store(l.mul(l.mul(dy, l.load(up)), slope), gate);
        l.store(l.mul(dy, active), up);
    }
}

struct CapGradient<'a> {
    capped: &'a [f32],
    limit: f32,
    dy: &'a mut [f32],
}

impl Op for CapGradient<'_> {
    type Out = ();

    #[inline(always)]
    fn run<L: Tier>(self, l: L) {
        let inverse = l.splat(1.0 / self.limit);
        for (capped, dy) in self.capped.as_chunks().0.iter().zip(self.dy.as_chunks_mut().0) {
            l.store(l.mul(l.load(dy), slope(l, l.load(capped), inverse)), dy);
        }
    }
}

/// The derivative of a cap, from the number that was capped and the limit's inverse: 1 − tanh².
#[inline(always)]
pub(super) fn slope<L: Lanes>(l: L, capped: L::F, inverse: L::F) -> L::F {
    let tanh = l.mul(capped, inverse);
    l.sub(l.splat(1.0), l.mul(tanh, tanh))
}
