//! Siskin runs quantized language models on small boards and on any x86-64 or 64-bit ARM Linux, with the same bits
//! in the logits on every instruction set, thread count and batch size.
//!
//! A [`Model`] is opened from a GGUF file. A [`Session`] of it reserves all the memory that it will use, is fed a
//! prompt and generates an answer, its tokens picked by a [`Sampler`](sampler::Sampler).

#![deny(unsafe_code)]
#![cfg_attr(test, allow(clippy::disallowed_methods, reason = "tests make files of their own"))]

mod answer;
mod error;
mod file;
mod fingerprint;
pub mod machine;
#[cfg(feature = "measure")]
pub mod measure;
mod model;
pub mod plan;
mod sequences;
mod setters;
mod state;
mod text;
#[cfg(feature = "training")]
pub mod training;

use siskin_compute::{arena, kernels, panel, team};

pub use answer::{
    Answer, AnswerEvent, AnswerId, AnswerLimits, AnswerRequest, Channel, Ending, Logprobs, Piece, Scheduler,
};
pub use arena::OutOfMemory;
pub use error::Error;
pub use file::gguf;
pub use kernels::{Isa, UnknownIsa};
pub use model::{
    Adapter, AdapterChange, AdapterError, AdapterOutline, AttachError, LoadError, Model, Observer, Rows,
};
pub use sequences::{
    End, Generation, STATE_MAGIC, SavedHead, Score, SequenceId, Sequences, SequencesOptions, Session,
    SessionError, SessionOptions, Speculation, StateError, WhenFull,
};
pub use siskin_compute::packed;
pub use state::{CacheType, CacheTypes};
pub use text::{grammar, sampler, template, tokenizer, tool_calls};

/// What may be handed from one thread to another.
const _: () = {
    const fn send<T: Send>() {}
    send::<Model>();
    send::<Session>();
    send::<Sequences>();
    send::<Answer>();
    send::<Scheduler>();
    send::<Error>();
    send::<Adapter>();
    send::<sampler::Sampler>();
    send::<grammar::Grammar>();
};
