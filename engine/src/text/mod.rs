//! Text in, tokens out, and the choice between: what has to do with language and nothing with arithmetic.
//!
//! A conversation becomes text by the model's own template (`template`), text becomes tokens and tokens text
//! (`tokenizer`), and of the logits after them one token is picked (`sampler`), by a grammar if there is one (`grammar`).
//! Calls of tools are read out of what comes of it (`tool_calls`). All are made from a file's
//! metadata (`gguf`), and know nothing else of the engine.

pub mod grammar;
mod rendered;
pub mod sampler;
pub mod template;
pub mod tokenizer;
pub mod tool_calls;
