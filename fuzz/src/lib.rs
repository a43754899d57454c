//! What strangers may hand to Siskin, and what must hold whatever it is.
//!
//! A [`Target`] takes bytes, gives them to the library as a file or a text, and panics where a promise of
//! `docs/security.md` is broken. `siskin-fuzz` calls it with seeds that it has changed; the programs under
//! `fuzz_targets/` do so with libFuzzer, which follows the code that an input reaches.

#![allow(clippy::disallowed_methods, reason = "what is fuzzed reads files that are made here")]
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a broken promise panics")]

pub mod mutate;
pub mod targets;

use std::path::PathBuf;

/// A way in.
pub struct Target {
    /// What it is called.
    pub name: &'static str,
    /// Hands over the bytes.
    pub run: fn(&[u8]),
    /// Good inputs to begin with.
    pub seeds: fn() -> Vec<Vec<u8>>,
}

/// All of them.
pub const TARGETS: &[Target] = &[
    Target { name: "gguf", run: targets::gguf::run, seeds: targets::gguf::seeds },
    Target { name: "tokenizer", run: targets::tokenizer::run, seeds: targets::tokenizer::seeds },
    Target { name: "template", run: targets::template::run, seeds: targets::template::seeds },
    Target { name: "state", run: targets::state::run, seeds: targets::state::seeds },
    Target { name: "adapter", run: targets::adapter::run, seeds: targets::adapter::seeds },
    Target { name: "document", run: targets::document::run, seeds: targets::document::seeds },
    Target { name: "imatrix", run: targets::imatrix::run, seeds: targets::imatrix::seeds },
    Target { name: "safetensors", run: targets::safetensors::run, seeds: targets::safetensors::seeds },
];

/// A file of the repository.
pub fn repository(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

/// The inputs that once broke a promise, by file name.
pub fn found(target: &str) -> Vec<(String, Vec<u8>)> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("found").join(target);
    let mut inputs: Vec<_> = std::fs::read_dir(folder)
        .into_iter()
        .flatten()
        .map(|entry| entry.unwrap().path())
        .map(|path| (path.display().to_string(), std::fs::read(&path).unwrap()))
        .collect();
    inputs.sort();
    inputs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_and_what_was_found_keep_every_promise() {
        for target in TARGETS {
            let seeds = (target.seeds)();
            assert!(!seeds.is_empty(), "{}", target.name);
            for input in seeds.iter().chain(found(target.name).iter().map(|(_, input)| input)) {
                (target.run)(input);
            }
        }
    }
}
