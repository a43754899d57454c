//! Every family's logits against Hugging Face transformers in float32, from the files that llama.cpp's converter makes of
//! the same checkpoints. Prompts are longer than any window.

use siskin::gguf::write::{OwnedArray, OwnedValue};
use siskin::{CacheType, Model, SessionOptions};
use siskin_quant::TensorType;

use crate::parts::{Parts, family, ids_in, logits, nmse, npy};

fn options(cache: CacheType, batch: Option<usize>, threads: usize) -> SessionOptions {
    SessionOptions::default().cache(cache).batch(batch).threads(threads)
}

fn check(name: &str) {
    check_file(name, &Parts::read(&family(&format!("{name}.gguf"))));
}

fn check_file(name: &str, parts: &Parts) {
    let model = Model::from_gguf(&parts.gguf()).unwrap();
    let (ids, expected) = (ids_in(&family(name)), npy(&family(name).join("logits.npy")));
    let found = logits(&model, &ids, &options(CacheType::F32, None, 2));
    let error = nmse(&found, &expected);
    assert!(error <= 1e-9, "{name}: {error:e} with an f32 cache");
    for (batch, threads) in [(1, 1), (7, 3)] {
        let again = logits(&model, &ids, &options(CacheType::F32, Some(batch), threads));
        let same = again.iter().zip(&found).all(|(a, b)| a.to_bits() == b.to_bits());
        assert!(same, "{name}: other bits in batches of {batch} on {threads} threads");
    }
    let half = nmse(&logits(&model, &ids, &options(CacheType::F16, None, 2)), &expected);
    assert!(half <= 1e-4, "{name}: {half:e} with an f16 cache");
}

macro_rules! families {
    ($($test:ident: $name:literal,)*) => {
        $(#[test] fn $test() { check($name); })*
    };
}

families! {
    qwen_2_with_biases: "qwen2",
    qwen_3_with_norms_of_heads: "qwen3",
    qwen_3_with_experts: "qwen3-moe",
    gemma_2_with_caps_and_windows: "gemma2",
    gemma_3_with_two_rotations: "gemma3",
    smollm_3_without_positions_in_every_fourth_layer: "smollm3",
    granite_with_factors: "granite",
    granite_with_experts: "granite-moe",
    olmo_2_with_norms_behind_the_branches: "olmo2",
    phi_3_with_one_matrix_for_all_projections: "phi3",
    phi_4_mini_beyond_the_original_context: "phi4-mini",
    bitnet_with_norms_within_the_branches: "bitnet",
    lfm_2_with_short_convolutions: "lfm2",
}

/// llama.cpp's converter drops the window, so a file says it as ours does.
#[test]
fn mistral_with_a_window() {
    let window = OwnedValue::U32(16);
    let parts = Parts::read(&family("mistral.gguf")).key("llama.attention.sliding_window", Some(window));
    check_file("mistral", &parts);
}

/// Nor does it know that some layers have none.
#[test]
fn ministral_with_windows_in_some_layers() {
    let pattern = OwnedValue::Array(OwnedArray::Bool(vec![false, true, true]));
    let parts = Parts::read(&family("ministral.gguf"))
        .key("llama.attention.sliding_window", Some(OwnedValue::U32(16)))
        .key("llama.attention.sliding_window_pattern", Some(pattern));
    check_file("ministral", &parts);
}

/// Nor do its files say what Gemma divides scores by, and which layers have windows.
#[test]
fn gemma_3_with_another_scale_and_pattern() {
    let scale = OwnedValue::F32(1.0 / 24f32.sqrt());
    let pattern = OwnedValue::Array(OwnedArray::Bool(vec![true, false, true]));
    let parts = Parts::read(&family("gemma3-scale.gguf"))
        .key("gemma3.attention.scale", Some(scale))
        .key("gemma3.attention.sliding_window_pattern", Some(pattern));
    check_file("gemma3-scale", &parts);
    let short = OwnedValue::Array(OwnedArray::Bool(vec![true, false]));
    let parts = parts.key("gemma3.attention.sliding_window_pattern", Some(short));
    let error = Model::from_gguf(&parts.gguf()).err().unwrap().to_string();
    assert!(error.contains("sliding_window_pattern") && error.contains("each of the 3 layers"), "{error}");
}

/// Room for no more than the original context: other factors than where there is more, and a state of one is not taken by
/// the other.
#[test]
fn phi_4_mini_within_the_original_context() {
    let folder = family("phi4-mini");
    let model = Model::open(family("phi4-mini.gguf")).unwrap();
    let ids: Vec<u32> =
        serde_json::from_str(&std::fs::read_to_string(folder.join("ids-short.json")).unwrap()).unwrap();
    let session = |context| options(CacheType::F32, None, 2).context(context);
    let error = nmse(&logits(&model, &ids, &session(32)), &npy(&folder.join("logits-short.npy")));
    assert!(error <= 1e-9, "{error:e}");

    let mut short = model.session(&session(32)).unwrap();
    short.feed(&ids).unwrap();
    let mut state = Vec::new();
    short.save(&mut state).unwrap();
    assert!(model.session(&session(64)).unwrap().restore(&state).is_err());
    assert!(model.session(&session(30)).unwrap().restore(&state).is_ok());
}

#[test]
fn what_a_family_does_not_do_is_refused() {
    let refused = |name: &str, key: &str, value| {
        let parts = Parts::read(&family(&format!("{name}.gguf"))).key(key, Some(value));
        let error = Model::from_gguf(&parts.gguf()).err().unwrap().to_string();
        assert!(error.contains(key), "{error}");
    };
    for name in ["qwen2", "qwen3", "smollm3", "granite", "olmo2"] {
        refused(name, &format!("{name}.attention.sliding_window"), OwnedValue::U32(16));
    }
    refused("granite", "granite.rope.scaling.finetuned", OwnedValue::Bool(false));
    refused("granite", "granite.expert_count", OwnedValue::U32(2));
    refused("qwen3-moe", "qwen3moe.expert_used_count", OwnedValue::U32(7));
    refused("qwen3", "qwen3.rope.scaling.type", OwnedValue::from("yarn"));
}

#[test]
fn unknown_families_are_refused_by_name_with_those_that_are_known() {
    let parts = Parts::read(&family("qwen3.gguf"));
    let parts = parts.key("general.architecture", Some(OwnedValue::from("mamba")));
    let error = Model::from_gguf(&parts.gguf()).err().unwrap().to_string();
    assert!(error.contains("mamba") && error.contains("llama, qwen2, qwen3"), "{error}");
}

#[test]
fn all_kinds_of_weights_give_the_same_bits_in_any_batch() {
    for name in ["qwen3-moe", "gemma3", "phi3", "lfm2"] {
        let parts = Parts::read(&family(&format!("{name}.gguf"))).quantized(TensorType::Q8_0);
        let model = Model::from_gguf(&parts.gguf()).unwrap();
        let ids = ids_in(&family(name));
        let whole = logits(&model, &ids, &options(CacheType::Q8_0, None, 2));
        for batch in [1, 5] {
            let found = logits(&model, &ids, &options(CacheType::Q8_0, Some(batch), 3));
            assert!(found.iter().zip(&whole).all(|(a, b)| a.to_bits() == b.to_bits()), "{name} {batch}");
        }
    }
}
