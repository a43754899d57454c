//! Activations quantized in blocks.

use zerocopy::transmute_mut;

use super::Kernels;
use crate::lanes::{Lanes, Op, Tier};
pub use crate::q8::{BLOCK, TILE};
use crate::q8::{Q8Block, Q8Four};

impl Kernels {
    /// Quantizes rows of activations into one tile.
    ///
    /// `rows` holds up to [`TILE`] rows of `stride` numbers, of which the first `k` count; `k` is a multiple of 32.
    /// `tile` holds `k / 32` groups of one block for each row. Some instruction sets keep four tokens' blocks in an order
    /// of their own, as far as there are four.
    pub fn quantize(self, rows: &[f32], stride: usize, k: usize, tile: &mut [Q8Block]) {
        self.run(Quantize { rows, stride, k, tile });
    }
}

struct Quantize<'a> {
    rows: &'a [f32],
    stride: usize,
    k: usize,
    tile: &'a mut [Q8Block],
}

impl Op for Quantize<'_> {
    type Out = ();

    #[inline(always)]
    fn run<L: Tier>(self, l: L) {
        let width = self.tile.len() / (self.k / BLOCK).max(1);
        for (token, row) in self.rows.chunks_exact(self.stride).take(width).enumerate() {
            let (halves, _) = row[..self.k].as_chunks::<16>();
            for (x, blocks) in halves.chunks_exact(2).zip(self.tile.chunks_exact_mut(width)) {
                put::<L>(blocks, token, block(l, &x[0], &x[1]));
            }
        }
    }
}

/// Puts a token's block among those of a tile's same 32 numbers, where [`Tier::FOURS`] says so as a [`Q8Four`].
#[inline(always)]
fn put<L: Tier>(blocks: &mut [Q8Block], token: usize, block: Q8Block) {
    match blocks.as_chunks_mut::<4>().0.get_mut(token / 4) {
        Some(four) if L::FOURS => {
            let four: &mut Q8Four = transmute_mut!(four);
            four.put(token % 4, &block);
        }
        _ => blocks[token] = block,
    }
}

#[inline(always)]
fn block<L: Lanes>(l: L, low: &[f32; 16], high: &[f32; 16]) -> Q8Block {
    let (low, high) = (l.load(low), l.load(high));
    let amax = f32::from_bits(l.max_abs_bits(low).max(l.max_abs_bits(high)));
    let inverse = 127.0 / amax;
    if !amax.is_finite() {
        return Q8Block::zeros(f32::NAN);
    }
    if !inverse.is_finite() {
        // All zero, or too small for 127 / amax to be a number.
        return Q8Block::zeros(0.0);
    }
    let inverse = l.splat(inverse);
    let (low, high) = (l.round(l.mul(low, inverse)), l.round(l.mul(high, inverse)));
    let mut q = [[0; 16]; 2];
    l.store_i8(low, &mut q[0]);
    l.store_i8(high, &mut q[1]);
    Q8Block::new(q, amax / 127.0)
}
