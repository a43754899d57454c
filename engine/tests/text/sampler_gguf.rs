//! Sampling options that a model file recommends.
#![allow(clippy::expect_used, reason = "a test fails by panicking")]

use siskin::gguf::Gguf;
use siskin::gguf::write::{Builder, OwnedValue};
use siskin::sampler::{Mirostat, SamplerKind, SamplerOptions, SamplerOverrides};

fn file(keys: impl IntoIterator<Item = (&'static str, OwnedValue)>) -> Gguf {
    let mut builder = Builder::new();
    for (key, value) in keys {
        builder.set(key, value).expect("a key");
    }
    let bytes = builder.start(Vec::new()).and_then(|writer| writer.finish()).expect("a file");
    Gguf::from_bytes("model.gguf", bytes).expect("a well-formed file")
}

#[test]
fn every_key_is_read() {
    let file = file([
        ("general.sampling.sequence", OwnedValue::from("top_k;adaptive_p;temp")),
        ("general.sampling.top_k", OwnedValue::from(20)),
        ("general.sampling.top_p", OwnedValue::from(0.8f32)),
        ("general.sampling.min_p", OwnedValue::from(0.1f32)),
        ("general.sampling.xtc_probability", OwnedValue::from(0.5f32)),
        ("general.sampling.xtc_threshold", OwnedValue::from(0.2f32)),
        ("general.sampling.temp", OwnedValue::from(0.6f32)),
        ("general.sampling.penalty_last_n", OwnedValue::from(-1)),
        ("general.sampling.penalty_repeat", OwnedValue::from(1.05f32)),
        ("general.sampling.mirostat", OwnedValue::from(2u32)),
        ("general.sampling.mirostat_tau", OwnedValue::from(4.0f32)),
        ("general.sampling.mirostat_eta", OwnedValue::from(0.2f32)),
    ]);
    let expected = SamplerOptions::default()
        // A sampler that is not known is left out.
        .samplers(vec![SamplerKind::TopK, SamplerKind::Temperature])
        .top_k(20)
        .top_p(0.8)
        .min_p(0.1)
        .xtc_probability(0.5)
        .xtc_threshold(0.2)
        .temperature(0.6)
        .penalty_last_n(-1)
        .repeat_penalty(1.05)
        .mirostat(Mirostat::V2)
        .mirostat_tau(4.0)
        .mirostat_eta(0.2);
    let model = SamplerOptions::with_model_defaults(&file).expect("options");
    assert_eq!(model, expected);
    let user = SamplerOverrides::default().top_k(0);
    assert_eq!(model.overlay(&user), expected.top_k(0));
}

#[test]
fn a_file_without_them_leaves_the_defaults() {
    let options = SamplerOptions::with_model_defaults(&file([])).expect("options");
    assert_eq!(options, SamplerOptions::default());
}

#[test]
fn wrong_types_name_the_key() {
    for (key, value, message) in [
        ("general.sampling.top_k", OwnedValue::from("40"), "expected a 32-bit integer, found string"),
        ("general.sampling.top_k", OwnedValue::from(u32::MAX), "expected a 32-bit integer, found 4294967295"),
        ("general.sampling.mirostat", OwnedValue::from(3), "expected 0, 1 or 2, found 3"),
        ("general.sampling.temp", OwnedValue::from(true), "expected f32, found bool"),
    ] {
        let error = SamplerOptions::with_model_defaults(&file([(key, value)])).expect_err(key).to_string();
        assert_eq!(error, format!("model.gguf: key {key:?}: {message}"));
    }
}
