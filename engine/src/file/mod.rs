//! Bytes on disk: checked once, on the way in, then trusted.

pub mod gguf;
