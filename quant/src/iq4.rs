//! IQ4_NL and IQ4_XS: four bits choose one of 16 unevenly spaced values, denser around zero, as weights are.

use half::f16;

use crate::layout::block;
use crate::legacy::{nibbles, pack_nibbles};
use crate::scale::{ScaleTooLarge, check_range, to_f16};
use crate::search::lanes::{Group, Weights, groups, interleave};
use crate::search::superblock::Superblock;
use crate::search::symmetric::{Grid, fit, quants};
use crate::search::{Searched, SearchedByEight};

/// What the 16 quants of IQ4_NL and IQ4_XS stand for (`kvalues_iq4nl` in ggml-common.h).
pub const IQ4_VALUES: [i8; 16] = [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113];

block! {
    /// `x = d * IQ4_VALUES[q]`; nibbles in two halves, as in [`Q4_0`](super::block::Q4_0).
    IQ4_NL {
        /// Scale.
        d: f16,
        /// Nibbles.
        qs: [u8; 16],
    }
}

block! {
    /// Eight sub-blocks of 32, `x = d * scale * IQ4_VALUES[q]`; the nibbles of each sub-block in two halves.
    IQ4_XS {
        /// Scale of the scales.
        d: f16,
        /// High two bits of the scales, sub-block `i` at bit `2 * i`.
        scales_h: u16,
        /// Low four bits of the scales, two sub-blocks to a byte, the even one low.
        scales_l: [u8; 4],
        /// Nibbles, 16 bytes a sub-block.
        qs: [u8; 128],
    }
}

impl IQ4_NL {
    /// Values of the block.
    pub fn decode(&self, out: &mut [f32; 32]) {
        decode_values(self.d.to_f32(), &self.qs, out);
    }
}

impl IQ4_XS {
    /// The sub-blocks' scales, -32 to 31.
    pub fn scales(&self) -> [i8; 8] {
        std::array::from_fn(|i| {
            let low = (self.scales_l[i / 2] >> (4 * (i % 2))) & 15;
            let high = (self.scales_h >> (2 * i)) as u8 & 3;
            (low | high << 4) as i8 - 32
        })
    }

    /// Values of the block.
    pub fn decode(&self, out: &mut [f32; 256]) {
        let d = self.d.to_f32();
        let sub_blocks = self.qs.as_chunks().0.iter().zip(out.as_chunks_mut().0);
        for (scale, (qs, out)) in self.scales().into_iter().zip(sub_blocks) {
            decode_values(d * scale as f32, qs, out);
        }
    }
}

fn decode_values(scale: f32, qs: &[u8; 16], out: &mut [f32; 32]) {
    for (x, q) in out.iter_mut().zip(nibbles(qs)) {
        *x = scale * IQ4_VALUES[q as usize & 15] as f32;
    }
}

impl SearchedByEight for IQ4_NL {
    fn search<W: Weights>(x: &[f32; 256], weights: W) -> [Result<IQ4_NL, ScaleTooLarge>; 8] {
        let lanes = interleave::<32>(x);
        let [group]: [Group<'_, W, 32>; 1] = groups(&lanes, weights);
        let scales = fit::<Uneven, 32, W>(&group).map(to_f16);
        let mut q = [0; 256];
        quants::<Uneven, 32, W>(scales.map(|d| d.map_or(0.0, f16::to_f32)), &group, &mut q);
        std::array::from_fn(|i| {
            check_range(&x.as_chunks::<32>().0[i], 127.0)?;
            Ok(IQ4_NL { d: scales[i]?, qs: pack_nibbles(&q.as_chunks().0[i]) })
        })
    }
}

impl Searched<32> for IQ4_XS {
    fn search<W: Weights>(x: &[f32; 256], weights: W) -> Result<IQ4_XS, ScaleTooLarge> {
        let (found, q) = Superblock::<32, 1>::search::<Uneven, 32, W>(x, weights)?;
        let (scales_h, scales_l) = pack_scales(&found.scales[0].map(|scale| scale as i8));
        let mut qs = [0; 128];
        for (bytes, q) in qs.as_chunks_mut().0.iter_mut().zip(q.as_chunks().0) {
            *bytes = pack_nibbles(q);
        }
        Ok(IQ4_XS { d: found.d, scales_h, scales_l, qs })
    }
}

/// The inverse of [`IQ4_XS::scales`].
fn pack_scales(scales: &[i8; 8]) -> (u16, [u8; 4]) {
    let (mut high, mut low) = (0, [0; 4]);
    for (i, &scale) in scales.iter().enumerate() {
        let bits = (scale + 32) as u8;
        low[i / 2] |= (bits & 15) << (4 * (i % 2));
        high |= u16::from(bits >> 4) << (2 * i);
    }
    (high, low)
}

/// The levels [`IQ4_VALUES`].
#[derive(Clone, Copy)]
struct Uneven;

impl Grid for Uneven {
    const LOWEST: f32 = -127.0;
    const TRIES: &[f32] = &[
        -134.0, -130.0, -127.0, -124.0, -121.0, -118.0, -114.0, -110.0, -105.0, -99.0, -92.0, 120.0, 116.0,
        113.0, 109.0, 105.0, 99.0, 92.0,
    ];
    const AGAIN: usize = 2;

    #[inline(always)]
    fn nearest(x: f32) -> f32 {
        LEVELS[cell(x)]
    }

    #[inline(always)]
    fn quant(x: f32) -> u8 {
        QUANTS[cell(x)]
    }
}

/// The half unit in which `x` lies, from -128 up: between two levels, the border is a multiple of a half.
#[inline(always)]
fn cell(x: f32) -> usize {
    // Sums this large have steps of a half, and their low bits count them.
    const HALVES: f32 = 1.5 * (1 << 22) as f32;
    let x = if x > -127.5 { x } else { -127.5 };
    let x = if x < 127.5 { x } else { 127.5 };
    ((x - 0.25 + HALVES).to_bits().wrapping_add(256) & 511) as usize
}

/// The quant of each [`cell`].
const QUANTS: [u8; 512] = {
    let mut quants = [0; 512];
    let mut cell = 0;
    while cell < 512 {
        let mut quant = 0;
        // A cell begins at cell / 2 - 128; the border of quants q and q + 1 is half the sum of their values.
        while quant < 15 && cell as i32 - 256 >= IQ4_VALUES[quant] as i32 + IQ4_VALUES[quant + 1] as i32 {
            quant += 1;
        }
        quants[cell] = quant as u8;
        cell += 1;
    }
    quants
};

/// The level of each [`cell`].
const LEVELS: [f32; 512] = {
    let mut levels = [0.0; 512];
    let mut cell = 0;
    while cell < 512 {
        levels[cell] = IQ4_VALUES[QUANTS[cell] as usize] as f32;
        cell += 1;
    }
    levels
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn xs_scales_join_low_nibbles_and_high_pairs() {
        let block = IQ4_XS {
            d: f16::ONE,
            scales_h: 0b11_10_01_00_11_10_01_00,
            scales_l: [0x10, 0x32, 0x54, 0x76],
            qs: [0; 128],
        };
        assert_eq!(block.scales(), [-32, -15, 2, 19, -28, -11, 6, 23]);
        assert_eq!(pack_scales(&block.scales()), (block.scales_h, block.scales_l));
    }

    #[test]
    fn the_nearest_level_is_found() {
        for eighths in -8 * 140..8 * 140 {
            let x = eighths as f32 / 8.0;
            let least = IQ4_VALUES.iter().map(|&v| (f32::from(v) - x).abs()).fold(f32::MAX, f32::min);
            assert_eq!((Uneven::nearest(x) - x).abs(), least, "{x}");
            assert_eq!(f32::from(IQ4_VALUES[Uneven::quant(x) as usize]), Uneven::nearest(x));
        }
    }
}
