//! The codebook formats: superblocks of 256 whose weights are chosen by groups of eight or four from a fixed grid.
//!
//! | type    | sub-blocks | value                           | groups         | signs                      | scales |
//! |---------|------------|---------------------------------|----------------|----------------------------|--------|
//! | IQ1_S   | 8 of 32    | `d * (2 * scale + 1) / 8 * v`   | 2048 of eight  | one for each 32            | 3 bits |
//! | IQ1_M   | 16 of 16   | `d * (2 * scale + 1) / 8 * v`   | 2048 of eight  | one for each eight         | 3 bits |
//! | IQ2_XXS | 8 of 32    | `d * (2 * scale + 1) / 8 * v`   | 256 of eight   | 7 bits for each eight      | 4 bits |
//! | IQ2_XS  | 16 of 16   | `d * (2 * scale + 1) / 8 * v`   | 512 of eight   | 7 bits for each eight      | 4 bits |
//! | IQ2_S   | 16 of 16   | `d * (2 * scale + 1) / 8 * v`   | 1024 of eight  | one for each weight        | 4 bits |
//! | IQ3_XXS | 8 of 32    | `d * (2 * scale + 1) / 2 * v`   | 256 of four    | 7 bits for each eight      | 4 bits |
//! | IQ3_S   | 8 of 32    | `d * (2 * scale + 1) * v`       | 512 of four    | one for each weight        | 4 bits |
//!
//! A group is taken from a grid, and its signs are kept beside it. A scale has 11 + 5 significant bits and `v` at most 6, so no
//! product is rounded. In IQ1 the sign is not the weight's: `v` is −8, 0 or 8, to which 1 is added, or taken from it where the
//! sign is set. Layouts: `ggml-common.h` in llama.cpp.

mod grids;

use half::f16;

use crate::layout::block;
pub use grids::{IQ1_GRID, IQ2_S_GRID, IQ2_XS_GRID, IQ2_XXS_GRID, IQ3_S_GRID, IQ3_XXS_GRID};

/// The signs of four groups of eight, of which `packed` has the first seven of each in 7 bits: the eighth makes their
/// number even. Bit `i` of a byte is set where the group's weight `i` is negative.
#[inline(always)]
pub const fn unpack_signs(packed: u32) -> u32 {
    let spread = packed & 0x7f | packed << 1 & 0x7f00 | packed << 2 & 0x7f_0000 | packed << 3 & 0x7f00_0000;
    let pairs = spread ^ spread >> 4;
    let quads = pairs ^ pairs >> 2;
    spread | ((quads ^ quads >> 1) & 0x0101_0101) << 7
}

block! {
    /// 1.56 bits a weight.
    IQ1_S {
        /// Scale of the scales.
        d: f16,
        /// Low eight bits of the groups' numbers.
        qs: [u8; 32],
        /// Of each 32 weights a u16: four times three high bits of a group's number, then the scale, then the sign.
        qh: [u8; 16],
    }
}

block! {
    /// 1.75 bits a weight.
    IQ1_M {
        /// Low eight bits of the groups' numbers.
        qs: [u8; 32],
        /// Of each group a nibble: three high bits of its number, then the sign.
        qh: [u8; 16],
        /// Four u16: each has four scales, then four bits of an f16, the scale of the scales, the low ones first.
        scales: [u8; 8],
    }
}

block! {
    /// 2.06 bits a weight.
    IQ2_XXS {
        /// Scale of the scales.
        d: f16,
        /// Of each 32 weights four groups' numbers, then a u32: four times seven signs, then the scale.
        qs: [u8; 64],
    }
}

block! {
    /// 2.31 bits a weight.
    IQ2_XS {
        /// Scale of the scales.
        d: f16,
        /// Of each group a u16: nine bits of its number, then seven signs.
        qs: [u8; 64],
        /// Scales, two to a byte, the even one low.
        scales: [u8; 8],
    }
}

block! {
    /// 2.56 bits a weight.
    IQ2_S {
        /// Scale of the scales.
        d: f16,
        /// Low eight bits of the groups' numbers.
        qs: [u8; 32],
        /// Signs, a byte for each group.
        signs: [u8; 32],
        /// High two bits of the groups' numbers.
        qh: [u8; 8],
        /// Scales, two to a byte, the even one low.
        scales: [u8; 8],
    }
}

block! {
    /// 3.06 bits a weight.
    IQ3_XXS {
        /// Scale of the scales.
        d: f16,
        /// The groups' numbers.
        qs: [u8; 64],
        /// Of each 32 weights a u32: four times seven signs, then the scale.
        signs: [u8; 32],
    }
}

block! {
    /// 3.44 bits a weight.
    IQ3_S {
        /// Scale of the scales.
        d: f16,
        /// Low eight bits of the groups' numbers.
        qs: [u8; 64],
        /// Ninth bits of the groups' numbers.
        qh: [u8; 8],
        /// Signs, a byte for each eight weights.
        signs: [u8; 32],
        /// Scales, two to a byte, the even one low.
        scales: [u8; 4],
    }
}

impl IQ1_S {
    /// Values of the block.
    pub fn decode(&self, out: &mut [f32; 256]) {
        let (qs, qh) = (self.qs.as_chunks().0, self.qh.as_chunks().0);
        let eighth = self.d.to_f32() * 0.125;
        for ((qs, qh), out) in qs.iter().zip(qh).zip(out.as_chunks_mut::<32>().0) {
            let high = u16::from_le_bytes(*qh);
            let signs = if high >> 15 == 0 { 0 } else { u32::MAX };
            let groups = numbers::<4>(qs, |i| high >> (3 * i) & 7);
            let scale = eighth * odd(high >> 12 & 7);
            put(&groups.map(|g| IQ1_GRID[g & 2047]), shifted, signs, [scale; 2], out);
        }
    }
}

impl IQ1_M {
    /// Scale of the scales, out of its four parts.
    pub fn d(&self) -> f16 {
        let [_, a, _, b, _, c, _, d] = self.scales;
        f16::from_le_bytes([a >> 4 | b & 0xf0, c >> 4 | d & 0xf0])
    }

    /// Values of the block.
    pub fn decode(&self, out: &mut [f32; 256]) {
        let (qs, qh) = (self.qs.as_chunks().0, self.qh.as_chunks::<2>().0);
        let eighth = self.d().to_f32() * 0.125;
        for (sub, ((qs, qh), out)) in qs.iter().zip(qh).zip(out.as_chunks_mut::<32>().0).enumerate() {
            let nibbles = u16::from_le_bytes(*qh);
            let groups = numbers::<4>(qs, |i| nibbles >> (4 * i) & 7);
            let signs = std::array::from_fn(|i| if nibbles >> (4 * i + 3) & 1 == 0 { 0 } else { 0xff });
            let packed = u16::from_le_bytes([self.scales[sub / 2 * 2], self.scales[sub / 2 * 2 + 1]]);
            let scales = [0, 1].map(|half| eighth * odd(packed >> (6 * (sub % 2) + 3 * half) & 7));
            let groups = groups.map(|g| IQ1_GRID[g & 2047]);
            put(&groups, shifted, u32::from_le_bytes(signs), scales, out);
        }
    }
}

impl IQ2_XXS {
    /// Values of the block.
    pub fn decode(&self, out: &mut [f32; 256]) {
        let eighth = self.d.to_f32() * 0.125;
        for (qs, out) in self.qs.as_chunks::<8>().0.iter().zip(out.as_chunks_mut::<32>().0) {
            let [groups @ .., a, b, c, d] = *qs;
            let packed = u32::from_le_bytes([a, b, c, d]);
            let groups = groups.map(|g: u8| IQ2_XXS_GRID[usize::from(g)]);
            put(&groups, negated, unpack_signs(packed), [eighth * odd((packed >> 28) as u16); 2], out);
        }
    }
}

impl IQ2_XS {
    /// Values of the block.
    pub fn decode(&self, out: &mut [f32; 256]) {
        let eighth = self.d.to_f32() * 0.125;
        let qs = self.qs.as_chunks::<2>().0.as_chunks::<4>().0;
        for ((qs, scales), out) in qs.iter().zip(self.scales).zip(out.as_chunks_mut::<32>().0) {
            let groups = qs.map(u16::from_le_bytes);
            let packed = groups.iter().rev().fold(0, |signs, group| signs << 7 | u32::from(group >> 9));
            let groups = groups.map(|g| IQ2_XS_GRID[usize::from(g & 511)]);
            let scales = nibbles(scales).map(|scale| eighth * odd(scale));
            put(&groups, negated, unpack_signs(packed), scales, out);
        }
    }
}

impl IQ2_S {
    /// Values of the block.
    pub fn decode(&self, out: &mut [f32; 256]) {
        let eighth = self.d.to_f32() * 0.125;
        let (qs, signs) = (self.qs.as_chunks().0, self.signs.as_chunks().0);
        let subs = qs.iter().zip(signs).zip(self.qh.iter().zip(self.scales));
        for (((qs, signs), (&high, scales)), out) in subs.zip(out.as_chunks_mut::<32>().0) {
            let groups = numbers::<4>(qs, |i| u16::from(high) >> (2 * i) & 3);
            let groups = groups.map(|g| IQ2_S_GRID[g & 1023]);
            let scales = nibbles(scales).map(|scale| eighth * odd(scale));
            put(&groups, negated, u32::from_le_bytes(*signs), scales, out);
        }
    }
}

impl IQ3_XXS {
    /// Values of the block.
    pub fn decode(&self, out: &mut [f32; 256]) {
        let half = self.d.to_f32() * 0.5;
        let (qs, signs) = (self.qs.as_chunks::<8>().0, self.signs.as_chunks().0);
        for ((qs, signs), out) in qs.iter().zip(signs).zip(out.as_chunks_mut::<32>().0) {
            let packed = u32::from_le_bytes(*signs);
            let groups = qs.map(|g| IQ3_XXS_GRID[usize::from(g)]);
            let scale = half * odd((packed >> 28) as u16);
            put(&groups, negated, unpack_signs(packed), [scale; 2], out);
        }
    }
}

impl IQ3_S {
    /// Values of the block.
    pub fn decode(&self, out: &mut [f32; 256]) {
        let d = self.d.to_f32();
        let (qs, signs) = (self.qs.as_chunks().0, self.signs.as_chunks().0);
        let subs = qs.iter().zip(signs).zip(self.qh.iter().zip(self.scales.iter().flat_map(|&s| nibbles(s))));
        for (((qs, signs), (&high, scale)), out) in subs.zip(out.as_chunks_mut::<32>().0) {
            let groups = numbers::<8>(qs, |i| u16::from(high) >> i & 1);
            let groups = groups.map(|g| IQ3_S_GRID[g & 511]);
            put(&groups, negated, u32::from_le_bytes(*signs), [d * odd(scale); 2], out);
        }
    }
}

/// The numbers of groups out of their low bytes and the bits above.
fn numbers<const GROUPS: usize>(low: &[u8; GROUPS], high: impl Fn(usize) -> u16) -> [usize; GROUPS] {
    std::array::from_fn(|i| usize::from(u16::from(low[i]) | high(i) << 8))
}

/// A byte's low nibble and its high one.
fn nibbles(byte: u8) -> [u16; 2] {
    [u16::from(byte & 15), u16::from(byte >> 4)]
}

fn odd(scale: u16) -> f32 {
    f32::from(2 * scale + 1)
}

/// Values of 32 weights, from their groups of `N`, what a sign does where it is set or not, and the scale of each 16.
fn put<const N: usize>(
    groups: &[[u8; N]],
    sign: impl Fn(u8, bool) -> i8,
    signs: u32,
    scales: [f32; 2],
    out: &mut [f32; 32],
) {
    for (i, (x, &value)) in out.iter_mut().zip(groups.as_flattened()).enumerate() {
        *x = scales[i / 16] * f32::from(sign(value, signs >> i & 1 == 1));
    }
}

/// The sign of a weight.
fn negated(magnitude: u8, is_negative: bool) -> i8 {
    let value = magnitude.cast_signed();
    if is_negative { -value } else { value }
}

/// The sign of IQ1's eighth.
fn shifted(value: u8, is_taken: bool) -> i8 {
    value.cast_signed() - 8 + if is_taken { -1 } else { 1 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_eighth_sign_makes_their_number_even() {
        assert_eq!(unpack_signs(0), 0);
        assert_eq!(unpack_signs(0b1), 0x81);
        assert_eq!(unpack_signs(0b11), 0x03);
        assert_eq!(unpack_signs(0x7f << 21 | 0x40 << 14 | 0x03 << 7 | 0x01), 0xffc0_0381);
        // What lies above the 28 bits, a scale, is none of the signs.
        assert_eq!(unpack_signs(0xf000_0000), 0);
        for group in 0..128u32 {
            assert_eq!(unpack_signs(group).count_ones() % 2, 0);
            assert_eq!(unpack_signs(group << 21) >> 24 & 0x7f, group);
        }
    }
}
