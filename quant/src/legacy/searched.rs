//! Searches for the scales of Q4_0, Q4_1, Q5_0 and Q5_1, for when elements differ in importance.

use half::f16;

use super::{Q4_0, Q4_1, Q5_0, Q5_1, fifth_bits, pack_nibbles};
use crate::scale::{ScaleTooLarge, to_f16};
use crate::search::affine::{Affine, Steps, Totals};
use crate::search::lanes::{Each, Group, Lanes, Weights, each, groups, interleave};
use crate::search::symmetric::{FiveBits, FourBits, Grid, fit, quants};
use crate::search::{Eight, SearchedByEight};

const FOUR_BIT_STEPS: Steps = Steps {
    last: 15.0,
    signed_min: true,
    tries: &[10.5, 11.3, 12.0, 12.6, 13.1, 13.5, 13.9, 14.2, 14.5, 14.8, 15.1, 15.5],
};

const FIVE_BIT_STEPS: Steps = Steps {
    last: 31.0,
    signed_min: true,
    tries: &[25.5, 26.6, 27.5, 28.2, 28.8, 29.3, 29.7, 30.1, 30.4, 30.7, 31.0, 31.4],
};

impl SearchedByEight for Q4_0 {
    fn search<W: Weights>(x: &[f32; 256], weights: W) -> Eight<Q4_0> {
        let (scales, q) = search_symmetric::<FourBits, W>(x, weights);
        std::array::from_fn(|i| Ok(Q4_0 { d: scales[i]?, qs: pack_nibbles(&q[i]) }))
    }

    fn weighted(x: &[f32; 256], weights: &[f32; 256]) -> Eight<Q4_0> {
        better(x, weights, Self::encode, Self::decode)
    }
}

impl SearchedByEight for Q5_0 {
    fn search<W: Weights>(x: &[f32; 256], weights: W) -> Eight<Q5_0> {
        let (scales, q) = search_symmetric::<FiveBits, W>(x, weights);
        std::array::from_fn(|i| Ok(Q5_0 { d: scales[i]?, qh: fifth_bits(&q[i]), qs: pack_nibbles(&q[i]) }))
    }

    fn weighted(x: &[f32; 256], weights: &[f32; 256]) -> Eight<Q5_0> {
        better(x, weights, Self::encode, Self::decode)
    }
}

impl SearchedByEight for Q4_1 {
    fn search<W: Weights>(x: &[f32; 256], weights: W) -> Eight<Q4_1> {
        let (scales, mins, q) = search_affine(x, weights, FOUR_BIT_STEPS);
        std::array::from_fn(|i| Ok(Q4_1 { d: scales[i]?, m: mins[i]?, qs: pack_nibbles(&q[i]) }))
    }

    fn weighted(x: &[f32; 256], weights: &[f32; 256]) -> Eight<Q4_1> {
        better(x, weights, Self::encode, Self::decode)
    }
}

impl SearchedByEight for Q5_1 {
    fn search<W: Weights>(x: &[f32; 256], weights: W) -> Eight<Q5_1> {
        let (scales, mins, q) = search_affine(x, weights, FIVE_BIT_STEPS);
        std::array::from_fn(|i| {
            Ok(Q5_1 { d: scales[i]?, m: mins[i]?, qh: fifth_bits(&q[i]), qs: pack_nibbles(&q[i]) })
        })
    }

    fn weighted(x: &[f32; 256], weights: &[f32; 256]) -> Eight<Q5_1> {
        better(x, weights, Self::encode, Self::decode)
    }
}

/// The blocks of the search, and plain ones where those are as good. Equal weights change nothing.
fn better<B: SearchedByEight>(
    x: &[f32; 256],
    weights: &[f32; 256],
    encode: impl Fn(&[f32; 32]) -> Result<B, ScaleTooLarge>,
    decode: impl Fn(&B, &mut [f32; 32]),
) -> Eight<B> {
    let mut blocks = x.as_chunks().0.iter().zip(weights.as_chunks().0);
    B::search(x, Each(&interleave::<32>(weights))).map(|searched| {
        let (x, weights) = blocks.next().unwrap_or((&[0.0; 32], &[1.0; 32]));
        let plain = encode(x)?;
        let error = |block: &B| {
            let mut restored = [0.0; 32];
            decode(block, &mut restored);
            (0..32).map(|i| weights[i] * (x[i] - restored[i]) * (x[i] - restored[i])).sum::<f32>()
        };
        match searched {
            Ok(searched) if weights.iter().any(|w| *w != 1.0) && error(&searched) < error(&plain) => {
                Ok(searched)
            }
            _ => Ok(plain),
        }
    })
}

type Scales = [Result<f16, ScaleTooLarge>; 8];

fn search_symmetric<G: Grid, W: Weights>(x: &[f32; 256], weights: W) -> (Scales, [[u8; 32]; 8]) {
    let x = interleave::<32>(x);
    let [group]: [Group<'_, W, 32>; 1] = groups(&x, weights);
    let scales = fit::<G, 32, W>(&group).map(to_f16);
    let mut q = [0; 256];
    quants::<G, 32, W>(restored(&scales), &group, &mut q);
    (scales, by_block(&q))
}

fn search_affine<W: Weights>(x: &[f32; 256], weights: W, steps: Steps) -> (Scales, Scales, [[u8; 32]; 8]) {
    let x = interleave::<32>(x);
    let [group]: [Group<'_, W, 32>; 1] = groups(&x, weights);
    // Sums of values that begin at 0 lose the least to rounding.
    let (low, _) = group.extremes();
    let from_low = x.map(|x| each(|i| x[i] - low[i]));
    let [shifted]: [Group<'_, W, 32>; 1] = groups(&from_low, weights);
    let Affine { scale, min } = Affine::fit(&shifted, Totals::of(&shifted), steps, 2);
    let scales = scale.map(to_f16);
    let mins: Scales = std::array::from_fn(|i| to_f16(low[i] - min[i]));
    let mut q = [0; 256];
    Affine { scale: restored(&scales), min: restored(&mins).map(|min| -min) }
        .quants(&group, steps.last, &mut q);
    (scales, mins, by_block(&q))
}

fn restored(scales: &Scales) -> Lanes {
    scales.map(|scale| scale.map_or(0.0, f16::to_f32))
}

fn by_block(q: &[u8; 256]) -> [[u8; 32]; 8] {
    std::array::from_fn(|i| std::array::from_fn(|j| q[32 * i + j]))
}
