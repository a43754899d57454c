//! Text: samplers, templates and tokenizers, beside what others say of the same.

#![allow(clippy::unwrap_used, clippy::panic)] // Helpers of tests may fail as tests do.

mod provenance;
mod sampler_allocation;
mod sampler_gguf;
mod template_gguf;
mod template_goldens;
mod template_hostile;
mod tokenizer_goldens;
mod tool_calls;
