//! What the program answers: conversations, prompts one after the other, and long work.

#![allow(clippy::disallowed_methods, reason = "tests make files of their own")]
#![allow(clippy::unwrap_used, clippy::panic)] // Helpers of tests may fail as tests do.

#[path = "../common/mod.rs"]
mod common;

mod batch;
mod chat_signals;
mod chat_terminal;
mod cli;
mod neighbour;
mod prompt_cache;
mod speculation;
mod streams;
mod summarize;
mod templates;
mod terminal;
