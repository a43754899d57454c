//! `scale * q - min` for whole q in `0..=steps`.

use super::lanes::{Group, Lanes, Weights, each, inverse, nearest};

/// How eight sub-blocks are divided into steps.
#[derive(Clone, Copy)]
pub(crate) struct Affine {
    pub(crate) scale: Lanes,
    pub(crate) min: Lanes,
}

/// What a format has for a sub-block, and where the search begins.
#[derive(Clone, Copy)]
pub(crate) struct Steps {
    /// Quants go from 0 to this.
    pub(crate) last: f32,
    /// Whether `min` can be negative.
    pub(crate) signed_min: bool,
    /// Each try divides the range into this many steps, less than there are (finer inside, the ends clipped) or more.
    pub(crate) tries: &'static [f32],
}

/// Sums over a sub-block's weights w, values x and quants q.
pub(crate) struct Moments {
    pub(crate) q: Lanes,
    pub(crate) qq: Lanes,
    pub(crate) xq: Lanes,
}

/// Sums over a sub-block's weights w and values x.
#[derive(Clone, Copy)]
pub(crate) struct Totals {
    pub(crate) w: Lanes,
    pub(crate) x: Lanes,
}

impl Totals {
    pub(crate) fn of<const LEN: usize, W: Weights>(group: &Group<'_, W, LEN>) -> Totals {
        let [w, x] = group.sums(|_, w, x| [w, w * x]);
        Totals { w, x }
    }
}

impl Affine {
    /// The scales and minimums that explain most of the values, of several tries.
    ///
    /// The quants of each try have a best scale and minimum in closed form, and so have those of the best try.
    pub(crate) fn fit<const LEN: usize, W: Weights>(
        group: &Group<'_, W, LEN>,
        totals: Totals,
        steps: Steps,
        again: usize,
    ) -> Affine {
        let (mut low, mut high) = group.extremes();
        if !steps.signed_min {
            low = low.map(|low| if low < 0.0 { low } else { 0.0 });
            high = each(|i| if high[i] > low[i] { high[i] } else { low[i] });
        }
        let divided = |into: f32| Affine { scale: each(|i| (high[i] - low[i]) / into), min: low.map(|x| -x) };
        let mut best = divided(steps.last);
        let mut most = [0.0; 8];
        let mut offer = |start: Affine, best: Affine| {
            let (refitted, explained) = start.moments(group, steps.last).refit(totals, steps.signed_min);
            let better: [bool; 8] = std::array::from_fn(|i| explained[i] > most[i]);
            most = each(|i| if better[i] { explained[i] } else { most[i] });
            Affine {
                scale: each(|i| if better[i] { refitted.scale[i] } else { best.scale[i] }),
                min: each(|i| if better[i] { refitted.min[i] } else { best.min[i] }),
            }
        };
        for &into in steps.tries {
            best = offer(divided(into), best);
        }
        for _ in 0..again {
            best = offer(best, best);
        }
        best
    }

    /// The nearest quants' sums.
    #[inline(never)]
    pub(crate) fn moments<const LEN: usize, W: Weights>(
        self,
        group: &Group<'_, W, LEN>,
        last: f32,
    ) -> Moments {
        let inverse = self.scale.map(inverse);
        let [q, qq, xq] = group.sums(|i, w, x| {
            let q = nearest((x + self.min[i]) * inverse[i], 0.0, last);
            let wq = w * q;
            [wq, wq * q, wq * x]
        });
        Moments { q, qq, xq }
    }

    /// The minimums of least error for the quants that these scales and minimums give.
    #[inline(never)]
    pub(crate) fn best_min<const LEN: usize, W: Weights>(
        self,
        group: &Group<'_, W, LEN>,
        totals: &Totals,
        last: f32,
    ) -> Lanes {
        let inverse = self.scale.map(inverse);
        let [q] = group.sums(|i, w, x| [w * nearest((x + self.min[i]) * inverse[i], 0.0, last)]);
        each(|i| (self.scale[i] * q[i] - totals.x[i]) / totals.w[i])
    }

    /// Weighted squared error with the nearest quants.
    #[inline(never)]
    pub(crate) fn error<const LEN: usize, W: Weights>(self, group: &Group<'_, W, LEN>, last: f32) -> Lanes {
        let inverse = self.scale.map(inverse);
        let [error] = group.sums(|i, w, x| {
            let x = x + self.min[i];
            let e = self.scale[i] * nearest(x * inverse[i], 0.0, last) - x;
            [w * (e * e)]
        });
        error
    }

    /// The nearest quants.
    pub(crate) fn quants<const LEN: usize, W: Weights>(
        self,
        group: &Group<'_, W, LEN>,
        last: f32,
        out: &mut [u8; 256],
    ) {
        let inverse = self.scale.map(inverse);
        group.quants(|i, x| nearest((x + self.min[i]) * inverse[i], 0.0, last) as u8, out);
    }
}

impl Moments {
    /// Scale and minimum of least error for these quants, and by how much it is less than the sum of all x².
    ///
    /// They are NaN where quants of 0 only leave the scale open.
    #[inline(always)]
    fn refit(&self, totals: Totals, signed_min: bool) -> (Affine, Lanes) {
        let mut found = Affine { scale: [0.0; 8], min: [0.0; 8] };
        let mut explained = [0.0; 8];
        for (i, explained) in explained.iter_mut().enumerate() {
            let (q, qq, xq, w, x) = (self.q[i], self.qq[i], self.xq[i], totals.w[i], totals.x[i]);
            let determinant = w * qq - q * q;
            let covariance = w * xq - x * q;
            let min = (q * xq - qq * x) / determinant;
            // Less than this is rounding: the weight lies on elements of one quant.
            let open = determinant > w * qq * 1e-5 && (signed_min || min > 0.0);
            let alone = xq / qq;
            found.scale[i] = if open { covariance / determinant } else { alone };
            found.min[i] = if open { min } else { 0.0 };
            *explained =
                if open { (covariance * (covariance / determinant) + x * x) / w } else { alone * xq };
        }
        (found, explained)
    }
}
