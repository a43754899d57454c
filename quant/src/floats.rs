//! F32, F16 and BF16: a conversion per element, rounding to nearest, ties to even.

use byteorder::{ByteOrder, LE};
use half::{bf16, f16};

use crate::{FormatError, TensorType};

pub(crate) fn decode_f32(src: &[u8], dst: &mut [f32]) {
    LE::read_f32_into(src, dst);
}

pub(crate) fn decode_f16(src: &[u8], dst: &mut [f32]) {
    for (&bytes, x) in src.as_chunks().0.iter().zip(dst) {
        *x = widened(u16::from_le_bytes(bytes));
    }
}

/// The number whose F16 bits these are. Nothing here is a branch or a call, so that compilers have vectors for it;
/// `half` asks the processor what it offers at every element.
#[inline(always)]
fn widened(bits: u16) -> f32 {
    /// 2^112 is what exponents differ by; the product is exact, and normal where the F16 is not.
    const SCALE: f32 = f32::from_bits((112 + 127) << 23);
    let (sign, magnitude) = (u32::from(bits & 0x8000) << 16, u32::from(bits & 0x7fff));
    let finite = (f32::from_bits(magnitude << 13) * SCALE).to_bits();
    // Infinity, and NaN: made a quiet one.
    let quiet = if magnitude > 0x7c00 { 0x7fc0_0000 } else { 0x7f80_0000 };
    let special = if magnitude >= 0x7c00 { quiet } else { 0 };
    f32::from_bits(sign | finite | special)
}

/// Widens by shifting, so that every bit survives, a NaN's too.
pub(crate) fn decode_bf16(src: &[u8], dst: &mut [f32]) {
    for (&bytes, x) in src.as_chunks().0.iter().zip(dst) {
        *x = f32::from_bits(u32::from(u16::from_le_bytes(bytes)) << 16);
    }
}

pub(crate) fn encode_f32(src: &[f32], dst: &mut [u8]) {
    LE::write_f32_into(src, dst);
}

pub(crate) fn encode_f16(src: &[f32], dst: &mut [u8]) -> Result<(), FormatError> {
    encode_16(TensorType::F16, src, dst, |x| {
        let rounded = f16::from_f32(x);
        (rounded.is_finite(), rounded.to_le_bytes())
    })
}

pub(crate) fn encode_bf16(src: &[f32], dst: &mut [u8]) -> Result<(), FormatError> {
    encode_16(TensorType::BF16, src, dst, |x| {
        let rounded = bf16::from_f32(x);
        (rounded.is_finite(), rounded.to_le_bytes())
    })
}

/// Converts each element with `round`, which also says whether the result is finite.
fn encode_16(
    ty: TensorType,
    src: &[f32],
    dst: &mut [u8],
    round: impl Fn(f32) -> (bool, [u8; 2]),
) -> Result<(), FormatError> {
    for (index, (&value, out)) in src.iter().zip(dst.as_chunks_mut().0).enumerate() {
        let (finite, bytes) = round(value);
        if !finite {
            return Err(FormatError::ValueOverflow { ty, index, value });
        }
        *out = bytes;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_f16_widen_as_half_widens_them() {
        for bits in 0..=u16::MAX {
            let mut x = [0.0];
            decode_f16(&bits.to_le_bytes(), &mut x);
            assert_eq!(x[0].to_bits(), f16::from_bits(bits).to_f32().to_bits(), "{bits:#x}");
        }
    }
}
