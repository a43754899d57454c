//! IQ4_NL and IQ4_XS: four bits choose one of 16 unevenly spaced values, denser around zero, as weights are.

use half::f16;

use crate::layout::block;
use crate::legacy::nibbles;

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
    }
}
