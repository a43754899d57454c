//! The `eval` command: what several models of a text, of tasks and of this machine make, side by side.

pub(crate) mod divergence;
pub(crate) mod perplexity;
