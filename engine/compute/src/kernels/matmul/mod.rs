//! Products of panels of weights with activations.
//!
//! One token's product reads each weight once and is done as fast as memory gives them: `gemv` unpacks blocks in
//! registers, and for a few tokens too where these have room. For more tokens `gemm` unpacks a panel once, into plain bytes in
//! the cache, and multiplies tiles of tokens with those. All add up the same exact sums in the same order.

mod float;
mod gemm;
mod gemv;

pub use gemm::Line;
use gemm::{gemm, lines};

use std::marker::PhantomData;

use siskin_quant::TensorType;

use super::Kernels;
use crate::arena::Tile;
use crate::formats::{Float, Quantized, with_format};
use crate::lanes::{ByteLanes, Lanes, Op, Tier, unroll};
use crate::panel::ROWS;
use crate::q8::{BLOCK, Q8Block};

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

impl Kernels {
    /// Whether there are kernels for weights of this type.
    pub fn supports(ty: TensorType) -> bool {
        lines_per_32(ty).is_some()
    }

    /// Lines of scratch for products of several tokens with `rows` rows of `k` weights: room for a panel, and for
    /// several smaller ones, so that activations that come from memory are used more than once.
    pub fn scratch(ty: TensorType, rows: usize, k: usize) -> usize {
        const ENOUGH: usize = (256 << 10) / size_of::<Line>();
        let panel = lines_per_32(ty).map_or(0, |lines| lines * (k / BLOCK));
        panel.max(ENOUGH.min(panel * rows.div_ceil(ROWS)))
    }

    /// Multiplies panels of weights of type `ty`, which [`Kernels::supports`]. `out` has a row for each token, and
    /// `scratch` as many lines as [`Kernels::scratch`] says for any number of rows, or more.
    pub fn matmul(self, ty: TensorType, product: &Product<'_>, scratch: &mut [Line], out: &mut Tile<'_>) {
        with_format!(ty,
            W => self.run(Floats::<W> { product, out, weights: PhantomData }),
            Q => match product.x.tokens {
                1 => self.run(Gemv::<Q> { product, out, weights: PhantomData }),
                tokens => {
                    let few = Few::<Q> { product, out: &mut *out, weights: PhantomData };
                    let is_done = tokens <= gemv::MOST && self.run(few);
                    if !is_done {
                        gemm::<Q>(self, product, scratch, out);
                    }
                }
            },
            _ => (),
        );
    }
}

/// Lines of scratch for each 32 weights of a row of a panel.
fn lines_per_32(ty: TensorType) -> Option<usize> {
    with_format!(ty, _W => Some(0), Q => Some(lines::<Q>()), _ => None)
}

/// The product with F32, F16 or BF16 weights.
struct Floats<'a, 'p, W> {
    product: &'a Product<'a>,
    out: &'a mut Tile<'p>,
    weights: PhantomData<W>,
}

impl<W: Float> Op for Floats<'_, '_, W> {
    type Out = ();

    #[inline(always)]
    fn run<L: Tier>(self, l: L) {
        float::float::<L, W>(l, self.product, self.out);
    }
}

/// The product of weights of a quantized format with one token.
struct Gemv<'a, 'p, Q> {
    product: &'a Product<'a>,
    out: &'a mut Tile<'p>,
    weights: PhantomData<Q>,
}

impl<Q: Quantized> Op for Gemv<'_, '_, Q> {
    type Out = ();

    #[inline(always)]
    fn run<L: Tier>(self, l: L) {
        gemv::gemv::<L, Q>(l, self.product, self.out);
    }
}

/// The product of weights of a quantized format with 2 to [`gemv::MOST`] tokens, whose activations are one tile. Says whether it was
/// formed: the tier has the registers for it.
struct Few<'a, 'p, Q> {
    product: &'a Product<'a>,
    out: &'a mut Tile<'p>,
    weights: PhantomData<Q>,
}

impl<Q: Quantized> Op for Few<'_, '_, Q> {
    type Out = bool;

    #[inline(always)]
    fn run<L: Tier>(self, l: L) -> bool {
        // What is looked up in memory goes through the cache: it would be looked up anew for some tokens of a tile. Decided here, or
        // there would be code for it all the same.
        let in_registers = L::FEW > 1 && !Q::FROM_MEMORY;
        if in_registers {
            gemv::few::<L, Q>(l, self.product, self.out);
        }
        in_registers
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
fn ready<L: ByteLanes, const G: usize>(l: L, mut weights: [L::B; G], add: u8) -> [L::B; G] {
    if add != 0 {
        let add = l.splat_byte(add);
        unroll!(g < G => { weights[g] = l.add_bytes(weights[g], add); });
    }
    weights
}
