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
        let (low, high) = extremes(x);
        let d = if high > -low { high } else { low.abs() } / 127.0;
        let inverse = inverse(d);
        Ok(Q8_0 { d: to_f16(d)?, qs: x.map(|v| round_half_away(v * inverse)) })
    }
}

/// Scale and quants in `0..2*zero`, where `zero` stands for 0 and the value largest in magnitude (the first of
/// several) falls on quant 0: that way the one extra negative step is never wasted.
fn quantize_signed(x: &[f32; 32], zero: u8) -> (f32, [u8; 32]) {
    let (low, high) = extremes(x);
    let largest = if high > -low {
        high
    } else if -low > high {
        low
    } else {
        first(x, |v| v.abs() == high)
    };
    let d = largest / -f32::from(zero);
    let inverse = inverse(d);
    let offset = f32::from(zero) + 0.5;
    (d, x.map(|v| truncated(v * inverse + offset)).map(|q| q.min(2 * zero - 1)))
}

/// Scale, minimum, and quants in `0..=steps`.
fn quantize_from_min(x: &[f32; 32], steps: u8) -> (f32, f32, [u8; 32]) {
    let (min, max) = extremes(x);
    // Of zeros, the first one's sign is kept, to the byte.
    let min = if min == 0.0 { first(x, |v| v == 0.0) } else { min };
    let d = if max > min { (max - min) / f32::from(steps) } else { 0.0 };
    let inverse = inverse(d);
    (d, min, x.map(|v| truncated((v - min) * inverse + 0.5)).map(|q| q.min(steps)))
}

/// The least and the largest value; eight lanes each, which compilers have vectors for.
fn extremes(x: &[f32; 32]) -> (f32, f32) {
    let less = |a: f32, b: f32| if a < b { a } else { b };
    let more = |a: f32, b: f32| if a > b { a } else { b };
    let [a, b, c, d] = [0, 8, 16, 24].map(|first| std::array::from_fn(|i| x[first + i]));
    let fold = |pick: fn(f32, f32) -> f32, a: [f32; 8], b: [f32; 8]| -> [f32; 8] {
        std::array::from_fn(|i| pick(a[i], b[i]))
    };
    let low = fold(less, fold(less, a, b), fold(less, c, d));
    let high = fold(more, fold(more, a, b), fold(more, c, d));
    let across = |pick: fn(f32, f32) -> f32, [a, b, c, d, e, f, g, h]: [f32; 8]| {
        pick(pick(pick(a, e), pick(c, g)), pick(pick(b, f), pick(d, h)))
    };
    (across(less, low), across(more, high))
}

/// The first value that `is` what is sought.
fn first(x: &[f32; 32], is: impl Fn(f32) -> bool) -> f32 {
    x.iter().copied().find(|&v| is(v)).unwrap_or(x[0])
}

/// `1 / d`, or 0 where that is not finite: such a scale is 0 in F16, and the quants do not matter.
fn inverse(d: f32) -> f32 {
    let inverse = 1.0 / d;
    if inverse.is_finite() { inverse } else { 0.0 }
}

/// A sum with it has no room for a fraction, and its low bits are the whole number nearest to the other summand.
const NO_FRACTION: f32 = 8_388_608.0;

/// The whole part of `x` in `0..256`. (The language's own cast also saturates, which takes three times as long.)
#[inline(always)]
fn truncated(x: f32) -> u8 {
    let sum = x + NO_FRACTION;
    (sum.to_bits().wrapping_sub(u32::from(sum - NO_FRACTION > x))) as u8
}

/// Nearest integer to `x` in -127.5..127.5, ties away from zero.
#[inline(always)]
fn round_half_away(x: f32) -> i8 {
    let magnitude = x.abs();
    let sum = magnitude + NO_FRACTION;
    let rounded = sum.to_bits().wrapping_add(u32::from(magnitude - (sum - NO_FRACTION) >= 0.5)) as i32;
    let sign = x.to_bits() as i32 >> 31;
    ((rounded ^ sign).wrapping_sub(sign)) as i8
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
    let bytes = q.as_chunks().0.iter().map(|&q| {
        let ones = (u64::from_le_bytes(q) >> 4) & 0x0101_0101_0101_0101;
        // Each factor's bit carries one of the ones to its place in the top byte.
        (ones.wrapping_mul(0x0102_0408_1020_4080) >> 56) as u32
    });
    bytes.enumerate().fold(0, |bits, (i, byte)| bits | byte << (8 * i))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_half_away_from_zero() {
        let cases = [
            (0.5, 1),
            (-0.5, -1),
            (2.5, 3),
            (-126.5, -127),
            (0.49999997, 0),
            (-1.25, -1),
            (-0.0, 0),
            (127.0, 127),
        ];
        for (x, rounded) in cases {
            assert_eq!(round_half_away(x), rounded, "{x}");
        }
    }

    #[test]
    fn truncated_drops_the_fraction() {
        for (x, whole) in
            [(0.0, 0), (0.5, 0), (0.99999994, 0), (1.0, 1), (1.5, 1), (15.499999, 15), (31.9, 31)]
        {
            assert_eq!(truncated(x), whole, "{x}");
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
