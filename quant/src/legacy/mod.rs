//! The formats with one scale per 32 elements: Q4_0, Q4_1, Q5_0, Q5_1 and Q8_0.
//!
//! Nibbles are stored in two halves: byte `i` of `qs` holds element `i` in its low four bits and element `16 + i`
//! in its high four. Fifth bits stand in `qh`, bit `i` for element `i`. Layout and rounding are those of
//! `quantize_row_*_ref` in llama.cpp, and of the `gguf` package's `quants.py`, to the byte.

mod searched;

use half::f16;

use crate::layout::block;
use crate::scale::{ScaleTooLarge, to_f16};

block! {
    /// `x = d * (q - 8)`, q in 0..16.
    Q4_0 {
        /// Scale.
        d: f16,
        /// Nibbles.
        qs: [u8; 16],
    }
}

block! {
    /// `x = d * q + m`, q in 0..16.
    Q4_1 {
        /// Scale.
        d: f16,
        /// Minimum.
        m: f16,
        /// Nibbles.
        qs: [u8; 16],
    }
}

block! {
    /// `x = d * (q - 16)`, q in 0..32.
    Q5_0 {
        /// Scale.
        d: f16,
        /// Fifth bits.
        qh: u32,
        /// Nibbles.
        qs: [u8; 16],
    }
}

block! {
    /// `x = d * q + m`, q in 0..32.
    Q5_1 {
        /// Scale.
        d: f16,
        /// Minimum.
        m: f16,
        /// Fifth bits.
        qh: u32,
        /// Nibbles.
        qs: [u8; 16],
    }
}

block! {
    /// `x = d * q`, q in -127..=127.
    Q8_0 {
        /// Scale.
        d: f16,
        /// Quants.
        qs: [i8; 32],
    }
}

impl Q4_0 {
    /// Values of the block.
    pub fn decode(&self, out: &mut [f32; 32]) {
        let d = self.d.to_f32();
        for (x, q) in out.iter_mut().zip(nibbles(&self.qs)) {
            *x = d * (q as i32 - 8) as f32;
        }
    }

    pub(crate) fn encode(x: &[f32; 32]) -> Result<Q4_0, ScaleTooLarge> {
        let (d, q) = quantize_signed(x, 8);
        Ok(Q4_0 { d: to_f16(d)?, qs: pack_nibbles(&q) })
    }
}

impl Q5_0 {
    /// Values of the block.
    pub fn decode(&self, out: &mut [f32; 32]) {
        let d = self.d.to_f32();
        for (x, q) in out.iter_mut().zip(five_bits(&self.qs, self.qh)) {
            *x = d * (q as i32 - 16) as f32;
        }
    }

    pub(crate) fn encode(x: &[f32; 32]) -> Result<Q5_0, ScaleTooLarge> {
        let (d, q) = quantize_signed(x, 16);
        Ok(Q5_0 { d: to_f16(d)?, qh: fifth_bits(&q), qs: pack_nibbles(&q) })
    }
}

impl Q4_1 {
    /// Values of the block.
    pub fn decode(&self, out: &mut [f32; 32]) {
        let (d, m) = (self.d.to_f32(), self.m.to_f32());
        for (x, q) in out.iter_mut().zip(nibbles(&self.qs)) {
            *x = d * q as f32 + m;
        }
    }

    pub(crate) fn encode(x: &[f32; 32]) -> Result<Q4_1, ScaleTooLarge> {
        let (d, m, q) = quantize_from_min(x, 15);
        Ok(Q4_1 { d: to_f16(d)?, m: to_f16(m)?, qs: pack_nibbles(&q) })
    }
}

impl Q5_1 {
    /// Values of the block.
    pub fn decode(&self, out: &mut [f32; 32]) {
        let (d, m) = (self.d.to_f32(), self.m.to_f32());
        for (x, q) in out.iter_mut().zip(five_bits(&self.qs, self.qh)) {
            *x = d * q as f32 + m;
        }
    }

    pub(crate) fn encode(x: &[f32; 32]) -> Result<Q5_1, ScaleTooLarge> {
        let (d, m, q) = quantize_from_min(x, 31);
        Ok(Q5_1 { d: to_f16(d)?, m: to_f16(m)?, qh: fifth_bits(&q), qs: pack_nibbles(&q) })
    }
}

impl Q8_0 {
    /// Values of the block.
    pub fn decode(&self, out: &mut [f32; 32]) {
        let d = self.d.to_f32();
        for (x, q) in out.iter_mut().zip(self.qs) {
            *x = q as f32 * d;
        }
    }

    pub(crate) fn encode(x: &[f32; 32]) -> Result<Q8_0, ScaleTooLarge> {
        let d = x.iter().fold(0.0f32, |amax, v| amax.max(v.abs())) / 127.0;
        let inverse = inverse(d);
        Ok(Q8_0 { d: to_f16(d)?, qs: x.map(|v| round_half_away(v * inverse) as i8) })
    }
}

/// Scale and quants in `0..2*zero`, where `zero` stands for 0 and the value largest in magnitude (the first of
/// several) falls on quant 0: that way the one extra negative step is never wasted.
fn quantize_signed(x: &[f32; 32], zero: u8) -> (f32, [u8; 32]) {
    let largest = x.iter().fold(0.0f32, |a, &v| if v.abs() > a.abs() { v } else { a });
    // A first -0.0 is what argmax finds in a block of zeros; its sign is kept, to the byte.
    let largest = if largest == 0.0 { x[0] } else { largest };
    let d = largest / -f32::from(zero);
    let inverse = inverse(d);
    let offset = f32::from(zero) + 0.5;
    // Casts of f32 to u8 truncate towards zero and saturate.
    (d, x.map(|v| ((v * inverse + offset) as u8).min(2 * zero - 1)))
}

/// Scale, minimum, and quants in `0..=steps`.
fn quantize_from_min(x: &[f32; 32], steps: u8) -> (f32, f32, [u8; 32]) {
    let min = x.iter().fold(x[0], |a, &v| if v < a { v } else { a });
    let max = x.iter().fold(x[0], |a, &v| if v > a { v } else { a });
    let d = (max - min) / f32::from(steps);
    let inverse = inverse(d);
    (d, min, x.map(|v| (((v - min) * inverse + 0.5) as u8).min(steps)))
}

/// `1 / d`, or 0 where that is not finite: such a scale is 0 in F16, and the quants do not matter.
fn inverse(d: f32) -> f32 {
    let inverse = 1.0 / d;
    if inverse.is_finite() { inverse } else { 0.0 }
}

/// Nearest integer to `x`, ties away from zero, for magnitudes below 2^24.
fn round_half_away(x: f32) -> f32 {
    let whole = x as i32 as f32;
    whole + ((x - whole) * 2.0) as i32 as f32
}

/// The 32 nibbles of `qs`: first the low halves of all bytes, then the high ones.
#[inline]
pub(crate) fn nibbles(qs: &[u8; 16]) -> [u8; 32] {
    std::array::from_fn(|i| if i < 16 { qs[i] & 15 } else { qs[i - 16] >> 4 })
}

/// The low four bits of each quant, packed as [`nibbles`] reads them.
pub(crate) fn pack_nibbles(q: &[u8; 32]) -> [u8; 16] {
    std::array::from_fn(|i| (q[i] & 15) | (q[i + 16] << 4))
}

/// The nibbles of `qs`, each with its bit of `qh` on top.
fn five_bits(qs: &[u8; 16], qh: u32) -> [u8; 32] {
    let mut q = nibbles(qs);
    for (i, q) in q.iter_mut().enumerate() {
        *q |= ((qh >> i) & 1) as u8 * 16;
    }
    q
}

/// Bit 4 of each quant, gathered into bits 0 to 31.
fn fifth_bits(q: &[u8; 32]) -> u32 {
    q.iter().enumerate().fold(0, |bits, (i, &q)| bits | u32::from(q >> 4) << i)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_half_away_from_zero() {
        let cases =
            [(0.5, 1.0), (-0.5, -1.0), (2.5, 3.0), (-126.5, -127.0), (0.49999997, 0.0), (-1.25, -1.0)];
        for (x, rounded) in cases {
            assert_eq!(round_half_away(x), rounded, "{x}");
        }
    }

    #[test]
    fn fifth_bits_stay_with_their_elements() {
        let q: [u8; 32] = std::array::from_fn(|i| (i * 7 % 32) as u8);
        assert_eq!(five_bits(&pack_nibbles(&q), fifth_bits(&q)), q);
    }

    #[test]
    fn largest_value_takes_the_extra_negative_step() {
        let mut x = [0.0; 32];
        x[3] = 4.0;
        x[4] = -4.0;
        let (d, q) = quantize_signed(&x, 8);
        assert_eq!((d, q[3], q[4], q[0]), (-0.5, 0, 15, 8));
    }

    #[test]
    fn values_too_small_for_an_f16_scale_become_zero() {
        let x = [f32::from_bits(1); 32];
        let mut out = [1.0; 32];
        Q4_0::encode(&x).unwrap().decode(&mut out);
        assert_eq!(out, [0.0; 32]);
        Q8_0::encode(&x).unwrap().decode(&mut out);
        assert_eq!(out, [0.0; 32]);
    }
}
