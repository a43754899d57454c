//! `d * scale * (q - zero)`: the formats with signed scales and no minimums, and the search for Q6_K's.
//!
//! The search goes like that of the [affine](super::affine) formats.

use half::f16;

use super::sums::{check_range, inverse, nearest, nonzero_f16, sums};
use super::{Q6_K, planes};
use crate::scale::{ScaleTooLarge, to_f16};

/// Values of sub-blocks of 16.
pub(super) fn decode(d: f16, scales: &[i8; 16], quants: &[u8; 256], zero: i16, out: &mut [f32; 256]) {
    let d = d.to_f32();
    let sub_blocks = quants.as_chunks::<16>().0.iter().zip(out.as_chunks_mut::<16>().0);
    for (&scale, (quants, out)) in scales.iter().zip(sub_blocks) {
        let scale = d * f32::from(scale);
        for (x, &q) in out.iter_mut().zip(quants) {
            *x = scale * f32::from(i16::from(q) - zero);
        }
    }
}

impl Q6_K {
    pub(crate) fn encode(x: &[f32; 256]) -> Result<Q6_K, ScaleTooLarge> {
        let (Superblock { d, scales, .. }, q) = Superblock::search(x)?;
        Ok(Q6_K {
            ql: planes::pack::<4, 64, 128>(&q),
            qh: planes::pack::<2, 32, 64>(&q.map(|q| q >> 4)),
            scales,
            d,
        })
    }
}

/// One sub-block's scale: `scale * q` for whole q in `-32..=31`. Negative scales let a positive extreme use -32.
#[derive(Clone, Copy)]
struct Symmetric(f32);

impl Symmetric {
    /// The scale that explains most of `x`, of several tries.
    ///
    /// Each try lays the extreme value on or near quant -32, and the quants this gives have a best scale in closed
    /// form.
    fn fit(x: &[f32; 16]) -> Symmetric {
        let extreme = x.iter().fold(0.0f32, |a, &v| if v.abs() > a.abs() { v } else { a });
        let mut best = Symmetric(extreme / -32.0);
        let mut most = 0.0;
        for quarters in -16..=4i8 {
            let (xq, qq) = Symmetric(-extreme / (32.0 + 0.25 * f32::from(quarters))).moments(x);
            let scale = xq / qq;
            if scale * xq > most {
                (best, most) = (Symmetric(scale), scale * xq);
            }
        }
        best
    }

    /// The sums of x·q and of q².
    fn moments(self, x: &[f32; 16]) -> (f32, f32) {
        let inverse = inverse(self.0);
        let [xq, qq] = sums(x, |x| {
            let q = nearest(x * inverse, -32.0, 31.0);
            [x * q, q * q]
        });
        (xq, qq)
    }

    /// Squared error of `x` after quantization.
    fn error(self, x: &[f32; 16]) -> f32 {
        let inverse = inverse(self.0);
        let [error] = sums(x, |x| {
            let e = self.0 * nearest(x * inverse, -32.0, 31.0) - x;
            [e * e]
        });
        error
    }

    /// The quants of `x`, 32 standing for zero.
    fn quants(self, x: &[f32; 16]) -> [u8; 16] {
        let inverse = inverse(self.0);
        x.map(|x| (nearest(x * inverse, -32.0, 31.0) + 32.0) as u8)
    }
}

/// The scales of a superblock, and the squared error they leave.
struct Superblock {
    d: f16,
    scales: [i8; 16],
    error: f32,
}

impl Superblock {
    /// Scales for `x` with little squared error, and the quants they give.
    fn search(x: &[f32; 256]) -> Result<(Superblock, [u8; 256]), ScaleTooLarge> {
        check_range(x, 128.0 * 32.0)?;
        let x = x.as_chunks().0;
        let ideal: [Symmetric; 16] = std::array::from_fn(|i| Symmetric::fit(&x[i]));
        let largest = ideal.iter().fold(0.0f32, |a, sub| if sub.0.abs() > a.abs() { sub.0 } else { a });
        let mut best = Superblock::round(&ideal, nonzero_f16(largest / -128.0)?, x);
        if let Ok(d) = best.refit(x) {
            let refitted = Superblock::round(&ideal, d, x);
            if refitted.error < best.error {
                best = refitted;
            }
        }
        let mut quants = [0; 256];
        for (i, (out, x)) in quants.as_chunks_mut().0.iter_mut().zip(x).enumerate() {
            *out = best.sub_block(i).quants(x);
        }
        Ok((best, quants))
    }

    /// The sub-blocks' scales as multiples of `d`, with the least error among their neighbours.
    fn round(ideal: &[Symmetric], d: f16, x: &[[f32; 16]]) -> Superblock {
        let mut found = Superblock { d, scales: [0; 16], error: 0.0 };
        let d32 = d.to_f32();
        for (i, (ideal, x)) in ideal.iter().zip(x).enumerate() {
            let mut least = f32::INFINITY;
            let middle = nearest(ideal.0 * inverse(d32), -128.0, 127.0) as i8;
            for scale in middle.saturating_sub(1)..=middle.saturating_add(1) {
                let error = Symmetric(d32 * f32::from(scale)).error(x);
                if error < least {
                    (least, found.scales[i]) = (error, scale);
                }
            }
            found.error += least;
        }
        found
    }

    fn sub_block(&self, i: usize) -> Symmetric {
        Symmetric(self.d.to_f32() * f32::from(self.scales[i]))
    }

    /// `d` of least squared error for the quants that this superblock gives.
    fn refit(&self, x: &[[f32; 16]]) -> Result<f16, ScaleTooLarge> {
        let (mut xa, mut aa) = (0.0f32, 0.0f32);
        for (i, x) in x.iter().enumerate() {
            let scale = f32::from(self.scales[i]);
            let (xq, qq) = self.sub_block(i).moments(x);
            xa += scale * xq;
            aa += scale * scale * qq;
        }
        to_f16(xa / aa)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fit_finds_a_grid_that_is_there() {
        let x: [f32; 16] = std::array::from_fn(|i| 0.5 * [32, -31, 7, 0, -1, 13, 25, -20][i % 8] as f32);
        let found = Symmetric::fit(&x);
        assert!((found.0 + 0.5).abs() < 1e-6, "{}", found.0);
        assert!(found.error(&x) < 1e-9);
    }

    #[test]
    fn zeros_decode_to_zeros() {
        let block = Q6_K::encode(&[0.0; 256]).unwrap();
        let mut out = [1.0; 256];
        block.decode(&mut out);
        assert_eq!(out, [0.0; 256]);
        assert_eq!(block.quants(), [32; 256]);
    }

    #[test]
    fn sub_blocks_of_either_sign_share_one_scale() {
        let x: [f32; 256] =
            std::array::from_fn(|i| if i / 16 % 2 == 0 { (i % 16) as f32 } else { -((i % 16) as f32) });
        let mut out = [0.0; 256];
        Q6_K::encode(&x).unwrap().decode(&mut out);
        assert!(x.iter().zip(out).all(|(x, y)| (x - y).abs() < 0.3));
    }
}
