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
