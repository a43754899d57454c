//! Weights of few values with one scale for many: TQ1_0 and TQ2_0 of −1, 0 and 1, Q1_0 of −1 and 1.

use half::f16;

use crate::layout::block;

block! {
    /// Five to a byte: `x = d * (t - 1)` with a byte's digits `t` in base three, the first one on top.
    TQ1_0 {
        /// 160 weights, 32 apart, in 32 bytes; then 80, 16 apart.
        qs: [u8; 48],
        /// The last 16 weights, four to a byte, 4 apart.
        qh: [u8; 4],
        /// Scale.
        d: f16,
    }
}

block! {
    /// Four to a byte: `x = d * (q - 1)`.
    TQ2_0 {
        /// Quants, four to a byte, 32 elements apart; 3 is not written.
        qs: [u8; 64],
        /// Scale.
        d: f16,
    }
}

block! {
    /// A sign each: `x = d` where the bit is set, `-d` where it is not.
    Q1_0 {
        /// Scale.
        d: f16,
        /// Signs, eight to a byte, the first one in the lowest bit.
        qs: [u8; 16],
    }
}

impl Q1_0 {
    /// Values of the block.
    pub fn decode(&self, out: &mut [f32; 128]) {
        let d = self.d.to_f32();
        for (i, x) in out.iter_mut().enumerate() {
            *x = if self.qs[i / 8] >> (i % 8) & 1 == 1 { d } else { -d };
        }
    }
}

impl TQ1_0 {
    /// The quants, 0 to 2, in the order of the elements; 1 stands for zero.
    pub fn quants(&self) -> [u8; 256] {
        let (first, second) = self.qs.split_at(32);
        let mut quants = [0; 256];
        let mut to = quants.iter_mut();
        for (bytes, digits) in [(first, 5), (second, 5), (&self.qh, 4)] {
            for digit in 0..digits {
                to.by_ref().zip(bytes).for_each(|(quant, &byte)| *quant = trit(byte, digit));
            }
        }
        quants
    }

    /// Values of the block.
    pub fn decode(&self, out: &mut [f32; 256]) {
        decode(self.d, &self.quants(), out);
    }
}

impl TQ2_0 {
    /// The quants, 0 to 3, in the order of the elements; 1 stands for zero.
    pub fn quants(&self) -> [u8; 256] {
        std::array::from_fn(|i| self.qs[i / 128 * 32 + i % 32] >> (i % 128 / 32 * 2) & 3)
    }

    /// Values of the block.
    pub fn decode(&self, out: &mut [f32; 256]) {
        decode(self.d, &self.quants(), out);
    }
}

fn decode(d: f16, quants: &[u8; 256], out: &mut [f32; 256]) {
    let d = d.to_f32();
    for (x, &quant) in out.iter_mut().zip(quants) {
        *x = d * (f32::from(quant) - 1.0);
    }
}

/// A digit of a byte that stands for 0.d₀d₁d₂d₃d₄ in base three, in units of 1/256.
fn trit(byte: u8, digit: u32) -> u8 {
    let rest = byte.wrapping_mul(3u8.pow(digit));
    ((u16::from(rest) * 3) >> 8) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn five_digits_in_base_three_come_out_of_a_byte() {
        for number in 0..243u16 {
            let byte = (number * 256).div_ceil(243) as u8;
            for digit in 0..5 {
                let expected = number / 3u16.pow(4 - digit) % 3;
                assert_eq!(u16::from(trit(byte, digit)), expected, "{number}, digit {digit}");
            }
        }
    }
}
