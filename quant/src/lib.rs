//! Block formats of GGUF weights: sizes, decoding and quantization, as pure functions on slices.
//!
//! A row of weights is a sequence of blocks of one [`TensorType`]. [`decode`] turns blocks into `f32`, [`encode`]
//! turns `f32` into blocks, and [`encode_weighted`] minds that some columns matter more; all are plain `f32` arithmetic in a fixed order, so every machine gives the same bits.
//! The structs in [`block`] show each block's fields, for code that rearranges them.
//!
//! ```
//! use siskin_quant::{TensorType, decode, encode};
//!
//! let weights: Vec<f32> = (0..64).map(|i| i as f32 - 31.5).collect();
//! let mut blocks = [0; 2 * TensorType::Q8_0.block_bytes()];
//! encode(TensorType::Q8_0, &weights, &mut blocks)?;
//! let mut restored = [0.0; 64];
//! decode(TensorType::Q8_0, &blocks, &mut restored)?;
//! assert!(weights.iter().zip(restored).all(|(x, y)| (x - y).abs() < 0.15));
//! # Ok::<(), siskin_quant::FormatError>(())
//! ```
//!
//! Decoding, and encoding to the formats with one scale per 32 (not IQ4_NL), give what the `gguf` package from PyPI
//! gives, to the bit. Encoding to K-quants, IQ4_NL and IQ4_XS, and heeding importances, is our own search: on the
//! distributions of `tests/goldens` it leaves no more squared error than llama.cpp's, with and without importances.
#![forbid(unsafe_code)]

pub mod codebooks;
mod error;
mod floats;
mod iq4;
mod kquants;
mod layout;
mod legacy;
mod mxfp4;
mod scale;
mod search;
mod tensor_type;
mod ternary;

pub use error::FormatError;
pub use iq4::IQ4_VALUES;
pub use kquants::{k4_scales, q3_scales};
pub use mxfp4::{MXFP4_VALUES, e8m0_half};
pub use tensor_type::TensorType;

use scale::ScaleTooLarge;
use search::{Eight, Searched, SearchedByEight, normalize};

/// The blocks themselves: each struct is the layout of one type's block, field by field.
pub mod block {
    pub use crate::codebooks::{IQ1_M, IQ1_S, IQ2_S, IQ2_XS, IQ2_XXS, IQ3_S, IQ3_XXS};
    pub use crate::iq4::{IQ4_NL, IQ4_XS};
    pub use crate::kquants::{Q2_K, Q3_K, Q4_K, Q5_K, Q6_K};
    pub use crate::legacy::{Q4_0, Q4_1, Q5_0, Q5_1, Q8_0};
    pub use crate::mxfp4::MXFP4;
    pub use crate::ternary::*;
}

/// Values of the blocks `src` of type `ty`, into `dst`.
///
/// Never fails on what the blocks hold: a scale that is NaN or infinite gives values that are. The lengths must
/// agree, and fill whole blocks; see [`TensorType::can_decode`] for the types.
pub fn decode(ty: TensorType, src: &[u8], dst: &mut [f32]) -> Result<(), FormatError> {
    if !ty.can_decode() {
        return Err(FormatError::CannotDecode(ty));
    }
    check_lengths(ty, dst.len(), src.len())?;
    match ty {
        TensorType::F32 => floats::decode_f32(src, dst),
        TensorType::F16 => floats::decode_f16(src, dst),
        TensorType::BF16 => floats::decode_bf16(src, dst),
        _ => tensor_types!(decode_any ty, src, dst),
    }
    Ok(())
}

/// The values of blocks of any type that has them.
macro_rules! decode_any {
    (($ty:ident, $src:ident, $dst:ident) floats { $($float:tt)* } blocks { $(
        $(#[$doc:meta])* $name:ident = $id:literal, $len:literal, $bytes:literal, $written:ident $(, $feature:literal)?;
    )* } others { $($other:tt)* }) => {
        match $ty {
            $(TensorType::$name => decode_blocks($src, $dst, block::$name::read, block::$name::decode),)*
            _ => return Err(FormatError::CannotDecode($ty)),
        }
    };
}
use decode_any;

/// Quantizes `src` into blocks of type `ty`, into `dst`.
///
/// What is written decodes to finite values: an input that is NaN or infinite, or too large for the type's scales,
/// is an error. Inputs far below the smallest F16 (about 6e-8) become 0 in quantized types. The lengths must agree,
/// and fill whole blocks; see [`TensorType::can_encode`] for the types.
pub fn encode(ty: TensorType, src: &[f32], dst: &mut [u8]) -> Result<(), FormatError> {
    if !ty.can_encode() {
        return Err(FormatError::CannotEncode(ty));
    }
    check_lengths(ty, src.len(), dst.len())?;
    check_finite(src)?;
    match ty {
        TensorType::F32 => floats::encode_f32(src, dst),
        TensorType::F16 => floats::encode_f16(src, dst)?,
        TensorType::BF16 => floats::encode_bf16(src, dst)?,
        _ => tensor_types!(encode_any ty, src, dst)?,
    }
    Ok(())
}

/// Quantizes to blocks of any type that is written.
macro_rules! encode_any {
    (($ty:ident, $src:ident, $dst:ident) floats { $($float:tt)* } blocks { $(
        $(#[$doc:meta])* $name:ident = $id:literal, $len:literal, $bytes:literal, $written:ident $(, $feature:literal)?;
    )* } others { $($other:tt)* }) => {
        match $ty {
            $(TensorType::$name => encode_as!($written $name, $ty, $src, $dst),)*
            _ => Err(FormatError::CannotEncode($ty)),
        }
    };
}
use encode_any;

/// A type's blocks as the table of types says that they are made: each number rounded, or the best scale searched for.
macro_rules! encode_as {
    (not_written $name:ident, $ty:ident, $src:ident, $dst:ident) => {
        Err(FormatError::CannotEncode($ty))
    };
    (searched $name:ident, $ty:ident, $src:ident, $dst:ident) => {
        encode_blocks($ty, $src, $dst, block::$name::unweighted, block::$name::write)
    };
    (searched_by_eight $name:ident, $ty:ident, $src:ident, $dst:ident) => {
        encode_by_eight($ty, $src, $dst, block::$name::unweighted, block::$name::write)
    };
    ($rounded:ident $name:ident, $ty:ident, $src:ident, $dst:ident) => {
        encode_blocks($ty, $src, $dst, block::$name::encode, block::$name::write)
    };
}
use encode_as;

/// Quantizes rows into blocks of type `ty`, where some columns matter more than others.
///
/// `importance` has one weight for each column, at least 0; `src` is whole rows of that length. What is minimised is
/// the sum of `importance[column] * (x - restored)^2`. Only the weights' ratios within a block count, so equal weights,
/// and weights of 0 only, give the bytes of [`encode`]. F32, F16, BF16 and Q8_0 have nothing to search for and ignore
/// the weights. Errors are those of [`encode`], weights that are negative or not finite, and partial rows.
pub fn encode_weighted(
    ty: TensorType,
    src: &[f32],
    importance: &[f32],
    dst: &mut [u8],
) -> Result<(), FormatError> {
    let columns = importance.len();
    ty.row_bytes(columns as u64).ok_or(FormatError::PartialBlock { ty, elements: columns })?;
    if !src.is_empty() && (columns == 0 || !src.len().is_multiple_of(columns)) {
        return Err(FormatError::PartialRow { elements: src.len(), columns });
    }
    if let Some(column) = importance.iter().position(|w| !(w.is_finite() && *w >= 0.0)) {
        return Err(FormatError::BadImportance { column, value: importance[column] });
    }
    if !ty.can_encode() {
        return Err(FormatError::CannotEncode(ty));
    }
    check_lengths(ty, src.len(), dst.len())?;
    check_finite(src)?;
    tensor_types!(weigh_any ty, src, importance, dst)
}

/// Quantizes to blocks of any type that is written, with importances where they count.
macro_rules! weigh_any {
    (($ty:ident, $src:ident, $importance:ident, $dst:ident) floats { $($float:tt)* } blocks { $(
        $(#[$doc:meta])* $name:ident = $id:literal, $len:literal, $bytes:literal, $written:ident $(, $feature:literal)?;
    )* } others { $($other:tt)* }) => {
        match $ty {
            $(TensorType::$name => weigh_as!($written $name, $ty, $src, $importance, $dst),)*
            _ => encode($ty, $src, $dst),
        }
    };
}
use weigh_any;

/// As [`encode_as`], with importances. Where numbers are rounded there is nothing to search for.
macro_rules! weigh_as {
    (searched $name:ident, $ty:ident, $src:ident, $importance:ident, $dst:ident) => {{
        let weights = &normalize($importance, $ty.block_len());
        weigh_blocks($ty, $src, weights, $dst, block::$name::weighted, block::$name::write)
    }};
    (rounded $name:ident, $ty:ident, $src:ident, $importance:ident, $dst:ident) => {
        encode($ty, $src, $dst)
    };
    (not_written $name:ident, $ty:ident, $src:ident, $importance:ident, $dst:ident) => {
        Err(FormatError::CannotEncode($ty))
    };
    ($by_eight:ident $name:ident, $ty:ident, $src:ident, $importance:ident, $dst:ident) => {{
        let weights = &normalize($importance, $ty.block_len());
        weigh_by_eight($ty, $src, weights, $dst, block::$name::weighted, block::$name::write)
    }};
}
use weigh_as;

fn decode_blocks<B, const BYTES: usize, const LEN: usize>(
    src: &[u8],
    dst: &mut [f32],
    read: impl Fn(&[u8; BYTES]) -> B,
    decode: impl Fn(&B, &mut [f32; LEN]),
) {
    for (block, out) in src.as_chunks().0.iter().zip(dst.as_chunks_mut().0) {
        decode(&read(block), out);
    }
}

fn encode_blocks<B, const BYTES: usize, const LEN: usize>(
    ty: TensorType,
    src: &[f32],
    dst: &mut [u8],
    encode: impl Fn(&[f32; LEN]) -> Result<B, ScaleTooLarge>,
    write: impl Fn(&B, &mut [u8; BYTES]),
) -> Result<(), FormatError> {
    for (block, (x, out)) in src.as_chunks().0.iter().zip(dst.as_chunks_mut().0).enumerate() {
        let encoded =
            encode(x).map_err(|ScaleTooLarge(scale)| FormatError::ScaleOverflow { ty, block, scale })?;
        write(&encoded, out);
    }
    Ok(())
}

/// [`encode_blocks`] with the weights of each block's columns.
fn weigh_blocks<B, const BYTES: usize>(
    ty: TensorType,
    src: &[f32],
    weights: &[f32],
    dst: &mut [u8],
    encode: impl Fn(&[f32; 256], &[f32; 256]) -> Result<B, ScaleTooLarge>,
    write: impl Fn(&B, &mut [u8; BYTES]),
) -> Result<(), FormatError> {
    let weights = weights.as_chunks().0.iter().cycle();
    let blocks = src.as_chunks().0.iter().zip(weights).zip(dst.as_chunks_mut().0);
    for (block, ((x, weights), out)) in blocks.enumerate() {
        let encoded = encode(x, weights).map_err(|ScaleTooLarge(scale)| FormatError::ScaleOverflow {
            ty,
            block,
            scale,
        })?;
        write(&encoded, out);
    }
    Ok(())
}

/// Encodes blocks of 32, eight at a time; the last of them are filled up with zeros.
fn encode_by_eight<B, const BYTES: usize>(
    ty: TensorType,
    src: &[f32],
    dst: &mut [u8],
    encode: impl Fn(&[f32; 256]) -> Eight<B>,
    write: impl Fn(&B, &mut [u8; BYTES]),
) -> Result<(), FormatError> {
    for (i, (x, out)) in src.chunks(256).zip(dst.chunks_mut(8 * BYTES)).enumerate() {
        let encoded = encode(&filled(x, 0.0));
        for (lane, (encoded, out)) in encoded.into_iter().zip(out.as_chunks_mut().0).enumerate() {
            let encoded = encoded.map_err(|ScaleTooLarge(scale)| FormatError::ScaleOverflow {
                ty,
                block: 8 * i + lane,
                scale,
            })?;
            write(&encoded, out);
        }
    }
    Ok(())
}

/// [`encode_by_eight`] with the weights of each block's columns.
fn weigh_by_eight<B, const BYTES: usize>(
    ty: TensorType,
    src: &[f32],
    weights: &[f32],
    dst: &mut [u8],
    encode: impl Fn(&[f32; 256], &[f32; 256]) -> Eight<B>,
    write: impl Fn(&B, &mut [u8; BYTES]),
) -> Result<(), FormatError> {
    let columns = weights.len().max(1);
    let rows = src.chunks_exact(columns).zip(dst.chunks_exact_mut(columns / 32 * BYTES));
    for (row, (x, out)) in rows.enumerate() {
        let eights = x.chunks(256).zip(weights.chunks(256)).zip(out.chunks_mut(8 * BYTES));
        for (i, ((x, weights), out)) in eights.enumerate() {
            let encoded = encode(&filled(x, 0.0), &filled(weights, 1.0));
            for (lane, (encoded, out)) in encoded.into_iter().zip(out.as_chunks_mut().0).enumerate() {
                let block = row * (columns / 32) + 8 * i + lane;
                let encoded = encoded.map_err(|ScaleTooLarge(scale)| FormatError::ScaleOverflow {
                    ty,
                    block,
                    scale,
                })?;
                write(&encoded, out);
            }
        }
    }
    Ok(())
}

fn filled(x: &[f32], rest: f32) -> [f32; 256] {
    std::array::from_fn(|i| x.get(i).copied().unwrap_or(rest))
}

fn check_lengths(ty: TensorType, elements: usize, bytes: usize) -> Result<(), FormatError> {
    let expected = ty.row_bytes(elements as u64).ok_or(FormatError::PartialBlock { ty, elements })?;
    if bytes as u64 != expected {
        return Err(FormatError::WrongLength { ty, elements, bytes, expected });
    }
    Ok(())
}

/// Looks for values that no block can hold.
///
/// # Errors
/// Names the first that is NaN or infinite.
pub fn check_finite(src: &[f32]) -> Result<(), FormatError> {
    // An exponent of ones overflows into the sign. Looking for the first such number would take much longer.
    let exponents = src.iter().fold(0, |any, x| any | ((x.to_bits() & 0x7FFF_FFFF) + 0x0080_0000));
    if exponents >> 31 == 0 {
        return Ok(());
    }
    match src.iter().position(|x| !x.is_finite()) {
        Some(index) => Err(FormatError::NotFinite { index, value: src[index] }),
        None => Ok(()),
    }
}
