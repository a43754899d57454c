//! What Siskin's engine computes with: weights in panels, kernels for every instruction set, buffers and threads.
//!
//! It knows neither files nor models. Everything is defined on a machine of sixteen lanes, whose definition in plain
//! Rust every instruction set equals bit for bit: the rules are those of [`kernels`].
//!
//! A part of the `siskin` crate, which is the one to depend on: what is public here is so for that crate alone.

#![deny(unsafe_code)]
#![cfg_attr(
    not(all(
        any(target_arch = "x86_64", target_arch = "aarch64"),
        feature = "tiers",
        feature = "types",
        feature = "batches"
    )),
    allow(
        dead_code,
        unused_imports,
        unused_macros,
        reason = "what left out tiers and types are made of stays"
    )
)]

#[allow(unsafe_code)] // Parts of buffers for parallel tasks.
pub mod arena;
mod cpus;
mod formats;
pub mod kernels;
#[allow(unsafe_code)] // Vector instructions.
mod lanes;
pub mod packed;
pub mod panel;
mod q8;
#[allow(unsafe_code)] // Threads that borrow from the one that waits for them.
pub mod team;
#[doc(hidden)]
pub mod test_data;

pub use cpus::{allowed_cpus, pin};
