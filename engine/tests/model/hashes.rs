//! The bits of all goldens' logits, as committed hashes: a change that is not meant to change an answer changes none.
//!
//! Where one is meant to, `SISKIN_WRITE_HASHES=1 cargo test -p siskin --test model -- hashes` writes the file anew; the
//! change's message says why. The hashes are the same on every instruction set and architecture.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use siskin::gguf::write::OwnedValue;
use siskin::{Adapter, CacheType, CacheTypes, Error, Model, SequencesOptions, SessionOptions};
use siskin_quant::TensorType::{self, *};
use twox_hash::XxHash3_128;

use crate::parts::{Parts, family, golden, ids, ids_in, llama_cpp};

const CACHES: [(&str, CacheType); 2] = [("f16", CacheType::F16), ("q8_0", CacheType::Q8_0)];
const FORMATS: [TensorType; 15] =
    [F32, F16, BF16, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, IQ4_NL, Q2_K, Q3_K, Q4_K, Q5_K, Q6_K, IQ4_XS];

/// Lines of the file: a name, then a hash.
#[derive(Default)]
struct Hashes(String);

impl Hashes {
    fn line(&mut self, name: &str, hash: u128) {
        writeln!(self.0, "{name} {hash:032x}").unwrap();
    }

    /// The logits after every token of a session's, in each kind of cache, without and with adapters; and those of three
    /// sequences that are worked on together, with beginnings in common.
    fn model(&mut self, name: &str, model: &Model, ids: &[u32], adapters: &[Adapter]) {
        for (cache_name, cache) in CACHES {
            self.line(&format!("{name} {cache_name}"), session(model, ids, cache.into(), &[]));
            if !adapters.is_empty() {
                self.line(
                    &format!("{name} {cache_name} adapted"),
                    session(model, ids, cache.into(), adapters),
                );
            }
            self.line(
                &format!("{name} {cache_name} sequences"),
                together(model, ids, cache.into(), adapters),
            );
        }
    }
}

fn options(cache: CacheTypes) -> SessionOptions {
    SessionOptions::default().threads(2).batch(32).cache(cache)
}

fn update(hasher: &mut XxHash3_128, logits: &[f32]) {
    logits.iter().for_each(|logit| hasher.write(&logit.to_bits().to_le_bytes()));
}

fn session(model: &Model, ids: &[u32], cache: CacheTypes, adapters: &[Adapter]) -> u128 {
    let mut session = model.session(&options(cache)).unwrap();
    for adapter in adapters {
        session.attach(adapter, 0.75).unwrap();
    }
    let mut hasher = XxHash3_128::new();
    let each = |logits: &[f32]| {
        update(&mut hasher, logits);
        Ok::<_, Error>(())
    };
    session.feed_each(ids, each).unwrap();
    hasher.finish_128()
}

fn together(model: &Model, ids: &[u32], cache: CacheTypes, adapters: &[Adapter]) -> u128 {
    let options = SequencesOptions::default().most(3).session(options(cache));
    let mut sequences = model.sequences(&options).unwrap();
    let adapters: Vec<_> = adapters.iter().map(|adapter| (adapter, 1.5)).collect();
    let half = ids.len() / 2;
    let texts = [ids, &ids[..half], &ids[half / 2..]];
    let members = [&adapters[..], &[], &adapters[..]].map(|adapters| sequences.join_with(adapters).unwrap());
    for (&member, text) in members.iter().zip(texts) {
        sequences.feed(member, text).unwrap();
    }
    let mut logits = [const { Vec::new() }; 3];
    while sequences.step().unwrap() > 0 {
        for (&member, logits) in members.iter().zip(&mut logits) {
            if let Ok(found) = sequences.logits(member) {
                *logits = found.to_vec();
            }
        }
    }
    let mut hasher = XxHash3_128::new();
    logits.iter().for_each(|logits| update(&mut hasher, logits));
    hasher.finish_128()
}

/// The names of the GGUF files in a folder of goldens, without the ending.
fn files(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .filter_map(|entry| entry.unwrap().file_name().to_str()?.strip_suffix(".gguf").map(str::to_owned))
        .collect();
    names.sort();
    names
}

fn hashes() -> String {
    let mut all = Hashes::default();
    for name in files(&golden("")) {
        let model = Model::open(golden(&format!("{name}.gguf"))).unwrap();
        all.model(&name, &model, &ids(&name), &[]);
    }
    for name in files(&family("")) {
        let model = Model::open(family(&format!("{name}.gguf"))).unwrap();
        let adapter = family(&name).join("adapter.gguf");
        let adapters = adapter.exists().then(|| Adapter::open(&adapter, &model).unwrap());
        all.model(&name, &model, &ids_in(&family(&name)), adapters.as_slice());
    }
    for name in files(&llama_cpp("")) {
        let model = Model::open(llama_cpp(&format!("{name}.gguf"))).unwrap();
        all.model(&format!("llama.cpp {name}"), &model, &ids("kquant"), &[]);
    }
    for format in FORMATS {
        let model = Model::from_gguf(&Parts::of("kquant").quantized(format).gguf()).unwrap();
        all.model(&format!("kquant {}", format.name()), &model, &ids("kquant"), &[]);
    }
    // Texts that are many times as long as windows and convolutions look back, and several pages long.
    for name in ["gemma3", "ministral", "phi3", "lfm2"] {
        let parts = Parts::read(&family(&format!("{name}.gguf")));
        let key = parts.keys.iter().find(|(key, _)| key.ends_with(".context_length")).unwrap().0.clone();
        let model = Model::from_gguf(&parts.key(&key, Some(OwnedValue::U32(2048))).gguf()).unwrap();
        let text: Vec<u32> = ids_in(&family(name)).into_iter().cycle().take(900).collect();
        all.model(&format!("{name} long"), &model, &text, &[]);
    }
    let demo = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tools/demo/siskin-demo.gguf");
    let model = Model::open(demo).unwrap();
    all.model(
        "demo",
        &model,
        &model.text_tokens("please turn on the kitchen light, then play some music"),
        &[],
    );
    all.0
}

#[test]
fn logits_are_those_that_were_committed() {
    let path: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/goldens/logits.hashes");
    let found = hashes();
    if std::env::var_os("SISKIN_WRITE_HASHES").is_some() {
        return std::fs::write(path, found).unwrap();
    }
    let expected = std::fs::read_to_string(path).unwrap();
    let others: Vec<_> = found.lines().filter(|line| !expected.lines().any(|known| known == *line)).collect();
    assert!(others.is_empty(), "other logits than those committed:\n{}", others.join("\n"));
    assert_eq!(found.lines().count(), expected.lines().count());
}
