//! The server, asked over HTTP as clients ask it, with the demo model.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]
#![allow(clippy::disallowed_methods, reason = "tests make files of their own")]

mod adapters;
mod anthropic;
mod attached;
mod client;
mod embeddings;
mod formats;
mod llama_cpp;
mod ollama;
mod openai;
mod operation;
mod page;
#[cfg(feature = "hub")]
mod pulling;
mod same;
mod thoughts;
mod tools;

use siskin_serve::{Listen, ModelSource, ServeOptions, Started, serve};
use std::path::{Path, PathBuf};
use std::sync::{OnceLock, mpsc};
use std::thread::{self, JoinHandle};

/// The demo model's file.
fn demo() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../demo/siskin-demo.gguf")
}

/// A server of the demo model, as `demo`, and of whatever `change` makes of that, and the thread that it ends with.
fn start_one(change: impl FnOnce(&mut ServeOptions)) -> (Started, JoinHandle<()>) {
    let mut options = ServeOptions::new(vec![("demo".to_owned(), ModelSource::File(demo()))]);
    options.listen = Listen::Address(([127, 0, 0, 1], 0).into());
    options.session = options.session.context(512).threads(1);
    change(&mut options);
    let (sender, started) = mpsc::channel();
    let thread =
        thread::spawn(move || serve(options, |started| sender.send(started.clone()).unwrap()).unwrap());
    (started.recv().unwrap(), thread)
}

/// Why a server does not begin.
fn refused(change: impl FnOnce(&mut ServeOptions)) -> String {
    let mut options = ServeOptions::new(vec![("demo".to_owned(), ModelSource::File(demo()))]);
    options.listen = Listen::Address(([127, 0, 0, 1], 0).into());
    options.session = options.session.context(512).threads(1);
    change(&mut options);
    format!("{:#}", serve(options, |started| started.stop()).unwrap_err())
}

/// The same until the test program ends; returns its address.
fn start(change: impl FnOnce(&mut ServeOptions)) -> String {
    start_one(change).0.address().to_owned()
}

/// The server that all tests ask which change nothing of it.
fn server() -> &'static str {
    static SERVER: OnceLock<String> = OnceLock::new();
    SERVER.get_or_init(|| start(|_| {}))
}
