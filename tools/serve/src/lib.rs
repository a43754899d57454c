//! The server: models that other programs ask over HTTP, in the words of the APIs that they know.
//!
//! A request goes from `http` (connections, bodies, streams) to a module of `api`, which reads it in its own words and makes an
//! `Ask` of it. `Server::answer` finds the model (`models`), makes a prompt, and hands it
//! to the model's `worker`, a thread that works on all answers at once and never waits for the network. What comes back is a
//! stream of `Delta`s, which the same module of `api` writes in its own words again.

#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::disallowed_methods, reason = "tests make files of their own"))]
#![deny(clippy::print_stdout, clippy::print_stderr)] // They panic where nobody reads.

mod answers;
mod api;
mod ask;
mod audit;
mod embeddings;
mod health;
mod http;
mod infill;
mod keys;
mod log;
mod models;
mod options;
mod page;
mod refusal;
mod refusals;
mod server;
mod systemd;
mod tools;
mod truncation;
mod worker;

pub use health::check_health;
pub use models::model_name;
pub use options::{
    AuditOptions, DocumentReader, Listen, LogFormat, ModelSource, Pinned, PrefixOptions, ServeOptions,
};
pub use server::{Started, serve};
