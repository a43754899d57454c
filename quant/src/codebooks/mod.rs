//! The codebook formats: superblocks of 256 whose weights are chosen by groups of eight or four from a fixed grid.
//!
//! | type    | sub-blocks | value                           | groups         | signs                      | scales |
//! |---------|------------|---------------------------------|----------------|----------------------------|--------|
//! | IQ1_S   | 8 of 32    | `d * (2 * scale + 1) / 8 * v`   | 2048 of eight  | one for each 32            | 3 bits |
//! | IQ1_M   | 16 of 16   | `d * (2 * scale + 1) / 8 * v`   | 2048 of eight  | one for each eight         | 3 bits |
//! | IQ2_XXS | 8 of 32    | `d * (2 * scale + 1) / 8 * v`   | 256 of eight   | 7 bits for each eight      | 4 bits |
//! | IQ2_XS  | 16 of 16   | `d * (2 * scale + 1) / 8 * v`   | 512 of eight   | 7 bits for each eight      | 4 bits |
//! | IQ2_S   | 16 of 16   | `d * (2 * scale + 1) / 8 * v`   | 1024 of eight  | one for each weight        | 4 bits |
//! | IQ3_XXS | 8 of 32    | `d * (2 * scale + 1) / 4 * v`   | 256 of four    | 7 bits for each eight      | 4 bits |
//! | IQ3_S   | 8 of 32    | `d * (2 * scale + 1) * v`       | 512 of four    | one for each weight        | 4 bits |
//!
//! A grid holds levels, 0 to 7; a level and its sign choose `v` from 16 small integers, the negative ones last. A scale
//! has 11 + 5 significant bits and `v` at most 6, so no product is rounded. In IQ1 the sign is not the weight's: the
//! three levels stand for −1, 0 and 1, of which an eighth is added or taken. Layouts: `ggml-common.h` in llama.cpp.

mod grids;

use half::f16;

use crate::layout::block;
pub use grids::{IQ1_GRID, IQ2_S_GRID, IQ2_XS_GRID, IQ2_XXS_GRID, IQ3_S_GRID, IQ3_XXS_GRID};

/// What the levels of IQ1_S and IQ1_M stand for, in eighths: an eighth added, and from index 8 on taken.
pub const IQ1_VALUES: [i8; 16] = [-7, 1, 9, 0, 0, 0, 0, 0, -9, -1, 7, 0, 0, 0, 0, 0];
/// What the levels of IQ2_XXS, IQ2_XS and IQ2_S stand for; from index 8 on negative.
pub const IQ2_VALUES: [i8; 16] = with_negatives([8, 25, 43, 0, 0, 0, 0, 0]);
/// What the levels of IQ3_XXS stand for; from index 8 on negative.
pub const IQ3_XXS_VALUES: [i8; 16] = with_negatives([4, 12, 20, 28, 36, 44, 52, 62]);
/// What the levels of IQ3_S stand for; from index 8 on negative.
pub const IQ3_S_VALUES: [i8; 16] = with_negatives([1, 3, 5, 7, 9, 11, 13, 15]);

const fn with_negatives(levels: [i8; 8]) -> [i8; 16] {
    let mut values = [0; 16];
    let mut level = 0;
    while level < 8 {
        values[level] = levels[level];
        values[level + 8] = -levels[level];
        level += 1;
    }
    values
}

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
            put(&groups.map(|g| IQ1_GRID[g & 2047]), &IQ1_VALUES, signs, [scale; 2], out);
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
            let levels = groups.map(|g| IQ1_GRID[g & 2047]);
            put(&levels, &IQ1_VALUES, u32::from_le_bytes(signs), scales, out);
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
            let levels = groups.map(|g: u8| IQ2_XXS_GRID[usize::from(g)]);
            put(&levels, &IQ2_VALUES, unpack_signs(packed), [eighth * odd((packed >> 28) as u16); 2], out);
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
            let levels = groups.map(|g| IQ2_XS_GRID[usize::from(g & 511)]);
            let scales = nibbles(scales).map(|scale| eighth * odd(scale));
            put(&levels, &IQ2_VALUES, unpack_signs(packed), scales, out);
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
            let levels = groups.map(|g| IQ2_S_GRID[g & 1023]);
            let scales = nibbles(scales).map(|scale| eighth * odd(scale));
            put(&levels, &IQ2_VALUES, u32::from_le_bytes(*signs), scales, out);
        }
    }
}

impl IQ3_XXS {
    /// Values of the block.
    pub fn decode(&self, out: &mut [f32; 256]) {
        let quarter = self.d.to_f32() * 0.25;
        let (qs, signs) = (self.qs.as_chunks::<8>().0, self.signs.as_chunks().0);
        for ((qs, signs), out) in qs.iter().zip(signs).zip(out.as_chunks_mut::<32>().0) {
            let packed = u32::from_le_bytes(*signs);
            let levels = qs.map(|g| IQ3_XXS_GRID[usize::from(g)]);
            let scale = quarter * odd((packed >> 28) as u16);
            put(&levels, &IQ3_XXS_VALUES, unpack_signs(packed), [scale; 2], out);
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
            let levels = groups.map(|g| IQ3_S_GRID[g & 511]);
            put(&levels, &IQ3_S_VALUES, u32::from_le_bytes(*signs), [d * odd(scale); 2], out);
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

/// Values of 32 weights, from their levels, in groups of `N`, their signs, and the scale of each 16.
fn put<const N: usize>(
    levels: &[[u8; N]],
    values: &[i8; 16],
    signs: u32,
    scales: [f32; 2],
    out: &mut [f32; 32],
) {
    for (i, (x, &level)) in out.iter_mut().zip(levels.as_flattened()).enumerate() {
        let index = level & 7 | ((signs >> i & 1) as u8) << 3;
        *x = scales[i / 16] * f32::from(values[usize::from(index)]);
    }
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
