//! What an instruction set multiplies at most.

use super::Kernels;
use super::matmul::Line;
use crate::lanes::{Op, Range, Tier, unroll};
use crate::q8::Q8Block;

/// Blocks of a [`Load`]: weights and activations that stay in the first-level cache.
const BLOCKS: usize = 8;
/// The most tokens that any instruction set multiplies at once.
const MOST: usize = 16;

/// Weights and activations of no meaning.
pub struct Load {
    weights: [[Line; 8]; BLOCKS],
    x: [[Q8Block; MOST]; BLOCKS],
}

impl Default for Load {
    fn default() -> Self {
        Self { weights: [[[1; 64]; 8]; BLOCKS], x: [[Q8Block::zeros(1.0); MOST]; BLOCKS] }
    }
}

impl Kernels {
    /// Does the exact dot products of a matrix product and nothing else, `rounds` times: what bounds prefill.
    /// Gives the multiply-adds.
    pub fn peak(self, load: &Load, rounds: usize) -> usize {
        self.run(Peak { load, rounds })
    }
}

struct Peak<'a> {
    load: &'a Load,
    rounds: usize,
}

impl Op for Peak<'_> {
    type Out = usize;

    #[inline(always)]
    fn run<L: Tier>(self, l: L) -> usize {
        let Self { load, rounds } = self;
        if L::SIXTEEN {
            products::<L, 16>(l, load, rounds)
        } else if L::EIGHT {
            products::<L, 8>(l, load, rounds)
        } else if L::FOUR {
            products::<L, 4>(l, load, rounds)
        } else if L::TWO {
            products::<L, 2>(l, load, rounds)
        } else {
            products::<L, 1>(l, load, rounds)
        }
    }
}

#[inline(always)]
fn products<L: Tier, const T: usize>(l: L, load: &Load, rounds: usize) -> usize {
    let mut total = [l.splat_i32(0); T];
    for _ in 0..rounds {
        let Load { weights, x } = std::hint::black_box(load);
        for (weights, x) in weights.iter().zip(x) {
            let groups = std::array::from_fn(|t| x[t].groups::<8>(0));
            let sums = l.dots::<T, 8>([0; T], weights, groups, Range::U4);
            unroll!(t < T => { total[t] = l.add_i32(total[t], sums[t]); });
        }
    }
    let mut out = [0.0; 16];
    unroll!(t < T => { l.store(l.to_f32(total[t]), &mut out); std::hint::black_box(&out); });
    rounds * BLOCKS * T * 16 * 32
}
