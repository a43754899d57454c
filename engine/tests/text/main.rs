//! Text: samplers, templates and tokenizers, beside what others say of the same.

mod provenance;
mod sampler_allocation;
mod sampler_gguf;
mod template_gguf;
mod template_goldens;
mod template_hostile;
mod tokenizer_goldens;
