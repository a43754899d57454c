//! Hugging Face folders and GGUF files become GGUF files of other types: by llama.cpp's mixes, or with types that are fitted
//! to a budget; weighted by importance matrices; with adapters merged. `docs/quantization.md` is its manual.

#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::disallowed_methods, reason = "tests make files of their own"))]
#![deny(clippy::print_stdout, clippy::print_stderr)] // They panic where nobody reads.

pub mod fit;
pub mod imatrix;
pub mod merge;
mod model;
pub mod quantize;
pub mod random;

pub use model::{Model, peft};
