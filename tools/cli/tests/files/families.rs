//! `siskin quantize` of the families' tiny checkpoints, beside the GGUF files that llama.cpp's converter wrote of them.

use crate::common::{Checkpoint, families, quantized};
use serde_json::{Value as Json, json};
use siskin::gguf::{Gguf, Value};
use siskin_quant::decode;
use std::collections::{BTreeMap, BTreeSet};

/// The checkpoints, with the keys that are written beside llama.cpp's or with another value: its converter leaves out
/// what its own `llama`, `gemma3` and `phi3` do not heed.
const CHECKPOINTS: [(&str, &[&str]); 16] = [
    ("qwen2", &[]),
    ("qwen3", &[]),
    ("mistral", &["llama.attention.sliding_window"]),
    ("ministral", &["llama.attention.sliding_window", "llama.attention.sliding_window_pattern"]),
    ("gemma3", &[]),
    ("gemma3-scale", &["gemma3.attention.scale", "gemma3.attention.sliding_window_pattern"]),
    ("gemma2", &["gemma2.rope.freq_base"]),
    ("smollm3", &[]),
    ("granite", &[]),
    ("olmo2", &[]),
    ("phi3", &[]),
    ("phi4-mini", &[]),
    ("qwen3-moe", &[]),
    ("granite-moe", &[]),
    ("lfm2", &[]),
    // A linear scaling by 1 is none.
    ("bitnet", &["bitnet-b1.58.rope.scaling.factor", "bitnet-b1.58.rope.scaling.type"]),
];

fn values(file: &Gguf, name: &str) -> Vec<f32> {
    let tensor = file.tensor(name).unwrap();
    let mut values = vec![0.0; tensor.elements() as usize];
    decode(tensor.ty, file.data(tensor), &mut values).unwrap();
    values
}

/// The metadata that decides what a model computes and how text becomes tokens. Of pre-tokenizers llama.cpp has several
/// names for one, and a byte-level vocabulary knows no prefix.
fn metadata(file: &Gguf) -> BTreeMap<String, String> {
    let byte_level = file.str("tokenizer.ggml.model").unwrap() == Some("gpt2");
    let told = |key: &str| match key {
        "tokenizer.ggml.pre" => false,
        "tokenizer.ggml.add_space_prefix" => !byte_level,
        key => !key.starts_with("general."),
    };
    let spelt = |value: Value<'_>| format!("{value:?}");
    file.metadata().filter(|(key, _)| told(key)).map(|(key, value)| (key.into(), spelt(value))).collect()
}

#[test]
fn checkpoints_become_what_llama_cpp_makes_of_them() {
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("out.gguf");
    for (name, others) in CHECKPOINTS {
        quantized(&families().join(name), &output, "bf16");
        let (ours, theirs) =
            (Gguf::open(&output).unwrap(), Gguf::open(&families().join(format!("{name}.gguf"))).unwrap());
        assert_eq!(ours.str("general.architecture").unwrap(), theirs.str("general.architecture").unwrap());
        compare_metadata(name, &metadata(&ours), &metadata(&theirs), others);
        assert_eq!(ours.tensors().len(), theirs.tensors().len(), "{name}");
        for tensor in theirs.tensors() {
            let found = ours.tensor(&tensor.name).unwrap_or_else(|| panic!("{name}: no {}", tensor.name));
            assert_eq!((&found.shape, found.ty), (&tensor.shape, tensor.ty), "{name}: {}", tensor.name);
            assert!(values(&ours, &tensor.name) == values(&theirs, &tensor.name), "{name}: {}", tensor.name);
        }
    }
}

/// `others` are the keys that differ, and no others do.
fn compare_metadata(
    name: &str,
    ours: &BTreeMap<String, String>,
    theirs: &BTreeMap<String, String>,
    others: &[&str],
) {
    let keys: BTreeSet<&str> = ours.keys().chain(theirs.keys()).map(String::as_str).collect();
    // Ours always say how wide a head is, and which token is the unknown one also where only tokenizer_config.json does.
    let ends = [".attention.key_length", ".attention.value_length", ".unknown_token_id"];
    let more = |key: &str| ends.iter().any(|end| key.ends_with(end)) && !theirs.contains_key(key);
    let differ = |key: &&str| ours.get(*key) != theirs.get(*key) && !more(key);
    let differing: Vec<&str> = keys.into_iter().filter(differ).collect();
    assert_eq!(differing, others, "{name}");
}

#[test]
fn what_llama_cpp_leaves_out_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("out.gguf");
    let convert = |name: &str| {
        quantized(&families().join(name), &output, "f32");
        Gguf::open(&output).unwrap()
    };
    assert_eq!(convert("mistral").u32("llama.attention.sliding_window").unwrap(), Some(16));
    let gemma = convert("gemma3-scale");
    assert_eq!(gemma.f32("gemma3.attention.scale").unwrap(), Some((1.0 / 24f64.sqrt()) as f32));
    let pattern = |file: &Gguf, key: &str| -> Vec<bool> {
        let values = file.array(key).unwrap().unwrap();
        values.iter().map(|value| value == Value::Bool(true)).collect()
    };
    assert_eq!(pattern(&gemma, "gemma3.attention.sliding_window_pattern"), [true, false, true]);
    let ministral = convert("ministral");
    assert_eq!(ministral.u32("llama.attention.sliding_window").unwrap(), Some(16));
    assert_eq!(pattern(&ministral, "llama.attention.sliding_window_pattern"), [false, true, true]);
}

#[test]
fn files_of_every_family_are_quantized_again() {
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("out.gguf");
    for (name, _) in CHECKPOINTS {
        let input = families().join(format!("{name}.gguf"));
        quantized(&input, &output, "q8_0");
        let (before, after) = (Gguf::open(&input).unwrap(), Gguf::open(&output).unwrap());
        for tensor in before.tensors() {
            let kept = tensor.ty == after.tensor(&tensor.name).unwrap().ty;
            let vector = tensor.shape.len() == 1
                || tensor.name.contains("ffn_gate_inp")
                || tensor.name.contains("shortconv.conv");
            assert_eq!(kept, vector, "{name}: {}", tensor.name);
        }
    }
}

#[test]
fn variants_that_no_file_can_say_are_refused_by_name() {
    let cases: [(&str, &str, Json, &str); 16] = [
        ("qwen2", "use_sliding_window", json!(true), "use_sliding_window: expected false, found true"),
        (
            "qwen3",
            "rope_scaling",
            json!({"rope_type": "yarn", "factor": 4.0}),
            "rope_scaling: rope_type: yarn is not supported, expected default, linear or llama3",
        ),
        (
            "qwen3",
            "architectures",
            json!(["Qwen3NextForCausalLM"]),
            "architecture Qwen3NextForCausalLM is not supported",
        ),
        ("qwen3-moe", "mlp_only_layers", json!([0]), "blocks without experts are not supported"),
        ("qwen3-moe", "norm_topk_prob", json!(false), "norm_topk_prob: expected true"),
        ("qwen3-moe", "num_experts_per_tok", json!(7), "num_experts_per_tok: 7 of 6 experts"),
        (
            "granite-moe",
            "num_local_experts",
            json!(4000000),
            "num_local_experts: expected at most 32768 for 2 blocks",
        ),
        ("gemma3", "attn_logit_softcapping", json!(50.0), "attn_logit_softcapping: expected null"),
        (
            "gemma3",
            "hidden_activation",
            json!("silu"),
            "hidden_activation: expected gelu_pytorch_tanh, found silu",
        ),
        (
            "gemma3-scale",
            "layer_types",
            json!(["full_attention"]),
            "layer_types: expected sliding_attention or full_attention for each of 3 blocks",
        ),
        (
            "gemma2",
            "query_pre_attn_scalar",
            json!(0),
            "query_pre_attn_scalar: expected a number above 0, found 0",
        ),
        (
            "smollm3",
            "no_rope_layers",
            json!([1, 0, 1, 0, 1]),
            "expected 0 for every fourth block and 1 for others, found 0 for block 1",
        ),
        (
            "phi4-mini",
            "partial_rotary_factor",
            json!(0.7),
            "partial_rotary_factor: 0.7 of heads of 16 is no even size",
        ),
        (
            "phi4-mini",
            "rope_scaling",
            json!({"type": "longrope", "long_factor": [1.0], "short_factor": [1.0]}),
            "rope_scaling: short_factor: expected 6 numbers, found 1",
        ),
        ("lfm2", "conv_bias", json!(true), "conv_bias: expected false, found true"),
        (
            "bitnet",
            "quantization_config",
            json!({"quant_method": "bitnet"}),
            "a checkpoint quantized by bitnet is not supported",
        ),
    ];
    for (name, key, value, expected) in cases {
        let checkpoint = Checkpoint::copy_of(&families(), name);
        checkpoint.edit("config.json", |config| config[key] = value);
        let said = checkpoint.failure("f32");
        assert!(said.contains(expected), "{name}, {key}: {said}");
    }
}

#[test]
fn a_lost_expert_is_missed_by_name() {
    let mut checkpoint = Checkpoint::copy_of(&families(), "qwen3-moe");
    let lost = "model.layers.1.mlp.experts.3.up_proj.weight";
    checkpoint.tensors.retain(|tensor| tensor.name != lost);
    checkpoint.save();
    assert!(checkpoint.failure("f32").contains(&format!("tensor {lost} is missing, expected [32, 32]")));
}
