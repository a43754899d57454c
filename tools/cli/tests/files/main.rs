//! The files that the program makes and reads.

#![allow(clippy::disallowed_methods, reason = "tests make files of their own")]
#![allow(clippy::unwrap_used, clippy::panic)] // Helpers of tests may fail as tests do.

#[path = "../common/mod.rs"]
mod common;

mod adapters;
mod demo;
mod families;
mod foreign;
mod imatrix;
mod inspect;
mod llama_cpp;
mod outputs;
mod pack;
mod quantize;
mod quantize_choices;
mod quantize_faults;
mod quantize_fit;
mod split;
