//! Files that are sound GGUF but no sound models: each is refused, naming what is wrong.

use crate::parts::{Parts, Tensor, family, logits};
use siskin::gguf::write::OwnedValue::{self, F32, Str, U32};
use siskin::{Model, SessionOptions};
use siskin_quant::TensorType;

fn refusal(parts: &Parts) -> String {
    let message = Model::from_gguf(&parts.gguf()).err().expect("the file is refused").to_string();
    assert!(!message.contains('\n'), "one line: {message}");
    message
}

#[track_caller]
fn refused_key(key: &str, value: Option<OwnedValue>, why: &str) {
    let message = refusal(&Parts::of("gqa").key(key, value));
    assert!(message.contains(key) && message.contains(why), "{key}: {message}");
}

#[test]
fn sizes_that_no_model_has() {
    for key in [
        "attention.head_count",
        "attention.head_count_kv",
        "block_count",
        "embedding_length",
        "context_length",
    ] {
        let key = format!("llama.{key}");
        refused_key(&key, Some(U32(0)), "expected 1 to");
        refused_key(&key, Some(U32(u32::MAX)), "expected 1 to");
        refused_key(&key, Some(Str(b"4".to_vec())), "");
        refused_key(&key, Some(F32(4.0)), "");
    }
    refused_key("llama.attention.head_count", None, "");
    refused_key("llama.block_count", None, "");
}

/// Whether both give the same logits.
fn same_logits(one: &Model, other: &Model) -> bool {
    let logits = |model: &Model| logits(model, &[1, 5, 9, 3], &SessionOptions::default());
    logits(one) == logits(other)
}

fn loaded(parts: &Parts) -> Model {
    Model::from_gguf(&parts.gguf()).unwrap()
}

#[test]
fn parts_that_text_does_without_are_left_out_and_told_of() {
    let plain = Parts::of("gqa");
    let expected = loaded(&plain);
    assert!(expected.notes().is_empty());
    let extra = |parts: &Parts, name: &str| {
        let mut parts = parts.clone();
        let (shape, ty, data) = (vec![4], siskin_quant::TensorType::F32, vec![0; 16]);
        parts.tensors.push(Tensor { name: name.into(), shape, ty, data });
        parts
    };
    for (name, what) in [
        ("v.blk.0.attn_q.weight", "what sees images (v.*, mm.*)"),
        ("mm.input_projection.weight", "what sees images (v.*, mm.*)"),
        ("a.blk.0.ln1.weight", "what hears (a.*)"),
        ("mtp.fc.weight", "layers that predict tokens further ahead (nextn.*)"),
    ] {
        let model = loaded(&extra(&plain, name));
        assert!(same_logits(&model, &expected));
        assert_eq!(model.notes(), [format!("{what} is left out: 1 tensor, 0.0 MiB")]);
    }
    // A layer behind the others, with what it has beside a layer, counted among them or not.
    let layers = 2;
    let mut ahead = plain.clone();
    for tensor in &plain.tensors {
        if let Some(part) = tensor.name.strip_prefix("blk.0.") {
            ahead.tensors.push(Tensor { name: format!("blk.{layers}.{part}"), ..tensor.clone() });
        }
    }
    let ahead = extra(&ahead, &format!("blk.{layers}.nextn.eh_proj.weight"));
    for count in [layers, layers + 1] {
        let model = loaded(&ahead.clone().key("llama.block_count", Some(U32(count))));
        assert!(same_logits(&model, &expected));
        assert!(
            model.notes()[0].starts_with("layers that predict tokens further ahead"),
            "{:?}",
            model.notes()
        );
    }
    // What else is too much is refused as before.
    assert!(refusal(&extra(&plain, "blk.2.attn_q.weight")).contains("is not part of a llama model"));
    assert!(refusal(&extra(&plain, "vision.weight")).contains("is not part of a llama model"));
}

#[test]
fn a_gemma_without_its_epsilon_has_that_of_all() {
    const KEY: &str = "gemma3.attention.layer_norm_rms_epsilon";
    let plain = Parts::read(&family("gemma3.gguf"));
    let model = loaded(&plain.clone().key(KEY, None));
    assert!(same_logits(&model, &loaded(&plain)));
    let expected =
        format!("key {KEY:?} is missing, as in Ollama's files: 1e-6 is taken, as all such models have");
    assert_eq!(model.notes(), [expected]);
    refused_key("llama.attention.layer_norm_rms_epsilon", None, "found no such key");
}

#[test]
fn heads_that_do_not_divide() {
    refused_key("llama.attention.head_count_kv", Some(U32(3)), "a divisor of the");
    let parts =
        Parts::of("gqa").key("llama.attention.key_length", None).key("llama.attention.value_length", None);
    let message = refusal(
        &parts.key("llama.attention.head_count", Some(U32(6))).key("llama.attention.head_count_kv", None),
    );
    assert!(message.contains("llama.attention.head_count"), "{message}");
    refused_key("llama.rope.dimension_count", Some(U32(7)), "even");
    refused_key("llama.rope.dimension_count", Some(U32(10_000)), "at most");
    refused_key("llama.attention.value_length", Some(U32(8)), "the key length");
    refused_key("llama.attention.key_length", Some(U32(4096)), "at most");
}

#[test]
fn what_the_family_does_not_do() {
    refused_key("llama.rope.scaling.type", Some(Str(b"yarn".to_vec())), "yarn");
    refused_key("llama.expert_count", Some(U32(8)), "expected 0");
    refused_key("llama.attention.layer_norm_rms_epsilon", Some(F32(f32::NAN)), "positive");
    let message = refusal(&Parts::of("gqa").key("general.architecture", Some(Str(b"mamba".to_vec()))));
    assert!(message.contains("\"mamba\"") && message.contains("expected one of llama"), "{message}");
    let message = refusal(&Parts::of("gqa").key("general.architecture", None));
    assert!(message.contains("general.architecture"), "{message}");
}

#[test]
fn tensors_missing_extra_or_misshapen() {
    for name in ["token_embd.weight", "output_norm.weight", "blk.1.ffn_down.weight", "blk.0.attn_norm.weight"]
    {
        let mut parts = Parts::of("gqa");
        parts.tensors.retain(|t| t.name != name);
        let message = refusal(&parts);
        assert!(message.contains(name) && message.contains("is missing"), "{message}");
    }
    let mut parts = Parts::of("gqa");
    let extra = Tensor { name: "blk.0.attn_q_norm.weight".into(), ..parts.tensors[1].clone() };
    parts.tensors.push(extra);
    assert!(refusal(&parts).contains("\"blk.0.attn_q_norm.weight\" is not part of a llama model"));

    let swapped = Parts::of("gqa").tensor("blk.0.ffn_up.weight", |t| t.shape.reverse());
    let message = refusal(&swapped);
    assert!(message.contains("blk.0.ffn_up.weight") && message.contains("expected shape"), "{message}");
    let empty = Parts::of("gqa").tensor("blk.0.ffn_up.weight", |t| {
        t.shape[1] = 0;
        t.data.clear();
    });
    assert!(refusal(&empty).contains("expected shape"));
}

#[test]
fn weights_without_kernels() {
    let parts = Parts::of("gqa").tensor("blk.0.ffn_up.weight", |t| {
        t.ty = TensorType::F64;
        t.data = vec![0; t.data.len() * 2];
    });
    let message = refusal(&parts);
    assert!(message.contains("blk.0.ffn_up.weight") && message.contains("F64"), "{message}");
}

#[test]
fn a_file_without_anything_in_it_is_no_model() {
    let message = refusal(&Parts { keys: Vec::new(), tensors: Vec::new() });
    assert!(message.contains("general.architecture"), "{message}");
}

#[test]
fn a_vocabulary_larger_than_the_embedding() {
    let mut parts = Parts::of("gqa");
    for tensor in &mut parts.tensors {
        if tensor.name == "token_embd.weight" || tensor.name == "output.weight" {
            let row = tensor.data.len() / tensor.shape[1] as usize;
            tensor.shape[1] -= 1;
            tensor.data.truncate(tensor.data.len() - row);
        }
    }
    assert!(refusal(&parts).contains("tokenizer.ggml.tokens"));
}

#[test]
fn session_options_out_of_range() {
    let model = Model::from_gguf(&Parts::of("gqa").gguf()).unwrap();
    let refusal = |options: SessionOptions| model.session(&options).err().unwrap().to_string();
    assert!(refusal(SessionOptions::default().threads(0)).contains("threads: expected 1 to"));
    assert!(refusal(SessionOptions::default().batch(0)).contains("batch"));
    assert!(refusal(SessionOptions::default().context(0)).contains("context"));
    assert!(refusal(SessionOptions::default().context(1 << 40)).contains("context"));
}
