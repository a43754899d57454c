use super::last;
use crate::kernels::Kernels;
use crate::lanes::{Op, Tier};

impl Kernels {
    /// Adds to `dx` the gradient of [`Kernels::rms_norm`] of each run of `n` numbers of `x`, from that of its output. `weight` has at
    /// least `n` numbers, padded with zeros to a multiple of 16; the runs need no padding. All three have the same length.
    ///
    /// With s = 1/√(mean(x²) + eps) it is `s · (weight · dy) − x · s³ · Σ(x · weight · dy) / n`.
    pub fn rms_norm_gradient(
        self,
        x: &[f32],
        weight: &[f32],
        n: usize,
        eps: f32,
        dy: &[f32],
        dx: &mut [f32],
    ) {
        self.run(RmsNormGradient { x, weight, n, eps, dy, dx });
    }
}

struct RmsNormGradient<'a> {
    x: &'a [f32],
    weight: &'a [f32],
    n: usize,
    eps: f32,
    dy: &'a [f32],
    dx: &'a mut [f32],
}

impl Op for RmsNormGradient<'_> {
    type Out = ();

    #[inline(always)]
    fn run<L: Tier>(self, l: L) {
        let Self { x, weight, n, eps, dy, dx } = self;
        let n = n.max(1);
        let (weights, _) = weight.as_chunks::<16>();
        let runs = x.chunks_exact(n).zip(dy.chunks_exact(n)).zip(dx.chunks_exact_mut(n));
        for ((x, dy), dx) in runs {
            let ((x, x_rest), (dy, dy_rest)) = (x.as_chunks(), dy.as_chunks());
            let (dx, dx_rest) = dx.as_chunks_mut();
            let (last_x, last_dy, mut last_dx) = (last(x_rest, 0.0), last(dy_rest, 0.0), last(dx_rest, 0.0));
            let (x, dy) = (x.iter().chain([&last_x]), dy.iter().chain([&last_dy]));
            let (mut squares, mut dots) = (l.splat(0.0), l.splat(0.0));
            for ((x, dy), weight) in x.clone().zip(dy.clone()).zip(weights) {
                let x = l.load(x);
                squares = l.fma(x, x, squares);
                dots = l.fma(x, l.mul(l.load(weight), l.load(dy)), dots);
            }
            let scale = 1.0 / (l.fold_add(squares) / n as f32 + eps).sqrt();
            let back = -(scale * scale * scale) * (l.fold_add(dots) / n as f32);
            let (scale, back) = (l.splat(scale), l.splat(back));
            for (((x, dy), weight), dx) in x.zip(dy).zip(weights).zip(dx.iter_mut().chain([&mut last_dx])) {
                let of_weight = l.mul(l.mul(l.load(weight), l.load(dy)), scale);
                l.store(l.add(l.load(dx), l.fma(l.load(x), back, of_weight)), dx);
            }
            dx_rest.copy_from_slice(&last_dx[..dx_rest.len()]);
        }
    }
}
