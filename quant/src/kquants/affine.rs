//! `d * scale * q - dmin * min`: the formats with scales and minimums, and the search for them.
//!
//! The search first fits each sub-block by itself, then rounds the scales and minimums it found to what the
//! superblock can hold. Rounding looks at the error of the neighbours too, and the superblock's own two scales are
//! refitted to what became of the quants.

use half::f16;

use super::sums::{check_range, inverse, nearest, nonzero_f16, sums};
use super::{Q4_K, Q5_K, planes, scales::pack_k4_scales};
use crate::scale::{ScaleTooLarge, to_f16};

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

impl Q4_K {
    pub(crate) fn encode(x: &[f32; 256]) -> Result<Q4_K, ScaleTooLarge> {
        let (found, q) = Superblock::search(x, 15.0)?;
        let Superblock { d, dmin, scales, mins, .. } = found;
        Ok(Q4_K { d, dmin, scales: pack_k4_scales(&scales, &mins), qs: planes::pack::<4, 32, 128>(&q) })
    }
}

impl Q5_K {
    pub(crate) fn encode(x: &[f32; 256]) -> Result<Q5_K, ScaleTooLarge> {
        let (found, q) = Superblock::search(x, 31.0)?;
        let Superblock { d, dmin, scales, mins, .. } = found;
        Ok(Q5_K {
            d,
            dmin,
            scales: pack_k4_scales(&scales, &mins),
            qh: planes::pack::<1, 32, 32>(&q.map(|q| q >> 4)),
            qs: planes::pack::<4, 32, 128>(&q),
        })
    }
}

/// One sub-block: `scale * q - min` for whole q in `0..=steps`, with `min >= 0`.
#[derive(Clone, Copy)]
struct Affine {
    scale: f32,
    min: f32,
}

/// Sums over a sub-block's values x and quants q.
struct Moments {
    q: f32,
    qq: f32,
    xq: f32,
}

impl Affine {
    /// The scale and minimum that explain most of `x`, of several tries.
    ///
    /// Each try divides the range into a few steps less or more than there are (less: finer inside, the ends
    /// clipped), and the quants this gives have a best scale and minimum in closed form.
    fn fit(x: &[f32; 32], steps: f32) -> Affine {
        let low = x.iter().fold(0.0, |a, &v| if v < a { v } else { a });
        let high = x.iter().fold(low, |a, &v| if v > a { v } else { a });
        let [sum_x] = sums(x, |x| [x]);
        let mut best = Affine { scale: (high - low) / steps, min: -low };
        let mut most = 0.0;
        for eighths in -16..=5i8 {
            let divisor = steps + 0.125 * f32::from(eighths);
            let start = Affine { scale: (high - low) / divisor, min: -low };
            let (refitted, explained) = start.moments(x, steps).refit(sum_x);
            if explained > most {
                (best, most) = (refitted, explained);
            }
        }
        best
    }

    fn moments(self, x: &[f32; 32], steps: f32) -> Moments {
        let inverse = inverse(self.scale);
        let [q, qq, xq] = sums(x, |x| {
            let q = nearest((x + self.min) * inverse, 0.0, steps);
            [q, q * q, x * q]
        });
        Moments { q, qq, xq }
    }

    /// Squared error of `x` after quantization.
    fn error(self, x: &[f32; 32], steps: f32) -> f32 {
        let inverse = inverse(self.scale);
        let [error] = sums(x, |x| {
            let e = self.scale * nearest((x + self.min) * inverse, 0.0, steps) - (x + self.min);
            [e * e]
        });
        error
    }

    fn quants(self, x: &[f32; 32], steps: f32) -> [u8; 32] {
        let inverse = inverse(self.scale);
        x.map(|x| nearest((x + self.min) * inverse, 0.0, steps) as u8)
    }
}

impl Moments {
    /// Scale and minimum of least squared error for these quants, and by how much it is less than the sum of all x².
    ///
    /// Both are NaN where quants of 0 only leave the scale open.
    fn refit(&self, sum_x: f32) -> (Affine, f32) {
        let determinant = 32.0 * self.qq - self.q * self.q;
        let min = (self.q * self.xq - self.qq * sum_x) / determinant;
        if determinant > 0.0 && min > 0.0 {
            let covariance = 32.0 * self.xq - sum_x * self.q;
            let scale = covariance / determinant;
            (Affine { scale, min }, (scale * covariance + sum_x * sum_x) / 32.0)
        } else {
            let scale = self.xq / self.qq;
            (Affine { scale, min: 0.0 }, scale * self.xq)
        }
    }
}

/// The scales of a superblock, and the squared error they leave.
struct Superblock {
    d: f16,
    dmin: f16,
    scales: [u8; 8],
    mins: [u8; 8],
    error: f32,
}

impl Superblock {
    /// How often `d` and `dmin` are refitted. The second time gains less than 0.5 % of the error, a third 0.2 %.
    const REFITS: usize = 2;

    /// Scales for `x` with little squared error, and the quants they give.
    fn search(x: &[f32; 256], steps: f32) -> Result<(Superblock, [u8; 256]), ScaleTooLarge> {
        check_range(x, 63.0 * steps)?;
        let x = x.as_chunks().0;
        let ideal: [Affine; 8] = std::array::from_fn(|i| Affine::fit(&x[i], steps));
        // f32::max leaves the sign of max(0, -0) to the processor.
        let largest =
            |of: fn(&Affine) -> f32| ideal.iter().map(of).fold(0.0, |a, v| if v > a { v } else { a });
        let d = nonzero_f16(largest(|sub| sub.scale) / 63.0)?;
        let dmin = nonzero_f16(largest(|sub| sub.min) / 63.0)?;
        let mut best = Superblock::round(&ideal, d, dmin, x, steps);
        for _ in 0..Self::REFITS {
            let Ok((d, dmin)) = best.refit(x, steps) else { break };
            let refitted = Superblock::round(&ideal, d, dmin, x, steps);
            if refitted.error < best.error {
                best = refitted;
            }
        }
        let mut quants = [0; 256];
        for (i, (out, x)) in quants.as_chunks_mut().0.iter_mut().zip(x).enumerate() {
            *out = best.sub_block(i).quants(x, steps);
        }
        Ok((best, quants))
    }

    /// The sub-blocks' scales as multiples of `d` and `dmin`, with the least error among their neighbours.
    fn round(ideal: &[Affine], d: f16, dmin: f16, x: &[[f32; 32]], steps: f32) -> Superblock {
        let mut found = Superblock { d, dmin, scales: [0; 8], mins: [0; 8], error: 0.0 };
        let (d32, dmin32) = (d.to_f32(), dmin.to_f32());
        for (i, (ideal, x)) in ideal.iter().zip(x).enumerate() {
            let mut least = f32::INFINITY;
            for scale in neighbours(ideal.scale, d) {
                for min in neighbours(ideal.min, dmin) {
                    let sub = Affine { scale: d32 * f32::from(scale), min: dmin32 * f32::from(min) };
                    let error = sub.error(x, steps);
                    if error < least {
                        (least, found.scales[i], found.mins[i]) = (error, scale, min);
                    }
                }
            }
            found.error += least;
        }
        found
    }

    fn sub_block(&self, i: usize) -> Affine {
        let (scale, min) = (f32::from(self.scales[i]), f32::from(self.mins[i]));
        Affine { scale: self.d.to_f32() * scale, min: self.dmin.to_f32() * min }
    }

    /// `d` and `dmin` of least squared error for the quants that this superblock gives.
    fn refit(&self, x: &[[f32; 32]], steps: f32) -> Result<(f16, f16), ScaleTooLarge> {
        // x is approximated by d * a + dmin * b, with a = scale * q and b = -min.
        let (mut aa, mut ab, mut bb, mut xa, mut xb) = (0.0f32, 0.0f32, 0.0f32, 0.0f32, 0.0f32);
        for (i, x) in x.iter().enumerate() {
            let (scale, min) = (f32::from(self.scales[i]), f32::from(self.mins[i]));
            let moments = self.sub_block(i).moments(x, steps);
            let [sum_x] = sums(x, |x| [x]);
            aa += scale * scale * moments.qq;
            ab -= scale * min * moments.q;
            bb += 32.0 * min * min;
            xa += scale * moments.xq;
            xb -= min * sum_x;
        }
        let determinant = aa * bb - ab * ab;
        if determinant > 0.0 {
            Ok((to_f16((xa * bb - xb * ab) / determinant)?, to_f16((xb * aa - xa * ab) / determinant)?))
        } else {
            Ok((to_f16(xa / aa)?, self.dmin))
        }
    }
}

/// The multiple of `d` nearest to `value`, and one less and more, in 0..=63.
fn neighbours(value: f32, d: f16) -> std::ops::RangeInclusive<u8> {
    let middle = nearest(value * inverse(d.to_f32()), 0.0, 63.0) as u8;
    middle.saturating_sub(1)..=(middle + 1).min(63)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fit_finds_a_grid_that_is_there() {
        let x: [f32; 32] = std::array::from_fn(|i| 0.25 * (i % 16) as f32 - 1.5);
        let found = Affine::fit(&x, 15.0);
        assert!((found.scale - 0.25).abs() < 1e-6 && (found.min - 1.5).abs() < 1e-5);
        assert!(found.error(&x, 15.0) < 1e-10);
    }

    #[test]
    fn constant_sub_blocks_are_exact() {
        for value in [-5.0, 0.0, 5.0] {
            let found = Affine::fit(&[value; 32], 15.0);
            assert!(found.error(&[value; 32], 15.0) < 1e-9, "{value}");
            assert!(found.min >= 0.0);
        }
    }

    #[test]
    fn zeros_encode_to_zero_bytes() {
        let mut bytes = [1; 144];
        Q4_K::encode(&[0.0; 256]).unwrap().write(&mut bytes);
        assert_eq!(bytes, [0; 144]);
    }

    #[test]
    fn weights_below_the_smallest_scale_times_63_still_show() {
        // d would be 3e-5 / 15 / 63 = 3e-8, half of the smallest F16.
        let x: [f32; 256] = std::array::from_fn(|i| (i % 16) as f32 * 2e-6);
        let mut out = [0.0; 256];
        Q4_K::encode(&x).unwrap().decode(&mut out);
        assert!(x.iter().zip(out).all(|(x, y)| (x - y).abs() < 1e-6));
    }
}
