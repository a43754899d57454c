//! Products of panels of weights with activations.
//!
//! One token's product reads each weight once and is done as fast as memory gives them: `gemv` unpacks blocks in
//! registers. For several tokens `gemm` unpacks a panel once, into plain bytes in the cache, and multiplies tiles of
//! tokens with those. Both add up the same exact sums in the same order.

mod float;
mod gemm;
mod gemv;

pub(crate) use float::float;
pub use gemm::Line;
pub(crate) use gemm::lines;

use super::formats::Quantized;
use crate::arena::Tile;
use crate::lanes::{Lanes, Range, unroll};
use crate::q8::Q8Block;

/// Vectors that weights are multiplied with, one for each token.
#[derive(Clone, Copy)]
pub struct Activations<'a> {
    /// `tokens` rows of `stride` numbers.
    pub x: &'a [f32],
    /// Numbers from one row to the next.
    pub stride: usize,
    /// The same quantized, where quantized weights will ask for them: tiles of up to 8 tokens, each
    /// `[k / 32][tokens of the tile]`.
    pub q: &'a [Q8Block],
    /// Rows.
    pub tokens: usize,
}

/// What becomes of a product.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Output {
    /// It replaces what the output holds.
    Replace,
    /// It is added to what the output holds.
    Add,
}

/// Panels of weights times activations.
#[derive(Clone, Copy)]
pub struct Product<'a> {
    /// As many panels as the output tile has columns / 16.
    pub panels: &'a [u8],
    /// Numbers of a row.
    pub k: usize,
    /// What the weights are multiplied with.
    pub x: Activations<'a>,
    /// What becomes of the sums.
    pub output: Output,
}

/// Multiplies with weights of a quantized format. `out` has a row for each token.
///
/// For several tokens `scratch` holds the unpacked weights of at least one panel: [`lines`] for each 32 of `k`.
#[inline(always)]
pub(crate) fn quantized<L: Lanes, Q: Quantized>(
    l: L,
    product: &Product<'_>,
    scratch: &mut [Line],
    out: &mut Tile<'_>,
) {
    match product.x.tokens {
        1 => gemv::gemv::<L, Q>(l, product, out),
        _ => gemm::gemm::<L, Q>(l, product, scratch, out),
    }
}

/// Where the sums of one panel and some tokens go.
struct At<'t, 'p> {
    out: &'t mut Tile<'p>,
    output: Output,
    panel: usize,
    token: usize,
}

impl At<'_, '_> {
    /// Puts `T` tokens' sums and says how many they are.
    #[inline(always)]
    fn put<L: Lanes, const T: usize>(&mut self, l: L, sums: [L::F; T]) -> usize {
        unroll!(t < T => {
            let to = self.out.lanes(self.token + t, self.panel);
            let sum = match self.output {
                Output::Replace => sums[t],
                Output::Add => l.add(l.load(to), sums[t]),
            };
            l.store(sum, to);
        });
        T
    }
}

/// Where the dot product of a grain with weights that are too large by `bias` starts.
#[inline(always)]
fn start<const G: usize>(bias: u8, x: &Q8Block, grain: usize) -> i32 {
    x.minus_sum::<G>(grain) * i32::from(bias)
}

/// The weights as dot products take them.
#[inline(always)]
fn ready<L: Lanes, const G: usize>(l: L, mut weights: [L::B; G], add: u8) -> [L::B; G] {
    if add != 0 {
        let add = l.splat_byte(add);
        unroll!(g < G => { weights[g] = l.add_bytes(weights[g], add); });
    }
    weights
}

/// Whether a format's weights are signed already.
const fn is_signed(range: Range) -> bool {
    matches!(range, Range::S8)
}
