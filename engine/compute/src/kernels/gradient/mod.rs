//! What the gradients of the other kernels are worked out with, for training on the device.
//!
//! Gradients are f32, and have the same bits on every instruction set, as results have. The rules, after those of
//! [`kernels`](super):
//! 8. A sum of products is one `fma` for each term, in order, from what the output holds ([`Kernels::accumulate`](super::Kernels::accumulate)). So a sum over tokens
//!    does not depend on how many of them are worked on together.
//! 9. Weights are decoded in f32: `fma(q − offset, scale, minimum)` ([`Kernels::decode`](super::Kernels::decode)). Quantizing activations has the gradient 1.
//! 10. All else is elementwise, or sums along a vector by rule 4.

mod accumulate;
mod attention;
mod decode;
mod gate;
mod loss;
mod norm;
mod optimizer;

pub use accumulate::{Factors, TILE, Terms, across};
pub use attention::Probabilities;
pub use loss::Loss;
pub use optimizer::AdamW;

/// What is left of a row behind its last whole vector, filled up to one.
fn last(rest: &[f32], filling: f32) -> [f32; 16] {
    let mut last = [filling; 16];
    last[..rest.len()].copy_from_slice(rest);
    last
}
