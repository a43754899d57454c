//! F32, F16 and BF16: a conversion per element, rounding to nearest, ties to even.

use byteorder::{ByteOrder, LE};
use half::{bf16, f16};

use crate::{FormatError, TensorType};

pub(crate) fn decode_f32(src: &[u8], dst: &mut [f32]) {
    LE::read_f32_into(src, dst);
}

pub(crate) fn decode_f16(src: &[u8], dst: &mut [f32]) {
    for (&bytes, x) in src.as_chunks().0.iter().zip(dst) {
        *x = f16::from_le_bytes(bytes).to_f32();
    }
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
