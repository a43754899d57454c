//! Whole models: what they compute, and what they refuse.

mod bits;
mod llama;
mod llama_cpp;
mod loading;
mod parts;
mod session;
