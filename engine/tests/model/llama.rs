//! Logits against Hugging Face transformers in float32.

use siskin::{CacheType, Model, SessionOptions};

use crate::parts::{golden, ids, logits, nmse, npy};

fn run(name: &str, cache: CacheType) -> Vec<f32> {
    let model = Model::open(golden(&format!("{name}.gguf"))).unwrap();
    logits(&model, &ids(name), &SessionOptions::default().cache(cache).threads(2))
}

fn check(name: &str) {
    let expected = npy(&golden(name).join("logits.npy"));
    let exact = nmse(&run(name, CacheType::F32), &expected);
    assert!(exact <= 1e-9, "{name}: {exact:e} with an f32 cache");
    let half = nmse(&run(name, CacheType::F16), &expected);
    assert!(half > exact && half <= 1e-4, "{name}: {half:e} with an f16 cache");
    let bytes = nmse(&run(name, CacheType::Q8_0), &expected);
    assert!(bytes > half && bytes <= 1e-3, "{name}: {bytes:e} with a q8_0 cache");
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
