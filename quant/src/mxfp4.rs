//! MXFP4: the Open Compute Project's microscaling format of 4-bit floats.

use crate::layout::block;
use crate::legacy::nibbles;

/// What the 16 quants of MXFP4 stand for, doubled: E2M1 numbers of 0 to 6, the negative ones last.
pub const MXFP4_VALUES: [i8; 16] = [0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12];

block! {
    /// `x = e8m0_half(e) * MXFP4_VALUES[q]`; nibbles in two halves, as in [`Q4_0`](super::block::Q4_0).
    MXFP4 {
        /// Exponent of the scale.
        e: [u8; 1],
        /// Nibbles.
        qs: [u8; 16],
    }
}

/// Half of the power of two that an E8M0 scale stands for: 2^(`e` - 128).
///
/// 255, which the Open Compute Project keeps for NaN, is one power more, as in ggml; the largest weights are infinite
/// then.
#[inline(always)]
pub const fn e8m0_half(e: u8) -> f32 {
    // The two smallest are denormal.
    let bits = if e < 2 { 0x0020_0000 << e } else { (e as u32 - 1) << 23 };
    f32::from_bits(bits)
}

impl MXFP4 {
    /// Values of the block.
    pub fn decode(&self, out: &mut [f32; 32]) {
        let [e] = self.e;
        let scale = e8m0_half(e);
        for (x, q) in out.iter_mut().zip(nibbles(&self.qs)) {
            *x = scale * f32::from(MXFP4_VALUES[q as usize & 15]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scales_are_powers_of_two() {
        for e in 0..=255u8 {
            assert_eq!(f64::from(e8m0_half(e)), 2f64.powi(i32::from(e) - 128));
        }
    }
}
