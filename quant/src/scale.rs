//! Scales in half precision.

use half::f16;

/// A scale beyond the largest finite F16; the caller knows type and block.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct ScaleTooLarge(pub(crate) f32);

/// `scale` rounded to the nearest F16, ties to even.
pub(crate) fn to_f16(scale: f32) -> Result<f16, ScaleTooLarge> {
    let rounded = f16::from_f32(scale);
    if rounded.is_finite() { Ok(rounded) } else { Err(ScaleTooLarge(scale)) }
}

/// `scale` as F16, but never 0 unless it is: where F16 is at its coarsest, a scale too large still lets the
/// sub-blocks' scales make up for it.
pub(crate) fn nonzero_f16(scale: f32) -> Result<f16, ScaleTooLarge> {
    let rounded = to_f16(scale)?;
    Ok(if rounded == f16::ZERO && scale != 0.0 {
        f16::MIN_POSITIVE_SUBNORMAL.copysign(f16::from_f32(scale))
    } else {
        rounded
    })
}

/// Refuses what no scale can reach, so that squares and their sums stay finite. `reach` is the largest factor of
/// the scale in the format.
pub(crate) fn check_range(x: &[f32], reach: f32) -> Result<(), ScaleTooLarge> {
    /// No block reaches this magnitude with scales that fit F16: IQ4_XS ends at 32 * 127 * 65504.
    const LARGEST: f32 = 268_435_456.0;
    let largest = x.iter().fold(0.0f32, |a, v| a.max(v.abs()));
    if largest < LARGEST { Ok(()) } else { Err(ScaleTooLarge(largest / reach)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_scales_keep_a_step_and_large_ones_are_refused() {
        assert_eq!(nonzero_f16(0.0), Ok(f16::ZERO));
        assert_eq!(nonzero_f16(-1e-9), Ok(-f16::MIN_POSITIVE_SUBNORMAL));
        assert_eq!(nonzero_f16(1e6), Err(ScaleTooLarge(1e6)));
    }
}
