//! What the program answers: conversations, prompts one after the other, and long work.

#![allow(clippy::disallowed_methods, reason = "tests make files of their own")]
#![allow(clippy::unwrap_used, clippy::panic)] // Helpers of tests may fail as tests do.

#[path = "../common/mod.rs"]
mod common;

mod batch;
mod chat_commands;
mod chat_home;
mod chat_signals;
mod chat_terminal;
mod cli;
mod grammar;
#[allow(dead_code)] // Its own tests use all of it.
#[path = "../../../hub/tests/hub/hub.rs"]
mod hub;
mod json;
mod names;
mod neighbour;
mod prompt_cache;
mod serve;
#[allow(dead_code)]
#[path = "../../../hub/tests/hub/server.rs"]
mod server;
mod shell;
mod speculation;
mod streams;
mod summarize;
mod templates;
mod terminal;
mod tls;
