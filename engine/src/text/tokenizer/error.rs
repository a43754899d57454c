//! What can be wrong with a vocabulary.

use crate::gguf::GgufError;

/// Why a file's metadata is not a tokenizer. Every message names the metadata key, what it holds and what was
/// expected of it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TokenizerError {
    /// A metadata value could not be read as the type it must have.
    #[error(transparent)]
    Metadata(#[from] GgufError),
    /// A key every tokenizer of this model needs is not in the file.
    #[error("{key}: missing, expected {expected}")]
    Missing {
        /// The metadata key.
        key: &'static str,
        /// What it should hold.
        expected: &'static str,
    },
    /// A key holds something else than it should.
    #[error("{key}: found {found}, expected {expected}")]
    Mismatch {
        /// The metadata key.
        key: &'static str,
        /// What the file holds.
        found: String,
        /// What it should hold.
        expected: String,
    },
    /// One entry of an array holds something else than it should.
    #[error("{key}[{index}]: found {found}, expected {expected}")]
    Entry {
        /// The metadata key of the array.
        key: &'static str,
        /// Which entry, from 0.
        index: usize,
        /// What the file holds there.
        found: String,
        /// What it should hold.
        expected: String,
    },
    /// A tokenizer model or a pre-tokenizer that Siskin does not have.
    #[error("{key}: \"{found}\" is not supported, expected one of {supported}")]
    Unsupported {
        /// The metadata key.
        key: &'static str,
        /// The name the file gives.
        found: String,
        /// The names that are supported, separated by commas.
        supported: String,
    },
}
