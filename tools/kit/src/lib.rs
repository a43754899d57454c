//! What several of Siskin's tools need, and an engine does not: files that appear only when complete, hashes of files,
//! JSON objects from strangers, progress bars, checks of memory, sensors of heat and clocks, and the figures that compare what models predict of a text.

#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::disallowed_methods, reason = "tests make files of their own"))]
#![deny(clippy::print_stdout, clippy::print_stderr)] // They panic where nobody reads.

pub mod divergence;
pub mod folders;
mod growing;
pub mod hash;
mod inputs;
pub mod json;
mod lines;
mod lock;
pub mod memory;
pub mod openai;
mod output;
pub mod perplexity;
pub mod progress;
mod random;
pub mod sensors;
mod text;

pub use growing::{GrowingFile, GrowingFolder, withdraw};
pub use inputs::{Inputs, regular_file};
pub use lines::Lines;
pub use lock::Lock;
pub use output::{Output, commit_shards, report, tell};
pub use random::Random;
pub use text::{is_utf16, plain, read, read_all, read_at_most, read_line, read_text, text};

use anyhow::Error;
use siskin::gguf::Gguf;

/// An error about a file, with the file's name before it unless it begins with that already.
pub fn in_file(file: &Gguf, error: impl Into<Error>) -> Error {
    let error = error.into();
    if error.to_string().starts_with(file.name()) { error } else { error.context(file.name().to_owned()) }
}
