//! Siskin runs quantized language models on small boards and on any x86-64 or 64-bit ARM Linux, with the same bits
//! in the logits on every instruction set, thread count and batch size.
//!
//! A [`Model`] is opened from a GGUF file. A [`Session`] of it reserves all the memory that it will use, is fed a
//! prompt and generates an answer, its tokens picked by a [`Sampler`](sampler::Sampler).

#![deny(unsafe_code)]

mod adapter;
mod attention;
mod cache;
mod error;
mod file;
mod inputs;
pub mod machine;
pub mod measure;
pub mod memory;
mod model;
mod observer;
mod pass;
mod runs;
mod saved;
mod sequences;
mod session;
mod speculation;
mod text;

use siskin_compute::{arena, kernels, panel, team};

pub use adapter::{Adapter, AdapterChange, AdapterError, AdapterOutline};
pub use arena::OutOfMemory;
pub use cache::{CacheType, CacheTypes};
pub use error::Error;
pub use file::gguf;
pub use kernels::{Isa, UnknownIsa};
pub use model::Model;
pub use observer::{Observer, Rows};
pub use saved::StateError;
pub use sequences::{SequenceId, Sequences, SequencesOptions};
pub use session::{End, Generation, Session, SessionOptions, WhenFull};
pub use siskin_compute::packed;
pub use speculation::{Score, Speculation};
pub use text::{sampler, template, tokenizer};
