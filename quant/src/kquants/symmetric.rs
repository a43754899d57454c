//! `d * scale * (q - zero)`: the formats with signed scales and no minimums.

use half::f16;

use super::{Q3_K, Q6_K, planes, scales::pack_q3_scales};
use crate::scale::ScaleTooLarge;
use crate::search::Searched;
use crate::search::lanes::Weights;
use crate::search::superblock::Superblock;
use crate::search::symmetric::{SixBits, ThreeBits};

/// Values of sub-blocks of 16.
pub(super) fn decode(d: f16, scales: &[i8; 16], quants: &[u8; 256], zero: i16, out: &mut [f32; 256]) {
    let d = d.to_f32();
    let sub_blocks = quants.as_chunks::<16>().0.iter().zip(out.as_chunks_mut::<16>().0);
    for (&scale, (quants, out)) in scales.iter().zip(sub_blocks) {
        let scale = d * f32::from(scale);
        for (x, &q) in out.iter_mut().zip(quants) {
            *x = scale * f32::from(i16::from(q) - zero);
        }
    }
}

impl Searched<16> for Q3_K {
    fn search<W: Weights>(x: &[f32; 256], weights: W) -> Result<Q3_K, ScaleTooLarge> {
        let (found, q) = Superblock::<32, 2>::search::<ThreeBits, 16, W>(x, weights)?;
        Ok(Q3_K {
            hmask: planes::pack::<1, 32, 32>(&q.map(|q| q >> 2)),
            qs: planes::pack::<2, 32, 64>(&q),
            scales: pack_q3_scales(&std::array::from_fn(|i| found.scales.as_flattened()[i] as i8)),
            d: found.d,
        })
    }
}

impl Searched<16> for Q6_K {
    fn search<W: Weights>(x: &[f32; 256], weights: W) -> Result<Q6_K, ScaleTooLarge> {
        let (found, q) = Superblock::<128, 2>::search::<SixBits, 16, W>(x, weights)?;
        Ok(Q6_K {
            ql: planes::pack::<4, 64, 128>(&q),
            qh: planes::pack::<2, 32, 64>(&q.map(|q| q >> 4)),
            scales: std::array::from_fn(|i| found.scales.as_flattened()[i] as i8),
            d: found.d,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::search::lanes::Equal;

    #[test]
    fn zeros_decode_to_zeros() {
        let block = Q6_K::search(&[0.0; 256], Equal).unwrap();
        let mut out = [1.0; 256];
        block.decode(&mut out);
        assert_eq!(out, [0.0; 256]);
        assert_eq!(block.quants(), [32; 256]);
    }

    #[test]
    fn sub_blocks_of_either_sign_share_one_scale() {
        let x: [f32; 256] =
            std::array::from_fn(|i| if i / 16 % 2 == 0 { (i % 16) as f32 } else { -((i % 16) as f32) });
        let mut out = [0.0; 256];
        Q6_K::search(&x, Equal).unwrap().decode(&mut out);
        assert!(x.iter().zip(out).all(|(x, y)| (x - y).abs() < 0.3));
    }
}
