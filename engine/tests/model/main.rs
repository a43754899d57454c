//! Whole models: what they compute, and what they refuse.

#![allow(clippy::disallowed_methods, reason = "tests make files of their own")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod adapters;
#[path = "../again/mod.rs"]
mod again;
mod answer;
mod bits;
mod context;
mod convolution;
mod cuts;
mod families;
mod forgetting;
#[cfg(feature = "grammar")]
mod grammar;
mod hashes;
mod llama;
mod llama_cpp;
mod loading;
mod memory;
mod packed;
mod parts;
mod promise;
mod replaced;
mod saved;
mod scheduler;
mod sequences;
mod session;
mod speculation;
#[cfg(feature = "training")]
mod training;
mod windows;
