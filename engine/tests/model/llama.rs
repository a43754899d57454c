//! Logits against Hugging Face transformers in float32.

use crate::parts::{golden, ids};
use siskin::{CacheType, Error, Model, SessionOptions};

/// The numbers of a float32 .npy file.
fn npy(path: &std::path::Path) -> Vec<f32> {
    let bytes = std::fs::read(path).unwrap();
    let header = usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
    assert!(String::from_utf8_lossy(&bytes[10..10 + header]).contains("'<f4', 'fortran_order': False"));
    bytes[10 + header..].as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect()
}

fn logits(name: &str, cache: CacheType) -> Vec<f32> {
    let model = Model::open(golden(&format!("{name}.gguf"))).unwrap();
    let options = SessionOptions { cache, threads: Some(2), ..Default::default() };
    let mut session = model.session(&options).unwrap();
    let mut all = Vec::new();
    session
        .feed_each(&ids(name), |logits| {
            all.extend_from_slice(logits);
            Ok::<_, Error>(())
        })
        .unwrap();
    all
}

/// Mean squared error over the mean square of the expected.
fn nmse(found: &[f32], expected: &[f32]) -> f64 {
    assert_eq!(found.len(), expected.len());
    let square = |x: f64| x * x;
    let error: f64 = found.iter().zip(expected).map(|(a, b)| square(f64::from(*a) - f64::from(*b))).sum();
    error / expected.iter().map(|&b| square(f64::from(b))).sum::<f64>()
}

fn check(name: &str) {
    let expected = npy(&golden(name).join("logits.npy"));
    let exact = nmse(&logits(name, CacheType::F32), &expected);
    assert!(exact <= 1e-9, "{name}: {exact:e} with an f32 cache");
    let half = nmse(&logits(name, CacheType::F16), &expected);
    assert!(half > exact && half <= 1e-4, "{name}: {half:e} with an f16 cache");
}

macro_rules! checkpoints {
    ($($test:ident: $name:literal,)*) => {
        $(#[test] fn $test() { check($name); })*
    };
}

checkpoints! {
    grouped_query_attention_and_an_untied_head: "gqa",
    a_tied_head_in_bfloat16: "tied",
    llama_3_rope_scaling_beyond_the_original_context: "rope-llama3",
    a_head_dimension_other_than_width_over_heads: "head-dim",
    one_key_for_every_query_head: "mha",
    attention_biases: "bias",
    rows_of_whole_superblocks: "kquant",
}
