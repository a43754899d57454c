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
pub use text::{is_utf16, plain, read, read_all, read_at_most, read_line, read_lines, read_text, text};

use anyhow::Error;
use siskin::gguf::Gguf;

/// An error about a file, with the file's name before it unless it begins with that already.
pub fn in_file(file: &Gguf, error: impl Into<Error>) -> Error {
    let error = error.into();
    if error.to_string().starts_with(file.name()) { error } else { error.context(file.name().to_owned()) }
}

/// An error and its causes in one line, nothing twice: a cause may be quoted by the one before, or begin with it, as those do that
/// name the file which whoever asked for it has named too.
pub fn one_line(error: &Error) -> String {
    let mut parts: Vec<String> = Vec::new();
    for cause in error.chain().map(|cause| cause.to_string().replace(['\n', '\r'], " ")) {
        if parts.last().is_some_and(|last| last.ends_with(&cause)) {
            continue;
        }
        parts.pop_if(|last| {
            cause.strip_prefix(last.as_str()).is_some_and(|rest| rest.starts_with([':', ',', '/']))
        });
        parts.push(cause);
    }
    parts.join(": ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_one_line_and_says_nothing_twice() {
        let cause = || Error::msg("no such\nfile");
        assert_eq!(one_line(&cause().context("a").context("b")), "b: a: no such file");
        assert_eq!(
            one_line(&cause().context("cannot open a: no such file").context("b")),
            "b: cannot open a: no such file"
        );
        let named = Error::msg("a.gguf: expected a model").context("a.gguf").context("b");
        assert_eq!(one_line(&named), "b: a.gguf: expected a model");
    }
}
