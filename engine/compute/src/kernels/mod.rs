//! The algorithms, each written once over the sixteen lanes of `lanes/`, and the choice of an instruction set.
//!
//! What they compute, bit for bit:
//! 1. Activations are quantized in blocks of 32: `scale = amax / 127`, `q = round_half_even(x * (127 / amax))`
//!    ([`quantize`]).
//! 2. A row's product with quantized weights goes through each 32 weights in order, from 0, where `isum` is the exact
//!    integer dot product with offsets included. With one scale for them it is
//!    `acc = fma(f32(isum), w_scale * x_scale, acc)`; where each 16 have a scale it is
//!    `acc = fma(fma(f32(isum_2), w_scale_2, f32(isum_1) * w_scale_1), x_scale, acc)`. Formats with minimums then add
//!    `acc = fma(w_min, x_scale * f32(sum of q), acc)` for each scale (`matmul/`).
//! 3. With F32, F16 and BF16 weights it is one `fma` for each k, in order, from 0.
//! 4. Sums along a vector stride over 16 lanes, then fold by the tree 8, 4, 2, 1 (`norm.rs`).
//! 5. `exp` is a polynomial in FMA form (`activation.rs`); sines and cosines come from the `libm` crate ([`rope`]).
//! 6. A score is one `fma` for each number of the head, in order, from 0, times the model's factor, 1/√head_dim for most;
//!    with Q8_0 keys it is rule 2 with the query as activations, times the same. Where a model caps scores, the next step
//!    is tanh(score / cap) · cap. Positions that a query does not look at have no part in anything. They are taken in spans of 256 from the start of the
//!    context. A span has its scores' maximum m, its weights `exp(score − m)` and their sum by rule 4, and for each
//!    number one `fma` of weight and value for each position, in order, from 0. Spans are merged in order:
//!    `sum = fma(sum, exp(m − m'), span * exp(m_span − m'))` with m' the greater maximum, for weights and values alike;
//!    then values are multiplied by 1 / weights. A Q8_0 value is `scale * q`, rounded ([`attention`]).
//! 7. Keys and values saturate where they are stored: in F16 at ±65,504, in Q8_0 at ±127 · 65,504, as a scale is at most
//!    65,504. In F32 they are what they are. NaN stays NaN in all three ([`attention::CacheType`]).

mod activation;
pub mod attention;
#[cfg(feature = "training")]
pub mod gradient;
mod isa;
mod matmul;
mod norm;
pub mod peak;
pub mod quantize;
pub mod rope;

pub use crate::q8::Q8Block;
pub use activation::Activation;
pub use isa::{Isa, Kernels, UnknownIsa};
pub use matmul::{Activations, Line, Output, Product};
pub use rope::Pairs;
