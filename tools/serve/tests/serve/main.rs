//! The server, asked over HTTP as clients ask it, with the demo model.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod client;
mod ollama;
mod same;

use siskin_serve::{ModelSource, ServeOptions, serve};
use std::path::{Path, PathBuf};
use std::sync::{OnceLock, mpsc};
use std::thread;

/// The demo model's file.
fn demo() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../demo/siskin-demo.gguf")
}

/// A server of the demo model, as `demo`, and of whatever `change` makes of that; returns its address.
fn start(change: impl FnOnce(&mut ServeOptions)) -> String {
    let mut options = ServeOptions::new(vec![("demo".to_owned(), ModelSource::File(demo()))]);
    options.address.set_port(0);
    options.session = options.session.context(512).threads(1);
    change(&mut options);
    let (sender, address) = mpsc::channel();
    // It goes on until the test program ends.
    thread::spawn(move || serve(options, |address| sender.send(address).unwrap()).unwrap());
    format!("http://{}", address.recv().unwrap())
}

/// The server that all tests ask which change nothing of it.
fn server() -> &'static str {
    static SERVER: OnceLock<String> = OnceLock::new();
    SERVER.get_or_init(|| start(|_| {}))
}
