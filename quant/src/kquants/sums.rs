//! Arithmetic of the searches: sums over eight lanes folded in a fixed order, and nothing but `+ - * /` and
//! comparisons of f32, so the outcome is the same on every machine while compilers may still use its vectors.

use half::f16;

use crate::scale::{ScaleTooLarge, to_f16};

/// No superblock reaches this magnitude with scales that fit F16: Q6_K ends at 32 * 128 * 65504.
const LARGEST: f32 = 268_435_456.0;

/// Refuses what no scale can reach, so that squares and their sums stay finite. `reach` is the largest factor of
/// the scale in the format.
pub(super) fn check_range(x: &[f32; 256], reach: f32) -> Result<(), ScaleTooLarge> {
    let largest = x.iter().fold(0.0f32, |a, v| a.max(v.abs()));
    if largest < LARGEST { Ok(()) } else { Err(ScaleTooLarge(largest / reach)) }
}

/// `scale` as F16, but never 0 unless it is: where F16 is at its coarsest, a scale too large still lets the
/// sub-blocks' scales make up for it.
pub(super) fn nonzero_f16(scale: f32) -> Result<f16, ScaleTooLarge> {
    let rounded = to_f16(scale)?;
    Ok(if rounded == f16::ZERO && scale != 0.0 {
        f16::MIN_POSITIVE_SUBNORMAL.copysign(f16::from_f32(scale))
    } else {
        rounded
    })
}

/// `1 / scale`, or 0 for no scale.
pub(super) fn inverse(scale: f32) -> f32 {
    if scale == 0.0 { 0.0 } else { 1.0 / scale }
}

/// The whole number in `least..=most` nearest to `x`, ties to even, for bounds below 2^22 in magnitude.
#[inline]
pub(super) fn nearest(x: f32, least: f32, most: f32) -> f32 {
    // Adding 1.5 * 2^23 leaves no room for a fraction. A library's rounding would be a call a value on plain x86-64,
    // and f32::clamp is slower for the sake of NaN.
    const NO_FRACTION: f32 = 12_582_912.0;
    let x = if x > least { x } else { least };
    let x = if x < most { x } else { most };
    (x + NO_FRACTION) - NO_FRACTION
}

/// Sums of the `terms` of all values of `x`; `N` is a multiple of eight.
#[inline]
pub(super) fn sums<const N: usize, const TERMS: usize>(
    x: &[f32; N],
    terms: impl Fn(f32) -> [f32; TERMS],
) -> [f32; TERMS] {
    const { assert!(N.is_multiple_of(8)) };
    let mut lanes = [[0.0f32; 8]; TERMS];
    for x in x.as_chunks::<8>().0 {
        for (lane, &x) in x.iter().enumerate() {
            for (total, term) in lanes.iter_mut().zip(terms(x)) {
                total[lane] += term;
            }
        }
    }
    lanes.map(|[a, b, c, d, e, f, g, h]| ((a + e) + (c + g)) + ((b + f) + (d + h)))
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
    fn sums_count_every_value_once() {
        let x: [f32; 32] = std::array::from_fn(|i| i as f32);
        assert_eq!(sums(&x, |x| [1.0, x, x * x]), [32.0, 496.0, 10416.0]);
    }

    #[test]
    fn small_scales_keep_a_step_and_large_ones_are_refused() {
        assert_eq!(nonzero_f16(0.0), Ok(f16::ZERO));
        assert_eq!(nonzero_f16(-1e-9), Ok(-f16::MIN_POSITIVE_SUBNORMAL));
        assert_eq!(nonzero_f16(1e6), Err(ScaleTooLarge(1e6)));
    }
}
