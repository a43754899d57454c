//! Files that llama.cpp quantized, and what it answers with them.

use siskin::{CacheType, Model, SessionOptions};
use siskin_quant::TensorType::F32;

use crate::parts::{Parts, ids, llama_cpp, logits, nmse, npy};

/// Both engines round activations to 8 bits, each in its own way. So the measure is the same file's weights in single
/// precision: here the answer must be as near to that as llama.cpp's is.
fn check(name: &str) {
    let path = llama_cpp(&format!("{name}.gguf"));
    let options = SessionOptions::default().cache(CacheType::F32).threads(2);
    let ids = ids("kquant");
    let ours = logits(&Model::open(&path).unwrap(), &ids, &options);
    let exact = logits(&Model::from_gguf(&Parts::read(&path).quantized(F32).gguf()).unwrap(), &ids, &options);
    let theirs = npy(&llama_cpp(&format!("{name}.npy")));
    let (our_error, their_error) = (nmse(&ours, &exact), nmse(&theirs, &exact));
    assert!(their_error < 0.05, "{name}: the same weights: llama.cpp is off by {their_error:e}");
    assert!(our_error <= 1.25 * their_error, "{name}: {our_error:e} against llama.cpp's {their_error:e}");
}

macro_rules! files {
    ($($name:ident,)*) => {
        $(#[test] fn $name() { check(stringify!($name)); })*
    };
}

files! {
    q4_0, q8_0, q2_k, q3_k_m, q4_k_m, q5_k_m, iq4_nl, iq4_xs, codebooks, ternary_mxfp4,
}
