//! One file a way in.

pub mod adapter;
pub mod document;
pub mod gguf;
pub mod imatrix;
pub mod safetensors;
pub mod state;
pub mod template;
pub mod tokenizer;

use crate::repository;
use siskin::{Model, SessionOptions};

/// Tokens that sessions have room for.
const CONTEXT: usize = 48;

fn golden(path: &str) -> Vec<u8> {
    let path = repository("engine/tests/goldens").join(path);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// One thread, and little room.
fn options(model: &Model) -> SessionOptions {
    SessionOptions::default().context(model.context_length().min(CONTEXT)).threads(1).batch(4)
}
